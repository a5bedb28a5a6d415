"""IPython startup files."""
