"""Documents and files on their way in."""
