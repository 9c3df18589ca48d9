"""In which unit the stamps of a trace are: said by its format, declared, or inferred and told.

A unit that is not said is never guessed where two are possible: a trace that is read a thousand
times too fast is a wrong load.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from bench.values.errors import InputError

Unit = Literal["s", "ms", "us", "ns"]
PER_S: dict[Unit, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}

HEAD = 1_000
"""How many rows are looked at before the first is used."""
_EPOCH_S = (946_684_800.0, 4_102_444_800.0)  # the years 2000 to 2100
PLAUSIBLE_PER_S = (1 / 3600, 20.0)
"""Mean requests/s over which, or below which, a unit that nobody declared is not believed."""
_WITH_FRACTIONS_PER_S = 2.0
"""Clocks that count in ms rarely write fractions: such stamps are believed to be ms up to here."""


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """The unit of a trace's stamps, and why it is that; `sure` where nothing was inferred."""

    unit: Unit
    why: str
    sure: bool = True


def number(value: Any) -> float | None:
    """A stamp as a number, from a date, text or a number; None where it is none or not finite."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return date_s(value)
    if not isinstance(value, (int, float)) or abs(value) > 1e300 or not math.isfinite(value):
        return None
    return float(value)


def date_s(text: str) -> float | None:
    """Seconds since 1970 of an ISO date with time (UTC where it names no zone), else None."""
    clean = text.strip().replace("Z", "+00:00")
    head, dot, fraction = clean.partition(".")
    digits = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))]
    zone = fraction[len(digits) :]
    try:
        at = datetime.fromisoformat(head + zone)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return at.timestamp() + (float(f"0.{digits}") if dot and digits else 0.0)


def infer(stamps: Sequence[float], *, by_format: Unit | None, named: Unit | None) -> Inferred:
    """The unit of the first stamps of a trace. `named` is what the user or the key said.

    `by_format` is what the format's definition says, which files in the field do not always
    follow: it is believed where the rate that it gives is plausible. InputError where it must be
    asked for.
    """
    if named is not None:
        return Inferred(unit=named, why="declared")
    epoch = _epoch(stamps[0]) if stamps else None
    if epoch is not None:
        return Inferred(unit=epoch, why="the stamps count from 1970", sure=False)
    in_s, in_ms = rate_per_s(stamps, "s"), rate_per_s(stamps, "ms")
    if in_s is None or in_ms is None:
        return Inferred(unit=by_format or "s", why="all stamps are equal", sure=False)
    fractions = any(s != int(s) for s in stamps)
    if by_format == "s" or (by_format is not None and in_ms <= _fastest(fractions)):
        rate = in_s if by_format == "s" else in_ms
        return Inferred(unit=by_format, why=f"by its format; {rate:.3g} requests/s at first")
    low, high = PLAUSIBLE_PER_S
    possible: list[tuple[Unit, float]] = []
    if low <= in_s <= high:
        possible.append(("s", in_s))
    if low <= in_ms <= _fastest(fractions):
        possible.append(("ms", in_ms))
    if len(possible) == 1 and (by_format is None or fractions):
        (unit, rate), said = possible[0], "the other unit is not plausible"
        return Inferred(unit=unit, why=f"{rate:.3g} requests/s at first; {said}", sure=False)
    raise InputError(
        "the unit of its stamps is not said and cannot be inferred "
        f"({in_s:.3g} requests/s in s, {in_ms:.3g} requests/s in ms): set workload.time_unit=s or "
        "workload.time_unit=ms"
    )


def _fastest(fractions: bool) -> float:
    return _WITH_FRACTIONS_PER_S if fractions else PLAUSIBLE_PER_S[1]


def rate_per_s(stamps: Sequence[float], unit: Unit) -> float | None:
    """Mean rate of the stamps in that unit; None where they all are one instant."""
    span = (stamps[-1] - stamps[0]) / PER_S[unit] if stamps else 0.0
    return (len(stamps) - 1) / span if span > 0 else None


def _epoch(stamp: float) -> Unit | None:
    low, high = _EPOCH_S
    return next((u for u, per_s in PER_S.items() if low <= stamp / per_s <= high), None)
