"""Whether one repeat at one load holds: how far it is from an SLO, or from being saturated."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bench.load.search import Margin
from bench.measure.stats import Floats, block_interval, mean, percentile
from bench.measure.window import BINS, Window, in_flight, steady_window
from bench.values.record import OK, PointData
from bench.values.spec import SloSpec

GROWTH_LIMIT = 0.05
"""Share of the arrivals that may stay behind as growing queue in a load that is kept up with."""

Mask = npt.NDArray[np.bool_]


def slo_margin(data: PointData, slo: SloSpec, *, max_error_rate: float, timeout_s: float) -> Margin:
    """The worst of: TTFT and TPOT percentile (log of value ÷ limit), errors, and a growing queue.

    Latency counts from the scheduled time and over every request that was due in the window, a
    failed one as if it had taken until its deadline: a late or lost answer cannot hide.
    """
    window = steady_window(data)
    if window is None:
        return too_short()
    due = _due(data, window)
    failed = data.requests["outcome"] != OK
    deadline_ms = timeout_s * 1e3
    ttft, tpot = latencies_ms(data)
    ttft, tpot = np.where(failed, deadline_ms, ttft), np.where(failed, deadline_ms, tpot)
    several = due & (failed | np.isfinite(tpot))
    name = f"p{slo.percentile:g}"
    margins = [
        _against(ttft[due], slo.ttft_ms, slo.percentile, f"ttft_sched_{name}_ms"),
        _against(tpot[several], slo.tpot_ms, slo.percentile, f"tpot_{name}_ms"),
        _errors(failed[due], max_error_rate),
    ]
    if data.point.mode != "closed":
        margins.append(growth_margin(data))
    worst = max(margins, key=lambda m: m.value)
    seen: Mapping[str, float] = {k: v for m in margins for k, v in m.seen.items()}
    return Margin(
        value=worst.value,
        low=worst.low,
        high=worst.high,
        criterion=worst.criterion,
        seen=seen,
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


def latencies_ms(data: PointData) -> tuple[Floats, Floats]:
    """(first token − scheduled, time per output token) of each request; NaN where there is none."""
    r = data.requests
    ttft = np.full(len(r["index"]), np.nan)
    tpot = np.full(len(r["index"]), np.nan)
    total = np.concatenate([[0], np.cumsum(data.chunk_tokens)])
    some = r["chunks"] > 0
    first, last = r["first_chunk"][some], (r["first_chunk"] + r["chunks"])[some] - 1
    ttft[some] = (data.chunk_ns[first] - r["scheduled_ns"][some]) / 1e6
    steps = (total[last + 1] - total[first] - 1).astype(np.float64)
    spans = (data.chunk_ns[last] - data.chunk_ns[first]) / 1e6
    tpot[some] = np.divide(spans, steps, out=np.full(len(steps), np.nan), where=steps > 0)
    return ttft, tpot


def _due(data: PointData, window: Window) -> Mask:
    """Requests that count: scheduled in the window; in a closed loop, ended in it."""
    key = "end_ns" if data.point.mode == "closed" else "scheduled_ns"
    return window.holds(data.requests[key])


def _against(values: Floats, limit: float, q: float, name: str) -> Margin:
    if not len(values):
        return Margin(value=-math.inf, low=None, high=-math.inf, criterion=name)
    found = float(np.percentile(values, q))
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
    value = share - limit if share > limit else -1.0  # never the worst while it holds
    return Margin(
        value=value, low=value, high=value, criterion="error_rate", seen={"error_rate": share}
    )
