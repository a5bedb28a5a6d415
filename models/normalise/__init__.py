"""Counts to a normalised spectrum: numpy alone."""
