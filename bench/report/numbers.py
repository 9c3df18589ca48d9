"""Numbers for people: as many digits as the interval supports."""

from __future__ import annotations

import math

from bench.measure.checks.server import unlike_prompt
from bench.measure.measurement import Measurement, PointMeasurement
from bench.values.record import Run

_SCALES = ((1e11, 1e9, " G"), (1e8, 1e6, " M"), (1e5, 1e3, " k"))
"""From where on, by what, and the prefix: five digits before the point are read at a glance."""


def scale(value: float) -> tuple[float, str]:
    """What a number of this size is divided by, and the prefix that says so: 428,134 is 428 k."""
    return next(((by, word) for least, by, word in _SCALES if abs(value) >= least), (1.0, ""))


def quantity(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits, thousands separated, from 100,000 on in k, M or G,
    never in powers of ten."""
    if not math.isfinite(value):
        return f"{value:g}"
    by, prefix = scale(value)
    return _digits(value / by, digits) + prefix


def amount(value: float, unit: str) -> str:
    """A quantity of that unit; tokens are counted, so they are told to the last one."""
    return f"{value:,.0f}" if unit == "tokens" else quantity(value)


def _digits(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def plain(value: float, digits: int = 6) -> str:
    """`value` with at most `digits` significant digits, no zeros at its end, never in powers of
    ten: 0.5, 30,000, 3,000,000."""
    text = f"{value:,.{digits}g}"
    if "e" not in text:
        return text
    text = _digits(value, digits)
    return text.rstrip("0").rstrip(".") if "." in text else text


def share_of_draws(share: float) -> str:
    """A share of draws in percent; all of them, or none, is no certainty: > 99.9%, < 0.1%."""
    if share > 0.999:
        return "> 99.9%"
    return "< 0.1%" if share < 0.001 else f"{share:.1%}"


def with_interval(value: float, low: float | None, high: float | None) -> str:
    """`12.3 ± 0.4`, `2.0 (1.8–5.2)` where the ends lie unequally far: two digits of the wider half,
    the value to the same place (beside a wide end, to two digits of its own).

    Three places are enough where the value keeps two digits in them: `0.499 ± <0.001`.
    """
    if low is None or high is None:
        return quantity(value)
    halves = value - low, high - value
    wider = max(halves)
    if wider == 0 or not math.isfinite(wider):
        return f"{quantity(value)} ± {wider:g}"
    by, prefix = scale(value)
    uneven = lopsided(*halves)
    finest = min(wider, abs(value)) if uneven and value else wider
    places = min(_two_digits(finest / by), max(3, _two_digits((value or wider) / by)))
    said, lower, upper, half = (f"{v / by:,.{places}f}" for v in (value, low, high, wider))
    if uneven:  # a dash before a minus reads as two of either
        return f"{said} ({lower}{' to ' if low < 0 else '–'}{upper}){prefix}"
    least = f"{10**-places:.{places}f}"
    return f"{said} ± {f'<{least}' if wider / by < 10**-places / 2 else half}{prefix}"


def _two_digits(value: float) -> int:
    """The places after the point that show two digits of a value."""
    return max(0, 1 - math.floor(math.log10(abs(value))))


def lopsided(lower: float, upper: float) -> bool:
    """Whether the halves of an interval differ by more than a fifth of the wider: one number for
    both would then move an end of it to where it is not."""
    return min(lower, upper) < 0.8 * max(lower, upper)


def host_cores(run: Run) -> str:
    """The host's cores in words, and how many of them the engine did not have."""
    own = len((run.server or {}).get("client_cores", ()))
    kept = f" ({own} for the load client alone)" if own else ""
    return f"{run.provenance.get('host_cpu_count') or 'unknown'} cores{kept}"


def load_words(point: PointMeasurement) -> str:
    """A load point in words: `16 in flight`, `2.5 req/s`."""
    p = point.point
    if p.mode == "closed":
        return f"{p.concurrency} in flight"
    if p.rate_per_s is None:
        return "as traced"
    to = "" if p.rate_to_per_s is None else f" to {p.rate_to_per_s:g}"
    return f"{p.rate_per_s:g}{to} req/s"


def weights_words(quant: str) -> str:
    """A quantisation in words: `none` is the model as published, in whatever that is."""
    return "as published" if quant == "none" else quant


def prompt_words(measurement: Measurement, asked: int | str) -> str:
    """How long prompts are, in words: as served where that is another length than asked for."""
    counts = {
        f"{served:.4g}"
        for p in measurement.points
        if (served := unlike_prompt(p.findings)) is not None
    }
    if not counts:
        return f"{asked} tokens in"
    lengths = " to ".join(sorted(counts, key=float))
    return f"{lengths} tokens in by the server's count ({asked} asked for)"
