"""Two machines' clocks: how far one is from the other, and how well that is known.

Each question to a node is asked at `before` and answered with its time at `after` (both on the
head's clock), so the offset lies between `its - after` and `its - before`, whatever the way took
in either direction. Many questions narrow it: what all of them allow is the answer, and half of
its width the error, a bound and no estimate. Clocks drift, so it is asked again and again, and
between two answers the offset goes along a straight line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.values.clock import now_ns
from bench.values.record import Int64

CLOCK_FILE = "clock.jsonl"
"""In a node's telemetry: an `Offset` a line."""

_QUESTIONS = 64
_MOST_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Offset:
    """A node's clock minus the head's, at a moment of the head's; never off by more than `error`.

    All in ns.
    """

    at_ns: int
    offset_ns: int
    error_ns: int


def measured(ask: Callable[[], int], now: Callable[[], int] = now_ns) -> Offset:
    """The offset of the clock that `ask` reads, by so many questions as fit into two seconds."""
    began = now()
    answers = [_one(ask, now)]
    while len(answers) < _QUESTIONS and now() - began < _MOST_S * 1e9:
        answers.append(_one(ask, now))
    low = max(its - after for _, its, after in answers)
    high = min(its - before for before, its, _ in answers)
    if low > high:  # a clock that was moved in between: the quickest answer alone
        before, its, after = min(answers, key=lambda a: a[2] - a[0])
        low, high = its - after, its - before
    return Offset(
        at_ns=(began + now()) // 2,
        offset_ns=(low + high) // 2,
        error_ns=(high - low + 1) // 2,
    )


def _one(ask: Callable[[], int], now: Callable[[], int]) -> tuple[int, int, int]:
    before = now()
    return before, ask(), now()


def on_heads_clock(stamps_ns: Int64, offsets: Sequence[Offset]) -> Int64:
    """Stamps of a node as the head's clock would have them; 0, which is never, stays 0.

    Between two offsets the line through them holds, before the first and after the last they do.
    ValueError without any offset.
    """
    if not offsets:
        raise ValueError("the clock of a node was never asked")
    known = sorted(offsets, key=lambda o: o.at_ns)
    base = known[0].offset_ns  # a float holds a difference of boots, not of nanoseconds beside it
    its = np.array([o.at_ns + o.offset_ns - known[0].at_ns - base for o in known], dtype=np.float64)
    more = np.array([o.offset_ns - base for o in known], dtype=np.float64)
    since = (stamps_ns - (known[0].at_ns + base)).astype(np.float64)
    shift = base + np.rint(np.interp(since, its, more)).astype(np.int64)
    return np.where(stamps_ns == 0, 0, stamps_ns - shift).astype(np.int64)


def worst_error_ns(offsets: Sequence[Offset]) -> int:
    """The largest error of a node's offsets."""
    return max(o.error_ns for o in offsets)
