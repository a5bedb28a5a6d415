"""Calculated sites, and the simulated views of their spectra."""
