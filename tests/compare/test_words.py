"""The verdict in words speaks of the task that is furthest from an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.compare.words import words_of
from bench.quality.verdict import TaskComparison, compare_task
from bench.values.record import QualityItem


def task(name: str, more_items: int | None) -> TaskComparison:
    items = [
        QualityItem(
            task=name,
            metric="acc",
            filter="none",
            doc_id=n,
            sample=0,
            value=float(n % 2),
            item_hash=f"h{n}",
        )
        for n in range(20)
    ]
    found = compare_task(
        items, items, higher_is_better=True, chance=None, margin=0.99, primary=True
    )
    return replace(found, verdict="not_enough_evidence", more_items=more_items)


@pytest.mark.parametrize("order", [(None, 40), (40, None)])
def test_a_need_that_cannot_be_said_is_not_the_smaller_one(order: tuple[int | None, ...]) -> None:
    tasks = [task(f"needs-{n}", n) for n in order]
    text, codes = words_of((), tasks, measured=False, launched=1)
    assert "quality_unknown" in codes
    assert "not enough evidence: more items: needs-None" in text


def test_the_largest_known_need_is_named() -> None:
    text, _ = words_of((), [task("a", 40), task("b", 1200)], measured=False, launched=1)
    assert "about 1,200 more items: b" in text
