"""Checks of the load generator: did it measure the server, or itself?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bench.measure.checks.moves import PER_USER, with_error_in, withhold
from bench.measure.checks.restamped import as_seen, as_spread
from bench.measure.client_error import ERROR_FLOOR_MS, ERROR_SHARE, JUDGED, tolerated_ms, too_large
from bench.measure.metrics import METRICS, Metric, Steady
from bench.measure.stats import percentile
from bench.values.finding import Finding, Severity, finding, some
from bench.values.record import PointData, WorkerReport

_CPU_SHARE_LIMIT = 0.9
_WAITED_LIMIT = 0.5
"""A client alone on its core waits 0.05 to 0.2 times as long as it runs, beside an engine 0.35."""
_REMEDY = (
    "something else wants its core: free the machine of other work, or give the load generator "
    "cores of its own (load.own_cores)"
)


def client_bound(
    repeats: Sequence[PointData],
    parts: Sequence[Steady],
    metrics: Mapping[str, Metric],
    calibration: Mapping[str, Any] | None,
    *,
    wanted: bool,
    held_back: bool = False,
    buffered: Finding | None = None,
) -> Iterable[Finding]:
    """Whether the load generator measured itself: CPU share, lateness, own error.

    `held_back`: a limit on requests in flight delays sending on purpose. `buffered`: the finding
    `bursts`; what a buffer on the way moved is not the client's."""
    metrics = withhold(metrics, [buffered] if buffered is not None else [])
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
    yield from clocks_of_clients(workers)
    yield _lateness(workers, parts, metrics, held_back)
    if calibration is None:
        severity: Severity = "info" if wanted else "warn"
        yield finding("calibration", severity, "the client's own error was not calibrated")
        return
    yield _calibrated(calibration, metrics)


def clocks_of_clients(workers: Sequence[WorkerReport]) -> Iterable[Finding]:
    """Whether load clients on other machines kept one time: their clocks against the head's."""
    far = [(w.clock_error_ns / 1e6, w.node) for w in workers if w.clock_error_ns is not None]
    if not far:
        return
    error_ms, node = max(far)
    text = f"the clock of load client {node} was known to ± {error_ms:.3f} ms"
    if error_ms > ERROR_FLOOR_MS:
        text = f"{text}, limit {ERROR_FLOOR_MS:g} ms: send the load from one machine"
        yield finding("client_clocks", "fail", text, error_ms, "ms")
    else:
        yield finding("client_clocks", "pass", text, error_ms, "ms")


def _lateness(
    workers: Sequence[WorkerReport],
    parts: Sequence[Steady],
    metrics: Mapping[str, Metric],
    held_back: bool,
) -> Finding:
    """What the client's waiting for a core cost, although the kernel dates what arrives.

    Tokens taken up together are dated late, and what is sent late is a load that was not asked for.
    """
    if not parts or any(p.data.chunk_delay_ns is None for p in parts):
        return _waiting(workers, metrics)
    delays = np.concatenate([p.data.chunk_delay_ns for p in parts]) / 1e6
    p50, p99 = np.percentile(delays, [50, 99]) if len(delays) else (0.0, 0.0)
    seen = f"the client looked at what arrived {p50:.2f} ms later, p99 {p99:.2f} ms"
    idle = idle_share(parts)
    if idle > ERROR_SHARE:
        text = f"client-bound: {seen}; that left its slots idle for {idle:.1%} of the time"
        return finding("client_bound", "fail", f"{text}, limit 5 %; {_REMEDY}", idle, "1")
    merged = moved(parts, as_spread) | ({} if held_back else sending_errors(parts, metrics))
    waited = waiting_share(workers)
    starved = waited is not None and waited > _WAITED_LIMIT
    judged = [(merged, "is off by about")]
    if starved:
        # Where it had its core, the kernel's stamps are the clock, and only they are judged.
        judged.append((moved(parts, as_seen), "by its own clock would have been off by"))
    for errors, off in judged:
        wrong = {n: e for n, e in errors.items() if e > (_limit_ms(metrics, n) or math.inf)}
        if wrong:
            name, error_ms = next(iter(wrong.items()))
            text = (
                f"client-bound: {seen}; {name} {off} {error_ms:.2f} ms, "
                f"limit {_limit_ms(metrics, name):.2f} ms; {_REMEDY}"
            )
            names = tuple(dict.fromkeys(m for n in wrong for m in with_error_in(n)))
            return some("client_bound", text, names, error_ms, "ms")
    worst = max(merged.values(), default=0.0)
    text = f"{seen}; by the kernel's stamps no latency is off by more than {worst:.2f} ms"
    if starved and waited is not None:
        text = f"client-bound now and then: it waited {waited:.1f} times as long as it ran; {text}"
        return finding("client_bound", "warn", f"{text}; {_REMEDY}", waited, "1")
    return finding("client_bound", "pass", text, worst, "ms")


def waiting_share(workers: Sequence[WorkerReport]) -> float | None:
    """Time the worst worker waited for its core though it could have run ÷ time it ran; None where
    the kernel does not count it."""
    found = [w.run_delay_s / w.cpu_s for w in workers if w.run_delay_s is not None and w.cpu_s > 0]
    return max(found, default=None)


def idle_share(parts: Sequence[Steady]) -> float:
    """Time that a closed loop's slots stood empty because the client had not seen the end of an
    answer, as a share of all their time: by as much were load and output rate too low."""
    waited_ms, busy_ms = 0.0, 0.0
    for part in parts:
        r, delays = part.data.requests, part.data.chunk_delay_ns
        ok = part.ok & (r["chunks"] > 0)
        if part.data.point.mode == "closed" and delays is not None:
            waited_ms += float(delays[(r["first_chunk"] + r["chunks"] - 1)[ok]].sum()) / 1e6
            busy_ms += float((r["end_ns"] - r["sent_ns"])[ok].sum()) / 1e6
    return waited_ms / (waited_ms + busy_ms) if busy_ms else 0.0


def moved(
    parts: Sequence[Steady], restamped: Callable[[Steady], Steady | None]
) -> dict[str, float]:
    """By how much other stamps move TTFT and ITL: ms, absolute, mean over the repeats."""
    found = dict.fromkeys(JUDGED, 0.0)
    judged = [d for d in METRICS if d.name in JUDGED]
    for part in parts:
        other = restamped(part)
        if other is None:
            continue
        for d in judged:
            assert d.series is not None
            assert d.q is not None
            reported, estimated = d.series(part), d.series(other)
            if len(reported) and len(estimated):
                error_ms = abs(percentile(d.q)(estimated) - percentile(d.q)(reported))
                found[d.name] += error_ms / len(parts)
    return found


def sending_errors(parts: Sequence[Steady], metrics: Mapping[str, Metric]) -> dict[str, float]:
    """By how much late sending moved the latencies from the scheduled time in an open loop, ms."""
    if parts[0].data.point.mode == "closed":
        return {}
    found = {}
    for q in ("p50", "p99"):
        sent, scheduled = metrics[f"ttft_{q}_ms"].value, metrics[f"ttft_sched_{q}_ms"].value
        if sent is not None and scheduled is not None:
            found[f"ttft_sched_{q}_ms"] = scheduled - sent
    return found


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
        names = (*with_error_in("ttft_p50_ms"), *PER_USER, "e2e")
        return some("client_bound", text, names, delay_ms, "ms")
    return finding("client_bound", "pass", text, delay_ms, "ms")


def _limit_ms(metrics: Mapping[str, Metric], name: str) -> float | None:
    value = metrics[name].value
    return None if value is None else tolerated_ms(value)


def _calibrated(calibration: Mapping[str, Any], metrics: Mapping[str, Metric]) -> Finding:
    """The instrument's error at this load, on this machine, against 5 % of what it measured."""
    found = too_large(calibration, metrics)
    if found is not None:
        error_name, metric_name, error_ms = found
        text = (
            "client-bound: against a server of known timing the client is off by "
            f"{error_ms:.2f} ms ({error_name}), more than 5 % of the measured {metric_name}"
        )
        return some("calibration", text, with_error_in(metric_name), error_ms, "ms")
    text = (
        f"own error at this load: TTFT {calibration['ttft_error_p50_ms']:+.2f} ms median, "
        f"{calibration['ttft_error_p99_ms']:+.2f} ms p99; "
        f"ITL {calibration['itl_error_p50_ms']:.3f} ms median"
    )
    return finding("calibration", "pass", text, float(calibration["ttft_error_p50_ms"]), "ms")
