"""What beamlines publish, sent through stock programs and the shipped configuration."""
