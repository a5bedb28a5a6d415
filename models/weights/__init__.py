"""Weights of the released models, each beside its card, recipe and log."""
