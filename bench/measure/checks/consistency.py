"""Checks of the figures against each other: laws that hold whatever the server does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.measure.checks.moves import RATES
from bench.measure.metrics import Steady
from bench.values.finding import Finding, finding, some

TOLERANCE = 0.01
"""What a long load point may be off by."""
_EDGE = (0.05, 0.3)
"""For Little's law, per wave of the window: for equal requests, and times the squared variation of
their lengths. At its edges requests are cut, and long ones prefer the end; docs/truth-grid.md has
what is seen."""
_SIGMAS = 3.0
"""Sampling errors that the tie-out may be off by besides: one load point of 370 by chance."""


def consistency(parts: Sequence[Steady]) -> list[Finding]:
    """Little's law and the tie-out of tokens and requests, for a closed loop."""
    closed = [p for p in parts if p.window.waves and p.ok.any()]
    return [_little(closed), _tie_out(closed)] if closed else []


def little_error(part: Steady) -> float:
    """(Completions per second × mean time in the system) ÷ mean number in flight − 1."""
    r, w = part.data.requests, part.window
    took_ns = (r["end_ns"] - r["sent_ns"])[part.counted]
    per_s = part.per_window(part.counted, part.counted) / w.seconds
    begun = np.clip(r["sent_ns"], w.start_ns, w.end_ns)
    inside_ns = float((np.clip(r["end_ns"], w.start_ns, w.end_ns) - begun).sum())
    in_flight = inside_ns / 1e9 / w.seconds
    return per_s * float(took_ns.mean()) / 1e9 / in_flight - 1 if in_flight else 0.0


def tie_out_error(part: Steady) -> float:
    """Tokens of the requests that ended in the window ÷ tokens that arrived in it − 1."""
    ended = part.requests.output_tokens * part.requests.ok
    tokens = part.window.per_s(part.data.requests["end_ns"], ended) * part.window.seconds
    return tokens / part.tokens - 1 if part.tokens else 0.0


def tolerance(part: Steady) -> float:
    """How far Little's law may be off in a window of so many waves of requests so unlike."""
    tokens = part.requests.output_tokens[part.ok].astype(np.float64)
    spread = float(tokens.var() / tokens.mean() ** 2)
    return TOLERANCE + (_EDGE[0] + _EDGE[1] * spread) / (part.window.waves or 1)


def tie_out_limit(parts: Sequence[Steady]) -> float:
    """How far the mean `tie_out_error` of repeats may be off: the tolerance and three of its
    sampling errors."""
    sigma = float(np.sqrt(np.sum([tie_out_sigma(p) ** 2 for p in parts]))) / len(parts)
    return TOLERANCE + _SIGMAS * sigma


def tie_out_sigma(part: Steady) -> float:
    """Standard error of `tie_out_error` from sampling alone.

    Tokens that arrived between two moments are those of the answers that ended between them, plus
    what those in flight have at the second, less what they have at the first: the error is a
    difference of two such sums. At a completion S - 1 slots are in the middle of an answer. An
    answer of L tokens that come over d of its e seconds has u·L of them at a share u of d, so that
    a slot seen by chance has sum(L·d) ÷ 2·sum(e) on average, and sum(L²·d) ÷ 3·sum(e) squared. Nor
    can the slots be further apart at the end than unlike answers made them since, by their tokens
    or by their times: the variance is at most S·waves·var(L) or, if that is more, of e in tokens.
    Equal answers have none.
    """
    window, requests, ok = part.window, part.requests, part.ok
    r = part.data.requests
    tokens = requests.output_tokens[ok].astype(np.float64)
    each_ns = (r["end_ns"] - r["sent_ns"])[ok].astype(np.float64)
    took_ns = float(each_ns.sum())
    came_ns = (r["end_ns"] - requests.first_token_ns)[ok].astype(np.float64)
    mean = float((tokens * came_ns).sum()) / (2 * took_ns)
    square = float((tokens**2 * came_ns).sum()) / (3 * took_ns)
    by_chance = 2 * (window.slots - 1) * max(0.0, square - mean**2)
    in_time = float(each_ns.var()) * float(tokens.mean() / each_ns.mean()) ** 2
    since = window.slots * (window.waves or 1) * max(float(tokens.var()), in_time)
    arrived = part.tokens
    if window.openings:  # the windows of whole waves are shorter than all of it
        span_ns = (sum(window.closings) - sum(window.openings)) / len(window.openings)
        arrived *= span_ns / 1e9 / window.seconds
    return float(np.sqrt(min(by_chance, since))) / arrived if arrived else 0.0


_REMEDY = "free the machine of other work, or raise load.duration_s, and measure again"


def _little(parts: Sequence[Steady]) -> Finding:
    error = float(np.mean([little_error(p) for p in parts]))
    limit = max(tolerance(p) for p in parts)
    text = f"requests/s x mean E2E is {1 + error:.1%} of the requests in flight (Little's law)"
    if abs(error) > limit:
        text += f", more than {limit:.1%} off: rates and E2E contradict each other: {_REMEDY}"
        return some("little", text, (*RATES, "e2e"), error, "1")
    return finding("little", "pass", text, error, "1")


def _tie_out(parts: Sequence[Steady]) -> Finding:
    error = float(np.mean([tie_out_error(p) for p in parts]))
    limit = tie_out_limit(parts)
    text = f"requests that ended carry {1 + error:.1%} of the tokens that arrived"
    if abs(error) > limit:
        text += f", more than {limit:.1%} off: the rates contradict each other: {_REMEDY}"
        return some("tie_out", text, RATES, error, "1")
    return finding("tie_out", "pass", text, error, "1")
