"""The search: it finds the edge of a server whose edge is known, cheaply, and says so."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.traffic.search import (
    Ladder,
    Margin,
    SearchResult,
    Trial,
    concurrency_ladder,
    next_probe,
    rate_ladder,
    result,
    search_findings,
    standings,
)
from bench.values.codec import encode

REPEATS = 3


def search(
    ladder: Ladder,
    start: int,
    edge: float,
    *,
    noise: float = 0.0,
    width: float = 0.05,
    seed: int = 0,
) -> SearchResult:
    """A search on a server that holds every load up to `edge`; margins waver by `noise`."""
    rng = random.Random(seed)
    requests_at = [math.ceil(max(100.0, 20 * load)) for load in ladder.loads]
    trials: list[Trial] = []

    def sum_up(complete: bool) -> SearchResult:
        return result(
            ladder,
            trials,
            objective="slo",
            over="rate",
            criteria="c",
            repeats=REPEATS,
            complete=complete,
            requests_at=requests_at,
        )

    while (rung := next_probe(ladder, trials, start, REPEATS)) is not None:
        value = math.log(ladder.loads[rung] / edge) + rng.gauss(0, noise)
        margin = Margin(value=value, low=value - width, high=value + width, criterion="x")
        trials.append(Trial(rung=rung, requests=requests_at[rung], margin=margin))
        assert len(trials) <= REPEATS * len(ladder.loads)
    return sum_up(complete=True)


@given(st.floats(0.05, 5_000), st.floats(0.05, 5_000))
def test_the_highest_load_that_holds_is_found_from_anywhere(edge: float, begin: float) -> None:
    """Without noise: the rung found holds, the next does not, both by all repeats."""
    ladder = rate_ladder(0.05)
    found = search(ladder, ladder.at_most(begin), edge)
    assert found.found is not None
    assert found.not_holding is not None
    assert found.found <= edge < found.not_holding
    assert found.not_holding <= found.found * 1.051
    at_the_edge = [s for s in found.tried if s.load in (found.found, found.not_holding)]
    assert [s.repeats for s in at_the_edge] == [REPEATS] * 2


@given(st.floats(1.5, 45), st.sampled_from([(), (1.0, 50.0)]), st.integers(0, 1_000))
def test_it_spends_at_most_two_fifths_of_a_grid(
    edge: float, bounds: tuple[float, ...], seed: int
) -> None:
    ladder = rate_ladder(0.05, bounds)
    found = search(ladder, ladder.at_most(1.0), edge, noise=0.01, seed=seed)
    assert found.grid_share <= 0.40
    assert found.requests == sum(s.requests for s in found.tried)


def test_the_grid_by_hand() -> None:
    """Rungs 1, 2, 3, 4 in flight, 100 requests each; edge at 2.5; start at 1. Tried: 1, 2, 4, 3
    and then the repeats of 2 and 3: 8 probes. The grid is 4 rungs of 3 repeats."""
    ladder = concurrency_ladder(0.05, (1, 4))
    assert ladder.loads == (1, 2, 3, 4)
    found = search(ladder, 0, 2.5)
    assert found.order == (0, 1, 3, 2, 1, 1, 2, 2)
    assert (found.found, found.not_holding) == (2, 3)
    assert found.grid_requests == 1200
    assert found.grid_share == pytest.approx(8 / 12)


def test_a_load_near_the_limit_takes_more_repeats_before_it_is_judged() -> None:
    """An interval that holds the limit decides nothing: the rung is measured again."""
    ladder = concurrency_ladder(1.0, (1, 2))
    wide = Margin(value=-0.01, low=-0.1, high=0.1, criterion="x")
    assert next_probe(ladder, [Trial(rung=0, requests=1, margin=wide)], 0, REPEATS) == 0
    sure = Margin(value=-0.5, low=-0.6, high=-0.4, criterion="x")
    assert next_probe(ladder, [Trial(rung=0, requests=1, margin=sure)], 0, REPEATS) == 1


def test_what_stays_unclear_does_not_hold() -> None:
    """Margins of −0.2, 0 and +0.2 average to 0: not shown to hold, so the search goes down."""
    ladder = concurrency_ladder(1.0, (1, 4))
    trials = [
        Trial(rung=1, requests=1, margin=Margin(value=v, low=None, high=None, criterion="x"))
        for v in (-0.2, 0.0, 0.2)
    ]
    assert next_probe(ladder, trials, 1, REPEATS) == 0


def test_margins_of_unlike_units_are_never_averaged() -> None:
    """TTFT 60 % below its limit in one repeat does not make up for errors 30 % above theirs in the
    other two: every criterion is judged by itself."""

    def repeat(ttft: float, errors: float) -> Trial:
        parts = (
            Margin(value=ttft, low=ttft - 0.05, high=ttft + 0.05, criterion="ttft"),
            Margin(value=errors, low=errors, high=errors, criterion="errors"),
        )
        worst = max(parts, key=lambda m: m.value)
        return Trial(rung=1, requests=1, margin=replace(worst, parts=parts))

    ladder = concurrency_ladder(1.0, (1, 4))
    trials = [repeat(-0.6, 0.30), repeat(-0.5, 0.31), repeat(-0.6, 0.29)]
    (seen,) = standings(ladder, trials, REPEATS)
    assert (seen.verdict, seen.criterion) == ("fails", "errors")
    assert seen.margin == pytest.approx(0.30)
    # Each repeat fails by another criterion: the means are 0.1 each, and neither is shown to fail.
    apart = [repeat(-0.6, 0.9), repeat(0.6, -0.6), repeat(0.3, 0.0)]
    (mixed,) = standings(ladder, apart, REPEATS)
    assert mixed.verdict == "unclear"
    assert mixed.margin == pytest.approx(0.1)


def test_the_resolution_reached_is_said_with_its_ends() -> None:
    ladder = rate_ladder(0.05, (10.0, 20.0))
    found = search(ladder, 0, 14.0)
    text = search_findings(encode(found))[0].text
    assert f"the limit lies between {found.found:g} and {found.not_holding:g} req/s" in text


def test_findings_name_what_was_not_found() -> None:
    ladder = rate_ladder(0.05, (10.0, 20.0))
    nothing = {f.code: f.severity for f in search_findings(encode(search(ladder, 0, 5.0)))}
    assert nothing == {"search": "fail"}
    everything = {f.code: f.severity for f in search_findings(encode(search(ladder, 0, 100.0)))}
    assert everything == {"search": "pass", "search_end": "warn"}
    assert search_findings(None) == []
