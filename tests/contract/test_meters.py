"""What every meter owes the sampler: the same six questions, and a reason for every blank."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_nvml import FakeNvml
from power_support import ZERO_NS, TurnedClock, board_telemetry, sampled

from bench.meters.nvml import NvmlSource
from bench.meters.rapl import RaplSource
from bench.meters.replay import ReplaySource
from bench.meters.source import Source
from bench.meters.synthetic import SyntheticSource, constant
from bench.values.telemetry import Reading, parse

Make = Callable[[TurnedClock, Path], Source]


def nvml(clock: TurnedClock, _: Path) -> Source:
    return NvmlSource(clock, {}, FakeNvml(boards=2))


def rapl(clock: TurnedClock, path: Path) -> Source:
    for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "dram")):
        (path / zone).mkdir()
        (path / zone / "name").write_text(name)
        (path / zone / "energy_uj").write_text("5000000")
        (path / zone / "max_energy_range_uj").write_text("262143328850")
    return RaplSource(clock, path)


def replay(clock: TurnedClock, _: Path) -> Source:
    return ReplaySource(board_telemetry(constant(300.0), 5.0), clock, start_ns=ZERO_NS)


def synthetic(clock: TurnedClock, _: Path) -> Source:
    return SyntheticSource(curve=constant(300.0), clock=clock, zero_ns=ZERO_NS, boards=2)


METERS: dict[str, Make] = {"nvml": nvml, "rapl": rapl, "replay": replay, "synthetic": synthetic}


@pytest.fixture(params=METERS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    return METERS[request.param](TurnedClock(), tmp_path)


def test_devices_are_numbered_and_named_once(source: Source) -> None:
    devices = source.devices()
    assert [d.index for d in devices] == list(range(len(devices)))
    assert len({d.uuid for d in devices}) == len(devices)
    assert source.header().source == source.kind
    assert source.header().devices == devices


def test_every_blank_has_its_reason_and_no_value_is_made_up(source: Source) -> None:
    for device in source.devices():
        readings: list[Reading | None] = [
            source.power(device.index),
            source.energy(device.index),
            source.state(device.index),
            source.memory(device.index),
        ]
        assert any(r is not None for r in readings)
        for reading in readings:
            if reading is None:
                continue
            blank = {name for name, value in reading.values.items() if value is None}
            assert blank == set(reading.why)
            assert reading.half_ns >= 0
        assert not isinstance(source.processes(device.index), str)
    source.close()


def test_a_trace_of_it_is_read_back_whole(source: Source) -> None:
    clock: TurnedClock = source._clock if hasattr(source, "_clock") else source.clock  # type: ignore[attr-defined]
    lines = sampled([source], clock, 3.0)
    trace = parse(lines)
    assert trace.header.source == source.kind
    for device in source.devices():
        t_ns, mj = trace.of(device.index, "energy").read("energy_mj")
        assert len(t_ns) >= 6
        assert (t_ns[1:] > t_ns[:-1]).all()
        assert (mj[1:] >= mj[:-1]).all()
    kinds = {kind for _, kind in trace.series}
    assert kinds <= {"power", "energy", "state", "memory"}
