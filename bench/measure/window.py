"""The part of a load point that counts: where it begins and ends, and whether it was steady."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.measure.requests import Mask, Requests, sending_rank
from bench.measure.stats import Floats
from bench.values.distributions import t_cdf
from bench.values.record import Int64, PointData

BINS = 24
"""Equal time bins of the window, for rates, their intervals and the test of steadiness."""

DRIFT_LIMIT = 0.10
"""Halves of a window that differ by less than this share are steady whatever the p-value."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """From `start_ns` to `end_ns` on CLOCK_MONOTONIC: rates are of what happened inside.

    In a closed loop it holds a whole number of `waves` of `slots` completions each. Rates are means
    over as many windows of whole waves as there are slots: one from each of `openings` to its entry
    in `closings`.
    """

    start_ns: int
    end_ns: int
    slots: int = 0
    waves: int | None = None
    openings: tuple[int, ...] = ()
    closings: tuple[int, ...] = ()

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return (self.end_ns - self.start_ns) / 1e9

    def holds(self, stamps_ns: Int64) -> Mask:
        """Mask of the stamps in (start, end]."""
        return np.asarray((stamps_ns > self.start_ns) & (stamps_ns <= self.end_ns))

    def per_s(self, stamps_ns: Int64, amounts: Int64) -> float:
        """Sum of the `amounts` stamped inside ÷ seconds: over all windows of whole waves together.

        One such window cuts a step of the server at each of its ends, and with it a share of a wave
        that need not be the same: 7 % off for 16 in flight over one wave. The mean over all places
        at which it may begin is off by a slot's part of that.
        """
        if not self.openings:
            return float(amounts[self.holds(stamps_ns)].sum()) / self.seconds
        opened = np.searchsorted(np.array(self.openings), stamps_ns, side="left")
        closed = np.searchsorted(np.array(self.closings), stamps_ns, side="left")
        span_ns = sum(self.closings) - sum(self.openings)
        return float(((opened - closed) * amounts).sum()) / (span_ns / 1e9)

    def counts(self, data: PointData) -> Mask:
        """Mask of the requests whose latencies, lengths and outcomes count.

        Closed loop: those of the window's waves in the order of sending, from number `slots` (the
        first wave finds an idle server) on. Which these are does not depend on how long a request
        takes, so that neither the short nor the long ones are preferred. Open loop: those scheduled
        in the window, however late they ended.
        """
        if self.waves is None:
            return self.holds(data.requests["scheduled_ns"])
        rank = sending_rank(data)
        return np.asarray((rank >= self.slots) & (rank < (self.waves + 1) * self.slots))

    def binned(self, stamps_ns: Int64, weights: Int64 | None = None) -> Floats:
        """Sum of `weights` (default: counts) per second in each of BINS bins. Shape (BINS,)."""
        return self.summed(self.bins(stamps_ns), weights)

    def bins(self, stamps_ns: Int64) -> Int64:
        """The bin of each stamp, from 1 to BINS; 0 before the window and BINS + 1 after it."""
        where = (stamps_ns - (self.start_ns + 1)) * BINS
        where //= self.end_ns - self.start_ns
        np.clip(where, -1, BINS, out=where)
        where += 1
        return where

    def summed(self, bins: Int64, weights: npt.NDArray[np.generic] | None = None) -> Floats:
        """Sum of `weights` (default: counts) per second in each of BINS bins. Shape (BINS,)."""
        sums = np.bincount(bins, weights=weights, minlength=BINS + 2)[1:-1]
        rates: Floats = sums.astype(np.float64) / (self.seconds / BINS)
        return rates


def steady_window(data: PointData) -> Window | None:
    """The part of a load point that its rates are of; None when there is none.

    Closed loop with S slots: from completion S to completion m·S, the last such before a slot finds
    nothing more to send; rates begin in the second wave where there are three, for the first found
    an idle server. Requests of equal length run in waves, and only whole waves hold as many
    prefills as completions. Open loop: from the arrival that ends the first tenth of them, or of
    a longer share if a median time from first token to end is one, until the last: as many
    requests arrive as there are gaps between them. Both are arrivals of a number, not of a time:
    the first after some instant comes late after the one before it and finds the server emptier
    than the last does (req/s 1.2 % low of 100 requests). Later turns of a session are no arrivals.
    Ramp and trace: all of it, to the last answer, for none of it is steady.
    """
    if data.count == 0:
        return None
    heads = _heads(data)
    if data.point.mode == "closed":
        return _whole_waves(data, heads)
    scheduled = np.sort(data.requests["scheduled_ns"][heads])
    first, stop = int(scheduled[0]), int(scheduled[-1])
    if data.point.mode == "ramp" or data.point.is_trace:
        return whole_window(data) if stop > first else None
    if stop == first:
        return None
    share = min(max(0.1, _generating_ns(data) / (stop - first)), 0.5)
    start = int(scheduled[math.ceil(share * (len(scheduled) - 1) - 1e-9)])
    return Window(start_ns=start, end_ns=stop) if stop > start else None


def _generating_ns(data: PointData) -> float:
    """Median time from first token to end. A server fills up for about as long; the time in its
    queue does not count, for under overload that would leave out half of the load."""
    requests = Requests(data)
    took_ns = (data.requests["end_ns"] - requests.first_token_ns)[
        requests.ok & (data.requests["chunks"] > 0)
    ]
    return float(np.median(took_ns)) if len(took_ns) else 0.0


def whole_window(data: PointData) -> Window:
    """From the first scheduled request to the last end."""
    first = int(data.requests["scheduled_ns"].min())
    return Window(start_ns=first - 1, end_ns=max(first, int(data.requests["end_ns"].max())))


def _whole_waves(data: PointData, heads: Mask) -> Window | None:
    slots = data.point.concurrency or 1
    if int(heads.sum()) < slots:  # never were all busy
        return None
    ends = np.sort(data.requests["end_ns"])
    busy = int(np.searchsorted(ends, _first_idle_ns(data, heads, slots), side="right"))
    # Several that end at one instant: the last of them may be those that found nothing to send.
    waves = min(busy, data.count - slots + 1) // slots
    if waves < 2:
        return None
    start, end = int(ends[slots - 1]), int(ends[waves * slots - 1])
    if end <= start:
        return None
    first = 1 if waves > 2 else 0
    last = (waves - 1) * slots
    return Window(
        start_ns=start,
        end_ns=end,
        slots=slots,
        waves=waves - 1,
        openings=tuple(ends[first * slots : (first + 1) * slots].tolist()),
        closings=tuple(ends[last : last + slots].tolist()),
    )


def _first_idle_ns(data: PointData, heads: Mask, slots: int) -> int:
    """When a slot of some worker first had nothing more to send.

    Of a worker's H sessions (a request without one is its own), S begin at once in its S slots and
    each end but the last S makes room for one more: the slot of end number H − S + 1 stays empty.
    """
    r = data.requests
    order = np.flatnonzero(heads)[np.argsort(r["sent_ns"][heads], kind="stable")]
    began_at_once = r["worker"][order[:slots]]
    idle = []
    for worker in np.unique(r["worker"]):
        ours = r["worker"] == worker
        # A request without a session is numbered below all sessions, each by itself.
        names = np.where(r["session"] < 0, -1 - r["index"], r["session"])[ours]
        sessions, of = np.unique(names, return_inverse=True)
        ends = np.zeros(len(sessions), dtype=np.int64)
        np.maximum.at(ends, of, r["end_ns"][ours])
        began = int((began_at_once == worker).sum())
        idle.append(int(np.sort(ends)[max(0, len(ends) - max(began, 1))]))
    return min(idle)


def _heads(data: PointData) -> Mask:
    """Mask of the requests that arrive by themselves: all but the later turns of a session."""
    session, index = data.requests["session"], data.requests["index"]
    order = np.lexsort((index, session))
    later = np.zeros(len(session), dtype=bool)
    later[order[1:]] = (session[order[1:]] == session[order[:-1]]) & (session[order[1:]] >= 0)
    return np.asarray(~later)


@dataclass(frozen=True, kw_only=True)
class Steadiness:
    """How the two halves of the window compare: relative difference and its p-value (Welch); and
    the p-value of a slope all through it (t test of the regression on time)."""

    relative_difference: float
    p_value: float
    slope_p_value: float

    @property
    def steady(self) -> bool:
        """Not both large and beyond chance, by either test."""
        beyond_chance = min(self.p_value, self.slope_p_value) < 0.01
        return abs(self.relative_difference) <= DRIFT_LIMIT or not beyond_chance


def steadiness(rates: Floats, typical: float | None = None) -> Steadiness | None:
    """Compare the halves of a binned rate; None when nothing happened at all.

    `typical` is what a difference is a share of, where that is not the mean of `rates`.
    """
    n = len(rates)
    a, b = rates[: n // 2], rates[n // 2 :]
    centre = float(rates.mean())
    whole = centre if typical is None else typical
    if whole == 0:
        return None
    difference = float(b.mean() - a.mean())
    va, vb = float(a.var(ddof=1)) / len(a), float(b.var(ddof=1)) / len(b)
    p = float(difference == 0)
    if va + vb > 0:
        degrees = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
        p = 2 * t_cdf(degrees, -abs(difference) / (va + vb) ** 0.5)
    time = np.arange(n) - (n - 1) / 2
    slope = float(time @ rates / (time @ time))
    left = float(np.square(rates - centre - slope * time).sum()) / (n - 2)
    slope_p = float(slope == 0)
    if left > 0:
        slope_p = 2 * t_cdf(n - 2, -abs(slope) * float(time @ time) ** 0.5 / left**0.5)
    return Steadiness(relative_difference=difference / whole, p_value=p, slope_p_value=slope_p)


def in_flight(data: PointData, at_ns: Int64) -> Int64:
    """Requests scheduled but not ended at each instant. Shape of `at_ns`."""
    began = np.sort(data.requests["scheduled_ns"])
    ended = np.sort(data.requests["end_ns"])
    counts: Int64 = np.searchsorted(began, at_ns, side="right") - np.searchsorted(
        ended, at_ns, side="right"
    )
    return counts
