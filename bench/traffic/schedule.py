"""Arrival times of an open loop, fixed before the run starts, and the division of work."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from bench.values.record import PlannedRequest

Arrival = Literal["constant", "poisson", "gamma"]


def arrivals_ns(
    arrival: Arrival, rate_per_s: float, count: int, rng: np.random.Generator, burstiness: float = 1
) -> npt.NDArray[np.int64]:
    """Offsets in ns of `count` arrivals at `rate_per_s`, non-decreasing; the first at 0, the last
    at (count - 1) ÷ rate, so that the rate asked for is the rate that comes.

    Random arrivals are conditioned on their count. Those of a Poisson process are then uniform
    order statistics. `gamma` inter-arrival times have shape `burstiness` (1 is Poisson, below 1
    burstier, above 1 more regular), and given their sum they are Dirichlet shares of it.
    Unconditioned, "5/s" came at 4.2 to 6.2/s. Shape: (count,).
    """
    mean_ns = 1e9 / rate_per_s
    gaps = np.full(max(count - 1, 0), mean_ns)
    if arrival != "constant":
        drawn = rng.gamma(burstiness if arrival == "gamma" else 1.0, 1.0, len(gaps))
        total = float(drawn.sum())
        gaps = drawn * (mean_ns * len(gaps) / total) if total > 0 else gaps
    return np.concatenate([[0.0], np.cumsum(gaps)])[:count].astype(np.int64)


def ramp_ns(rate_from_per_s: float, rate_to_per_s: float, count: int) -> npt.NDArray[np.int64]:
    """Offsets in ns of `count` arrivals; their rate rises linearly from the first to the second.

    The k-th arrival solves r0·t + (r1−r0)·t²/2T = k with T = 2·count/(r0+r1). Shape: (count,).
    """
    k = np.arange(count, dtype=np.float64)
    total_s = 2 * count / (rate_from_per_s + rate_to_per_s)
    slope = (rate_to_per_s - rate_from_per_s) / total_s
    if slope == 0:
        return (k / rate_from_per_s * 1e9).astype(np.int64)
    t = (np.sqrt(rate_from_per_s**2 + 2 * slope * k) - rate_from_per_s) / slope
    return (t * 1e9).astype(np.int64)


def sessions(requests: tuple[PlannedRequest, ...]) -> list[list[PlannedRequest]]:
    """Group requests that must follow each other; a request without a session stands alone."""
    grouped: dict[int, list[PlannedRequest]] = {}
    result: list[list[PlannedRequest]] = []
    for request in requests:
        if request.session < 0:
            result.append([request])
        elif request.session in grouped:
            grouped[request.session].append(request)
        else:
            grouped[request.session] = [request]
            result.append(grouped[request.session])
    return result


def split(
    work: list[list[PlannedRequest]], slots: int | None, workers: int
) -> list[tuple[list[list[PlannedRequest]], int]]:
    """Deal sessions and slots out to `workers` processes: [(sessions, slots), …], none empty.

    Round robin keeps every worker's arrivals spread over the whole run. In a closed loop a worker
    gets sessions in proportion to its slots, so that all run dry together.
    """
    workers = max(1, min(workers, len(work), slots or len(work)))
    if slots is None:
        return [(work[i::workers], 0) for i in range(workers)]
    owner = [s % workers for s in range(slots)]
    dealt: list[list[list[PlannedRequest]]] = [[] for _ in range(workers)]
    for i, session in enumerate(work):
        dealt[owner[i % slots]].append(session)
    return [(dealt[w], owner.count(w)) for w in range(workers) if dealt[w]]
