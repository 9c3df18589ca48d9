"""Numbers for people: as many digits as the interval supports."""

from __future__ import annotations

import math

from bench.metrics import PointMeasurement


def quantity(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits, thousands separated, never in powers of ten."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def plain(value: float, digits: int = 6) -> str:
    """`value` with at most `digits` significant digits, no zeros at its end, never in powers of
    ten: 0.5, 30,000, 3,000,000."""
    text = f"{value:,.{digits}g}"
    if "e" not in text:
        return text
    text = quantity(value, digits)
    return text.rstrip("0").rstrip(".") if "." in text else text


def with_interval(value: float, low: float | None, high: float | None) -> str:
    """`12.3 ± 0.4`: the wider half with two digits, the value to the same place."""
    if low is None or high is None:
        return quantity(value)
    half = max(high - value, value - low)  # the lower half of a rate may be cut off at zero
    if half == 0 or not math.isfinite(half):
        return f"{quantity(value)} ± {half:g}"
    places = max(0, 1 - math.floor(math.log10(half)))
    places = min(places, 3)
    return f"{value:,.{places}f} ± {half:,.{places}f}"


def load_words(point: PointMeasurement) -> str:
    """A load point in words: `16 in flight`, `2.5 req/s`."""
    p = point.point
    if p.mode == "closed":
        return f"{p.concurrency} in flight"
    if p.rate_per_s is None:
        return "as traced"
    to = "" if p.rate_to_per_s is None else f" to {p.rate_to_per_s:g}"
    return f"{p.rate_per_s:g}{to} req/s"
