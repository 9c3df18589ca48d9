"""Whether figures without raw data can belong to one load: arithmetic ties them to each other.

Rates, lengths and latencies of one load point cannot be chosen apart. What does not fit is named;
what fits is consistent, which is not yet true.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from bench.foreign.result import LATENCIES, Result
from bench.values.finding import Finding, finding, some

_TIE_OUT = 0.02
"""Rates are rounded, and tokens of requests that did not end count in some tools."""
_OVER, _UNDER = 1.02, 0.8
"""Requests in flight by Little's law, as shares of what was allowed: more cannot be; fewer are a
load that was another, or filling up and running dry in a short one."""
_LATENCIES_TIE = 0.10
"""A mean of products is not the product of means where long answers are slower or quicker."""
_PIECES = 1.1
_TOGETHER = 0.2
_ENOUGH_FOR_P99 = 100


def ties(result: Result) -> Iterator[Finding]:
    """Every tie that the file's figures allow to look at."""
    for check in (_tie_out, _little, _longest, _latencies, _pieces, _together, _order, _few):
        yield from check(result)


def _tie_out(r: Result) -> Iterator[Finding]:
    rate, per_s = r.claims.get("output_tokens_per_s"), r.claims.get("requests_per_s")
    each = r.known.get("output_tokens")
    if not rate or not per_s or not each or r.tool == "mlperf":  # there it is how each was found
        return
    share = per_s * each / rate
    text = f"requests/s x mean tokens of an answer is {share:.1%} of tokens/s"
    if abs(share - 1) > _TIE_OUT:
        text += ": the rates contradict each other"
        yield some("tie_out", text, ("output_tokens_per_s", "requests_per_s"), share - 1, "1")
    else:
        yield finding("tie_out", "pass", text, share - 1, "1")


def _little(r: Result) -> Iterator[Finding]:
    allowed, took_ms = r.point.concurrency, r.claims.get("e2e_mean_ms")
    per_s = r.claims.get("requests_per_s")
    if not allowed or not took_ms or not per_s:
        return
    in_flight = per_s * took_ms / 1e3
    text = f"requests/s x mean E2E is {in_flight:.4g} in flight, {allowed} were to be"
    if in_flight > _OVER * allowed:
        text += ": rates and E2E contradict each other (Little's law)"
        yield some("little", text, ("requests_per_s", "output_tokens_per_s", "e2e"), in_flight)
    elif in_flight < _UNDER * allowed:
        yield finding("little", "warn", f"{text}: the load was another for part of it", in_flight)
    else:
        yield finding("little", "pass", text, in_flight)


def _longest(r: Result) -> Iterator[Finding]:
    """Without requests/s: what so many in flight can have made in answers as long as asked for."""
    allowed, took_ms = r.point.concurrency, r.claims.get("e2e_mean_ms")
    rate, asked = r.claims.get("output_tokens_per_s"), r.known.get("asked_output_tokens")
    if not (allowed and took_ms and rate and asked) or r.claims.get("requests_per_s"):
        return
    share = rate / (allowed * asked / (took_ms / 1e3))
    text = f"tokens/s are {share:.0%} of {allowed} in flight x {asked:g} tokens ÷ mean E2E"
    if share > _OVER:
        text += ": rates and E2E contradict each other (Little's law)"
        yield some("little", text, ("output_tokens_per_s", "total_tokens_per_s", "e2e"), share, "1")
    else:
        yield finding("little", "pass", text, share, "1")


def _latencies(r: Result) -> Iterator[Finding]:
    """Mean E2E against mean TTFT + (tokens - 1) x mean TPOT."""
    first, each, took = (r.claims.get(f"{s}_mean_ms") for s in ("ttft", "tpot", "e2e"))
    tokens = _answer(r)
    if first is None or not each or not took or not tokens:
        return
    share = (first + (tokens - 1) * each) / took
    text = f"TTFT + ({tokens:.1f} - 1) x TPOT is {share:.0%} of E2E, in means"
    if abs(share - 1) <= _LATENCIES_TIE:
        yield finding("latencies_tie", "pass", text, share, "1")
        return
    # E2E per token, where the tool gives it, says whether E2E and the lengths go together.
    normalised = r.known.get("e2e_per_token_ms")
    if normalised and abs(normalised * tokens / took - 1) <= _LATENCIES_TIE:
        text += (
            ", and E2E fits the lengths: its time per token is of something else, such as pieces"
        )
        yield some("latencies_tie", text, ("tpot", "itl"), share, "1")
    else:
        text += ": one of the three is not what it is called"
        yield some("latencies_tie", text, LATENCIES, share, "1")


def _answer(r: Result) -> float | None:
    """Mean tokens of an answer, as said or as rate and requests in flight have it."""
    if (said := r.known.get("output_tokens")) is not None:
        return said
    rate, took_ms = r.claims.get("output_tokens_per_s"), r.claims.get("e2e_mean_ms")
    allowed = r.point.concurrency
    return rate * took_ms / 1e3 / allowed if rate and took_ms and allowed else None


def _pieces(r: Result) -> Iterator[Finding]:
    gap, each = r.claims.get("itl_mean_ms"), r.claims.get("tpot_mean_ms")
    if not gap or not each or r.tool not in ("vllm", "sglang", "inferencex"):
        return  # elsewhere ITL is a mean per request, too
    pieces = gap / each
    text = f"a gap between pieces is {pieces:.2f} times a token's"
    if pieces > _PIECES:
        text += ": several tokens come with a piece, and its ITL is not a time per token"
        yield some("bundles", text, ("itl",), pieces, "tokens")
    else:
        yield finding("bundles", "pass", text, pieces, "tokens")


def _together(r: Result) -> Iterator[Finding]:
    middle, mean = r.claims.get("itl_p50_ms"), r.claims.get("itl_mean_ms")
    if middle is None or not mean:
        return
    text = f"half of the gaps are below {middle:.3g} ms, their mean is {mean:.3g}"
    if middle < _TOGETHER * mean:
        text += ": pieces were taken up together, or come in more pieces than tokens"
        yield some("taken_together", text, ("itl",), middle / mean, "1")
    else:
        yield finding("taken_together", "pass", text, middle / mean, "1")


def _order(r: Result) -> Iterator[Finding]:
    for stem in LATENCIES:
        names = [f"{stem}_{p}_ms" for p in ("p50", "p90", "p95", "p99")]
        values = [r.claims[n] for n in names if n in r.claims]
        if any(b < a for a, b in pairwise(values)):
            text = f"the percentiles of {stem.upper()} fall as they rise: {values}"
            yield some("percentile_order", text, (stem,))


def _few(r: Result) -> Iterator[Finding]:
    requests = r.known.get("requests")
    if requests is not None and requests < _ENOUGH_FOR_P99:
        text = f"{requests:g} requests: there is no p99 of fewer than {_ENOUGH_FOR_P99}"
        names = tuple(f"{stem}_p99_ms" for stem in LATENCIES)
        yield some("samples", text, names, requests, "requests")
