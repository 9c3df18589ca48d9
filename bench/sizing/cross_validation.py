"""The fitted overhead constants refitted without each model in turn: do they hold for one unseen?

Of every version span, on one GPU: bytes per logit and the CUDA context, a line through what the
logs leave beside weights and cache; with tensor parallelism: what communication adds, the median.
Rows whose peak is not the sampler's (long forward passes, encoders, experts) say nothing of these
and are left out. Pure; `scripts/fit_evidence.py` prints it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.sizing.engine_rules import EngineRules, rules_of
from bench.sizing.evidence import Answer

# The sampler's peak holds one hidden state of a full batch beside the logits: 8,192 tokens of at
# most 8,192 numbers. More than this beside the logits is another kind of peak.
_MOST_BESIDE_GIB = 0.2


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One log: GiB it left beside weights, cache and hidden states, GiB of logits at one byte each,
    and what the fit predicted and the log said of the cache."""

    model: str
    left_gib: float
    logits_gib: float
    ranks: int
    kv_predicted_gib: float
    kv_logged_gib: float
    taken_gib: float


@dataclass(frozen=True, kw_only=True)
class Constants:
    """Bytes per logit, GiB of context, GiB of communication (None: no log with several GPUs)."""

    peak: float
    context: float
    communication: float | None

    def left_gib(self, row: Seen) -> float | None:
        more = self.communication if row.ranks > 1 else 0.0
        return None if more is None else self.peak * row.logits_gib + self.context + more


@dataclass(frozen=True, kw_only=True)
class Refit:
    """One span of versions: the constants in use, those of all its rows, those without each model,
    and the cache's error in every row when predicted without its model."""

    rules: EngineRules
    rows: int
    all: Constants
    without: Mapping[str, Constants]
    errors: tuple[float, ...]


def refits(answers: Iterable[Answer]) -> tuple[Refit, ...]:
    """Every span of one sampler constant that has enough models to lose one."""
    spans: dict[float, tuple[EngineRules, list[Seen]]] = {}
    for a in answers:
        row = _seen(a)
        if row is not None:
            rules = _span(a)
            spans.setdefault(rules.peak_per_logit.value, (rules, []))[1].append(row)
    return tuple(_refit(rules, rows) for rules, rows in spans.values() if _enough(rows))


def _enough(rows: Sequence[Seen]) -> bool:
    """Whether a line is well laid through what is left without any one model: four logs on one GPU
    whose vocabularies differ by half."""
    for left in {r.model for r in rows}:
        sizes = [r.logits_gib for r in rows if r.ranks == 1 and r.model != left]
        if len(sizes) < 4 or max(sizes) < 1.5 * min(sizes):
            return False
    return True


def _span(a: Answer) -> EngineRules:
    return rules_of(a.row["vllm"])


def _seen(a: Answer) -> Seen | None:
    """A log as these constants see it; None where another peak or another part decides."""
    r, logged = a.report, a.row["kv_gib"]
    if not a.clean or r is None or not logged or logged <= 0 or r.budget_gib_per_gpu is None:
        return None
    if r.layout is None or r.layout.pp > 1 or a.row["eager"]:
        return None
    peak = _span(a).peak_per_logit
    top = next((o for o in r.overheads if o.name == "activations"), None)
    if top is None or top.high_gib is None or peak.high <= peak.value:
        return None
    logits = (top.high_gib - top.gib) / (peak.high - peak.value)
    beside = top.gib - peak.value * logits
    if not 0 <= beside <= _MOST_BESIDE_GIB:
        return None
    weights = a.row["weights_gib"] or r.weights_gib_per_gpu
    in_use = [o.gib for o in r.overheads if o.name.startswith("CUDA context")]
    others = sum(o.gib for o in r.overheads) - top.gib - sum(in_use)
    left = r.budget_gib_per_gpu - weights - logged - beside - others
    return Seen(
        model=a.row["model"].partition(" ")[0],
        left_gib=left,
        logits_gib=logits,
        ranks=r.layout.tp,
        kv_predicted_gib=r.kv_gib_per_gpu,
        kv_logged_gib=logged,
        taken_gib=peak.value * logits + sum(in_use),
    )


def _refit(rules: EngineRules, rows: Sequence[Seen]) -> Refit:
    models = sorted({r.model for r in rows})
    without = {m: fitted([r for r in rows if r.model != m]) for m in models}
    errors = []
    for row in rows:
        left = without[row.model].left_gib(row)
        if left is not None:
            cache = row.kv_predicted_gib + row.taken_gib - left
            errors.append(cache / row.kv_logged_gib - 1)
    return Refit(
        rules=rules, rows=len(rows), all=fitted(rows), without=without, errors=tuple(errors)
    )


def fitted(rows: Sequence[Seen]) -> Constants:
    """Least squares on one GPU, then the median of what several add."""
    alone = [r for r in rows if r.ranks == 1]
    line = statistics.linear_regression([r.logits_gib for r in alone], [r.left_gib for r in alone])
    more = [r.left_gib - line.slope * r.logits_gib - line.intercept for r in rows if r.ranks > 1]
    return Constants(
        peak=line.slope,
        context=line.intercept,
        communication=statistics.median(more) if more else None,
    )
