"""Every metric, worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from point_support import Shot, even, point

from bench.measure.checks.moves import withhold
from bench.measure.metrics import METRICS, Metric, measure_all, steady_parts, whole_parts
from bench.measure.window import in_flight, steadiness, steady_window
from bench.report.numbers import with_interval
from bench.values.finding import finding, some
from bench.values.record import PointData
from bench.values.spec import SloSpec

LOOSE = SloSpec(ttft_ms=200, tpot_ms=20)


def measured(*repeats: PointData, slo: SloSpec = LOOSE, gpus: int = 0) -> dict[str, Metric]:
    data = list(repeats)
    return measure_all(steady_parts(data, slo, gpus), whole_parts(data, slo, gpus))


def test_four_requests_back_to_back() -> None:
    """TTFT 100, five tokens 10 apart, 150 in all. The window is 150 to 600 ms: 3 requests,
    15 tokens, 24 prompt tokens in 0.45 s."""
    found = measured(point(even(4)), gpus=2)
    expected = {
        "output_tokens_per_s": 15 / 0.45,
        "output_tokens_per_s_per_gpu": 15 / 0.45 / 2,
        "output_tokens_per_s_per_user": 100.0,
        "input_tokens_per_s": 24 / 0.45,
        "total_tokens_per_s": (15 + 24) / 0.45,
        "requests_per_s": 3 / 0.45,
        "goodput_requests_per_s": 3 / 0.45,
        "goodput_output_tokens_per_s": 15 / 0.45,
        "ttft_p50_ms": 100.0,
        "ttft_mean_ms": 100.0,
        "e2e_mean_ms": 150.0,
        "ttft_sched_p50_ms": 100.0,
        "itl_p50_ms": 10.0,
        "tpot_p50_ms": 10.0,
        "e2e_p50_ms": 150.0,
        "dispatch_lag_p50_ms": 0.0,
        "error_rate": 0.0,
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value), name
    assert found["ttft_p50_ms"].n == found["ttft_p99_ms"].n == 3
    assert found["ttft_p99_ms"].value is None  # of three there is none
    assert found["itl_p50_ms"].n == 12


def test_what_was_not_measured_is_none_never_zero() -> None:
    found = measured(point(even(4)))
    assert found["output_tokens_per_s_per_gpu"].value is None
    failed = measured(point([replace(s, outcome="timeout") for s in even(4)]))
    assert failed["ttft_p50_ms"].value is None
    assert failed["itl_p99_ms"].value is None
    assert failed["error_rate"].value == 1.0
    assert failed["output_tokens_per_s"].value == 0.0  # a measured zero
    assert measured(point([]))["error_rate"].value is None


def test_goodput_counts_only_requests_within_both_limits() -> None:
    """Of the three in the window the second has TTFT 100 > 90, others are made faster."""
    shots = even(4)
    shots[1] = replace(shots[1], chunks=[c - 20 for c in shots[1].chunks])
    shots[3] = replace(shots[3], chunks=[c - 20 for c in shots[3].chunks])
    found = measured(point(shots), slo=SloSpec(ttft_ms=90, tpot_ms=20))
    assert found["goodput_requests_per_s"].value == pytest.approx(2 / 0.45)
    assert found["requests_per_s"].value == pytest.approx(3 / 0.45)
    slow = measured(point(shots), slo=SloSpec(ttft_ms=90, tpot_ms=9.9))
    assert slow["goodput_requests_per_s"].value == 0.0


def test_bundled_tokens_divide_the_gap_and_tpot_counts_tokens() -> None:
    """Chunks of 1, 2 and 2 tokens 20 ms apart: gaps of 10 ms a token, TPOT 40/4."""
    shots = [
        Shot(
            sent=i * 200,
            chunks=[i * 200 + 100 + 20 * k for k in range(3)],
            end=(i + 1) * 200,
            tokens=[1, 2, 2],
        )
        for i in range(4)
    ]
    found = measured(point(shots))
    assert found["itl_p50_ms"].value == pytest.approx(10.0)
    assert found["tpot_p50_ms"].value == pytest.approx(10.0)
    assert found["output_tokens_per_s"].value == pytest.approx(15 / 0.6)


def test_an_open_loop_shows_the_waiting_that_a_late_client_hides() -> None:
    """Scheduled every 100 ms, sent 30 ms late."""
    shots = [
        Shot(scheduled=i * 100, sent=i * 100 + 30, chunks=[i * 100 + 50], end=i * 100 + 60)
        for i in range(120)
    ]
    found = measured(point(shots, rate_per_s=10))
    assert found["ttft_p50_ms"].value == pytest.approx(20)
    assert found["ttft_sched_p50_ms"].value == pytest.approx(50)
    assert found["dispatch_lag_p99_ms"].value == pytest.approx(30)


def test_three_repeats_make_a_t_interval() -> None:
    """TTFT 90, 100, 110: mean 100, sd 10, half width 4.302653 x 10 / sqrt(3) = 24.841."""
    repeats = [point(even(4, ttft=t), repeat=i) for i, t in enumerate((90, 100, 110))]
    metric = measured(*repeats)["ttft_p50_ms"]
    assert metric.value == pytest.approx(100)
    assert metric.ci_low == pytest.approx(100 - 24.841, abs=0.001)
    assert metric.ci_high == pytest.approx(100 + 24.841, abs=0.001)
    assert metric.repeats == 3


def test_a_failure_of_all_moves_every_headline_and_keeps_the_error_rate() -> None:
    found = withhold(measured(point(even(4))), [finding("clock", "fail", "wrong")])
    assert found["output_tokens_per_s"].value is None
    assert found["output_tokens_per_s"].ci_low is None
    assert found["output_tokens_per_s"].withheld_value == pytest.approx(15 / 0.45)
    assert found["output_tokens_per_s"].reason == "clock: wrong"
    assert found["error_rate"].value == 0.0


def test_a_failure_takes_away_what_it_can_move_and_the_rest_stays() -> None:
    found = withhold(measured(point(even(110))), [some("x", "late tails", ("itl_p90", "itl_p99"))])
    hidden = {name for name, m in found.items() if m.withheld_value is not None}
    assert hidden == {"itl_p90_ms", "itl_p99_ms"}
    stems = withhold(
        measured(point(even(110))), [some("x", "rates", ("output_tokens_per_s", "tpot"))]
    )
    hidden = {name for name, m in stems.items() if m.withheld_value is not None}
    tpot = {f"tpot_{which}_ms" for which in ("p50", "p90", "p95", "p99", "mean")}
    assert hidden == {"output_tokens_per_s", *tpot}


def test_a_mean_is_that_of_the_repeats_means() -> None:
    """TTFT of three repeats: 90, 100, 116; their mean 102, sd 13.115, half width 32.58."""
    repeats = [point(even(4, ttft=t), repeat=i) for i, t in enumerate((90, 100, 116))]
    mean = measured(*repeats)["ttft_mean_ms"]
    assert mean.value == pytest.approx(102)
    assert mean.ci_low == pytest.approx(102 - 32.58, abs=0.01)
    assert mean.n == measured(*repeats)["ttft_p50_ms"].n


def test_every_metric_says_how_it_is_computed() -> None:
    assert len({d.name for d in METRICS}) == len(METRICS)
    assert all(d.formula.endswith(".") or len(d.formula) > 10 for d in METRICS)


def test_the_window_of_a_closed_loop() -> None:
    """Two slots; first two end at 100 and 140; last is sent at 300, first end after it 320."""
    shots = [
        Shot(sent=0, chunks=[50], end=100),
        Shot(sent=0, chunks=[50], end=140),
        Shot(sent=100, chunks=[150], end=300),
        Shot(sent=140, chunks=[200], end=320),
        Shot(sent=300, chunks=[350], end=400),
    ]
    window = steady_window(point(shots, concurrency=2))
    assert window is not None
    assert (window.start_ns, window.end_ns) == (140_000_000, 320_000_000)
    assert steady_window(point(shots[:2], concurrency=2)) is None


def _waves(count: int, *, slots: int = 16, ttft: float = 50, itl: float = 20, tokens: int = 50):  # type: ignore[no-untyped-def]
    """Requests of equal length in a closed loop: all slots in step."""
    took = ttft + itl * (tokens - 1)
    return [
        Shot(
            sent=w * took,
            chunks=[w * took + ttft + itl * k for k in range(tokens)],
            end=(w + 1) * took,
        )
        for w in range(count)
        for _ in range(slots)
    ]


@pytest.mark.parametrize(
    ("count", "shown"), [(9, ()), (10, (90,)), (20, (90, 95)), (99, (90, 95)), (100, (90, 95, 99))]
)
def test_a_percentile_needs_a_value_beyond_it(count: int, shown: tuple[int, ...]) -> None:
    """Of 99 values none lies beyond their p99: it would be the largest, 5 to 10 % too low."""
    metrics = measured(point(even(count + 1)))
    assert metrics["ttft_p50_ms"].value is not None
    for q in (90, 95, 99):
        figure = metrics[f"e2e_p{q}_ms"]
        assert (figure.value is not None) == (q in shown), q
        assert figure.n == count
        if q not in shown:
            assert f"a p{q} needs" in str(figure.reason)


@pytest.mark.parametrize("waves", [3, 4, 10])
def test_equal_requests_in_step_keep_littles_law_and_tie_out(waves: int) -> None:
    """16 in flight, 50 + 49 x 20 = 1,030 ms each: 16 / 1.03 s = 15.53 req/s and 776.7 tokens/s. The
    old window held k decodes and k - 1 completions and said 12.6."""
    found = measured(point(_waves(waves), concurrency=16))
    assert found["requests_per_s"].value == pytest.approx(16 / 1.03)
    assert found["output_tokens_per_s"].value == pytest.approx(50 * 16 / 1.03)
    assert found["input_tokens_per_s"].value == pytest.approx(8 * 16 / 1.03)
    assert found["e2e_p90_ms"].value == pytest.approx(1030)
    window = steady_window(point(_waves(waves), concurrency=16))
    assert window is not None
    assert window.waves == waves - 2


def test_a_wave_that_comes_apart_after_the_first_moves_no_rate() -> None:
    """Two slots of 100 ms each, 20 requests/s. Both first ones end at 100; from then on one of them
    is 40 ms behind the other. One window, from the second end (100) to the eighth (440), says
    6 / 0.34 s = 17.6. Over 200 to 400 and 240 to 440, both whole waves: 8 / 0.4 s = 20."""
    ends = [(0, 100), (0, 100), *((100 * w, 100 * (w + 1)) for w in range(1, 5))]
    ends += [(100, 240), *((100 * w + 40, 100 * (w + 1) + 40) for w in range(2, 5))]
    shots = [Shot(sent=a, chunks=[b], end=b) for a, b in sorted(ends)]
    window = steady_window(point(shots, concurrency=2))
    assert window is not None
    assert (window.start_ns, window.end_ns) == (100_000_000, 440_000_000)
    assert measured(point(shots, concurrency=2))["requests_per_s"].value == pytest.approx(20.0)


def test_a_window_of_one_wave_only_is_none() -> None:
    assert steady_window(point(_waves(2)[:-1], concurrency=16)) is None


def test_the_last_second_of_a_trace_counts() -> None:
    """A request a second, then eight at once that a server of one at a time answers in 0.5 s each:
    they wait 0.5 to 4 s. A window that ends at the last arrival saw none of them."""
    quiet = [Shot(sent=1e3 * i, chunks=[1e3 * i + 400], end=1e3 * i + 500) for i in range(100)]
    burst = [Shot(sent=1e5, chunks=[1e5 + 500 * k - 100], end=1e5 + 500 * k) for k in range(1, 9)]
    data = point([*quiet, *burst], rate_per_s=1.0)
    traced = replace(data, point=replace(data.point, trace=True))
    found = measured(traced)
    # Of 108 values, place 108 x 0.99 + 1.99 / 3 = 107.583: 3400 + 0.583 x 500.
    assert found["ttft_sched_p99_ms"].value == pytest.approx(3400 + 500 * 0.58333, rel=1e-5)
    assert found["ttft_sched_p99_ms"].n == 108
    assert found["requests_per_s"].value == pytest.approx(108 / 104.0)


def test_overload_counts_those_who_wait_longest() -> None:
    """Ten a second for 60 s at a server that does five: the last ones wait for 60 s."""
    shots = [
        Shot(sent=100.0 * i, chunks=[200.0 * (i + 1) - 10], end=200.0 * (i + 1)) for i in range(600)
    ]
    found = measured(point(shots, rate_per_s=10.0))
    assert found["ttft_sched_p99_ms"].value == pytest.approx(59.5e3, rel=0.01)
    assert found["requests_per_s"].value == pytest.approx(5.0, rel=0.01)


def test_failures_do_not_flatter() -> None:
    """One in a hundred never answers: p99 is the worst answer of 99, or none, not the next best."""
    shots = even(203)
    for i in range(1, 203, 50):
        shots[i] = replace(shots[i], outcome="timeout", chunks=[], tokens=[])
    parts = steady_parts([point(shots)], LOOSE, 0, deadline_ms=30e3)
    found = measure_all(parts, whole_parts([point(shots)], LOOSE, 0))
    assert found["ttft_p99_ms"].value == pytest.approx(30e3)
    assert found["ttft_p50_ms"].value == pytest.approx(100)


def test_fewer_than_three_repeats_carry_no_interval_and_say_so() -> None:
    for repeats in (1, 2):
        found = measured(*[point(even(150), repeat=r) for r in range(repeats)])
        for name in ("output_tokens_per_s", "ttft_p50_ms", "ttft_p99_ms"):
            assert found[name].ci_low is None
            assert "from 3 on" in (found[name].no_interval or "")


def test_percentiles_are_of_all_repeats_together() -> None:
    """p99 of three repeats of which one is slow lies in the slow one: not a mean of three p99s."""
    repeats = [point(even(250, ttft=t), repeat=r) for r, t in enumerate((100, 100, 200))]
    metric = measured(*repeats)["ttft_p99_ms"]
    assert metric.value == pytest.approx(200)
    assert metric.by_repeat == pytest.approx({0: 100, 1: 100, 2: 200})
    assert metric.ci_low is None
    assert "they differ" in (metric.no_interval or "")


def test_the_first_chunk_may_bring_several_tokens() -> None:
    """Four tokens at once, then two every 20 ms: 10 ms a token. (Last - first) / (tokens - 1) said
    40 / 7 = 5.7."""
    shots = [
        Shot(
            sent=i * 200,
            chunks=[i * 200 + 100 + 20 * k for k in range(3)],
            end=(i + 1) * 200,
            tokens=[4, 2, 2],
        )
        for i in range(4)
    ]
    found = measured(point(shots))
    assert found["tpot_p50_ms"].value == pytest.approx(10.0)
    assert found["output_tokens_per_s_per_user"].value == pytest.approx(100.0)


def test_in_flight_counts_from_scheduled_to_end() -> None:
    data = point(
        [Shot(sent=0, chunks=[1], end=10), Shot(sent=5, chunks=[6], end=20)], concurrency=2
    )
    at = np.array([1, 7, 15, 30]) * 1_000_000
    assert in_flight(data, at).tolist() == [1, 2, 1, 0]


def test_steadiness_of_halves() -> None:
    rng = np.random.default_rng(1)
    calm = steadiness(100 + rng.normal(0, 5, 24))
    assert calm is not None
    assert calm.steady
    step = steadiness(
        np.concatenate([np.full(12, 100.0), np.full(12, 150.0)]) + rng.normal(0, 5, 24)
    )
    assert step is not None
    assert not step.steady
    assert step.relative_difference == pytest.approx(0.4, abs=0.05)
    assert steadiness(np.zeros(24)) is None


def test_a_slope_is_found_that_the_halves_leave_to_chance() -> None:
    """Rising from 70 to 130 with every other bin 26 off: the halves differ by 31 %. By scipy:
    Welch p = 0.0105, regression p = 0.0078."""
    rates = np.linspace(70, 130, 24) + 26 * np.array([1, -1] * 12)
    drift = steadiness(rates)
    assert drift is not None
    assert drift.p_value == pytest.approx(0.010522, abs=1e-6)
    assert drift.slope_p_value == pytest.approx(0.007815, abs=1e-6)
    assert not drift.steady


def test_the_window_ends_when_a_slot_of_any_worker_stays_empty() -> None:
    """Two workers with one slot each. The first has three requests and is done at 300, the second
    goes on to 500: from 300 on only one is in flight. By hand: H = 3, S = 1, third end."""
    shots = [Shot(sent=t, chunks=[t + 50], end=t + 100) for t in (0, 100, 200)]
    shots += [Shot(sent=t, chunks=[t + 50], end=t + 100) for t in (0, 100, 200, 300, 400)]
    data = point(shots, concurrency=2)
    data.requests["worker"] = np.array([0] * 3 + [1] * 5)
    window = steady_window(data)
    assert window is not None
    assert (window.start_ns, window.end_ns) == (100_000_000, 300_000_000)


def test_the_later_turns_of_a_session_do_not_hide_an_empty_slot() -> None:
    """Two slots, three sessions of two turns. The slot of session 1 is empty from 250 on, though
    session 2 sends its second turn at 300."""
    turns = [(0, 100), (100, 200), (0, 125), (125, 250), (200, 300), (300, 400)]
    data = point([Shot(sent=a, chunks=[a + 1], end=b) for a, b in turns], concurrency=2)
    data.requests["session"] = np.array([0, 0, 1, 1, 2, 2])
    window = steady_window(data)
    assert window is not None
    assert (window.start_ns, window.end_ns) == (125_000_000, 250_000_000)


def test_ends_that_arrived_before_the_last_was_sent_but_were_seen_after_it() -> None:
    """Four slots end at once at 100; the client has two left and sends them at 101 and 102. Two
    slots are empty from 100 on: there is nothing steady, however long the last two take."""
    shots = [Shot(sent=0, chunks=[50], end=100) for _ in range(4)]
    shots += [Shot(sent=t, chunks=[150], end=200) for t in (101, 102)]
    assert steady_window(point(shots, concurrency=4)) is None


def test_an_interval_does_not_reach_below_zero() -> None:
    """TTFT 1, 100, 300: median 100, sd 152.3, half width 378: cut off at 0 and printed so."""
    repeats = [point(even(4, ttft=t), repeat=i) for i, t in enumerate((1, 100, 300))]
    metric = measured(*repeats)["ttft_p50_ms"]
    assert metric.ci_low == 0.0
    assert metric.ci_high == pytest.approx(100 + 378.4, abs=0.5)
    assert with_interval(metric.value or 0, metric.ci_low, metric.ci_high) == "100 (0–478)"


def test_goodput_counts_waiting_from_the_scheduled_time() -> None:
    """Sent 90 ms late, first token 20 ms after that: 110 ms for the user, too late for 100."""
    shots = [
        Shot(scheduled=i * 100, sent=i * 100 + 90, chunks=[i * 100 + 110], end=i * 100 + 120)
        for i in range(20)
    ]
    late = measured(point(shots, rate_per_s=10), slo=SloSpec(ttft_ms=100, tpot_ms=20))
    assert late["goodput_requests_per_s"].value == 0.0
    assert late["requests_per_s"].value == pytest.approx(10, rel=0.1)
