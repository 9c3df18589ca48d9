"""Check that the slots of a closed loop were at work, not held by requests that were lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.measure.checks.moves import RATES
from bench.measure.metrics import Steady
from bench.values.finding import Finding, finding, some
from bench.values.record import OK, Int64, PointData

_WARN_SHARE = 0.005
_FAIL_SHARE = 0.02


def lost_slots(parts: Sequence[Steady]) -> Finding:
    """Share of the slots' time in which they waited for requests that never ended well.

    Such a slot sends nothing: the load was lower than its name says, and rates are by this share.
    """
    held = sum(_held_ns(p) for p in parts)
    offered = sum(p.window.seconds * 1e9 * (p.data.point.concurrency or 1) for p in parts)
    share = held / offered if offered else 0.0
    if share <= _WARN_SHARE:
        return finding("lost_slots", "pass", "no slot was held by lost requests", share, "1")
    text = (
        f"lost requests, silent until their end, held {share:.1%} of the slots' time: the load was "
        "lower than asked for by so much; see why they were lost, or lower load.request_timeout_s"
    )
    if share > _FAIL_SHARE:
        return some("lost_slots", text, RATES, share, "1")
    return finding("lost_slots", "warn", text, share, "1")


def _held_ns(part: Steady) -> int:
    """Time inside the window from the last sign of life of each failed request to its end."""
    r = part.data.requests
    lost = r["outcome"] != OK
    began = np.maximum(np.maximum(r["sent_ns"], r["first_read_ns"]), _last_chunk_ns(part.data))
    inside = np.minimum(r["end_ns"], part.window.end_ns) - np.maximum(began, part.window.start_ns)
    return int(np.clip(inside, 0, None)[lost].sum())


def _last_chunk_ns(data: PointData) -> Int64:
    """Stamp of the last token-bearing chunk of each request; 0 where none came."""
    r = data.requests
    stamps = np.zeros(data.count, dtype=np.int64)
    some_came = r["chunks"] > 0
    stamps[some_came] = data.chunk_ns[(r["first_chunk"] + r["chunks"] - 1)[some_came]]
    return stamps
