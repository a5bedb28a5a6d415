"""Data of the simulator: spectra of silica sites."""
