"""Arrivals fixed before the run, and the division of work among processes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.traffic.schedule import Arrival, arrivals_ns, sessions, split
from bench.values.record import PlannedRequest


def request(index: int, session: int = -1) -> PlannedRequest:
    return PlannedRequest(index=index, prompt=[1], input_tokens=1, output_tokens=1, session=session)


def test_constant_arrivals_are_exact() -> None:
    rng = np.random.default_rng(0)
    assert arrivals_ns("constant", 4.0, 4, rng).tolist() == [
        0,
        250_000_000,
        500_000_000,
        750_000_000,
    ]


@pytest.mark.parametrize(
    ("arrival", "burstiness", "variation"),
    [("poisson", 1.0, 1.0), ("gamma", 1.0, 1.0), ("gamma", 4.0, 0.5), ("gamma", 0.25, 2.0)],
)
def test_random_arrivals_have_their_mean_and_variation(
    arrival: Arrival, burstiness: float, variation: float
) -> None:
    """Gamma gaps of shape k vary by 1/sqrt(k) of their mean."""
    times = arrivals_ns(arrival, 100.0, 40_000, np.random.default_rng(1), burstiness)
    gaps = np.diff(times) / 1e9
    assert gaps.mean() == pytest.approx(0.01, rel=0.05)
    assert gaps.std() / gaps.mean() == pytest.approx(variation, rel=0.08)


@pytest.mark.parametrize("arrival", ["constant", "poisson", "gamma"])
@pytest.mark.parametrize("seed", range(20))
def test_five_per_second_are_five_per_second(arrival: Arrival, seed: int) -> None:
    """Of 100 Poisson arrivals "at 5/s" the rate really was 4.2 to 6.2/s, by seed."""
    times = arrivals_ns(arrival, 5.0, 100, np.random.default_rng(seed), 0.5)
    assert 99 / (times[-1] / 1e9) == pytest.approx(5.0, rel=1e-6)


def test_poisson_arrivals_given_their_count_are_uniform() -> None:
    """Kolmogorov and Smirnov on 200 schedules: between the ends all instants are alike."""
    inner = [
        arrivals_ns("poisson", 5.0, 50, np.random.default_rng(seed))[1:-1] / 9.8e9
        for seed in range(200)
    ]
    assert stats.kstest(np.concatenate(inner), "uniform").pvalue > 0.01


@given(
    st.sampled_from(["constant", "poisson", "gamma"]),
    st.floats(0.1, 1e5),
    st.integers(1, 200),
    st.integers(0, 5),
)
def test_arrivals_start_at_zero_never_go_back_and_are_seeded(
    arrival: Arrival, rate: float, count: int, seed: int
) -> None:
    times = arrivals_ns(arrival, rate, count, np.random.default_rng(seed))
    assert len(times) == count
    assert times[0] == 0
    assert bool((np.diff(times) >= 0).all())
    again = arrivals_ns(arrival, rate, count, np.random.default_rng(seed))
    assert times.tolist() == again.tolist()


@given(
    st.lists(st.integers(-1, 5), min_size=1, max_size=40),
    st.none() | st.integers(1, 12),
    st.integers(1, 6),
)
def test_work_is_dealt_out_whole_and_sessions_stay_together(
    owners: list[int], slots: int | None, workers: int
) -> None:
    requests = tuple(request(i, s) for i, s in enumerate(owners))
    work = sessions(requests)
    assert sorted(r.index for group in work for r in group) == list(range(len(owners)))
    for group in work:
        assert len({r.session for r in group}) == 1
        assert group[0].session >= 0 or len(group) == 1
    shares = split(work, slots, workers)
    assert sorted(id(s) for share, _ in shares for s in share) == sorted(map(id, work))
    assert all(share for share, _ in shares)
    if slots is not None:
        assert sum(n for _, n in shares) <= slots
        assert all(n >= 1 for _, n in shares)
