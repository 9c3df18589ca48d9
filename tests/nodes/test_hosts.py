"""Which machines a run has, and how something is started on them."""

from __future__ import annotations

import os
import stat
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.config.compose import compose, run_spec
from bench.engines.vllm_nodes import Ports, head_words, node_words, ray_head
from bench.nodes.hosts import facing, resolved, words
from bench.sizing.sharding import Layout, layout_of
from bench.values.errors import InputError
from bench.values.spec import NodesSpec, RunSpec

PORTS = Ports(master=29501, data_parallel=29550)


def scontrol(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Slurm's own command, that takes a list of nodes apart."""
    program = folder / "scontrol"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' {' '.join(names)}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_slurm_job_names_its_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scontrol(tmp_path, monkeypatch, "127.0.0.1", "127.0.0.2", "127.0.0.3")
    env = {"SLURM_JOB_NODELIST": "n[1-3]", "SLURMD_NODENAME": "127.0.0.2"}
    found = resolved(NodesSpec(kind="slurm"), env)
    assert found.hosts == ("127.0.0.2", "127.0.0.1", "127.0.0.3")  # where this runs comes first
    assert (found.address, found.count, found.others) == (
        *("127.0.0.1", 3),
        ("127.0.0.1", "127.0.0.3"),
    )


def test_a_job_of_one_node_is_one_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scontrol(tmp_path, monkeypatch, "n1")
    assert resolved(NodesSpec(kind="slurm"), {"SLURM_JOB_NODELIST": "n1"}) == NodesSpec()


def test_outside_of_a_job_there_are_no_nodes() -> None:
    with pytest.raises(InputError, match="SLURM_JOB_NODELIST is not set"):
        resolved(NodesSpec(kind="slurm"), {})
    with pytest.raises(InputError, match="name two machines"):
        resolved(NodesSpec(kind="hosts", hosts=("a",)), {})
    with pytest.raises(InputError, match="no way to"):
        facing("no-such-host.invalid")


def test_ssh_gets_one_word_and_srun_many() -> None:
    ssh = words(NodesSpec(kind="hosts", hosts=("a", "b"), python="/py"), "b", "m.x", ("a b", "{}"))
    assert ssh == ["ssh", "-o", "BatchMode=yes", "b", "/py -m m.x 'a b' '{}'"]
    srun = NodesSpec(kind="slurm", start=("srun", "--nodelist={host}"), python="/py")
    assert words(srun, "n2", "m.x", ("a b",)) == [
        "srun",
        "--nodelist=n2",
        "/py",
        "-m",
        "m.x",
        "a b",
    ]


def over(*more: str) -> RunSpec:
    """A run over two nodes of eight GPUs."""
    keys = ("model=llama-3.1-8b", "gpu=h100-sxm", "gpus=16", "nodes=hosts", "nodes.hosts=[a,b]")
    spec = run_spec(compose([*keys, "nodes.address=10.0.0.1", *more]))
    assert isinstance(spec, RunSpec)
    return spec


HEAD = (
    "/py",
    "-m",
    "api_server",
    "--model",
    "M",
    "--host",
    "127.0.0.1",
    "--port",
    "8000",
    "--seed",
)
JOINT = (*("--nnodes", "2", "--node-rank", "0", "--master-addr", "10.0.0.1"), "--master-port")


def test_vllms_own_words_for_several_nodes() -> None:
    spec = over()
    more = head_words(spec, PORTS)
    assert more == (*JOINT, "29501", "--distributed-executor-backend", "mp")
    its = node_words(spec, (*HEAD, "0", *more), PORTS, 1)
    assert its[:6] == ("/py", "-m", "bench.engines.vllm_command", "serve", "M", "--headless")
    assert "--port" not in its
    assert its[its.index("--node-rank") + 1] == "1"


def test_replicas_report_to_the_head() -> None:
    spec = over("engine.args=[--data-parallel-size,2]")
    assert head_words(spec, PORTS)[-2:] == ("--data-parallel-rpc-port", "29550")


def test_ray_makes_one_cluster_of_the_nodes() -> None:
    spec = over("nodes.backend=ray")
    assert head_words(spec, PORTS) == ("--distributed-executor-backend", "ray")
    assert "--head" in ray_head(spec, PORTS)
    its = node_words(spec, HEAD, PORTS, 1)
    assert its[:2] == ("ray", "start")
    assert "--address=10.0.0.1:29501" in its
    assert "--node-ip-address={address}" in its


def test_vllm_knows_these_words() -> None:
    """The installed version's own parser takes them."""
    found = find_spec("vllm")
    if found is None or found.origin is None:
        pytest.skip("vLLM is not installed here")
    text = (Path(found.origin).parent / "engine" / "arg_utils.py").read_text()
    for spec in (over(), over("engine.args=[--data-parallel-size,2]"), over("nodes.backend=ray")):
        for word in head_words(spec, PORTS):
            assert not word.startswith("--") or f'"{word}"' in text


def test_a_stage_per_node_unless_something_else_is_said() -> None:
    assert layout_of(over()) == Layout(tp=8, pp=2)
    assert layout_of(over("engine.tensor_parallel_size=16")) == Layout(tp=16)
    assert layout_of(over("gpus=4")) == Layout(tp=2, pp=2)
    with pytest.raises(InputError, match="do not divide over 2 nodes"):
        layout_of(over("gpus=5"))
