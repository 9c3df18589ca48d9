"""Readings of several machines as one, and what a badly known clock takes away."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import pytest
from power_support import ZERO_NS, board_telemetry

from bench.measure.checks.client import clocks_of_clients
from bench.meters.synthetic import constant
from bench.nodes.joined import Node
from bench.power.checks import node_clocks
from bench.power.devices import deployment
from bench.power.window import device_window
from bench.traffic import far
from bench.traffic.worker import WorkerPlan
from bench.values.errors import BenchError
from bench.values.node_clock import Offset
from bench.values.record import WorkerReport
from bench.values.telemetry import End, Process, ProcessSample, Telemetry
from bench.values.telemetry_nodes import FromNode, from_nodes, with_nodes

DAY_NS = 86_400 * 10**9


def of_node(telemetry: Telemetry, error_ns: int = 20_000) -> FromNode:
    """What a node wrote whose clock is a day behind the stamps that it is read on."""
    return FromNode(
        host="b",
        number=1,
        telemetry=telemetry,
        on_head=lambda stamps: stamps - DAY_NS,
        error_ns=error_ns,
    )


def test_devices_are_numbered_through_and_stamps_moved() -> None:
    head = board_telemetry(constant(300.0), 5.0)
    seen = ProcessSample(t_ns=DAY_NS + 7, device=0, processes=(Process(pid=12, parents=(11, 1)),))
    whole = with_nodes(head, [of_node(replace(head, processes=(seen,)))])
    assert [(d.index, d.node) for d in whole.header.devices] == [(0, None), (1, "b")]
    mine, its = whole.of(0, "power"), whole.of(1, "power")
    assert (its.t_ns == mine.t_ns - DAY_NS).all()
    assert (its.half_ns == mine.half_ns + 20_000).all()
    process = whole.processes[-1]
    assert (process.t_ns, process.device) == (7, 1)
    assert process.processes is not None
    # 2^32 + 12 is nobody's process id on the head.
    assert (process.processes[0].pid, process.processes[0].parents) == (
        2**32 + 12,
        (2**32 + 11, 2**32 + 1),
    )


def test_a_sampler_that_died_on_any_machine_is_said() -> None:
    end = End(began_ns=0, t_ns=9, cpu_s=0.1)
    head = replace(board_telemetry(constant(300.0), 5.0), end=end)
    assert with_nodes(head, [of_node(head)]).end == end
    assert with_nodes(head, [of_node(replace(head, end=None))]).end is None


def test_processors_of_a_part_of_the_machines_have_no_energy() -> None:
    """Two machines compute, the counters of one are read: half a deployment is none."""
    board = board_telemetry(constant(300.0), 5.0)
    package = replace(board.header.devices[0], scope="CPU package")
    metered = replace(board, header=replace(board.header, source="rapl", devices=(package,)))
    bare = replace(metered, header=replace(metered.header, devices=()), series={}, processes=())
    for head, other, who in ((metered, bare, "b"), (bare, metered, "this machine")):
        whole = with_nodes(head, [of_node(other)])
        found = deployment(whole, 0, ZERO_NS, ZERO_NS + 10**9, None)
        assert found.devices == ()
        assert found.reason is not None
        assert f"the processors of {who} are not metered" in found.reason
    both = with_nodes(metered, [of_node(metered)])
    assert len(both.header.devices) == 2
    assert both.header.bare_hosts == ()


def test_a_window_that_may_lie_elsewhere_has_no_energy() -> None:
    """2 × 10 ms of 1 s are 2 %, 2 × 20 µs are 0.004 %."""
    head = board_telemetry(constant(300.0), 5.0)
    for error_ns, severity in ((10_000_000, "fail"), (20_000, "pass")):
        whole = with_nodes(head, [of_node(head, error_ns)])
        device = whole.header.devices[1]
        window = device_window(whole, device, ZERO_NS + 10**9, ZERO_NS + 2 * 10**9)
        (found,) = node_clocks([window])
        assert (found.severity, found.withholds) == (severity, "energy")


def test_files_of_nodes_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "node-1-gpu-02"
    folder.mkdir()
    header = {
        "k": "header",
        "source": "synthetic",
        "devices": [{"index": 0, "uuid": "u", "name": "n"}],
    }
    reading = {"k": "power", "d": 0, "t": DAY_NS + 5, "h": 1, "v": {"instant_mw": 300}}
    lines = "".join(f"{json.dumps(line)}\n" for line in (header, reading)) + '{"cut sho'
    (folder / "power.jsonl").write_text(lines)
    clock = asdict(Offset(at_ns=1, offset_ns=DAY_NS, error_ns=9))
    (folder / "clock.jsonl").write_text(f"{json.dumps(clock)}\n")
    (found,) = from_nodes(tmp_path)
    assert (found.host, found.number, found.error_ns) == ("gpu-02", 1, 9)
    assert found.on_head(found.telemetry.of(0, "power").t_ns).tolist() == [5]


class FarClock:
    """A node whose clock is known to so many ns."""

    host = "b"

    def __init__(self, error_ns: int) -> None:
        self.error_ns = error_ns

    def ask_clock(self) -> Offset:
        return Offset(at_ns=0, offset_ns=0, error_ns=self.error_ns)


def test_a_client_whose_clock_is_not_known_is_refused() -> None:
    with pytest.raises(BenchError, match=r"clock of b is known to ± 0.30 ms"):
        far.start(cast(Node, FarClock(300_000)), cast(WorkerPlan, None))


def test_the_certificate_says_how_well_clients_keep_one_time() -> None:
    kept: dict[str, Any] = {"requests": 1, "cpu_s": 0.1, "parse_cpu_s": 0.0, "wall_s": 1.0}
    here = WorkerReport(**kept, loop_lag_ns=(), reconnects=0)
    assert list(clocks_of_clients([here])) == []
    for error_ns, severity in ((100_000, "pass"), (300_000, "fail")):
        there = replace(here, node="b", clock_error_ns=error_ns)
        (found,) = clocks_of_clients([here, there])
        assert (found.code, found.severity) == ("client_clocks", severity)
        assert found.figure == pytest.approx(error_ns / 1e6)
