"""Predicting speed from published measurements, with a band, and planning from predictions."""
