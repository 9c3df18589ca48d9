"""From sampled power and a stepping counter to the energy between two moments."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_MW_NS_PER_J = 1e12
_MJ_PER_J = 1e3

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Sampled = tuple[Int64, Float64]
"""Stamps (ns, rising) and values; repeats kept, nothing but real readings."""


def held_j(power: Sampled, start_ns: int, end_ns: int) -> float | None:
    """Power (mW) integrated in J, every reading held until the next one; repeats make no odds.

    None unless readings lie at or before `start_ns` and at or after `end_ns`.
    """
    t_ns, mw = power
    if not brackets(t_ns, start_ns, end_ns):
        return None
    first = int(np.searchsorted(t_ns, start_ns, side="right")) - 1
    after = int(np.searchsorted(t_ns, end_ns, side="left"))
    edges = np.concatenate([[start_ns], t_ns[first + 1 : after], [end_ns]])
    return float(np.sum(mw[first:after] * np.diff(edges))) / _MW_NS_PER_J


def brackets(t_ns: Int64, start_ns: int, end_ns: int) -> bool:
    """Whether there are readings on both sides of a window."""
    return len(t_ns) > 0 and int(t_ns[0]) <= start_ns and int(t_ns[-1]) >= end_ns


def counted_j(
    counter: Sampled, start_ns: int, end_ns: int, power: Sampled | None = None
) -> float | None:
    """The counter's rise (mJ) in J between two moments; None unless readings bracket both."""
    if not brackets(counter[0], start_ns, end_ns):
        return None
    return counter_at_j(counter, end_ns, power) - counter_at_j(counter, start_ns, power)


def counter_at_j(counter: Sampled, at_ns: int, power: Sampled | None = None) -> float:
    """The counter in J at a moment between two of its readings.

    The rise between the readings is shared out as the power readings (held) ran in between; evenly
    without them. A straight line alone would put a step of the load at the wrong side of the edge.
    """
    t_ns, mj = counter
    before = int(np.searchsorted(t_ns, at_ns, side="right")) - 1
    if int(t_ns[before]) == at_ns:
        return float(mj[before]) / _MJ_PER_J
    left, right = int(t_ns[before]), int(t_ns[before + 1])
    share = (at_ns - left) / (right - left)
    if power is not None:
        whole, part = held_j(power, left, right), held_j(power, left, at_ns)
        if whole and part is not None:
            share = part / whole
    return float(mj[before] + (mj[before + 1] - mj[before]) * share) / _MJ_PER_J


def falls(counter: Sampled, start_ns: int, end_ns: int) -> bool:
    """Whether a counter that can only rise fell between readings in or around the window."""
    t_ns, values = counter
    first = max(0, int(np.searchsorted(t_ns, start_ns, side="right")) - 1)
    after = int(np.searchsorted(t_ns, end_ns, side="left")) + 1
    return bool((np.diff(values[first:after]) < 0).any())


def largest_gap_s(t_ns: Int64, start_ns: int, end_ns: int) -> float | None:
    """The longest time without a reading that touches the window; None without any reading.

    From a window's edge to the first reading on the far side of it counts as well, and where there
    is no such reading the gap reaches to the last one there is.
    """
    if len(t_ns) == 0:
        return None
    first = max(0, int(np.searchsorted(t_ns, start_ns, side="right")) - 1)
    after = int(np.searchsorted(t_ns, end_ns, side="left")) + 1
    inside = t_ns[first:after]
    gaps = np.diff(inside).tolist() if len(inside) > 1 else []
    gaps.append(int(inside[0]) - start_ns if int(inside[0]) > start_ns else 0)
    gaps.append(end_ns - int(inside[-1]) if int(inside[-1]) < end_ns else 0)
    return float(max(gaps)) / 1e9


def longest_same_s(power: Sampled, start_ns: int, end_ns: int) -> float | None:
    """The longest time inside the window in which the reading did not change; None without one."""
    t_ns, values = power
    inside = (t_ns >= start_ns) & (t_ns <= end_ns)
    t_ns, values = t_ns[inside], values[inside]
    if len(t_ns) < 2:
        return None
    changes = np.flatnonzero(np.diff(values) != 0) + 1
    edges = np.concatenate([[0], changes, [len(t_ns) - 1]])
    return float(np.max(np.diff(t_ns[edges]))) / 1e9


def inside(sampled: Sampled, start_ns: int, end_ns: int) -> Float64:
    """The readings in the window."""
    t_ns, values = sampled
    kept: Float64 = values[(t_ns >= start_ns) & (t_ns <= end_ns)]
    return kept
