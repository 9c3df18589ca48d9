"""Runs beside each other: refused unless alike, changes with intervals, verdicts in words. Pure."""
