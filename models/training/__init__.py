"""Fitting of everything that `nearedge.models.parts` holds."""
