"""Checks that a load point was steady, and long and repeated enough to decide something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bench.measure.checks.moves import RATES
from bench.measure.metrics import ENOUGH_REPEATS, Metric, Steady
from bench.measure.requests import sending_rank
from bench.measure.stats import ENOUGH_TO_CORRELATE, IF_ALIKE, t_interval
from bench.measure.window import DRIFT_LIMIT, Steadiness, steadiness
from bench.values.finding import Finding, finding, some
from bench.values.record import OK, PointData

_P99_SAMPLES = 100
_WIDE_SHARE = 0.1
HEADLINE_SHARE = 0.3
"""An interval wider than this share of the value is no headline."""

IF_NOT_INDEPENDENT = (
    f"fewer than {ENOUGH_TO_CORRELATE} cannot show whether neighbours in time are alike; at "
    f"a correlation of 0.5 an interval would have to be {IF_ALIKE:g} times as wide"
)


def steady_state(
    repeats: Sequence[PointData], parts: Sequence[Steady], *, moving: bool = False
) -> Finding:
    """A steady window exists in every repeat, and the halves of its output rate agree.

    A load that is `moving` by design, a ramp or a trace, is not held to the second part.
    """
    missing = len(repeats) - len(parts)
    if missing or not parts:
        return finding("steady_state", "fail", _no_window(repeats, missing))
    tests = [_halves(p) for p in parts]
    known = [t for t in tests if t is not None]
    if len(known) < len(tests):
        return finding("steady_state", "fail", "no token arrived in the steady window")
    drifts = [t.relative_difference for t in known]
    if moving:
        text = (
            "the load itself changes with time (a ramp or a trace): figures are means over all of "
            f"it; the halves differ by {max(drifts, key=abs):+.0%}"
        )
        return finding("steady_state", "info", text, max(drifts, key=abs), "1")
    unsteady = [t for t in known if not t.steady]
    drift = _common_drift(drifts)
    if drift is not None:
        text = (
            f"output rate drifts by {drift:+.0%} from the first half of the window to the second, "
            f"in all {len(drifts)} repeats alike: warm up longer"
        )
        return finding("steady_state", "fail", text, drift, "1")
    worst = max(drifts, key=abs)
    if unsteady:
        mostly = 2 * len(unsteady) > len(known)
        text = (
            f"the halves of the window differ in {len(unsteady)} of {len(known)} repeats, by up "
            f"to {worst:+.0%} in output rate: something else used the machine, or the load is too "
            "short (load.duration_s)"
        )
        return finding("steady_state", "fail" if mostly else "warn", text, worst, "1")
    short = min(p.window.seconds for p in parts)
    typical_s = _typical_e2e_s(parts)
    if typical_s is not None and short < 2 * typical_s:
        text = (
            f"the shortest window ({short:.2f} s) is under twice a typical request "
            f"({typical_s:.2f} s): send more requests per slot"
        )
        return finding("steady_state", "warn", text, short, "s")
    text = f"the halves of every window agree within {abs(worst):.1%}; shortest {short:.2f} s"
    return finding("steady_state", "pass", text, worst, "1")


def _halves(part: Steady) -> Steadiness | None:
    """How far the halves of the window differ in output rate.

    In an open loop the arrivals themselves come and go by chance. What they asked for is taken off,
    and what is left is the queue: it grows or shrinks, or does not.
    """
    data, window = part.data, part.window
    rate = window.summed(part.chunk_bins, data.chunk_tokens)
    if data.point.mode == "closed":
        return steadiness(rate)
    typical = float(rate.mean())
    arrived = window.binned(data.requests["scheduled_ns"])
    asked = arrived * typical / arrived.mean() if arrived.any() else arrived
    return steadiness(rate - asked, typical)


def _no_window(repeats: Sequence[PointData], missing: int) -> str:
    count = f"{missing} of {len(repeats)} repeats"
    if repeats and repeats[0].point.mode != "closed":
        return f"{count} ended before they could be steady: raise load.duration_s or load.requests"
    return (
        f"{count} never had every slot busy after its first request: raise load.requests to at "
        "least 3x the concurrency"
    )


def _common_drift(drifts: Sequence[float]) -> float | None:
    """The mean drift when it is above 10 % and its interval over the repeats excludes 0."""
    interval = t_interval(drifts) if len(drifts) >= ENOUGH_REPEATS else None
    mean = float(np.mean(drifts))
    if interval is None or interval[0] <= 0 <= interval[1] or abs(mean) <= DRIFT_LIMIT:
        return None
    return mean


def _typical_e2e_s(parts: Sequence[Steady]) -> float | None:
    ends = [
        (p.data.requests["end_ns"] - p.data.requests["sent_ns"])[p.data.requests["outcome"] == OK]
        for p in parts
    ]
    joined = np.concatenate(ends)
    return float(np.median(joined)) / 1e9 if len(joined) else None


def precision(metrics: Mapping[str, Metric]) -> Finding:
    """The interval of the output rate is narrow enough to decide something with."""
    rate = metrics["output_tokens_per_s"]
    if not rate.value or rate.ci_low is None or rate.ci_high is None:
        text = f"the output rate has no interval: {rate.no_interval or 'it is zero'}"
        return finding("precision", "warn", text)
    share = max(rate.ci_high - rate.value, rate.value - rate.ci_low) / rate.value
    if share > HEADLINE_SHARE:
        text = (
            f"the 95 % interval of the output rate is ± {share:.1%}: beyond {HEADLINE_SHARE:.0%} "
            "it says too little to be a headline: raise load.repeats or load.duration_s, or free "
            "the machine of other work"
        )
        return some("precision", text, RATES, share, "1")
    if share > _WIDE_SHARE:
        text = (
            f"the 95 % interval of the output rate is wider than ± {_WIDE_SHARE:.0%}: raise "
            "load.repeats or load.duration_s, or free the machine of other work"
        )
        return finding("precision", "warn", text, share, "1")
    text = f"the 95 % interval of the output rate is ± {share:.1%}"
    return finding("precision", "pass", text, share, "1")


def alike_in_waves(parts: Sequence[Steady]) -> float:
    """How many requests of a closed loop are worth one, as far as TTFT's slowest tenth goes: by how
    much its number in a wave varies beyond chance (Kish's design effect). 1 at least."""
    waves = []
    for part in (p for p in parts if p.window.waves):
        order = np.argsort(sending_rank(part.data)[part.counted])
        waves.append(part.requests.ttft_ms[part.counted][order].reshape(-1, part.window.slots))
    if not waves:
        return 1.0
    ttft = np.concatenate(waves)
    slow = ttft > np.percentile(ttft, 90)
    share, slots = float(slow.mean()), int(slow.shape[1])
    if len(slow) < 2 or not 0 < share < 1:
        return 1.0
    by_chance = slots * share * (1 - share)
    varied = float(slow.sum(axis=1).var(ddof=1))
    return max(1.0, varied / by_chance)


def enough_repeats(parts: Sequence[Steady]) -> Finding:
    """Three independent repeats carry an interval; fewer carry none."""
    n = len(parts)
    if n >= ENOUGH_TO_CORRELATE:
        text = f"intervals are over {n} repeats, wider where neighbours in time are alike"
        return finding("repeats", "pass", text, n)
    if n >= ENOUGH_REPEATS:
        text = f"intervals are over {n} repeats, taken as independent: {IF_NOT_INDEPENDENT}"
        return finding("repeats", "pass", text, n)
    text = f"{n} repeat(s): no interval, for what differs from one to the next is not known"
    return finding("repeats", "warn", text, n)


def enough_samples(metrics: Mapping[str, Metric], parts: Sequence[Steady]) -> Finding:
    """A 99th percentile of fewer than 100 observations would be their maximum: none is given. Of
    requests that are alike in waves it is nearer to the maximum than their number says."""
    ttft = metrics["ttft_p99_ms"]
    if ttft.n < _P99_SAMPLES:
        text = f"fewer than {_P99_SAMPLES} requests in all repeats: there is no p99 of them"
        return finding("samples", "warn", text, ttft.n)
    worth = ttft.n / alike_in_waves(parts)
    if worth < _P99_SAMPLES:
        text = (
            f"{ttft.n:,} requests are alike in waves and worth some {worth:.0f} that are not: "
            "their p99 is near the largest of those and reads a few per cent low (5 % at worst in "
            "docs/truth-grid.md); raise load.duration_s or load.requests"
        )
        return finding("samples", "warn", text, worth)
    return finding("samples", "pass", f"{ttft.n:,} requests behind each percentile", ttft.n)
