"""Examples of how to run the services of a beamline computer."""
