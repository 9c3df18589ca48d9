"""vLLM over several machines: by its own options, or by Ray. Names as in vLLM 0.32.0.

With its own (`--nnodes --node-rank --master-addr --master-port`) every machine runs the same words,
all but the head `--headless`; ranks are spread in order, so data parallel replicas stay on their
machines and pipeline stages follow each other. With Ray one cluster is made for the run, and the
head's vLLM places its workers in it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.engines import container
from bench.engines.guard import GuardedProcess
from bench.engines.launch import last_line
from bench.engines.over_nodes import Part, free_port
from bench.engines.part import HERE, network_of
from bench.values.cores import split
from bench.values.engine_flags import parse
from bench.values.errors import EngineError
from bench.values.interpreter import python
from bench.values.spec import RunSpec, VllmSpec

RAY_WAIT = """\
import sys, time, ray
ray.init(address=sys.argv[1], log_to_driver=False)
while sum(n["Alive"] for n in ray.nodes()) < int(sys.argv[2]):
    time.sleep(0.5)
"""
"""Waits until so many machines have joined; vLLM gives up at once where GPUs are missing."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Ports at the head's address: where workers meet, and where data parallel parts report."""

    master: int
    data_parallel: int


def head_words(spec: RunSpec, ports: Ports) -> tuple[str, ...]:
    """What the head's command has beyond one machine's."""
    if spec.nodes.serving == 1:
        return ()
    replicas = _replicas(spec)
    if spec.nodes.backend == "ray":
        more = ("--data-parallel-backend", "ray") if replicas > 1 else ()
        return ("--distributed-executor-backend", "ray", *more)
    return _joint(spec, ports, 0)


def node_words(spec: RunSpec, head: Sequence[str], ports: Ports, number: int) -> tuple[str, ...]:
    """The command of machine `number`, made of the head's own words."""
    assert spec.nodes.address is not None
    if spec.nodes.backend == "ray":
        address = f"{spec.nodes.address}:{ports.master}"
        return (*_ray(), f"--address={address}", f"--node-ip-address={HERE}")
    at = head.index("--model")
    model, words = head[at + 1], list(head[at + 2 :])
    for flag in ("--host", "--port"):  # no API server is there
        at = words.index(flag)
        del words[at : at + 2]
    # An image has vLLM under its own name, and no bench.
    inside = isinstance(spec.engine, VllmSpec) and spec.engine.container is not None
    module = "vllm.entrypoints.cli.main" if inside else "bench.engines.vllm_command"
    start = (head[0], "-m", module, "serve", model, "--headless")
    at = words.index("--node-rank")
    words[at + 1] = str(number)
    return (*start, *words)


def ray_head(spec: RunSpec, ports: Ports) -> tuple[str, ...]:
    """The command of Ray's own head."""
    where = (f"--node-ip-address={spec.nodes.address}", f"--port={ports.master}")
    return (*_ray(), "--head", *where, "--include-dashboard=false")


def _ray() -> tuple[str, ...]:
    return ("ray", "start", "--block", "--disable-usage-stats")


def _joint(spec: RunSpec, ports: Ports, number: int) -> tuple[str, ...]:
    assert spec.nodes.address is not None
    words = ["--nnodes", str(spec.nodes.serving), "--node-rank", str(number)]
    words += ["--master-addr", spec.nodes.address, "--master-port", str(ports.master)]
    words += ["--distributed-executor-backend", "mp"]
    if _replicas(spec) > 1:
        words += ["--data-parallel-rpc-port", str(ports.data_parallel)]
    return tuple(words)


def _replicas(spec: RunSpec) -> int:
    assert isinstance(spec.engine, VllmSpec)
    return parse(spec.engine).data_parallel_size


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What runs where: the head's command with its whole environment, and the other machines'.

    `name` is the head's container's, `removal` what removes it, `ray` the command of Ray's head.
    """

    command: tuple[str, ...]
    env: Mapping[str, str]
    name: str
    removal: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    ray: tuple[str, ...] = ()


def planned(
    spec: RunSpec,
    head: tuple[str, ...],
    own: Mapping[str, str],
    *,
    name: str,
    folders: Sequence[str],
) -> Planned:
    """The commands of all machines, made of one machine's, each in its container if there is one.

    `own` is what the engine's environment has beyond our own, `folders` what a container mounts.
    """
    nodes = spec.nodes
    if nodes.serving == 1:
        command, removal = _contained(spec, head, own, name, folders)
        return Planned(command=command, env={**os.environ, **own}, name=name, removal=removal)
    assert nodes.address is not None
    ports = Ports(master=free_port(nodes.address), data_parallel=free_port(nodes.address))
    mine = {**network_of(nodes.address, os.environ), **own}
    if nodes.backend == "ray":
        mine["RAY_ADDRESS"] = f"{nodes.address}:{ports.master}"
    head = (*head, *head_words(spec, ports))
    command, removal = _contained(spec, head, mine, name, folders)
    parts = []
    for number, host in enumerate(nodes.others, start=1):
        words = node_words(spec, head, ports, number)
        its, its_removal = _contained(spec, words, own, f"{name}-{number}", folders)
        parts.append(Part(host=host, command=its, env=own, afterwards=its_removal))
    return Planned(
        command=command,
        env={**os.environ, **mine},
        name=name,
        removal=removal,
        parts=tuple(parts),
        ray=ray_head(spec, ports) if nodes.backend == "ray" else (),
    )


def _contained(
    spec: RunSpec,
    command: tuple[str, ...],
    env: Mapping[str, str],
    name: str,
    folders: Sequence[str],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A command as its container runs it and the one that removes it; itself without one."""
    engine = spec.engine
    assert isinstance(engine, VllmSpec)
    if engine.container is None:
        return command, ()
    inside = container.inside(
        command,
        engine,
        name=name,
        gpus=spec.gpus,
        folders=folders,
        env=env,
        around=os.environ,
        cores=split(spec.load.own_cores)[0],
    )
    return inside, container.removal(engine, name)


@contextlib.contextmanager
def cluster(spec: RunSpec, plan: Planned, run_dir: Path) -> Iterator[None]:
    """Ray's own head and all machines in it, where Ray joins them."""
    if not plan.ray:
        yield
        return
    log_path = run_dir / "ray.log"
    with GuardedProcess(plan.ray, env=plan.env, log_path=log_path):
        words = python("-c", RAY_WAIT, plan.env["RAY_ADDRESS"], str(spec.nodes.serving))
        try:
            with log_path.open("ab") as log:
                subprocess.run(
                    words, stdout=log, stderr=log, check=True, timeout=spec.nodes.join_timeout_s
                )
        except (OSError, subprocess.SubprocessError) as error:
            text = f"Ray did not bring {spec.nodes.serving} machines together"
            raise EngineError(
                f"{text}: {last_line(log_path)}", code="engine_failed", log_path=log_path
            ) from error
        yield
