"""Prediction beside measurement of one quantity of memory, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FitError:
    """One quantity: `error` is predicted / measured − 1; None where it was not measured."""

    quantity: str
    unit: str
    predicted: float
    measured: float | None
    error: float | None
    source: str
