"""One run over two hosts, each with its own network and its own boot's clock."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from two_hosts import AHEAD_S, OTHER, TwoHosts, two_hosts, why_not

from bench.derive import derive
from bench.store import load_run
from bench.values.record import Run

WORDS = (
    *("engine=truth", "gpus=2", "meter=synthetic", "meter.watts=300", "meter.idle_s=0"),
    *("load.concurrency=[4]", "load.repeats=1", "load.duration_s=1", "load.warmup_requests=2"),
    *("load.calibrate=false", "workload.input_tokens=16", "workload.output_tokens=16"),
    *("engine.ttft_ms=20", "engine.itl_ms=5"),
)


@pytest.fixture(scope="module")
def hosts() -> Iterator[TwoHosts]:
    if (why := why_not()) is not None:
        pytest.skip(why)
    with two_hosts() as found:
        yield found


def bench(hosts: TwoHosts, *words: str) -> subprocess.CompletedProcess[str]:
    command = (*hosts.head, sys.executable, "-m", "bench.cli", *words)
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def done(hosts: TwoHosts, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Run]:
    root = tmp_path_factory.mktemp("over")
    more = (*hosts.words, "nodes.load=true", f"results_dir={root}", "--json")
    shown = bench(hosts, *WORDS, *more)
    assert shown.returncode == 0, shown.stderr
    document = json.loads(shown.stdout)
    return document, load_run(Path(document["run"]))


def test_power_is_metered_on_both_and_summed(done: tuple[dict[str, Any], Run]) -> None:
    """A board of 300 W on each host: 600 W, whatever their clocks say."""
    _, run = done
    assert run.telemetry is not None
    assert [d.node for d in run.telemetry.header.devices] == [None, OTHER]
    point = derive(run).points[0]
    power = point.metrics["power_mean_w"].value or point.metrics["power_mean_w"].withheld_value
    assert power == pytest.approx(600.0, rel=0.01)


def test_the_other_clock_is_known(done: tuple[dict[str, Any], Run]) -> None:
    """The kernel's own offset, a day to the nanosecond, lies within the stated error."""
    _, run = done
    lines = next(Path(run.path, "telemetry").glob("node-1-*/clock.jsonl")).read_text()
    offsets = [json.loads(line) for line in lines.splitlines()]
    assert len(offsets) >= 3  # begin, each load point, end
    for found in offsets:
        assert abs(found["offset_ns"] - AHEAD_S * 10**9) <= found["error_ns"]


def test_load_came_from_both_on_one_clock(done: tuple[dict[str, Any], Run]) -> None:
    """Stamps of both lie within one load point, and the server's schedule is seen from both."""
    _, run = done
    data = run.points[0]
    assert {w.node for w in data.workers} == {None, OTHER}
    sent, workers = data.requests["sent_ns"], data.requests["worker"]
    for worker in (0, 1):
        mine = sent[workers == worker]
        assert len(mine) >= 4
        assert data.start_ns <= mine.min() < data.start_ns + 10**9
    first = data.chunk_ns[data.requests["first_chunk"]] - sent
    assert np.median(first[workers == 1]) / 1e6 >= 20.0


def test_a_node_that_cannot_be_started_is_named(hosts: TwoHosts, tmp_path: Path) -> None:
    words = ("nodes=hosts", "nodes.hosts=[10.77.0.1,10.77.0.9]", "nodes.start=[/bin/false]")
    shown = bench(hosts, *WORDS, *words, f"results_dir={tmp_path}")
    assert shown.returncode == 1
    assert "10.77.0.9 ended with 1" in shown.stderr
    assert not list(tmp_path.iterdir())
