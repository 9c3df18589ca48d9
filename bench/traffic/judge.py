"""Whether one repeat at one load holds: how far it is from an SLO, or from being saturated."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from bench.measure.requests import Mask, Requests
from bench.measure.stats import Floats, block_interval, mean, percentile
from bench.measure.window import BINS, in_flight, steady_window
from bench.traffic.search import Margin
from bench.values.record import PointData
from bench.values.spec import SloSpec

GROWTH_LIMIT = 0.05
"""Share of the arrivals that may stay behind as growing queue in a load that is kept up with."""


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
        parts.append(growth_margin(data))
    worst = max(parts, key=lambda m: m.value)
    seen = {k: v for m in parts for k, v in m.seen.items()}
    return replace(worst, seen=seen, parts=tuple(parts))


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
