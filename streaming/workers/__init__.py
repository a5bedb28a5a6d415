"""Processes that calculate: the model's workers and FEFF."""
