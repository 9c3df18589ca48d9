"""Checks of an open loop: were the requests sent on time, and could the server keep up?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.measure.metrics import Steady
from bench.measure.stats import Floats
from bench.measure.window import Window, in_flight
from bench.values.distributions import normal_cdf
from bench.values.finding import Finding, finding
from bench.values.record import PointData

_RATE_TOLERANCE = 0.05


def achieved_rate(repeats: Sequence[PointData], max_in_flight: int | None = None) -> Finding:
    """Requests really sent per second against the rate asked for (open loop)."""
    worst = 0.0
    for d in repeats:
        sent, scheduled = d.requests["sent_ns"], d.requests["scheduled_ns"]
        planned_s = float(scheduled.max() - scheduled.min())
        if planned_s > 0:
            took_s = float(sent.max() - sent.min())
            worst = min(worst, planned_s / took_s - 1.0 if took_s else 0.0)
    sent_per_s = _sent_per_s(repeats)
    asked = "" if sent_per_s is None else f" ({sent_per_s:.4g} req/s)"
    if worst < -_RATE_TOLERANCE:
        text = f"requests left at {1 + worst:.0%} of the rate asked for{asked}: "
        if max_in_flight is not None:
            text += (
                f"load.max_in_flight={max_in_flight} held them back; only latencies from the "
                "scheduled time tell what users would have waited"
            )
            return finding("achieved_rate", "warn", text, worst, "1")
        return finding("achieved_rate", "fail", text + "the client is too slow", worst, "1")
    text = f"requests left at {1 + worst:.1%} of the rate asked for{asked}"
    return finding("achieved_rate", "pass", text, worst, "1")


def _sent_per_s(repeats: Sequence[PointData]) -> float | None:
    """Requests per second of sending over all repeats; None for one request or none."""
    sent = [d.requests["sent_ns"] for d in repeats if d.count > 1]
    took_s = sum(float(s.max() - s.min()) for s in sent) / 1e9
    return sum(len(s) - 1 for s in sent) / took_s if took_s > 0 else None


def overload(parts: Sequence[Steady]) -> Finding:
    """In-flight requests that grow all through the window: the server can't keep up."""
    for part in parts:
        grew = grown(part.data, part.window)
        if grew is not None:
            growth, mean = grew
            text = (
                f"overload: requests in flight grew by {growth:.0f} (mean {mean:.0f}) "
                "and would have gone on growing; its latencies depend on how long the load lasted"
            )
            return finding("overload", "warn", text, growth, "requests")
    return finding("overload", "pass", "requests in flight did not grow without bound")


def grown(data: PointData, window: Window) -> tuple[float, float] | None:
    """(by how many, the mean) where the requests in flight grow all through a repeat's window; None
    where they do not."""
    edges = np.linspace(window.start_ns, window.end_ns, 25).astype(np.int64)
    counts = in_flight(data, edges).astype(np.float64)
    slope, p_value = _trend(counts)
    growth = slope * (len(counts) - 1)
    mean = float(counts.mean())
    # Poisson arrivals alone make the number in flight wander by about the root of its mean.
    beyond = p_value < 0.01 and growth > max(4.0 * mean**0.5, 0.5 * mean)
    return (growth, mean) if beyond else None


def _trend(values: Floats) -> tuple[float, float]:
    """Slope per step, and Mann–Kendall's p-value for a monotonic trend (normal approximation)."""
    n = len(values)
    signs = np.sign(values[None, :] - values[:, None])
    s = float(np.triu(signs, 1).sum())
    variance = n * (n - 1) * (2 * n + 5) / 18
    z = (s - np.sign(s)) / variance**0.5
    slope = float(np.polyfit(np.arange(n), values, 1)[0])
    return slope, 2 * normal_cdf(-abs(z))
