"""Cores apart: the engine's tree and the load client really run where they were put."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest

from bench.config.compose import compose, run_spec
from bench.engines.truth import serve_truth
from bench.preflight import with_cores
from bench.traffic import workers
from bench.traffic.workload import generate
from bench.values.cores import available, split
from bench.values.errors import InputError
from bench.values.record import LoadPoint
from bench.values.spec import SloSpec, TruthSpec, WorkloadSpec

several = pytest.mark.skipif(len(available()) < 2, reason="there is only one core")


def allowed(pid: int) -> tuple[int, ...]:
    """The cores that a process may run on."""
    return tuple(sorted(os.sched_getaffinity(pid)))


def test_the_last_cores_are_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.values.cores.available", lambda: (2, 3, 5, 7))
    assert split(1) == ((2, 3, 5), (7,))
    assert split(2) == ((2, 3), (5, 7))
    assert split(0) == split(None) == ((2, 3, 5, 7), ())
    monkeypatch.setattr("bench.values.cores.available", lambda: (4,))
    assert split(1) == ((4,), ())


@pytest.mark.parametrize(
    ("words", "cores", "own"),
    [
        ("engine=truth", 8, 1),
        ("engine=truth load.workers=3", 8, 3),
        ("engine=truth load.workers=9", 8, 4),
        ("engine=truth", 1, 0),
        ("engine=truth load.own_cores=0", 8, 0),
        ("engine=vllm gpus=0", 8, 1),
        ("engine=vllm gpus=1", 8, 0),
        ("engine=vllm gpus=1 load.own_cores=2", 8, 2),
        ("engine=endpoint engine.base_url=http://127.0.0.1:1/v1", 8, 0),
    ],
)
def test_who_gets_cores_of_its_own(
    words: str, cores: int, own: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.preflight.available", lambda: tuple(range(cores)))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    spec = run_spec(compose(words.split()), detect_gpus=False)
    assert with_cores(spec).load.own_cores == own


def test_the_engine_must_be_left_a_core() -> None:
    spec = run_spec(compose(["engine=truth"]), detect_gpus=False)
    greedy = replace(spec, load=replace(spec.load, own_cores=len(available())))
    with pytest.raises(InputError, match="leaves the engine none"):
        with_cores(greedy)


@several
def test_server_and_client_run_apart(tmp_path: Path) -> None:
    slo = SloSpec(ttft_ms=1e9, tpot_ms=1e9)
    workload = WorkloadSpec(name="w", input_tokens=8, output_tokens=30, slo=slo)
    point = LoadPoint(index=0, repeat=0, mode="closed", concurrency=1)
    requests = tuple(generate(workload, 1, seed=(0,), vocab_size=None))
    where: list[tuple[int, ...]] = []

    def look(_: object) -> None:
        where.extend(allowed(p.pid) for p in multiprocessing.active_children() if p.pid)

    with serve_truth(
        TruthSpec(ttft_ms=5, itl_ms=50), tmp_path, lambda _: None, own_cores=1
    ) as server:
        assert server.pid is not None
        assert allowed(server.pid) == available()[:-1]
        workers.send_load(server, point, requests, timeout_s=30, on_progress=look)
    assert where
    assert set(where) == {available()[-1:]}
