"""What you ask of nearedge on the command line, and what opens it."""
