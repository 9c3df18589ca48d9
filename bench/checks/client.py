"""Checks of the load generator: did it measure the server, or itself?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bench.finding import Finding, Severity, finding
from bench.metrics import Metric
from bench.record import PointData, WorkerReport

CLIENT_ERROR_SHARE = 0.05
"""A client error above this share of what was measured makes a run client-bound."""
CLIENT_ERROR_FLOOR_MS = 0.25
"""Errors below this decide nothing: they are under 5 % of any latency a user can feel."""
_CPU_SHARE_LIMIT = 0.9
_WAITING_SHARE = 2.0
_WAITING_MS = 0.1


def client_bound(
    repeats: Sequence[PointData],
    metrics: Mapping[str, Metric],
    calibration: Mapping[str, Any] | None,
    *,
    wanted: bool,
) -> Iterable[Finding]:
    """Whether the load generator measured itself: CPU share, waiting for a core, own error."""
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
    yield _client_delay(workers, metrics)
    if calibration is None:
        severity: Severity = "info" if wanted else "warn"
        yield finding("calibration", severity, "the client's own error was not calibrated")
        return
    yield _calibrated(calibration, metrics)


def _client_delay(workers: Sequence[WorkerReport], metrics: Mapping[str, Metric]) -> Finding:
    """How late the client looked at what had arrived: its mean wait for a core per wake-up.

    The kernel counts, per thread, time spent runnable but not running (schedstat); divided by the
    number of times it ran, this is the expected delay of a stamp. The event loop's own lag is a
    second witness where the kernel does not tell.
    """
    lags = np.array([lag for w in workers for lag in w.loop_lag_ns], dtype=np.float64) / 1e6
    waits = [
        w.run_delay_s / w.wakeups * 1e3 for w in workers if w.run_delay_s is not None and w.wakeups
    ]
    delay_ms = max(waits, default=float(np.percentile(lags, 50)) if len(lags) else 0.0)
    limit_ms = _limit_ms(metrics, "ttft_p50_ms")
    lag = f", event-loop lag p99 {np.percentile(lags, 99):.2f} ms" if len(lags) else ""
    text = f"the client waits {delay_ms:.2f} ms for a core on average{lag}"
    if limit_ms is not None and delay_ms > limit_ms:
        text += (
            f": above {limit_ms:.2f} ms, 5 % of the median TTFT, so it is client-bound. "
            "Give the load generator cores of its own"
        )
        return finding("client_bound", "fail", text, delay_ms, "ms")
    share = _waited_share(workers)
    if share > _WAITING_SHARE and delay_ms > _WAITING_MS:
        text += f", {share:.0%} as long as it ran: something else wants its core"
        return finding("client_bound", "warn", text, delay_ms, "ms")
    return finding("client_bound", "pass", text, delay_ms, "ms")


def _waited_share(workers: Sequence[WorkerReport]) -> float:
    """The longest time a worker waited for a core, as a share of the time it ran."""
    known = [w for w in workers if w.run_delay_s is not None and w.cpu_s > 0]
    return max(((w.run_delay_s or 0.0) / w.cpu_s for w in known), default=0.0)


def _limit_ms(metrics: Mapping[str, Metric], name: str) -> float | None:
    value = metrics[name].value
    return None if value is None else max(CLIENT_ERROR_SHARE * value, CLIENT_ERROR_FLOOR_MS)


def _calibrated(calibration: Mapping[str, Any], metrics: Mapping[str, Metric]) -> Finding:
    """The instrument's error at this load, on this machine, against 5 % of what it measured."""
    pairs = (("ttft_error_p50_ms", "ttft_p50_ms"), ("itl_error_p50_ms", "itl_p50_ms"))
    for error_name, metric_name in pairs:
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
