"""A client that has to share its core, for real: it is found out, and left alone it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.engines.truth import serve_truth
from bench.values.server import Server
from bench.values.spec import TruthSpec

CORES = sorted(os.sched_getaffinity(0))
HOGS = 4

# In a process of its own: load workers are forked from a server that inherits its core.
CLIENT = """
import json, sys
from bench.measure.checks.client import client_bound
from bench.traffic.workers import send_load
from bench.measure.metrics import measure_all, steady_parts, whole_parts
from bench.values.record import LoadPoint
from bench.values.server import Server
from bench.values.spec import SloSpec, WorkloadSpec
from bench.traffic.workload import generate
url, streams, requests, tokens = sys.argv[1], *map(int, sys.argv[2:])
slo = SloSpec(ttft_ms=1e9, tpot_ms=1e9)
workload = WorkloadSpec(name="w", input_tokens=8, output_tokens=tokens, slo=slo)
point = LoadPoint(index=0, repeat=0, mode="closed", concurrency=streams)
data = send_load(
    Server(engine="truth", base_url=url, served_model="truth"), point,
    tuple(generate(workload, requests, seed=(0,), vocab_size=None)), timeout_s=60, workers=1,
)
parts = steady_parts([data], slo, 0)
metrics = measure_all(parts, whole_parts([data], slo, 0))
found = client_bound([data], parts, metrics, None, wanted=True)
print(json.dumps({f.code: [f.severity, f.text] for f in found}))
"""


def certified(server: Server, core: int, streams: int, requests: int, tokens: int) -> Any:
    """What the certificate says of a client held to `core`: (severity, text) by code."""
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, server.base_url, str(streams), str(requests), str(tokens)],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_starved_client_is_client_bound(tmp_path: Path) -> None:
    core = CORES[-1]
    hogs = [
        subprocess.Popen(
            [sys.executable, "-c", "while True: pass"],
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        for _ in range(HOGS)
    ]
    try:
        with serve_truth(TruthSpec(ttft_ms=20, itl_ms=5), tmp_path, lambda _: None) as server:
            severity, text = certified(server, core, streams=50, requests=200, tokens=20)[
                "client_bound"
            ]
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    assert severity == "fail", text
    assert "client-bound" in text


@pytest.mark.skipif(len(CORES) < 2, reason="needs a core beside the server's")
def test_a_client_with_a_core_is_not(tmp_path: Path) -> None:
    """Slow tokens: what else runs here now and then is small against them. Three attempts."""
    with serve_truth(TruthSpec(ttft_ms=300, itl_ms=200), tmp_path, lambda _: None) as server:
        for _ in range(3):
            found = certified(server, CORES[-1], streams=1, requests=4, tokens=3)
            if all(severity == "pass" for severity, _ in list(found.values())[:2]):
                return
    if os.getloadavg()[0] > len(CORES):
        pytest.skip(f"more work runs here than there are cores, so it may be true: {found}")
    pytest.fail(str(found))
