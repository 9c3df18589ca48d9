"""The validity certificate: every check that a load point has to pass, each with its figure.

Fail closed: a failed check withholds the headline and keeps the raw data. A check that could not
be made says so. Thresholds stand beside the check that uses them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bench.finding import Finding, Severity
from bench.metrics import ENOUGH_REPEATS, Metric, Steady
from bench.record import OK, OUTCOMES, TOKENS_AROSE, PointData, WorkerReport
from bench.spec import LoadSpec, WorkloadSpec
from bench.stats import Floats
from bench.window import in_flight, steadiness

CLIENT_ERROR_SHARE = 0.05
"""A client error above this share of what was measured makes a run client-bound."""
CLIENT_ERROR_FLOOR_MS = 0.25
"""Errors below this decide nothing: they are under 5 % of any latency a user can feel."""
_CPU_SHARE_LIMIT = 0.9
_RATE_TOLERANCE = 0.05
_P99_SAMPLES = 100


def _finding(
    code: str, severity: Severity, text: str, figure: float | None = None, unit: str | None = None
) -> Finding:
    return Finding(code=code, severity=severity, text=text, figure=figure, unit=unit)


def certificate(
    repeats: Sequence[PointData],
    parts: Sequence[Steady],
    metrics: Mapping[str, Metric],
    *,
    load: LoadSpec,
    workload: WorkloadSpec,
    exact_lengths: bool,
    calibration: Mapping[str, Any] | None,
) -> tuple[Finding, ...]:
    """All checks of one load point over its repeats."""
    found = [
        clock_sanity(repeats),
        error_rate(repeats, load.max_error_rate),
        steady_state(repeats, parts),
        *client_bound(repeats, metrics, calibration, wanted=load.calibrate),
        *token_counts(repeats),
        output_length(repeats, exact=exact_lengths),
        chunk_truth(repeats),
        preemptions(repeats),
        prefix_cache(repeats, declared=bool(workload.shared_prefix_tokens or workload.turns > 1)),
        enough_repeats(parts),
        enough_samples(metrics),
    ]
    if repeats and repeats[0].point.mode != "closed":
        found += [achieved_rate(repeats), overload(parts)]
    return tuple(found)


def clock_sanity(repeats: Sequence[PointData]) -> Finding:
    """No event before its cause: scheduled ≤ sent ≤ first byte ≤ end, tokens in order."""
    wrong = 0
    for d in repeats:
        r = d.requests
        answered = r["first_read_ns"] > 0
        wrong += int((r["sent_ns"] < r["scheduled_ns"]).sum())
        wrong += int((r["first_read_ns"] < r["sent_ns"])[answered].sum())
        wrong += int((r["end_ns"] < r["sent_ns"]).sum())
        inner = np.ones(max(0, len(d.chunk_ns) - 1), dtype=bool)
        starts = r["first_chunk"][(r["chunks"] > 0) & (r["first_chunk"] > 0)] - 1
        inner[starts] = False
        wrong += int((np.diff(d.chunk_ns) < 0)[inner].sum())
    if wrong:
        return _finding("clock", "fail", f"{wrong} events stand before their cause", wrong)
    return _finding("clock", "pass", "every event follows its cause", 0)


def error_rate(repeats: Sequence[PointData], limit: float) -> Finding:
    """Share of requests that failed, against the limit of the load."""
    outcome = np.concatenate([d.requests["outcome"] for d in repeats])
    failed = int((outcome != OK).sum())
    share = failed / len(outcome) if len(outcome) else 1.0
    if failed == 0:
        return _finding("errors", "pass", f"all {len(outcome)} requests succeeded", 0.0, "1")
    kinds = ", ".join(
        f"{int((outcome == k).sum())} {OUTCOMES[k]}" for k in sorted(set(outcome.tolist()) - {OK})
    )
    example = next((text for d in repeats for text in d.errors.values()), "")
    text = f"{failed} of {len(outcome)} requests failed ({kinds}); for example: {example[:160]}"
    return _finding("errors", "fail" if share > limit else "warn", text, share, "1")


def steady_state(repeats: Sequence[PointData], parts: Sequence[Steady]) -> Finding:
    """A steady window exists in every repeat, and the halves of its output rate agree."""
    missing = len(repeats) - len(parts)
    if missing or not parts:
        return _finding(
            "steady_state",
            "fail",
            f"{missing} of {len(repeats)} repeats never had every slot busy after its first "
            "request: raise load.requests to at least 3x the concurrency",
        )
    worst = 0.0
    for part in parts:
        test = steadiness(part.window.binned(part.data.chunk_ns, part.data.chunk_tokens))
        if test is None:
            return _finding("steady_state", "fail", "no token arrived in the steady window")
        if not test.steady:
            text = (
                f"the halves of the window differ by {test.relative_difference:+.0%} in output "
                f"rate (p = {test.p_value:.1g}): warm up longer or send more requests"
            )
            return _finding("steady_state", "fail", text, test.relative_difference, "1")
        worst = max(worst, abs(test.relative_difference), key=abs)
    short = min(p.window.seconds for p in parts)
    typical_s = _typical_e2e_s(parts)
    if typical_s is not None and short < 2 * typical_s:
        text = (
            f"the shortest window ({short:.2f} s) is under twice a typical request "
            f"({typical_s:.2f} s): send more requests per slot"
        )
        return _finding("steady_state", "warn", text, short, "s")
    text = f"the halves of every window agree within {abs(worst):.1%}; shortest {short:.2f} s"
    return _finding("steady_state", "pass", text, worst, "1")


def _typical_e2e_s(parts: Sequence[Steady]) -> float | None:
    ends = [
        (p.data.requests["end_ns"] - p.data.requests["sent_ns"])[p.data.requests["outcome"] == OK]
        for p in parts
    ]
    joined = np.concatenate(ends)
    return float(np.median(joined)) / 1e9 if len(joined) else None


def client_bound(
    repeats: Sequence[PointData],
    metrics: Mapping[str, Metric],
    calibration: Mapping[str, Any] | None,
    *,
    wanted: bool,
) -> Iterable[Finding]:
    """Whether the load generator measured itself: CPU share, waiting for a core, own error."""
    workers = [w for d in repeats for w in d.workers]
    share = max((w.cpu_s / w.wall_s for w in workers if w.wall_s > 0), default=0.0)
    if share > _CPU_SHARE_LIMIT:
        text = f"a load worker used {share:.0%} of its core: raise load.workers"
        yield _finding("client_cpu", "fail", text, share, "1")
    else:
        yield _finding("client_cpu", "pass", f"busiest load worker: {share:.0%} of a core", share)
    yield _client_delay(workers, metrics)
    if calibration is None:
        severity: Severity = "info" if wanted else "warn"
        yield _finding("calibration", severity, "the client's own error was not calibrated")
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
        return _finding("client_bound", "fail", text, delay_ms, "ms")
    return _finding("client_bound", "pass", text, delay_ms, "ms")


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
            return _finding("calibration", "fail", text, error_ms, "ms")
    text = (
        f"own error at this load: TTFT {calibration['ttft_error_p50_ms']:+.2f} ms median, "
        f"{calibration['ttft_error_p99_ms']:+.2f} ms p99; "
        f"ITL {calibration['itl_error_p50_ms']:.3f} ms median"
    )
    return _finding("calibration", "pass", text, float(calibration["ttft_error_p50_ms"]), "ms")


def token_counts(repeats: Sequence[PointData]) -> Iterable[Finding]:
    """Tokens seen in chunks = usage of the response = the server's own counter."""
    wrong = 0
    told = 0
    for d in repeats:
        r = d.requests
        total = np.concatenate([[0], np.cumsum(d.chunk_tokens)])
        seen = total[r["first_chunk"] + r["chunks"]] - total[r["first_chunk"]]
        known = (r["outcome"] == OK) & (r["usage_completion_tokens"] >= 0)
        told += int(known.sum())
        wrong += int((seen != r["usage_completion_tokens"])[known].sum())
    if wrong:
        text = f"{wrong} responses carry another number of tokens than their usage says"
        yield _finding("token_counts", "fail", text, wrong)
    elif told:
        yield _finding("token_counts", "pass", f"{told} responses agree with their usage", 0)
    else:
        text = "the server gives no usage: tokens are counted as one per chunk"
        yield _finding("token_counts", "warn", text)
    yield _server_counter(repeats)


def _server_counter(repeats: Sequence[PointData]) -> Finding:
    ours = server = spare = 0.0
    for d in repeats:
        counted = _rise(d, "generation_tokens_total")
        if counted is None:
            return _finding("server_counter", "info", "the server publishes no token counter")
        server += counted
        ours += float(d.chunk_tokens.sum())
        failed = d.requests["outcome"] != OK
        spare += float(d.requests["requested_tokens"][failed].sum())
    # The server may have generated for failed requests what never reached the client.
    if ours <= server <= ours + spare:
        text = f"the server's counter rose by {server:.0f} tokens, the client saw {ours:.0f}"
        return _finding("server_counter", "pass", text, server - ours, "tokens")
    text = (
        f"the server counted {server:.0f} generated tokens, the client {ours:.0f}: somebody else "
        "uses this server, or tokens were lost"
    )
    return _finding("server_counter", "fail", text, server - ours, "tokens")


def _rise(d: PointData, name: str) -> float | None:
    before, after = d.engine_before, d.engine_after
    if before is None or after is None or name not in before or name not in after:
        return None
    return float(after[name]) - float(before[name])


def output_length(repeats: Sequence[PointData], *, exact: bool) -> Finding:
    """Responses are as long as asked for, where the server can be told to."""
    asked = np.concatenate(
        [d.requests["requested_tokens"][d.requests["outcome"] == OK] for d in repeats]
    )
    got = np.concatenate(
        [d.requests["usage_completion_tokens"][d.requests["outcome"] == OK] for d in repeats]
    )
    known = got >= 0
    off = int((asked != got)[known].sum())
    if not known.any():
        return _finding("output_length", "info", "output lengths are not known")
    if off == 0:
        return _finding("output_length", "pass", "every response has the length asked for", 0)
    mean = float(got[known].mean())
    text = (
        f"{off} of {int(known.sum())} responses have another length than asked for "
        f"(mean {mean:.1f} tokens instead of {float(asked[known].mean()):.1f})"
    )
    return _finding("output_length", "fail" if exact else "warn", text, float(off))


def chunk_truth(repeats: Sequence[PointData]) -> Finding:
    """How the tokens of each chunk are known; guessed ones make ITL an allocation."""
    kinds = np.concatenate(
        [d.requests["tokens_arose"][d.requests["outcome"] == OK] for d in repeats]
    )
    names = {TOKENS_AROSE[k] for k in set(kinds.tolist())}
    if names <= {"usage_per_chunk", "one_per_chunk"}:
        how = " and ".join(sorted(names)) or "no response"
        return _finding("chunk_tokens", "pass", f"tokens per chunk are known: {how}")
    text = (
        "the server bundles tokens without saying how many: ITL and rates inside the window are "
        "allocated evenly over chunks"
    )
    return _finding("chunk_tokens", "warn", text)


def preemptions(repeats: Sequence[PointData]) -> Finding:
    """Requests that the engine threw out of its KV cache and computed again."""
    rises = [_rise(d, "num_preemptions_total") for d in repeats]
    known = [r for r in rises if r is not None]
    if not known:
        return _finding("preemptions", "info", "the engine does not publish preemptions")
    total = sum(known)
    if total:
        text = f"the engine preempted {total:.0f} requests: its KV cache is too small for this load"
        return _finding("preemptions", "warn", text, total)
    return _finding("preemptions", "pass", "the engine preempted no request", 0)


def prefix_cache(repeats: Sequence[PointData], *, declared: bool) -> Finding:
    """Prompt tokens that came from the prefix cache although the workload shares no prefix."""
    rises = [
        (_rise(d, "prefix_cache_hits_total"), _rise(d, "prefix_cache_queries_total"))
        for d in repeats
    ]
    known = [(h, q) for h, q in rises if h is not None and q]
    if not known:
        return _finding("prefix_cache", "info", "the engine does not publish prefix-cache hits")
    share = sum(h for h, _ in known) / sum(q for _, q in known)
    if share > 0.01 and not declared:
        text = f"{share:.1%} of prompt tokens came from the prefix cache, none should"
        return _finding("prefix_cache", "fail", text, share, "1")
    return _finding("prefix_cache", "pass", f"{share:.1%} of prompt tokens were cached", share, "1")


def enough_repeats(parts: Sequence[Steady]) -> Finding:
    """Three independent repeats carry an interval; fewer only a bootstrap inside one run."""
    n = len(parts)
    if n >= ENOUGH_REPEATS:
        return _finding("repeats", "pass", f"intervals are t intervals over {n} repeats", n)
    text = f"{n} repeat(s): intervals are a bootstrap inside the run and miss drift between runs"
    return _finding("repeats", "warn", text, n)


def enough_samples(metrics: Mapping[str, Metric]) -> Finding:
    """A 99th percentile of fewer than 100 observations is their maximum in disguise."""
    ttft = metrics["ttft_p99_ms"]
    per_repeat = ttft.n / ttft.repeats if ttft.repeats else 0.0
    if per_repeat < _P99_SAMPLES:
        text = f"{per_repeat:.0f} requests per repeat: p99 is near their maximum"
        return _finding("samples", "warn", text, per_repeat)
    return _finding("samples", "pass", f"{per_repeat:.0f} requests per repeat", per_repeat)


def achieved_rate(repeats: Sequence[PointData]) -> Finding:
    """Requests really sent per second against the rate asked for (open loop)."""
    worst = 0.0
    for d in repeats:
        sent, scheduled = d.requests["sent_ns"], d.requests["scheduled_ns"]
        planned_s = float(scheduled.max() - scheduled.min())
        if planned_s > 0:
            took_s = float(sent.max() - sent.min())
            worst = min(worst, planned_s / took_s - 1.0 if took_s else 0.0)
    if worst < -_RATE_TOLERANCE:
        text = f"requests left at {1 + worst:.0%} of the rate asked for: the client is too slow"
        return _finding("achieved_rate", "fail", text, worst, "1")
    text = f"requests left at {1 + worst:.1%} of the rate asked for"
    return _finding("achieved_rate", "pass", text, worst, "1")


def overload(parts: Sequence[Steady]) -> Finding:
    """In-flight requests that grow all through the window: the server can't keep up."""
    for part in parts:
        edges = np.linspace(part.window.start_ns, part.window.end_ns, 25).astype(np.int64)
        counts = in_flight(part.data, edges).astype(np.float64)
        slope, p_value = _trend(counts)
        growth = slope * (len(counts) - 1)
        if p_value < 0.01 and growth > max(2.0, 0.5 * float(counts.mean())):
            text = (
                f"overload: requests in flight grew by {growth:.0f} (mean {counts.mean():.0f}) "
                "and would have gone on growing"
            )
            return _finding("overload", "warn", text, growth, "requests")
    return _finding("overload", "pass", "requests in flight did not grow without bound")


def _trend(values: Floats) -> tuple[float, float]:
    """Slope per step, and Mann–Kendall's p-value for a monotonic trend (normal approximation)."""
    n = len(values)
    signs = np.sign(values[None, :] - values[:, None])
    s = float(np.triu(signs, 1).sum())
    variance = n * (n - 1) * (2 * n + 5) / 18
    z = (s - np.sign(s)) / variance**0.5
    from scipy.special import ndtr

    slope = float(np.polyfit(np.arange(n), values, 1)[0])
    return slope, 2 * float(ndtr(-abs(z)))
