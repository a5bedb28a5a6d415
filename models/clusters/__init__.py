"""Numbers that describe a cluster of atoms."""
