"""The quality of two variants, task by task: which items and metrics are set against each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench.quality.verdict import TaskComparison, compare_task
from bench.values.record import P_RIGHT, QualityItem, QualityResult, TaskScore

Key = tuple[str, str, str]


def compare_tasks(
    baseline: QualityResult,
    base_items: Sequence[QualityItem],
    variant: QualityResult,
    variant_items: Sequence[QualityItem],
    margin: float,
) -> tuple[TaskComparison, ...]:
    """Every metric that both scored; p values are corrected later, over all variants."""
    scores = {(s.task, s.metric, s.filter): s for s in baseline.scores if not s.group}
    first, second = _by_metric(base_items), _by_metric(variant_items)
    both = [key for key in scores if _finite(first.get(key)) and _finite(second.get(key))]
    primary = set(primary_metrics([scores[key] for key in both]))
    return tuple(
        compare_task(
            first[key],
            second[key],
            higher_is_better=scores[key].higher_is_better,
            chance=scores[key].chance,
            margin=margin,
            primary=key in primary,
        )
        for key in both
    )


def _finite(items: Sequence[QualityItem] | None) -> bool:
    """Whether there are scores, and all of them numbers: NaN and infinity decide nothing."""
    return bool(items) and all(math.isfinite(item.value) for item in items or ())


def primary_metrics(scores: Sequence[TaskScore]) -> Iterator[Key]:
    """The metric that a task is judged by: the first that it lists (bits per byte for texts), and
    the probability of the right choice beside it, which shows a loss that flips few choices.

    A task's other metrics are mostly the same answers counted differently: testing them all would
    multiply chances for a false alarm.
    """
    by_task: dict[str, list[TaskScore]] = {}
    for score in scores:
        by_task.setdefault(score.task, []).append(score)
    for found in by_task.values():
        bits = [s for s in found if s.metric == "bits_per_byte"]
        chosen = (bits or found)[0]
        yield chosen.task, chosen.metric, chosen.filter
        yield from ((s.task, s.metric, s.filter) for s in found if s.metric == P_RIGHT)


def _by_metric(items: Sequence[QualityItem]) -> dict[Key, list[QualityItem]]:
    groups: dict[Key, list[QualityItem]] = {}
    for item in items:
        groups.setdefault((item.task, item.metric, item.filter), []).append(item)
    return groups
