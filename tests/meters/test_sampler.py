"""The sampler as a process: it ends with its owner and says so, and never loses a turn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from power_support import ZERO_NS, TurnedClock, sampled

from bench.config.compose import compose, run_spec
from bench.meters.sampler import open_sources
from bench.meters.synthetic import Sensors, SyntheticSource, constant
from bench.meters.watch import watch
from bench.store import load_telemetry
from bench.values.codec import decode
from bench.values.errors import InputError
from bench.values.spec import RunSpec
from bench.values.telemetry import Telemetry, parse


def spec(*overrides: str) -> RunSpec:
    made: RunSpec = run_spec(compose(["engine=truth", "meter=synthetic", *overrides]))
    return made


def stored_telemetry(folder: Path) -> Telemetry:
    found = load_telemetry(folder)
    assert found is not None
    return found


def wait_for(true: Any, what: str) -> None:
    """Wait until `true()`; a busy machine may take its time."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def children() -> set[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def readings(folder: Path) -> int:
    path = folder / "telemetry" / "power.jsonl"
    return path.read_text().count('"k":"power"')


def test_a_trace_begins_with_a_header_and_ends_with_an_end(tmp_path: Path) -> None:
    with watch(spec("meter.watts=321"), tmp_path) as meter:
        wait_for(lambda: readings(tmp_path) > 5, "no readings came")
        assert meter.gauges().power_w == pytest.approx(321)
    trace = stored_telemetry(tmp_path)
    assert trace.header.source == "synthetic"
    assert trace.header.owner_pid == os.getpid()
    assert trace.end is not None
    assert trace.end.cpu_s > 0
    t_ns, mw = trace.of(0, "power").read("instant_mw")
    assert set(mw) == {321_000.0}
    assert t_ns[-1] <= trace.end.t_ns


def test_a_sampler_killed_midway_leaves_its_readings_and_the_run_goes_on(tmp_path: Path) -> None:
    before = children()
    with watch(spec(), tmp_path) as meter:
        wait_for(lambda: readings(tmp_path) > 5, "no readings came")
        (sampler,) = children() - before
        os.kill(sampler, signal.SIGKILL)
        wait_for(lambda: not alive(sampler), "the sampler lives on")
        meter.mark("still_here")
        meter._shown_at_s = time.monotonic() - 10  # long since anybody looked
        wait_for(lambda: _nothing_shown(meter), "a dead meter's power is still shown")
    trace = stored_telemetry(tmp_path)
    assert trace.end is None
    assert len(trace.of(0, "power").t_ns) > 5


def _nothing_shown(meter: Any) -> bool:
    return meter.gauges().power_w is None


OWNER = """
import os, sys, time
from pathlib import Path
from bench.config.compose import compose, run_spec
from bench.meters.watch import watch
with watch(run_spec(compose(["engine=truth", "meter=synthetic"])), Path(sys.argv[1])):
    tasks = Path("/proc/self/task").glob("*/children")
    print(*[pid for task in tasks for pid in task.read_text().split()], flush=True)
    if os.fork() == 0:  # a child that holds the pipe to the sampler open
        time.sleep(300)
        os._exit(0)
    time.sleep(300)
"""


def test_the_sampler_ends_with_an_owner_that_was_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as owner:
        assert owner.stdout is not None
        sampler = int(owner.stdout.readline())
        try:
            wait_for(lambda: readings(tmp_path) > 5, "no readings came")
            owner.kill()
            owner.wait()
            wait_for(lambda: not alive(sampler), "the sampler outlives its owner")
        finally:
            os.killpg(owner.pid, signal.SIGKILL)
    trace = stored_telemetry(tmp_path)
    assert trace.end is not None


def test_without_a_meter_the_trace_holds_the_reason_alone(tmp_path: Path) -> None:
    with watch(spec("meter=none"), tmp_path) as meter:
        assert meter.gauges().power_w is None
    trace = stored_telemetry(tmp_path)
    assert trace.header.source == "none"
    assert trace.header.reason == "meter=none was asked for"
    assert trace.series == {}


def test_a_meter_that_was_asked_for_and_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"meter=replay is to play\."),
        watch(spec("meter=replay"), tmp_path),
    ):
        pass
    (tmp_path / "no.jsonl").write_text('{"k":"header","source":"nvml"}\n')
    with (
        pytest.raises(InputError, match="holds no readings"),
        watch(spec("meter=replay", f"meter.path={tmp_path / 'no.jsonl'}"), tmp_path),
    ):
        pass


def test_a_recording_is_played_again_with_its_gaps(tmp_path: Path) -> None:
    """2 s recorded with a hole from 0.5 to 1 s: the run's own trace has the hole as well."""
    clock = TurnedClock()
    source = SyntheticSource(curve=constant(250.0), clock=clock, zero_ns=ZERO_NS)
    lines = sampled([source], clock, 2.0)
    hole = (ZERO_NS + 5 * 10**8, ZERO_NS + 10**9)
    kept = [x for x in lines if not hole[0] < json.loads(x).get("t", 0) < hole[1]]
    (tmp_path / "recorded.jsonl").write_text("\n".join(kept) + "\n")
    with watch(spec("meter=replay", f"meter.path={tmp_path / 'recorded.jsonl'}"), tmp_path):
        wait_for(lambda: readings(tmp_path) >= 25, "the recording was not played")
    trace = stored_telemetry(tmp_path)
    assert trace.header.source == "replay"
    assert (trace.header.note or "").startswith("recorded from synthetic")
    t_ns, mw = trace.of(0, "power").read("instant_mw")
    assert set(mw) == {250_000.0}
    assert np.diff(t_ns).max() == pytest.approx(0.55e9, abs=0.06e9)
    assert len(set(t_ns)) == len(t_ns)  # a reading is written once


def test_slow_readings_keep_their_turn_when_ticks_are_skipped() -> None:
    """Four boards whose reads take 60 ms each: a tick takes longer than its 50 ms, ticks are
    skipped, and the counter of every board is still read more often than every 1.5 s."""
    clock = TurnedClock()
    source = SyntheticSource(
        curve=constant(300.0), sensors=Sensors(read_s=0.06), clock=clock, zero_ns=ZERO_NS, boards=4
    )
    trace = parse(sampled([source], clock, 60.0))
    for board in range(4):
        t_ns, _ = trace.of(board, "energy").read("energy_mj")
        assert np.diff(t_ns).max() < 1.5e9
    assert decode(str, trace.header.source, "source") == "synthetic"


def test_no_meter_at_all_names_every_reason() -> None:
    """On a machine without an NVIDIA driver and without RAPL; elsewhere there is a source."""
    sources, header = open_sources({"kind": "auto"})
    if not sources:
        assert "NVML library not found" in (header.reason or "")
        assert "; " in (header.reason or "")
    assert header.source in ("none", "nvml", "rapl")
