"""Whether one repeat at one load holds: how far it is from an SLO, or from being saturated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.measure.checks.arrivals import grown
from bench.measure.requests import Mask, Requests
from bench.measure.stats import Floats, block_interval, mean, percentile
from bench.measure.window import BINS, in_flight, steady_window
from bench.traffic.search import GROWTH_LIMIT, Margin
from bench.values.record import PointData
from bench.values.spec import SloSpec


def slo_margin(data: PointData, slo: SloSpec, *, max_error_rate: float, timeout_s: float) -> Margin:
    """The worst of: TTFT and TPOT percentile (log of value ÷ limit), errors, and a growing queue.

    Latency counts as in `bench.measure.requests`: from the scheduled time, of every request that
    counts, a failed one as if it had taken until its deadline.
    """
    window = steady_window(data)
    if window is None:
        return too_short()
    due = window.counts(data)
    requests = Requests(data, timeout_s * 1e3)
    failed, ttft, tpot = ~requests.ok, requests.ttft_sched_ms, requests.tpot_ms
    several = due & np.isfinite(tpot)
    name = f"p{slo.percentile:g}"
    parts = [_errors(failed[due], max_error_rate)]
    if due.any():
        parts.append(_against(ttft[due], slo.ttft_ms, slo.percentile, f"ttft_sched_{name}_ms"))
    if several.any():
        parts.append(_against(tpot[several], slo.tpot_ms, slo.percentile, f"tpot_{name}_ms"))
    if data.point.mode != "closed":
        parts += [growth_margin(data), overload_margin(data)]
    return _worst(parts)


def keeping_up(data: PointData) -> Margin:
    """The worst of what tells a server that keeps up from one that falls behind."""
    return _worst([growth_margin(data), overload_margin(data)])


def _worst(parts: Sequence[Margin]) -> Margin:
    worst = max(parts, key=lambda m: m.value)
    seen = {k: v for m in parts for k, v in m.seen.items()}
    return replace(worst, seen=seen, parts=tuple(parts))


def overload_margin(data: PointData) -> Margin:
    """Whether the check of every load point, `overload`, would warn of it: what is named as a limit
    cannot bear the warning that its queue grows. One repeat alone does not decide that it fails."""
    window = steady_window(data)
    if window is None:
        return too_short()
    grew = grown(data, window) is not None
    ends = None if grew else -1.0
    return Margin(
        value=1.0 if grew else -1.0, low=ends, high=ends, criterion="overload", in_every=True
    )


def growth_margin(data: PointData) -> Margin:
    """Arrivals that stayed behind (in-flight growth ÷ arrivals in the window), less what may.

    5 % may, and twice the root of the number in flight: chance alone moves it by as much.
    """
    window = steady_window(data)
    if window is None:
        return too_short()
    arrived = window.binned(data.requests["scheduled_ns"])
    left = window.binned(data.requests["end_ns"])
    arrivals = float(arrived.sum()) * window.seconds / BINS
    if arrivals == 0:
        return too_short()
    start = float(in_flight(data, np.array([window.start_ns]))[0])
    allowed = GROWTH_LIMIT + 2.0 * math.sqrt(max(start, 1.0)) / arrivals
    share = (arrived - left) * window.seconds / arrivals
    interval = block_interval(share, mean)
    value = float(share.mean())
    return Margin(
        value=value - allowed,
        low=None if interval is None else interval[0] - allowed,
        high=None if interval is None else interval[1] - allowed,
        criterion="queue growth",
        seen={
            "queue_growth_per_s": float((arrived - left).mean()),
            "completed_per_s": float(left.mean()),
            "arrived_per_s": float(arrived.mean()),
        },
    )


def too_short() -> Margin:
    """A repeat without a steady window decides nothing, and does not hold."""
    return Margin(value=1.0, low=None, high=None, criterion="no steady window")


def _against(values: Floats, limit: float, q: float, name: str) -> Margin:
    found = percentile(q)(values)
    interval = block_interval(values, percentile(q))

    def ratio(value: float) -> float:
        return math.log(max(value, 1e-9) / limit)

    return Margin(
        value=ratio(found),
        low=None if interval is None else ratio(interval[0]),
        high=None if interval is None else ratio(interval[1]),
        criterion=name,
        seen={name: found},
    )


def _errors(failed: Mask, limit: float) -> Margin:
    share = float(failed.mean()) if len(failed) else 0.0
    value = share / limit - 1.0 if limit else share
    return Margin(
        value=value, low=value, high=value, criterion="error_rate", seen={"error_rate": share}
    )
