"""What a survey of sensors finds: the periods of a known board, and none of a still one."""

from __future__ import annotations

import pytest
from power_support import TurnedClock

from bench.meters.sensors import survey, update_period_s
from bench.meters.synthetic import Sensors, SyntheticSource, ramp


def test_update_periods_and_latencies_of_a_known_board() -> None:
    """Power is published every 100 ms, the counter steps every 50 ms, a read takes 4 ms."""
    clock = TurnedClock()
    how = Sensors(publish_s=0.1, averaged_s=0.025, counter_step_s=0.05, read_s=0.004)
    source = SyntheticSource(
        curve=ramp(100.0, 700.0, 60.0), sensors=how, clock=clock, zero_ns=clock.now_ns(), boards=2
    )
    found = {(s.device, s.name): s for s in survey(source, clock, 3.0)}
    for device in (0, 1):
        assert found[device, "instant_mw"].update_s == pytest.approx(0.1, abs=0.03)
        assert found[device, "energy_mj"].update_s == pytest.approx(0.05, abs=0.03)
        assert found[device, "instant_mw"].read_s == pytest.approx(0.004)
        polled_s = found[device, "instant_mw"].polled_s
        assert polled_s is not None
        assert 0.01 <= polled_s <= 0.04
        assert found[device, "temperature_c"].update_s is None  # it never changed
        assert found[device, "temperature_c"].last == 60


def test_a_period_needs_two_changes() -> None:
    assert update_period_s([]) is None
    assert update_period_s([(0, 1.0), (10, 1.0), (20, 2.0)]) is None
    # changes at 20, 40 and 90 ns: 20 and 50 apart
    steps = [(0, 1.0), (20, 2.0), (30, 2.0), (40, 3.0), (90, 4.0)]
    assert update_period_s(steps) == pytest.approx(35e-9)
