"""Energy of a prompt token and of an output token, from runs of unlike mixes; or why not.

E = P·T + a·N_in + b·N_out over load points, fitted as mean power on token rates so that every point
counts alike. Samples are never tagged by phase: prefill and decode share every batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.values.confidence import t_quantile

LEAST_POINTS = 6
CONDITION_LIMIT = 30.0
"""Condition number of the scaled columns above which they cannot be told apart (Belsley 1980)."""

MISFIT_LIMIT = 0.1
"""Where the fit misses a load point's power by more, a token does not cost the same in all of them
(larger batches share the weights' traffic): then there is no such split."""


@dataclass(frozen=True, kw_only=True)
class MixPoint:
    """One load point: J over `seconds`, prompt tokens less cache hits, output tokens."""

    label: str = ""
    energy_j: float
    seconds: float
    input_tokens: float
    output_tokens: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A coefficient with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Split:
    """Base power in W (not the idle baseline: what is drawn at no tokens), J per token of each
    kind. All None with a `reason` when the data cannot tell them apart. `misfit` is the largest
    difference between a load point's power and the fit's, relative."""

    base_w: Estimate | None = None
    input_token_j: Estimate | None = None
    output_token_j: Estimate | None = None
    points: int = 0
    condition: float | None = None
    misfit: float | None = None
    reason: str | None = None


def split_energy(points: Sequence[MixPoint]) -> Split:
    """Fit the split; refused below six points, for like mixes, and where an interval spans 0."""
    n = len(points)
    if n < LEAST_POINTS:
        return Split(points=n, reason=f"{n} load points of {LEAST_POINTS} needed")
    rows = np.array(
        [[1.0, p.input_tokens / p.seconds, p.output_tokens / p.seconds] for p in points]
    )
    watts = np.array([p.energy_j / p.seconds for p in points])
    norms = np.linalg.norm(rows, axis=0)
    if not norms.all():
        return Split(points=n, reason="one kind of token never occurs")
    condition = float(np.linalg.cond(rows / norms))
    if condition > CONDITION_LIMIT:
        reason = (
            "the mixes are too alike to tell prompt from output tokens "
            f"(condition number {condition:.0f}, at most {CONDITION_LIMIT:.0f})"
        )
        return Split(points=n, condition=condition, reason=reason)
    found, *_ = np.linalg.lstsq(rows, watts, rcond=None)
    left = watts - rows @ found
    misfit = float(np.max(np.abs(left) / watts))
    if misfit > MISFIT_LIMIT:
        worst = points[int(np.argmax(np.abs(left) / watts))].label
        reason = (
            f"energy per token is not the same in all mixes: the fit misses {worst} by {misfit:.0%}"
            f" (at most {MISFIT_LIMIT:.0%}); use loads of like concurrency"
        )
        return Split(points=n, condition=condition, misfit=misfit, reason=reason)
    variance = float(left @ left) / (n - 3)
    spread = np.sqrt(variance * np.diag(np.linalg.inv(rows.T @ rows)))
    half = t_quantile(n - 3) * spread
    base, prompt, output = (
        Estimate(value=float(v), low=float(v - h), high=float(v + h))
        for v, h in zip(found, half, strict=True)
    )
    for name, estimate in (("prompt", prompt), ("output", output)):
        if estimate.low <= 0:
            reason = f"the interval of J per {name} token spans 0: more, or more unlike, mixes"
            return Split(points=n, condition=condition, misfit=misfit, reason=reason)
    return Split(
        base_w=base,
        input_token_j=prompt,
        output_token_j=output,
        points=n,
        condition=condition,
        misfit=misfit,
    )
