"""Checks of the load generator: did it measure the server, or itself?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bench.finding import Finding, Severity, finding
from bench.metrics import METRICS, Metric, Steady
from bench.record import PointData, WorkerReport

CLIENT_ERROR_SHARE = 0.05
"""A client error above this share of what was measured makes a run client-bound."""
CLIENT_ERROR_FLOOR_MS = 0.25
"""Errors below this decide nothing: they are under 5 % of any latency a user can feel."""
_CPU_SHARE_LIMIT = 0.9
_JUDGED = ("ttft_p50_ms", "ttft_p99_ms", "itl_p50_ms", "itl_p99_ms")
_REMEDY = "something else wants its core: give the load generator cores of its own"


def client_bound(
    repeats: Sequence[PointData],
    parts: Sequence[Steady],
    metrics: Mapping[str, Metric],
    calibration: Mapping[str, Any] | None,
    *,
    wanted: bool,
) -> Iterable[Finding]:
    """Whether the load generator measured itself: CPU share, lateness, own error."""
    workers = [w for d in repeats for w in d.workers]
    if not workers:
        text = "another load generator than bench's own: how well it keeps time is not known"
        yield finding("client_cpu", "info", text)
        return
    share = max((w.cpu_s / w.wall_s for w in workers if w.wall_s > 0), default=0.0)
    if share > _CPU_SHARE_LIMIT:
        text = f"a load worker used {share:.0%} of its core: raise load.workers"
        yield finding("client_cpu", "fail", text, share, "1")
    else:
        yield finding("client_cpu", "pass", f"busiest load worker: {share:.0%} of a core", share)
    yield _lateness(workers, parts, metrics)
    if calibration is None:
        severity: Severity = "info" if wanted else "warn"
        yield finding("calibration", severity, "the client's own error was not calibrated")
        return
    yield _calibrated(calibration, metrics)


def _lateness(
    workers: Sequence[WorkerReport], parts: Sequence[Steady], metrics: Mapping[str, Metric]
) -> Finding:
    """How far off the client's own clock would have been: its stamps against the kernel's.

    The kernel says of every read when it arrived, and the results rest on that. A client that looks
    late none the less sends late, so it is held to what its own stamps would have said.
    """
    errors = own_errors(parts)
    if errors is None:
        return _waiting(workers, metrics)
    delays = np.concatenate([p.data.chunk_delay_ns for p in parts]) / 1e6
    p50, p99 = np.percentile(delays, [50, 99]) if len(delays) else (0.0, 0.0)
    text = f"the client looked at what arrived {p50:.2f} ms later, p99 {p99:.2f} ms"
    for name, error_ms in errors.items():
        limit_ms = _limit_ms(metrics, name)
        if limit_ms is not None and error_ms > limit_ms:
            text = (
                f"client-bound: {text}; its own clock would have been off by {error_ms:.2f} ms in "
                f"{name}, limit {limit_ms:.2f} ms; {_REMEDY}"
            )
            return finding("client_bound", "fail", text, error_ms, "ms")
    worst = max(errors.values(), default=0.0)
    return finding("client_bound", "pass", text, worst, "ms")


def own_errors(parts: Sequence[Steady]) -> dict[str, float] | None:
    """Reading by the client's own stamps − by the kernel's, in ms, absolute, mean over repeats.

    None where the kernel gave no stamps; a metric without observations is left out.
    """
    found: dict[str, list[float]] = {}
    for part in parts:
        data = part.data
        if data.chunk_delay_ns is None:
            return None
        late = replace(part, data=replace(data, chunk_ns=data.chunk_ns + data.chunk_delay_ns))
        for definition in METRICS:
            if definition.name in _JUDGED:
                seen, true = definition.series(late), definition.series(part)
                if len(seen) and len(true):
                    error = abs(definition.reduce(seen) - definition.reduce(true))
                    found.setdefault(definition.name, []).append(error)
    return {name: float(np.mean(errors)) for name, errors in found.items()} if parts else None


def _waiting(workers: Sequence[WorkerReport], metrics: Mapping[str, Metric]) -> Finding:
    """Where the kernel gives no stamps (TLS): the mean wait for a core per wake-up, from schedstat,
    else the event loop's own lag. It understates what many answers at once suffer."""
    lags = np.array([lag for w in workers for lag in w.loop_lag_ns], dtype=np.float64) / 1e6
    waits = [
        w.run_delay_s / w.wakeups * 1e3 for w in workers if w.run_delay_s is not None and w.wakeups
    ]
    delay_ms = max(waits, default=float(np.percentile(lags, 50)) if len(lags) else 0.0)
    limit_ms = _limit_ms(metrics, "ttft_p50_ms")
    text = f"the client waits {delay_ms:.2f} ms for a core on average; arrival is not stamped"
    if limit_ms is not None and delay_ms > limit_ms:
        text = f"client-bound: {text}, limit {limit_ms:.2f} ms; {_REMEDY}"
        return finding("client_bound", "fail", text, delay_ms, "ms")
    return finding("client_bound", "pass", text, delay_ms, "ms")


def _limit_ms(metrics: Mapping[str, Metric], name: str) -> float | None:
    value = metrics[name].value
    return None if value is None else max(CLIENT_ERROR_SHARE * value, CLIENT_ERROR_FLOOR_MS)


def _calibrated(calibration: Mapping[str, Any], metrics: Mapping[str, Metric]) -> Finding:
    """The instrument's error at this load, on this machine, against 5 % of what it measured."""
    for metric_name in _JUDGED:
        stem, q, unit = metric_name.split("_")
        error_name = f"{stem}_error_{q}_{unit}"
        limit_ms = _limit_ms(metrics, metric_name)
        error_ms = abs(float(calibration[error_name]))
        if limit_ms is not None and error_ms > limit_ms:
            text = (
                f"client-bound: against a server of known timing the client is off by "
                f"{error_ms:.2f} ms ({error_name}), more than 5 % of the measured {metric_name}"
            )
            return finding("calibration", "fail", text, error_ms, "ms")
    text = (
        f"own error at this load: TTFT {calibration['ttft_error_p50_ms']:+.2f} ms median, "
        f"{calibration['ttft_error_p99_ms']:+.2f} ms p99; "
        f"ITL {calibration['itl_error_p50_ms']:.3f} ms median"
    )
    return finding("calibration", "pass", text, float(calibration["ttft_error_p50_ms"]), "ms")
