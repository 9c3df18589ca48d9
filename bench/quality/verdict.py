"""One task's verdict: not worse, worse, better, or how many more items it would take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bench.quality.paired import (
    Floats,
    Interval,
    bootstrap,
    holm,
    items_needed,
    mcnemar_p,
    sign_flip_p,
    tango_interval,
)
from bench.values.confidence import ALPHA
from bench.values.errors import InputError
from bench.values.record import QualityItem

Verdict = Literal["not_worse", "worse", "better", "not_enough_evidence"]


@dataclass(frozen=True, kw_only=True)
class TaskComparison:
    """One metric of one task, variant against baseline, on the same items.

    `recovery` is variant ÷ baseline (the other way round where lower is better), with its interval;
    `recovery_above_chance` the same after taking what guessing scores from both. `lost` and `won`
    count items that flipped (0/1 metrics). `p` is exact McNemar's or a sign-flip test's, `p_holm`
    the same corrected for the tests beside it. `mean_abs_dll_nats` is the mean absolute change of
    the choices' log-likelihoods: it ranks variants even where accuracy cannot. `item_variance` is
    that of one item's paired difference, relative to the baseline; `more_items` rests on it.
    """

    task: str
    metric: str
    filter: str
    n: int
    samples: int
    higher_is_better: bool
    baseline: float
    variant: float
    difference: Interval
    recovery: Interval | None
    recovery_above_chance: Interval | None
    lost: int | None
    won: int | None
    test: Literal["McNemar, exact", "sign flips"]
    p: float
    p_holm: float
    mean_abs_dll_nats: float | None
    same_choice: float | None
    item_variance: float
    margin: float
    primary: bool
    verdict: Verdict
    more_items: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Paired:
    """Scores of the same items in the same order, repeats of an item averaged."""

    base: Floats
    variant: Floats
    weights: Floats
    samples: int


def compare_task(
    baseline: Sequence[QualityItem],
    variant: Sequence[QualityItem],
    *,
    higher_is_better: bool,
    chance: float | None,
    margin: float,
    primary: bool,
) -> TaskComparison:
    """Compare the items of one task, metric and filter; InputError where they are not the same."""
    name = baseline[0]
    pairs = matched(baseline, variant)
    scores = _scores(pairs)
    base, other = (
        corpus(name.metric, float(np.average(v, weights=scores.weights)))
        for v in (scores.base, scores.variant)
    )
    binary = _binary(scores)
    flips = _flips(scores) if binary else None
    if flips is not None:
        lost, won = flips
        difference = tango_interval(lost, won, len(scores.base))
        recovery = _ratio(difference, base, higher_is_better)
        p = mcnemar_p(lost, won)
    else:
        difference, recovery = _resampled(name.metric, scores, higher_is_better)
        p = sign_flip_p((scores.variant - scores.base) * scores.weights)
    dll, same = _loglik_change(pairs)
    result = TaskComparison(
        task=name.task,
        metric=name.metric,
        filter=name.filter,
        n=len(scores.base),
        samples=scores.samples,
        higher_is_better=higher_is_better,
        baseline=base,
        variant=other,
        difference=difference,
        recovery=recovery,
        recovery_above_chance=_above_chance(difference, base, chance),
        lost=None if flips is None else flips[0],
        won=None if flips is None else flips[1],
        test="sign flips" if flips is None else "McNemar, exact",
        p=p,
        p_holm=p,
        mean_abs_dll_nats=dll,
        same_choice=same,
        item_variance=float(
            np.var((scores.variant - scores.base) / (np.average(scores.base) or 1.0))
        ),
        margin=margin,
        primary=primary,
        verdict="not_enough_evidence",
    )
    return judged(result)


def matched(
    baseline: Sequence[QualityItem], variant: Sequence[QualityItem]
) -> list[tuple[list[QualityItem], list[QualityItem]]]:
    """Repeats of each item in both variants; InputError unless both answered the same questions."""
    groups: list[dict[int, list[QualityItem]]] = [{}, {}]
    for by_doc, items in zip(groups, (baseline, variant), strict=True):
        for item in items:
            by_doc.setdefault(item.doc_id, []).append(item)
    first, second = groups
    name = f"{baseline[0].task}/{baseline[0].metric}"
    if first.keys() != second.keys():
        alone = len(first.keys() ^ second.keys())
        raise InputError(
            f"{name}: {alone} items were scored in one run only; compare runs with the same "
            "quality.limit and tasks."
        )
    for doc in first:
        if {i.item_hash for i in first[doc]} != {i.item_hash for i in second[doc]}:
            raise InputError(
                f"{name}: item {doc} is another question in the other run (document, prompt or "
                "target differ): score both with the same task version and chat template."
            )
    return [(first[doc], second[doc]) for doc in sorted(first)]


def _scores(pairs: Sequence[tuple[list[QualityItem], list[QualityItem]]]) -> _Paired:
    def means(which: int) -> Floats:
        return np.array([np.mean([i.value for i in pair[which]]) for pair in pairs])

    return _Paired(
        base=means(0),
        variant=means(1),
        weights=np.array([pair[0][0].weight for pair in pairs]),
        samples=len(pairs[0][0]),
    )


def _binary(scores: _Paired) -> bool:
    both = np.concatenate([scores.base, scores.variant])
    return bool(np.isin(both, (0.0, 1.0)).all() and (scores.weights == 1).all())


def _flips(scores: _Paired) -> tuple[int, int]:
    lost = int(((scores.base == 1) & (scores.variant == 0)).sum())
    won = int(((scores.base == 0) & (scores.variant == 1)).sum())
    return lost, won


def corpus(metric: str, mean: float) -> float:
    """The figure that is printed, from the weighted mean of the items (nats per unit of text)."""
    if metric in ("word_perplexity", "byte_perplexity"):
        return float(np.exp(-mean))
    if metric == "bits_per_byte":
        return -mean / float(np.log(2))
    return mean


def _resampled(
    metric: str, scores: _Paired, higher_is_better: bool
) -> tuple[Interval, Interval | None]:
    """Difference and recovery of a metric that is no count, by paired bootstrap."""

    def shown(means: Floats) -> Floats:
        return np.array([corpus(metric, m) for m in means])

    def recovered(a: Floats, b: Floats) -> Floats:
        ratio: Floats = shown(b) / shown(a) if higher_is_better else shown(a) / shown(b)
        return ratio

    data = (scores.base, scores.variant, scores.weights)
    difference = bootstrap(*data, lambda a, b: shown(b) - shown(a))
    if corpus(metric, float(np.average(scores.base, weights=scores.weights))) <= 0:
        return difference, None
    return difference, bootstrap(*data, recovered)


def _ratio(difference: Interval, base: float, higher_is_better: bool) -> Interval | None:
    if base <= 0 or not higher_is_better:
        return None
    return difference.over(base)


def _above_chance(difference: Interval, base: float, chance: float | None) -> Interval | None:
    if chance is None or base <= chance:
        return None
    return difference.over(base - chance)


def _loglik_change(
    pairs: Sequence[tuple[list[QualityItem], list[QualityItem]]],
) -> tuple[float | None, float | None]:
    """(mean |Δ log-likelihood| in nats, share of items whose best choice stayed)."""
    changes: list[float] = []
    same: list[bool] = []
    for first, second in pairs:
        a, b = first[0].logliks, second[0].logliks
        if len(a) != len(b) or not a:
            continue
        changes += [abs(x - y) for x, y in zip(a, b, strict=True)]
        same.append(int(np.argmax(a)) == int(np.argmax(b)))
    if not same:
        return None, None
    return float(np.mean(changes)), float(np.mean(same))


def judged(c: TaskComparison) -> TaskComparison:
    """The comparison with its verdict, from the interval, the margin and the corrected p.

    Worse or better needs a difference that is real (p_holm < 5 %) and not shown to lie within the
    margin; not worse needs the whole interval of the recovery above the margin.
    """
    interval = c.recovery or c.difference
    inside = c.recovery is not None and c.recovery.low >= c.margin
    if inside:
        better = c.p_holm < ALPHA and interval.value > 1 and interval.low > 1
        return replace(c, verdict="better" if better else "not_worse", more_items=None)
    if c.p_holm < ALPHA:
        gain = c.difference.value > 0 if c.higher_is_better else c.difference.value < 0
        return replace(c, verdict="better" if gain else "worse", more_items=None)
    return replace(c, verdict="not_enough_evidence", more_items=_more(c))


def _more(c: TaskComparison) -> int | None:
    """Items still needed: to show equivalence where the estimate is inside the margin, to show the
    loss where it is outside; None where that cannot be said."""
    if c.recovery is None:
        return None
    inside = c.recovery.value >= c.margin
    if c.lost is not None and c.won is not None:
        if inside:
            return agreement_needed(c.lost, c.won, c.baseline, c.n, c.margin)
        return flips_needed(c.lost, c.won, c.n, ALPHA * (c.p / c.p_holm))
    bound = c.margin - 1 if inside else 0.0
    return items_needed(c.recovery.value - 1, c.item_variance, c.n, bound)


def flips_needed(lost: int, won: int, n: int, level: float) -> int | None:
    """How many more items until McNemar's test reaches `level`, if items go on flipping as seen;
    None when they flip as often each way, or beyond a million items."""
    if lost == won:
        return None
    factor = 1.0
    while mcnemar_p(round(lost * factor), round(won * factor)) >= level:
        factor *= 1.02
        if n * factor > 1e6:
            return None
    return max(1, round(n * (factor - 1)))


def agreement_needed(lost: int, won: int, base: float, n: int, margin: float) -> int | None:
    """How many more items until the recovery's interval lies above the margin, if items go on
    flipping as seen; None beyond a million items."""
    factor = 1.0
    while tango_interval(lost * factor, won * factor, n * factor).over(base).low < margin:
        factor *= 1.02
        if n * factor > 1e6:
            return None
    return max(1, round(n * (factor - 1)))


def corrected(comparisons: Sequence[TaskComparison]) -> tuple[TaskComparison, ...]:
    """The same with p values corrected together (Holm over the primary metrics), judged again."""
    primary = [c for c in comparisons if c.primary]
    adjusted = iter(holm([c.p for c in primary]))
    return tuple(judged(replace(c, p_holm=next(adjusted))) if c.primary else c for c in comparisons)
