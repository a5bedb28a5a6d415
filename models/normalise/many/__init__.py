"""Normalisation of many spectra on one energy axis, all at once."""
