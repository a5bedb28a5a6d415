"""An answer in every form: figures, trends, plots and exported files."""
