"""Counts agree with their nouns and verbs."""

from __future__ import annotations

import pytest

from bench.values.count_words import agreeing, count


@pytest.mark.parametrize(
    ("n", "noun", "verb", "said"),
    [
        (1, "run", "", "1 run"),
        (0, "run", "", "0 runs"),
        (1, "load point", "are", "1 load point is"),
        (2, "load point", "are", "2 load points are"),
        (1, "entry", "", "1 entry"),
        (1200, "entry", "have", "1,200 entries have"),
        (2, "launch", "were", "2 launches were"),
        (1, "request", "were", "1 request was"),
        (1, "run", "wait", "1 run waits"),
        (2, "day", "", "2 days"),
    ],
)
def test_noun_and_verb_follow_the_number(n: int, noun: str, verb: str, said: str) -> None:
    assert count(n, noun, verb) == said


def test_a_part_of_several_takes_the_verb_of_the_part() -> None:
    assert [f"{n} of 5 APIs {agreeing(n, 'are')}" for n in (1, 2)] == [
        "1 of 5 APIs is",
        "2 of 5 APIs are",
    ]
