"""One sourced input: a value, where it comes from, when it held, how it arose, its range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, timedelta
from typing import Literal

Arose = Literal["measured", "modelled", "predicted", "quoted", "assumed"]


def first_day(as_of: str) -> date:
    """The first day of `2026`, `2026-02` or `2026-02-17`; ValueError for anything else."""
    parts = as_of.split("-")
    wrong = f"as_of: {as_of!r} is not a date: write 2026, 2026-02 or 2026-02-17"
    if len(parts) > 3 or not all(p.isdigit() for p in parts) or len(parts[0]) != 4:
        raise ValueError(wrong)
    try:
        return date(*[int(p) for p in parts] + [1] * (3 - len(parts)))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{wrong} ({error})") from error


def past_day(as_of: str, today: date) -> date:
    """The first day of a date of something that has happened; ValueError where it is none, or lies
    ahead of `today` and of the day that has begun further east."""
    day = first_day(as_of)
    if day > today + timedelta(days=1):
        raise ValueError(
            f"as_of: {as_of} lies in the future: today is {today} by this machine's clock"
        )
    return day


def age_days(as_of: str, on: date) -> int:
    """Days from the (first day of the) date to `on`; 0 when the date lies ahead."""
    return max(0, (on - first_day(as_of)).days)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One input. `low` and `high` are the bounds of a uniform or triangular distribution and the
    5th and 95th percentile of a lognormal one, whose median is `value`."""

    value: float
    source: str
    as_of: str = ""
    arose: Arose = "assumed"
    low: float | None = None
    high: float | None = None
    dist: Literal["triangular", "uniform", "lognormal"] = "triangular"
    verified: bool = True

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError("value must be a finite number")
        if not self.source.strip():
            raise ValueError("source must say where the figure comes from")
        if self.as_of:
            first_day(self.as_of)
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high must be given together")
        if self.low is not None and self.high is not None:
            if not self.low <= self.value <= self.high:
                raise ValueError("value must lie between low and high")
            if self.dist == "lognormal" and self.low <= 0:
                raise ValueError("low must be above 0 for a lognormal distribution")


Input = Figure | float


def figure(given: Input) -> Figure:
    """The figure itself; a bare number (an override, a default) is an assumption without source."""
    if isinstance(given, Figure):
        return given
    return Figure(value=given, source="bare number, no source given")


def limit(
    owner: object,
    names: str,
    *,
    low: float = 0.0,
    high: float = math.inf,
    above: bool = False,
    below: bool = False,
) -> None:
    """Refuse values (and range ends) outside [low, high]; `above` refuses `low` itself too, and
    `below` `high`."""
    for name in names.split():
        given = getattr(owner, name)
        if given is None:
            continue
        f = figure(given)
        for value in (v for v in (f.value, f.low, f.high) if v is not None):
            edge = (above and value == low) or (below and value == high)
            if value < low or value > high or edge:
                bound = "above" if above else "at least"
                most = "below" if below else "at most"
                upper = "" if math.isinf(high) else f" and {most} {high:g}"
                raise ValueError(f"{name} must be {bound} {low:g}{upper}, not {value:g}")


def figures(value: object, path: str = "") -> dict[str, Figure]:
    """Every Input inside a value by its dotted path: `tco.own.capex_usd`."""
    found: dict[str, Figure] = {}
    if isinstance(value, Figure):
        return {path: value}
    if is_dataclass(value) and not isinstance(value, type):
        for f in fields(value):
            child = getattr(value, f.name)
            below = f"{path}.{f.name}" if path else f.name
            if "Input" in str(f.type) and isinstance(child, (int, float)):
                found[below] = figure(float(child))
            else:
                found.update(figures(child, below))
    elif isinstance(value, Mapping):
        for key, child in value.items():
            found.update(figures(child, f"{path}.{key}"))
    return found
