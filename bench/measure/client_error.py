"""The instrument's own error, from a run against a server that reports what it really did."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.measure.measurement import PointMeasurement
from bench.measure.metrics import Metric
from bench.values.record import OK, PointData, Run, counting

JUDGED = ("ttft_p50_ms", "ttft_p99_ms", "itl_p50_ms", "itl_p99_ms")
"""The latencies that the client's errors are held against."""
ERROR_SHARE = 0.05
"""A client error above this share of what was measured makes a run client-bound."""
ERROR_FLOOR_MS = 0.25
"""Errors below this decide nothing: they are under 5 % of any latency a user can feel."""


def tolerated_ms(latency_ms: float) -> float:
    """The largest error of the client beside a latency, in ms."""
    return max(ERROR_SHARE * latency_ms, ERROR_FLOOR_MS)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The load that an error belongs to: streams, pace, chunking."""

    concurrency: int
    ttft_ms: float
    itl_ms: float
    tokens_per_chunk: int
    workers: int
    own_cores: int = 0

    @property
    def key(self) -> str:
        """Loads whose figures round to the same half power of two share one calibration."""

        def bucket(value: float) -> int:
            return round(2 * math.log2(max(value, 0.01)))

        return (
            f"c{bucket(self.concurrency)}-t{bucket(self.ttft_ms)}-i{bucket(self.itl_ms)}"
            f"-k{self.tokens_per_chunk}-w{self.workers}-o{self.own_cores}"
        )


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Error of the client at a load: client's reading − what the server did, in ms.

    `client_cpu_us_per_token` counts everything the client did, parsing included;
    `max_tokens_per_s` is the most that one worker took from a server sending as fast as it can.
    """

    shape: Shape
    ttft_error_p50_ms: float
    ttft_error_p99_ms: float
    itl_error_p50_ms: float
    itl_error_p99_ms: float
    client_cpu_us_per_token: float
    max_tokens_per_s: float | None
    requests: int
    cached: bool = False

    @property
    def is_small(self) -> bool:
        """Whether no error is above 5 % of the latencies it was measured at."""
        against = {
            self.shape.ttft_ms: (self.ttft_error_p50_ms, self.ttft_error_p99_ms),
            self.shape.itl_ms: (self.itl_error_p50_ms, self.itl_error_p99_ms),
        }
        return all(
            abs(e) <= tolerated_ms(latency) for latency, found in against.items() for e in found
        )


def errors(data: PointData, server_log: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Client minus server over all successful requests and gaps; raises ValueError without any.

    The server's TTFT runs from its receipt of the request to its write of the first chunk, so the
    difference is everything that client, kernel and queueing add.
    """
    did = {entry["name"]: entry for entry in server_log}
    r = data.requests
    ttft: list[float] = []
    itl: list[np.ndarray[Any, Any]] = []
    for row in np.flatnonzero(r["outcome"] == OK):
        entry = did.get(f"bench-{r['index'][row]}")
        if entry is None:
            continue
        first, count = int(r["first_chunk"][row]), int(r["chunks"][row])
        seen = data.chunk_ns[first : first + count]
        done = np.asarray(entry["stamps_ns"], dtype=np.int64)
        ttft.append(float((seen[0] - r["sent_ns"][row]) - (done[0] - entry["received_ns"])) / 1e6)
        if len(done) == count:
            itl.append((np.diff(seen) - np.diff(done)) / 1e6)
    if not ttft:
        raise ValueError("no request can be compared with the server's own log")
    gaps = np.abs(np.concatenate(itl)) if itl else np.zeros(1)
    return {
        "ttft_error_p50_ms": float(np.percentile(ttft, 50)),
        "ttft_error_p99_ms": float(np.percentile(ttft, 99)),
        "itl_error_p50_ms": float(np.percentile(gaps, 50)),
        "itl_error_p99_ms": float(np.percentile(gaps, 99)),
    }


def cpu_us_per_token(data: PointData) -> float | None:
    """Client CPU per received token in µs, parsing included; None without tokens."""
    tokens = int(data.chunk_tokens.sum())
    if not tokens:
        return None
    return sum(w.cpu_s + w.parse_cpu_s for w in data.workers) / tokens * 1e6


def too_large(
    calibration: Mapping[str, Any], metrics: Mapping[str, Metric]
) -> tuple[str, str, float] | None:
    """The first error above what is tolerated: (its name, the metric's, ms); None without one.

    A metric that was not measured, or is withheld, has no error to be held against.
    """
    for metric_name in JUDGED:
        stem, q, unit = metric_name.split("_")
        error_name, value = f"{stem}_error_{q}_{unit}", metrics[metric_name].value
        error_ms = abs(float(calibration[error_name]))
        if value is not None and error_ms > tolerated_ms(value):
            return error_name, metric_name, error_ms
    return None


def at_load(calibration: Mapping[str, Any] | None, index: int) -> Mapping[str, Any] | None:
    """The calibration that a load point is held against: its own, else the busiest one's."""
    if calibration is None:
        return None
    own: Mapping[str, Any] = calibration.get("by_load", {}).get(str(index), calibration)
    return own


def shape_of(run: Run, point: PointMeasurement) -> Shape | None:
    """The load of a measured point as the calibration needs it; None without successful ones."""
    data = counting([d for d in run.points if d.point.index == point.point.index])[0]
    ttft, itl = known(point, "ttft_p50_ms"), known(point, "itl_p50_ms")
    if ttft is None or not len(data.chunk_tokens):
        return None
    tpot = known(point, "tpot_p50_ms") or 0.0
    e2e_s = (known(point, "e2e_p50_ms") or 0.0) / 1e3
    rate = known(point, "requests_per_s") or point.point.rate_per_s or 0.0
    return Shape(
        concurrency=point.point.concurrency or max(1, round(rate * e2e_s)),
        ttft_ms=min(ttft, 500.0),
        itl_ms=itl if itl is not None else tpot,
        tokens_per_chunk=max(1, round(float(np.mean(data.chunk_tokens)))),
        workers=len(data.workers),
        own_cores=len((run.server or {}).get("client_cores", ())),
    )


def known(point: PointMeasurement, name: str) -> float | None:
    """A metric's value, also when it was withheld; None when it was not measured."""
    metric = point.metrics[name]
    return metric.withheld_value if metric.value is None else metric.value
