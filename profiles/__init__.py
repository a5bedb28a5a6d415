"""Profiles of instruments: one YAML file for each."""
