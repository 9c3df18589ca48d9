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
"""Per wave of the window: for equal requests, and times the squared variation of their lengths. At
its edges requests are cut, and long ones prefer the end; docs/truth-grid.md has what is seen."""


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
    """How far either may be from 0 in a window of so many waves of requests so unlike."""
    tokens = part.requests.output_tokens[part.ok].astype(np.float64)
    spread = float(tokens.var() / tokens.mean() ** 2)
    return TOLERANCE + (_EDGE[0] + _EDGE[1] * spread) / (part.window.waves or 1)


def _little(parts: Sequence[Steady]) -> Finding:
    error = float(np.mean([little_error(p) for p in parts]))
    limit = max(tolerance(p) for p in parts)
    text = f"requests/s x mean E2E is {1 + error:.1%} of the requests in flight (Little's law)"
    if abs(error) > limit:
        text += f", more than {limit:.1%} off: rates and E2E contradict each other"
        return some("little", text, (*RATES, "e2e"), error, "1")
    return finding("little", "pass", text, error, "1")


def _tie_out(parts: Sequence[Steady]) -> Finding:
    error = float(np.mean([tie_out_error(p) for p in parts]))
    limit = max(tolerance(p) for p in parts)
    text = f"requests that ended carry {1 + error:.1%} of the tokens that arrived"
    if abs(error) > limit:
        text += f", more than {limit:.1%} off: the rates contradict each other"
        return some("tie_out", text, RATES, error, "1")
    return finding("tie_out", "pass", text, error, "1")
