"""What of another tool's result can be trusted, what cannot, and what its file does not say.

The figures are computed again in one definition (`bench.measure`) from the file's raw data, and
pass the checks that a run of this package passes. A figure is trusted when it follows from the
file's own data by its tool's definition, no check takes it away, and ours is near.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bench.foreign.definitions import difference
from bench.foreign.result import Result, Span
from bench.foreign.ties import ties
from bench.measure.checks.moves import PER_USER, RATES, withhold
from bench.measure.measurement import PointMeasurement
from bench.measure.metrics import Metric
from bench.measure.window import DRIFT_LIMIT
from bench.values.count_words import agreeing, count
from bench.values.finding import Finding, finding, some
from bench.values.record import OK, TOKENS_AROSE, PointData

Verdict = Literal["yes", "another definition", "no", "unknown"]

NEAR = 0.03
"""What theirs and ours may differ by and still say the same."""
_ARITHMETIC = 0.01
_TOGETHER, _TOGETHER_SHARE = 0.2, 0.10
"""Tokens closer than this share of the mean gap were taken up together; how many may be."""
_SHORT = 0.95
_ENOUGH = 20
_MOST_FAILED = 0.01
"""As many as a load of this package may lose (load.max_error_rate)."""
_SIGMAS = 4.0

SHOWN = (
    "output_tokens_per_s",
    "total_tokens_per_s",
    "requests_per_s",
    "error_rate",
    *(f"ttft_{s}_ms" for s in ("mean", "p50", "p90", "p95", "p99")),
    *(f"itl_{s}_ms" for s in ("mean", "p50", "p90", "p95", "p99")),
    *(f"tpot_{s}_ms" for s in ("mean", "p50", "p90", "p95", "p99")),
    *(f"e2e_{s}_ms" for s in ("mean", "p50", "p90", "p95", "p99")),
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One figure: what the tool says, what this package makes of the same data, and whether to
    trust it; `why` in words."""

    metric: str
    claimed: float
    ours: float | None
    verdict: Verdict
    why: str


@dataclass(frozen=True, kw_only=True)
class Audit:
    """One load point of another tool's result, judged."""

    result: Result
    lines: tuple[Line, ...]
    findings: tuple[Finding, ...]
    requests: int | None

    def of(self, verdict: Verdict) -> tuple[str, ...]:
        """The metrics with that verdict."""
        return tuple(line.metric for line in self.lines if line.verdict == verdict)


def audit(result: Result, measured: PointMeasurement | None) -> Audit:
    """Judge every figure; `measured` is None where the file has no raw data."""
    own = tuple(foreign_checks(result))
    findings = own + (measured.findings if measured is not None else ())
    metrics: dict[str, Metric] = {}
    if measured is not None:
        metrics = withhold(dict(measured.metrics), own)
    lines = tuple(
        _line(result, name, result.claims[name], metrics, findings)
        for name in SHOWN
        if name in result.claims
    )
    requests = None if measured is None else measured.requests
    return Audit(result=result, lines=lines, findings=findings, requests=requests)


def for_measuring(result: Result) -> PointData | None:
    """The raw data, those that have the first and last token alone taken as two pieces.

    What their middle looked like is then not asked: TPOT needs no more, and ITL is not shown.
    """
    data = result.data
    if data is None or result.detail == "chunks":
        return data
    arose = data.requests["tokens_arose"].copy()
    arose[arose == TOKENS_AROSE.index("allocated")] = TOKENS_AROSE.index("usage_per_chunk")
    return replace(data, requests={**data.requests, "tokens_arose": arose})


def foreign_checks(result: Result) -> Iterator[Finding]:
    """What can be checked of a file of others besides what every run is checked for."""
    yield _arithmetic(result)
    yield from result.found
    if result.data is None:
        text = "the file has figures alone: whether they fit each other is all that can be checked"
        yield finding("raw_data", "warn", text)
        yield from _failed(result)
        yield from ties(result)
        return
    yield from _short_answers(result.data)
    if result.detail == "chunks":
        yield _bundles(result.data)
        yield _together(result.data)
    yield _drift(result.data)
    yield from _in_flight(result)
    yield finding("client", "info", "how late its client was is not in the file")


def _arithmetic(result: Result) -> Finding:
    both = [k for k in result.again if k in result.claims]
    found = {k: _off(result.claims[k], result.again[k]) for k in both}
    off = {k: v for k, v in found.items() if abs(v) > _ARITHMETIC}
    if not both:
        return finding("own_arithmetic", "info", "no figure could be computed again from its file")
    if off:
        worst = max(off, key=lambda k: abs(off[k]))
        text = f"{len(off)} of {len(both)} figures do not follow from its own data"
        text += f": {worst} is {off[worst]:+.1%} off"
        return some("own_arithmetic", text, tuple(off), off[worst], "1")
    text = f"{len(both)} figures follow from its own data by its own definitions"
    return finding("own_arithmetic", "pass", text, 0.0, "1")


def _failed(result: Result) -> Iterator[Finding]:
    """Failed requests, where the file counts them and keeps no more of them."""
    share = result.claims.get("error_rate")
    if share is None:
        yield finding("errors", "info", "how many requests failed is not in the file")
    elif share:
        text = f"{share:.2%} of the requests failed: rates and latencies are of the others"
        yield finding("errors", "fail" if share > _MOST_FAILED else "warn", text, share, "1")
    else:
        yield finding("errors", "pass", "no request failed, by its own count", 0.0, "1")


def _off(claimed: float, span: Span) -> float:
    """By which share a figure is outside of what it may be; 0 inside."""
    low, high = span
    nearest = min(max(claimed, low), high)
    return claimed / nearest - 1 if nearest else float(claimed != 0)


def _short_answers(data: PointData) -> Iterator[Finding]:
    r = data.requests
    asked, got = r["requested_tokens"], r["usage_completion_tokens"]
    known = (r["outcome"] == OK) & (asked > 0) & (got >= 0)
    if not known.any():
        text = "how long answers were to be is not in the file: early ends would not show"
        yield finding("asked_lengths", "info", text)
        return
    share = float(got[known].sum() / asked[known].sum())
    text = f"answers have {share:.0%} of the tokens asked for"
    if share < _SHORT:
        text += ": requests/s and E2E are of shorter answers than the result says"
        yield some("asked_lengths", text, ("requests_per_s", "e2e", "goodput"), share, "1")
    else:
        yield finding("asked_lengths", "pass", text, share, "1")


def _bundles(data: PointData) -> Finding:
    r = data.requests
    known = (r["outcome"] == OK) & (r["usage_completion_tokens"] > 0) & (r["chunks"] > 0)
    if not known.any():
        return finding("bundles", "info", "tokens per piece of text are not known")
    each = float(r["usage_completion_tokens"][known].sum() / r["chunks"][known].sum())
    text = f"{each:.2f} tokens come with each piece of text"
    if each > 1 + _ARITHMETIC:
        text += ": its gaps between pieces are not times per token, and its TTFT is of a bundle"
        return some("bundles", text, ("itl", "ttft", "first_answer"), each, "tokens")
    return finding("bundles", "pass", text, each, "tokens")


def _together(data: PointData) -> Finding:
    gaps = np.diff(data.chunk_ns).astype(np.float64)
    starts = data.requests["first_chunk"]
    inner = np.ones(len(gaps), dtype=bool)
    inner[starts[(starts > 0) & (data.requests["chunks"] > 0)] - 1] = False
    gaps = gaps[inner]
    if len(gaps) < 20:
        return finding("taken_together", "info", "too few gaps to see whether its client was late")
    # Of the mean, which what is taken up together does not move: the median becomes next to none.
    share = float((gaps < _TOGETHER * gaps.mean()).mean())
    text = f"{share:.1%} of the gaps are below a fifth of the mean"
    if share > _TOGETHER_SHARE:
        text += ": tokens were taken up together, by a late client or a buffer on the way"
        return some("taken_together", text, (*PER_USER, "ttft"), share, "1")
    return finding("taken_together", "pass", text, share, "1")


def _drift(data: PointData) -> Finding:
    """Whether answers sent late took longer, per token, than those sent early (no first wave)."""
    r = data.requests
    tokens = np.maximum(r["usage_completion_tokens"], 1)
    slots = max(1, min(data.point.concurrency or 1, data.count // 4))
    ok = np.flatnonzero(r["outcome"] == OK)[slots:]
    if len(ok) < _ENOUGH:
        return finding("drift", "info", "too few requests to see whether it drifted")
    took_ms = (r["end_ns"] - r["sent_ns"])[ok] / 1e6 / tokens[ok]
    half = len(ok) // 2
    early, late = took_ms[:half], took_ms[-half:]
    change = float(np.median(late) / np.median(early)) - 1
    # Mann-Whitney: how often a late answer took longer than an early one; 1/2 if nothing changed.
    above = float(np.searchsorted(np.sort(early), late).mean()) / half
    z = (above - 0.5) * math.sqrt(12 * half * half / (2 * half + 1))
    text = f"answers of the later half took {change:+.1%} of the time of the earlier half's"
    if abs(change) > DRIFT_LIMIT and abs(z) > _SIGMAS:
        what = (*RATES, *PER_USER, "ttft", "e2e")
        return some("drift", f"{text}: there is no one figure for what changes", what, change, "1")
    return finding("drift", "pass", text, change, "1")


def _in_flight(result: Result) -> Iterator[Finding]:
    data, asked = result.data, result.point.concurrency
    if data is None or asked is None or not data.count:
        return
    r = data.requests
    at = np.concatenate([r["sent_ns"], r["end_ns"]])
    step = np.repeat([1, -1], data.count)
    order = np.lexsort((step, at))  # an end before a start of the same instant
    most = int(np.cumsum(step[order]).max())
    text = f"at most {count(most, 'request', 'were')} in flight, "
    text += f"{asked} {agreeing(asked, 'were')} to be"
    if most > 1.02 * asked:
        yield some("in_flight", f"{text}: the load was another", (*RATES, "ttft", "e2e"), most)
    elif most < 0.9 * asked:
        yield finding("in_flight", "warn", text, most)
    else:
        yield finding("in_flight", "pass", text, most)


def _line(
    result: Result,
    name: str,
    claimed: float,
    metrics: Mapping[str, Metric],
    findings: Sequence[Finding],
) -> Line:
    metric = metrics.get(name)
    # Where the first and the last token alone were kept, a gap is a mean over its answer: our TPOT.
    per_answer = name.startswith("itl_") and result.detail != "chunks"
    if per_answer:
        metric = metrics.get(name.replace("itl_", "tpot_"))
    ours = None if metric is None else metric.value
    why = difference(result.tool, name)
    against = _against(name, findings)
    if against is not None:
        said = f"{against.code}: {against.text}"
        return Line(metric=name, claimed=claimed, ours=ours, verdict="no", why=said)
    if ours is None:
        missing = metric.reason if metric is not None and metric.reason else "no raw data for it"
        return Line(metric=name, claimed=claimed, ours=None, verdict="unknown", why=missing)
    near = abs(claimed - ours) <= NEAR * max(abs(ours), 1e-9)
    if near and not per_answer:
        return Line(metric=name, claimed=claimed, ours=ours, verdict="yes", why="")
    return Line(metric=name, claimed=claimed, ours=ours, verdict="another definition", why=why)


def _against(name: str, findings: Sequence[Finding]) -> Finding | None:
    """The first failure that takes a figure away."""
    return next((f for f in findings if name != "error_rate" and f.takes(name)), None)
