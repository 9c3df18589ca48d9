"""The share of the prompt that an engine did not compute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from point_support import even, point

from bench.measure.prefix_cache import cached_share
from bench.values.record import PointData

HITS, ELSEWHERE = "prefix_cache_hits_total", "external_prefix_cache_hits_total"
ASKED = "prefix_cache_queries_total"


def counted(**rises: float) -> PointData:
    """A load point whose engine's counters began at 100."""
    before = dict.fromkeys(rises, 100.0)
    after = {name: 100.0 + rise for name, rise in rises.items()}
    return replace(point(even(4)), engine_before=before, engine_after=after)


def told(*cached: int) -> PointData:
    """Answers whose usage counts 8 prompt tokens, and these from the cache; -1 says nothing."""
    one = point(even(len(cached)))
    columns = {
        "cached_tokens": np.array(cached),
        "usage_prompt_tokens": np.full(len(cached), 8),
    }
    return replace(one, requests={**one.requests, **columns})


def test_hits_by_lookups_of_the_repeats_that_say_so() -> None:
    """(1,500 + 500) ÷ (6,000 + 4,000); what stood on the counters before does not count."""
    first, second = counted(**{HITS: 1500, ASKED: 6000}), counted(**{HITS: 500, ASKED: 4000})
    assert cached_share([first]) == pytest.approx(0.25)
    assert cached_share([first, second, counted()]) == pytest.approx(0.2)


def test_what_an_engine_offloaded_and_found_again_is_not_computed_either() -> None:
    assert cached_share([counted(**{HITS: 100, ELSEWHERE: 300, ASKED: 800})]) == pytest.approx(0.5)


def test_without_counters_the_usage_of_the_answers_speaks() -> None:
    """(6 + 2) of the 16 prompt tokens of the two answers that say."""
    assert cached_share([told(6, 2, -1, -1)]) == pytest.approx(0.5)


def test_where_nothing_says_it_is_not_known() -> None:
    assert cached_share([counted()]) is None
    assert cached_share([counted(**{HITS: 0, ASKED: 0})]) is None
    assert cached_share([]) is None
