"""An engine's part on another machine: begun, watched, and gone with its head, whatever ends that.

The other machine is this one, reached by `env`: what differs is the way there alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.engines.over_nodes import Part, Parts
from bench.engines.part import network_of
from bench.values.errors import EngineError
from bench.values.spec import NodesSpec

NODES = NodesSpec(kind="hosts", hosts=("a", "b"), start=("env",), address="127.0.0.1")
SLEEPS = "echo $HERE $VLLM_HOST_IP {address} && exec sleep 600"

OWNER = """
import sys, time
from pathlib import Path
from bench.engines.over_nodes import Part, Parts
from bench.values.spec import NodesSpec
nodes = NodesSpec(kind="hosts", hosts=("a", "b"), start=("env",), address="127.0.0.1")
with Parts(nodes, [Part(host="b", command=("sleep", "600"), env={})], Path(sys.argv[1])) as parts:
    print(parts.pids[0], flush=True)
    time.sleep(600)
"""


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 30
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not lives(pid)


def watch(parts: Parts) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        parts.check()
        time.sleep(0.02)


def sleeping(folder: Path) -> Parts:
    part = Part(host="b", command=("sh", "-c", SLEEPS), env={"HERE": "told"})
    return Parts(NODES, [part], folder, grace_s=1.0)


def test_it_runs_where_it_was_told_and_ends_with_its_head(tmp_path: Path) -> None:
    with sleeping(tmp_path) as parts:
        (pid,) = parts.pids
        assert lives(pid)
        parts.check()
        log = tmp_path / "engine-node-1.log"
        deadline = time.monotonic() + 30
        while not log.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert log.read_text().split() == ["told", "127.0.0.1", "127.0.0.1"]
    assert gone(pid)


def test_one_that_ends_by_itself_is_named_with_its_reason(tmp_path: Path) -> None:
    said = "echo 'RuntimeError: no route to 10.0.0.1' >&2; exit 3"
    part = Part(host="b", command=("sh", "-c", said), env={})
    with (
        Parts(NODES, [part], tmp_path) as parts,
        pytest.raises(EngineError, match=r"part on b ended: .*no route to"),
    ):
        watch(parts)


def test_a_head_that_is_killed_leaves_nothing_over_there(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    assert lives(pid)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    assert gone(pid)


def test_the_interface_that_faces_the_head_is_named() -> None:
    found = network_of("127.0.0.1", {})
    assert found == {
        "VLLM_HOST_IP": "127.0.0.1",
        "NCCL_SOCKET_IFNAME": "lo",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    assert network_of("127.0.0.1", {"NCCL_SOCKET_IFNAME": "ib0"})["GLOO_SOCKET_IFNAME"] == "lo"
    assert "NCCL_SOCKET_IFNAME" not in network_of("127.0.0.1", {"NCCL_SOCKET_IFNAME": "ib0"})
