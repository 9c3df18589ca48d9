"""The self-check against boards whose truth is known: what it must find, and what it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from power_support import SECOND_NS, ZERO_NS, board_telemetry

from bench.meters.sampler import Rates
from bench.meters.synthetic import IDEAL, Curve, Sensors, constant, square, steps
from bench.power.selfcheck import answers
from bench.power.selfcheck_case import Answer, Facts, Segment
from bench.power.selfcheck_sensors import overhead_answer, overheads
from bench.power.signal import counter_lags_s, half_way_s, refresh, thinned
from bench.power.window import device_window
from bench.values.telemetry import Process, ProcessSample, Telemetry

FAST = Rates(fast_s=0.01, slow_s=0.01)


def at(seconds: float) -> int:
    return ZERO_NS + round(seconds * SECOND_NS)


def trace_of(curve: Curve, seconds: float, sensors: Sensors, rates: Rates = FAST) -> Telemetry:
    return board_telemetry(curve, seconds, sensors, rates=rates)


def up_and_down(level_s: float, count: int) -> tuple[Curve, tuple[int, ...]]:
    """100 W and 600 W in turn, beginning with 600 W at 2 s; the curve and its edges."""
    times = [2 + level_s * i for i in range(count)]
    levels = [(t, 600.0 if i % 2 == 0 else 100.0) for i, t in enumerate(times)]
    return steps(levels, 100.0), tuple(at(t) for t in times)


def test_a_field_that_is_published_every_100_ms_is_seen_to_be() -> None:
    trace = trace_of(square(100, 600, 1.3), 10, Sensors(publish_s=0.1, read_s=0.001))
    seen = refresh(trace.of(0, "energy"), "energy_mj", at(0), at(10))
    assert seen is not None
    assert seen.period_s == pytest.approx(0.1, abs=0.011)
    assert seen.read_ms == pytest.approx(1.0, abs=0.001)
    assert seen.changes == pytest.approx(100, abs=2)
    assert refresh(trace.of(0, "energy"), "no_such", at(0), at(10)) is None


def test_a_constant_reading_has_no_period_rather_than_a_made_up_one() -> None:
    seen = refresh(trace_of(constant(300), 2, IDEAL).of(0, "power"), "instant_mw", at(0), at(2))
    assert seen is not None
    assert (seen.changes, seen.period_s) == (0, None)


def test_the_lag_of_a_counter_is_its_delay_and_half_of_its_step() -> None:
    curve, edges = up_and_down(4.0, 5)
    trace = trace_of(curve, 22, Sensors(counter_step_s=0.1, counter_lag_s=0.2))
    lags = counter_lags_s(trace.of(0, "energy").read("energy_mj"), edges)
    assert len(lags) == 3  # the first and the last edge have no level on one side
    assert lags == pytest.approx([0.25] * 3, abs=0.015)  # 0.2 s + 0.1 s / 2


def test_the_lag_of_the_instant_and_of_the_one_second_average() -> None:
    curve, edges = up_and_down(4.0, 5)
    trace = trace_of(curve, 22, IDEAL)
    assert half_way_s(trace.of(0, "power").read("instant_mw"), edges) == pytest.approx(
        [0.0] * 3, abs=0.011
    )
    # The mean of the last second has come half the way half a second after a step.
    assert half_way_s(trace.of(0, "state").read("average_mw"), edges) == pytest.approx(
        [0.5] * 3, abs=0.011
    )


@pytest.mark.parametrize(("ms", "honest"), [(37, True), (50, False), (100, False)])
def test_a_sensor_of_25_in_100_ms_is_blind_to_loads_that_lock_to_it(ms: int, honest: bool) -> None:
    trace = trace_of(square(100, 600, ms / 1e3), 21, Sensors(), Rates())
    found = device_window(trace, trace.header.devices[0], at(0.5), at(20.5))
    assert found.counter_j == pytest.approx(350 * 20, rel=0.01)  # the truth is the mean, 350 W
    assert found.residual is not None
    assert (abs(found.residual) < 0.05) == honest


def test_thinning_keeps_the_first_reading_of_every_period() -> None:
    t_ns, values = thinned(
        trace_of(constant(100), 3, IDEAL).of(0, "energy").read("energy_mj"), 500_000_000
    )
    assert [(t - at(0)) / 1e9 for t in t_ns.tolist()] == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    assert len(values) == 7


def test_overhead_is_against_the_rounds_before_and_after() -> None:
    # A drift of +2 a round, and 10 % cost: 90 % of the mean of its neighbours each time.
    found = overheads((100.0, 104.0, 108.0), (0.9 * 102, 0.9 * 106))
    assert found == pytest.approx([0.1, 0.1])
    assert overhead_answer("q", found).verdict == "differs"
    assert overhead_answer("q", [0.001, 0.002, 0.0015]).verdict == "ok"
    assert overhead_answer("q", [0.2, -0.2, 0.1]).verdict == "not measured"


IDLE_W, RESIDENT_W, BUSY_W = 70.0, 110.0, 600.0


def whole_check(sensors: Sensors) -> tuple[Telemetry, list[Segment], Facts]:
    """A board through every stretch: idle, resident, fast, steps, steady, waves, restart."""
    plan = [
        ("before_launch", "idle", 10, None),
        ("resident", "idle", 10, None),
        ("fast", "square", 10, 1.3),
        ("steps", "square", 32, 8.0),
        ("steady_10ms", "steady", 15, None),
        ("steady_ends", "steady", 15, None),
        ("steady", "steady", 30, None),
        ("square_37ms", "square", 20, 0.037),
        ("square_50ms", "square", 20, 0.05),
        ("square_100ms", "square", 20, 0.1),
        ("restart", "idle", 10, None),
    ]
    levels: list[tuple[float, float]] = []
    segments, now = [], 1.0
    for name, load, seconds, period in plan:
        low = IDLE_W if name in ("before_launch", "restart") else RESIDENT_W
        edges = []
        if period is None:
            levels.append((now, BUSY_W if load == "steady" else low))
        for i in range(round(seconds / period * 2) if period else 0):
            edges.append(now + i * period / 2)  # type: ignore[operator]
            levels.append((edges[-1], BUSY_W if i % 2 == 0 else low))
        ends = (now + 1, now + seconds - 1)
        segments.append(
            Segment(
                name=name,
                load=load,  # type: ignore[arg-type]
                start_ns=at(now),
                end_ns=at(now + seconds),
                period_s=period,
                edges_ns=tuple(at(e) for e in edges),
                counter_mj=tuple((at(e), 1e3 * BUSY_W * e) for e in ends),
            )
        )
        now += seconds
    trace = board_telemetry(steps(levels, IDLE_W), now + 1, sensors, rates=FAST)
    seen = ProcessSample(t_ns=at(12), device=0, processes=(Process(pid=42),))
    by_name = {s.name: s for s in segments}
    marks = {
        f"{n}_{e}": getattr(by_name[n], f"{e}_ns")
        for n in ("before_launch", "resident")
        for e in ("start", "end")
    }
    gib = 2**30
    facts = Facts(
        fields={"instant_mw": None, "energy_mj": None, "used_bytes": None, "memory_mw": "no"},
        memory={
            "v1_before": {"used": gib},
            "v2_before": {"used": 0, "reserved": gib},
            "v1_resident": {"used": 6 * gib},
            "v2_resident": {"used": 5 * gib},
        },
        allocated_bytes=4 * gib,
        rates_without=(100.0, 100.0, 100.0),
        rates_with=(99.9, 99.9),
        load_pids=(42,),
        marks=marks,
    )
    return replace(trace, processes=(seen,)), segments, facts


@pytest.fixture(scope="module")
def told() -> dict[str, Answer]:
    trace, segments, facts = whole_check(Sensors(publish_s=0.1, counter_lag_s=0.02))
    found = answers(trace, trace.header.devices[0], segments, facts)
    assert len(found) == 11
    return {a.question: a for a in found}


def test_a_good_board_passes_every_question(told: dict[str, Answer]) -> None:
    assert {q: a.text for q, a in told.items() if a.verdict != "ok"} == {}


def test_the_answers_carry_the_figures(told: dict[str, Answer]) -> None:
    assert told["fields supported"].figures["missing"] == {"memory_mw": "no"}
    watts = told["counter polled at 10 ms, 500 ms, ends only"].figures["watts"]
    assert watts == pytest.approx(dict.fromkeys(watts, BUSY_W), rel=0.01)
    idle = told["idle baselines"].figures
    assert idle == pytest.approx({"before_launch": IDLE_W, "resident": RESIDENT_W}, rel=0.01)
    residuals = told["counter against integral: idle, steady, square waves"].figures
    assert abs(residuals["square_100ms"]["residual"]) > 0.2
    assert told["step lag"].figures["median_s"]["83"] == pytest.approx(0.07, abs=0.02)
    assert "1.00 GiB more as used" in told["memory v1 against v2"].text


def test_faults_are_told_apart_from_health() -> None:
    trace, segments, facts = whole_check(Sensors(counter_step_s=1.0, counter_lag_s=0.4))
    facts = replace(facts, load_pids=(7,), memory={}, rates_without=())
    found = {a.question: a for a in answers(trace, trace.header.devices[0], segments, facts)}
    assert found["update periods and read latency of 83, 185, 186"].verdict == "differs"
    assert found["step lag"].verdict == "differs"
    assert found["PID visibility"].verdict == "not supported"
    assert found["memory v1 against v2"].verdict == "not measured"
    assert found["load with and without the sampler (A/B/A)"].verdict == "not measured"


def test_nothing_measured_is_no_pass() -> None:
    trace = board_telemetry(constant(100), 1)
    found = answers(trace, trace.header.devices[0], [], Facts())
    # The made-up board has its throttle counters throughout; all else was not asked.
    assert [a.verdict for a in found].count("ok") == 1
