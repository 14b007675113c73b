"""Measurements, and the straight-line refresher that they compare with."""
