"""Compare spectra without the model: linear combinations of end members, and components."""
