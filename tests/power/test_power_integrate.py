"""Energy from samples against known integrals: analytic signals, and sensors with known faults."""

from __future__ import annotations

import numpy as np
import pytest
from power_support import at, board_telemetry

from bench.meters.synthetic import Curve, Sensors, constant, ramp, square, steps
from bench.power.integrate import (
    Sampled,
    counted_j,
    counter_at_j,
    held_j,
    largest_gap_s,
    longest_same_s,
)
from bench.power.window import device_window

SECOND = 1_000_000_000


def samples(*pairs: tuple[float, float]) -> Sampled:
    """(seconds, value) pairs as readings."""
    t_ns = np.array([round(t * SECOND) for t, _ in pairs], dtype=np.int64)
    return t_ns, np.array([v for _, v in pairs], dtype=np.float64)


def test_700_w_for_10_s_then_100_w_values_repeated() -> None:
    """Held readings: 700 W x 10 s = 7 kJ, however often the sensor repeats itself.

    A trapezoid between 700 and 100 W, or dropping repeats and joining the ends, would not give it.
    """
    readings = [(i * 0.05, 700_000.0 if i < 200 else 100_000.0) for i in range(401)]
    power = samples(*readings)
    assert held_j(power, 0, 10 * SECOND) == pytest.approx(7000.0)
    assert held_j(power, 0, 20 * SECOND) == pytest.approx(8000.0)
    sparse = samples((0.0, 700_000.0), (10.0, 100_000.0), (20.0, 100_000.0))
    assert held_j(sparse, 0, 20 * SECOND) == pytest.approx(8000.0)


def test_units_are_mw_and_mj() -> None:
    """1000 mW for 1 s is 1 J; 1000 mJ are 1 J."""
    assert held_j(samples((0, 1000.0), (2, 1000.0)), 0, SECOND) == pytest.approx(1.0)
    assert counted_j(samples((0, 500.0), (2, 2500.0)), 0, SECOND) == pytest.approx(1.0)


def test_a_window_inside_readings_uses_the_reading_before_its_start() -> None:
    """From 0.5 to 2.5 s: 0.5 s of 4 W, 1 s of 2 W, 0.5 s of 6 W = 2 + 2 + 3 J."""
    power = samples((0, 4000.0), (1, 2000.0), (2, 6000.0), (3, 9000.0))
    assert held_j(power, SECOND // 2, 5 * SECOND // 2) == pytest.approx(7.0)


def test_no_energy_without_readings_on_both_sides() -> None:
    power = samples((1, 4000.0), (2, 2000.0))
    assert held_j(power, 0, 2 * SECOND) is None
    assert held_j(power, SECOND, 3 * SECOND) is None
    assert counted_j(power, 0, 2 * SECOND) is None
    assert held_j(samples(), 0, SECOND) is None


def test_the_counter_between_readings() -> None:
    """A quarter of the way by time; with power 100 W then 300 W, 25 of 200 J by energy."""
    counter = samples((0, 0.0), (1, 200_000.0))
    assert counter_at_j(counter, SECOND // 4) == pytest.approx(50.0)
    power = samples((0, 100_000.0), (0.5, 300_000.0), (1, 300_000.0))
    assert counter_at_j(counter, SECOND // 4, power) == pytest.approx(25.0)
    assert counter_at_j(counter, SECOND, power) == pytest.approx(200.0)


def test_gaps_reach_over_the_edges_of_the_window() -> None:
    t_ns, _ = samples((0, 1), (1, 1), (1.1, 1), (4, 1))
    assert largest_gap_s(t_ns, SECOND, 11 * SECOND // 10) == pytest.approx(0.1)
    assert largest_gap_s(t_ns, SECOND, 2 * SECOND) == pytest.approx(2.9)
    assert largest_gap_s(t_ns, SECOND, 9 * SECOND) == pytest.approx(5.0)
    assert largest_gap_s(t_ns[:0], 0, SECOND) is None


def test_the_longest_time_without_a_change() -> None:
    power = samples((0, 5), (1, 5), (2, 5), (3, 6), (4, 6), (4.5, 7))
    assert longest_same_s(power, 0, 5 * SECOND) == pytest.approx(3.0)
    assert longest_same_s(power, 0, 0) is None


CURVES: dict[str, tuple[Curve, float]] = {
    # name: curve, J between 30 s and 90 s
    "constant": (constant(400.0), 400.0 * 60),
    # 100 -> 700 W over 120 s: 250 W at 30 s, 550 W at 90 s, mean 400 W
    "ramp": (ramp(100.0, 700.0, 120.0), 400.0 * 60),
    # the load begins exactly where the window does
    "step at the edge": (steps([(30.0, 700.0), (90.0, 100.0)], before_w=100.0), 700.0 * 60),
}


@pytest.mark.parametrize("phase_s", [0.0, 0.013, 0.25, 0.49])
@pytest.mark.parametrize("name", CURVES)
def test_energy_within_a_thousandth_of_the_known_integral(name: str, phase_s: float) -> None:
    curve, joules = CURVES[name]
    trace = board_telemetry(curve, 120.0, phase_s=phase_s)
    found = device_window(trace, trace.header.devices[0], at(30), at(90))
    assert found.counter_j == pytest.approx(joules, rel=1e-3)
    assert found.integral_j == pytest.approx(joules, rel=1e-3)
    assert found.residual == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(("period_s", "seconds"), [(0.1, 60.0), (0.1, 600.0), (0.05, 60.0)])
def test_a_load_locked_to_the_sensor_biases_it_and_longer_windows_do_not_cure_that(
    period_s: float, seconds: float
) -> None:
    """Square waves of 100 and 50 ms, mean 400 W, seen in 25 of every 100 ms only.

    Both end every 100 ms on their low half, so that the sensor reads 100 W throughout: -75 %.
    """
    sensors = Sensors(publish_s=0.1, averaged_s=0.025, counter_step_s=0.0)
    trace = board_telemetry(square(100.0, 700.0, period_s), seconds + 2, sensors)
    found = device_window(trace, trace.header.devices[0], at(1), at(1 + seconds))
    assert found.counter_j == pytest.approx(400.0 * seconds, rel=0.01)
    assert found.residual == pytest.approx(-0.75, abs=0.01)


def test_a_load_off_the_sensors_beat_is_seen_right() -> None:
    """A 37 ms square wave walks through the sensor's 25 ms: its mean is found within 2 %."""
    sensors = Sensors(publish_s=0.1, averaged_s=0.025, counter_step_s=0.0)
    trace = board_telemetry(square(100.0, 700.0, 0.037), 62.0, sensors)
    found = device_window(trace, trace.header.devices[0], at(1), at(61))
    assert found.residual == pytest.approx(0.0, abs=0.02)


def test_a_lagging_counter_undercounts_short_windows() -> None:
    """Load from 10 s on, the counter 0.13 s late: lag/T is missing, 26 % of 0.5 s, 2.6 % of 5 s.

    Read by the counter alone at the ends, as a naive harness does.
    """
    sensors = Sensors(publish_s=0.0, averaged_s=0.0, counter_step_s=0.0, counter_lag_s=0.13)
    trace = board_telemetry(steps([(10.0, 700.0)], before_w=0.0), 80.0, sensors)
    counter = trace.of(0, "energy").read("energy_mj")

    def missing(seconds: float) -> float:
        joules = counted_j(counter, at(10), at(10 + seconds))
        assert joules is not None
        return 1 - joules / (700.0 * seconds)

    assert missing(0.5) == pytest.approx(0.26, abs=0.01)
    assert missing(5.0) == pytest.approx(0.026, abs=0.001)
    assert missing(60.0) == pytest.approx(0.0022, abs=0.0002)


def test_a_stepping_counter_is_within_a_step_at_each_edge() -> None:
    """A counter that steps every 100 ms, read every 500 ms at odd moments: 400 W x 60 s."""
    sensors = Sensors(publish_s=0.0, averaged_s=0.0, counter_step_s=0.1)
    trace = board_telemetry(constant(400.0), 80.0, sensors, phase_s=0.037)
    found = device_window(trace, trace.header.devices[0], at(10), at(70))
    assert found.counter_j == pytest.approx(24_000.0, abs=400.0 * 0.1)
