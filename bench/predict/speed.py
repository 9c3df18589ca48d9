"""From fitted seconds per token to what a user sees: TTFT, TPOT, rates, and the power behind them.

A steady load of B sequences a replica, prompts and answers interleaved (continuous batching). By
Little's law a request of n answer tokens is in the system for B·n·t seconds. Its first token takes
its own prompt, the step under way, and the prompts before it: half a prompt times ρ ÷ (1 - ρ),
where the share ρ of all time goes to prompts (the mean wait of M/D/1), at most the B - 1 others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.predict.evidence import Row
from bench.predict.regression import Design, Fitted, coefficients, log_seconds
from bench.predict.terms import TERMS

GROUPS = (("prefill", "decode"), ("weights", "experts", "cache"))
"""Terms by what they keep busy: matrix units, memory; the others neither."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Output tokens/s over all GPUs, TTFT and TPOT (s) of a request, tokens/s that one user sees
    (1 ÷ TPOT), and the log spread of the rate by the model alone; `busy` are the shares of time
    in which matrix units, memory and neither set the pace."""

    tokens_per_s: float
    ttft_s: float
    tpot_s: float
    per_user: float
    log_spread: float
    busy: tuple[float, float, float]


def speeds(found: Fitted, rows: list[Row]) -> list[Speed]:
    """What the model says of every row's conditions."""
    logs, sigma = log_seconds(found, rows)
    design = Design(rows, found.levels)
    parts = coefficients(design, found.values) * design.terms
    return [
        _speed(row, parts[i], float(np.exp(logs[i])), float(sigma[i])) for i, row in enumerate(rows)
    ]


def _speed(row: Row, parts: np.ndarray, seconds: float, sigma: float) -> Speed:
    """One row's; `parts` are seconds per term before the deviations that `seconds` includes."""
    parts = parts * (seconds / parts.sum())
    at = dict(zip(TERMS, (float(p) for p in parts), strict=True))
    answer = max(row.output_tokens, 1.0)
    prompt = row.input_tokens or row.assumed_input or 1.0
    in_prompts = at["prefill"] + at["all_reduce"] * prompt / (prompt + answer)
    own_prompt = in_prompts * answer
    share = min(in_prompts / seconds, 0.95)
    wait = min(own_prompt * share / (2 * (1 - share)), own_prompt * (row.batch - 1))
    step = (seconds - in_prompts) * row.batch
    whole = seconds * row.batch * answer
    ttft = min(own_prompt + wait + step, whole)
    tpot = (whole - ttft) / (answer - 1) if answer > 1 else step
    multiplied, moved = (sum(at[t] for t in group) / seconds for group in GROUPS)
    return Speed(
        tokens_per_s=row.replicas / seconds,
        ttft_s=ttft,
        tpot_s=tpot,
        per_user=1 / tpot,
        log_spread=sigma,
        busy=(multiplied, moved, max(0.0, 1 - multiplied - moved)),
    )


def watts(busy: tuple[float, ...], shares: tuple[float, ...], power_w: float, gpus: int) -> float:
    """Watts of all boards: each kind of work at its fitted share of the board's limit."""
    return gpus * power_w * sum(b * s for b, s in zip(busy, shares, strict=True))
