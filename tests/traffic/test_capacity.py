"""A search never names a rate above what a server can do: queues of known capacity, simulated.

Poisson arrivals, `slots` requests served at once, each for exactly `service_s`: the capacity is
slots ÷ service_s, by hand. Nor one far below it, where the server is slower once requests wait.
"""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from point_support import Shot, point

from bench.measure.checks.arrivals import overload
from bench.measure.metrics import steady_parts
from bench.traffic.judge import keeping_up, overload_margin
from bench.traffic.search import (
    GROWTH_LIMIT,
    Ladder,
    Margin,
    SearchResult,
    Standing,
    Trial,
    next_probe,
    rate_ladder,
    result,
    standings,
)
from bench.values.record import PointData
from bench.values.spec import SloSpec

NO_LIMIT = SloSpec(ttft_ms=1e9, tpot_ms=1e9)


def queue(
    rate_per_s: float,
    slots: int,
    service_s: float,
    load_s: float,
    rng: np.random.Generator,
    slowed: float = 1.0,
) -> PointData:
    """What a client sees of that server at that rate of arrivals; `slowed` is the factor on the
    service of a request that had to wait for a quarter of it."""
    now, free, shots = 0.0, [0.0] * slots, []
    while (now := now + rng.exponential(1 / rate_per_s)) <= load_s:
        begins = max(now, heapq.heappop(free))
        takes_s = service_s * (slowed if begins > now + service_s / 4 else 1.0)
        ends = begins + takes_s
        heapq.heappush(free, ends)
        chunks = [1e3 * (begins + takes_s / 3), 1e3 * ends]
        shots.append(Shot(sent=1e3 * now, chunks=chunks, end=1e3 * ends))
    return point(shots, concurrency=None, rate_per_s=rate_per_s)


def searched(
    slots: int, service_s: float, load_s: float, seed: int, slowed: float = 1.0
) -> tuple[SearchResult, dict[int, list[PointData]]]:
    """A whole search from 0.6 of the capacity, and what was seen at each rung."""
    rng, capacity = np.random.default_rng(seed), slots / service_s
    ladder = rate_ladder(0.05, (0.5 * capacity, 2 * capacity))
    trials: list[Trial] = []
    seen: dict[int, list[PointData]] = {}
    start = ladder.at_most(0.6 * capacity)
    while (rung := next_probe(ladder, trials, start, 3)) is not None:
        data = queue(ladder.loads[rung], slots, service_s, load_s, rng, slowed)
        seen.setdefault(rung, []).append(data)
        trials.append(Trial(rung=rung, requests=data.count, margin=keeping_up(data)))
    found = result(
        ladder,
        trials,
        objective="saturate",
        over="rate",
        criteria="completions keep up with arrivals",
        repeats=3,
        complete=True,
        requests_at=[1] * len(ladder.loads),
    )
    return found, seen


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("slots", "service_s", "load_s"), [(4, 0.082, 20.0), (4, 0.082, 5.0), (64, 2.0, 20.0)]
)
def test_no_rate_above_the_capacity_is_named(
    slots: int, service_s: float, load_s: float, seed: int
) -> None:
    found, seen = searched(slots, service_s, load_s, seed)
    assert found.found is not None
    assert found.found_index is not None
    assert 0.5 * slots / service_s < found.found <= slots / service_s
    # What is named as the limit never bears the warning that its queue grows.
    assert overload(steady_parts(seen[found.found_index], NO_LIMIT, 0)).severity == "pass"


def test_one_repeat_whose_queue_grew_keeps_a_rung_from_holding() -> None:
    rng = np.random.default_rng(0)
    calm, growing = (queue(r * 48.8, 4, 0.082, 20.0, rng) for r in (0.6, 1.3))
    holds, grew = overload_margin(calm), overload_margin(growing)
    assert (holds.value, grew.value, grew.low) == (-1.0, 1.0, None)

    def verdict(*margins: Margin) -> str:
        trials = [Trial(rung=0, requests=1, margin=m) for m in margins]
        return standings(Ladder(loads=(1.0,), resolution=0.05), trials, 3)[0].verdict

    assert verdict(holds) == "holds"
    assert verdict(grew) == "open"  # one repeat does not decide that it fails
    assert verdict(holds, grew, holds) == "unclear"
    assert verdict(*[holds] * 11, grew) == "unclear"
    assert verdict(grew, grew, grew) == "fails"


def trial(rung: int, value: float, arrived: float, completed: float) -> Trial:
    """One clear repeat; its queue grows by what is not completed."""
    seen = {
        "arrived_per_s": arrived,
        "completed_per_s": completed,
        "queue_growth_per_s": arrived - completed,
    }
    margin = Margin(
        value=value, low=value - 0.01, high=value + 0.01, criterion="queue growth", seen=seen
    )
    return Trial(rung=rung, requests=100, margin=margin)


def test_a_rate_above_what_a_saturated_server_completed_does_not_hold() -> None:
    """It completed 48.7 a second with a queue waiting: it does not keep up with 50."""
    ladder = Ladder(loads=(48.0, 50.0, 60.0), resolution=0.05)
    trials = [trial(0, -0.1, 48.0, 48.0), trial(1, -0.05, 49.5, 48.6), trial(2, 0.1, 60.0, 48.7)]
    known: list[Standing] = standings(ladder, trials, 3)
    assert [s.verdict for s in known] == ["holds", "unclear", "fails"]
    assert (known[1].criterion, known[2].over_capacity) == ("capacity", True)
    assert GROWTH_LIMIT * 60.0 < 60.0 - 48.7


def test_a_server_that_overload_slows_is_judged_by_the_next_rung_alone() -> None:
    """At 60 and 50 a second it preempts and completes 35; at 40 and below it keeps up. 44 is one
    step from a rung at which it completed less, 40 and 42 are not: they hold."""
    ladder = Ladder(loads=(40.0, 42.0, 44.0, 50.0, 60.0), resolution=0.05)
    kept = [trial(i, -0.1, v, v) for i, v in enumerate((40.0, 42.0, 44.0))]
    slowed = [trial(3, 0.2, 50.0, 35.0), trial(4, 0.3, 60.0, 35.0)]
    known = standings(ladder, [*kept, *slowed], 3)
    assert [s.verdict for s in known] == ["holds", "holds", "unclear", "fails", "fails"]
    # One step above is not yet tried: nothing is known there.
    known = standings(ladder, [*kept[:2], *slowed], 3)
    assert [s.verdict for s in known] == ["holds", "holds", "fails", "fails"]


@pytest.mark.parametrize("seed", range(2))
def test_the_limit_of_a_server_that_is_slower_with_a_queue(seed: int) -> None:
    """Service takes 1.3 times as long once a request had to wait: below 64 ÷ 2 s a queue is rare,
    and what it completes under overload, 24.6 a second (0.77), is not its limit."""
    found, _ = searched(64, 2.0, 60.0, seed, slowed=1.3)
    assert found.found is not None
    assert 0.8 * 32 < found.found <= 32
