"""What a board's sensors do to a known signal: how often they change, how late, how they add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.power.integrate import Sampled
from bench.values.telemetry import Series

_PLATEAU = 0.5
"""The part of a level, up to the next edge, that counts as settled."""


@dataclass(frozen=True, kw_only=True)
class Refresh:
    """How a polled field behaves: seconds between changes (median, 10th and 90th percentile; None
    when it changed less than twice) and milliseconds that a read takes (median, 99th)."""

    reads: int
    changes: int
    period_s: float | None
    period_low_s: float | None
    period_high_s: float | None
    read_ms: float
    read_p99_ms: float


def refresh(series: Series, name: str, start_ns: int, end_ns: int) -> Refresh | None:
    """How often a field changed between two moments in which it was polled fast; None unread.

    The period is no shorter than that of the polling, and no truer than the load is restless.
    """
    column = series.values.get(name)
    if column is None:
        return None
    kept = ~np.isnan(column) & (series.t_ns >= start_ns) & (series.t_ns <= end_ns)
    if not kept.any():
        return None
    t_ns, values = series.t_ns[kept], column[kept]
    length_ms = 2 * series.half_ns[kept] / 1e6
    changed = t_ns[1:][np.diff(values) != 0]
    gaps_s = np.diff(changed) / 1e9
    low, middle, high = (
        (None, None, None)
        if not len(gaps_s)
        else (float(q) for q in np.percentile(gaps_s, (10, 50, 90)))
    )
    return Refresh(
        reads=int(kept.sum()),
        changes=len(changed),
        period_s=middle,
        period_low_s=low,
        period_high_s=high,
        read_ms=float(np.median(length_ms)),
        read_p99_ms=float(np.percentile(length_ms, 99)),
    )


def half_way_s(power: Sampled, edges_ns: Sequence[int]) -> list[float]:
    """Seconds from each edge of the load until the reading has come half the way to its new level.

    A level is the median of the readings in the later half of the time up to the next edge. An
    edge without a level on both sides, or whose levels hardly differ, is left out.
    """
    t_ns, values = power
    found = []
    for before, edge, after in zip(edges_ns, edges_ns[1:], edges_ns[2:], strict=False):
        old, new = _settled(power, before, edge), _settled(power, edge, after)
        if old is None or new is None or abs(new - old) < 0.05 * max(abs(new), abs(old)):
            continue
        inside = (t_ns >= edge) & (t_ns < after)
        passed = np.flatnonzero((values[inside] - (old + new) / 2) * (new - old) >= 0)
        if len(passed):
            found.append(float(t_ns[inside][passed[0]] - edge) / 1e9)
    return found


def _settled(power: Sampled, start_ns: int, end_ns: int) -> float | None:
    t_ns, values = power
    inside = values[(t_ns >= start_ns + _PLATEAU * (end_ns - start_ns)) & (t_ns < end_ns)]
    return float(np.median(inside)) if len(inside) else None


def counter_lags_s(counter: Sampled, edges_ns: Sequence[int]) -> list[float]:
    """Seconds by which the counter's slope changes after each edge of the load.

    A line is fitted to the counter in the settled part of either side; where the two cross, the
    counter took the new power. A counter that steps adds half of its step to its lag.
    """
    found = []
    for before, edge, after in zip(edges_ns, edges_ns[1:], edges_ns[2:], strict=False):
        old, new = _line(counter, before, edge, edge), _line(counter, edge, after, edge)
        if old is None or new is None or abs(new[0] - old[0]) < 0.05 * abs(new[0]):
            continue
        found.append((old[1] - new[1]) / (new[0] - old[0]))
    return found


def _line(counter: Sampled, start_ns: int, end_ns: int, zero_ns: int) -> tuple[float, float] | None:
    """Slope (mJ/s) and value (mJ, above the first reading) at `zero_ns` of a settled stretch."""
    t_ns, values = counter
    inside = (t_ns >= start_ns + _PLATEAU * (end_ns - start_ns)) & (t_ns < end_ns)
    if inside.sum() < 3:
        return None
    slope, value = np.polyfit((t_ns[inside] - zero_ns) / 1e9, values[inside] - values[0], 1)
    return float(slope), float(value)


def thinned(sampled: Sampled, period_ns: int) -> Sampled:
    """The readings that a slower poll would have had: the first of every period."""
    t_ns, values = sampled
    if not len(t_ns):
        return sampled
    number = (t_ns - t_ns[0]) // period_ns
    first = np.flatnonzero(np.diff(number, prepend=-1) > 0)
    return t_ns[first], values[first]
