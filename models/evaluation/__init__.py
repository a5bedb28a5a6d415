"""Figures of accuracy, the baselines they are compared with, and the report."""
