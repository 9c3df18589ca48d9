"""Which machines a run has: those that were named, or those of the scheduler's job."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.values.errors import InputError
from bench.values.spec import NodesSpec

_TIMEOUT_S = 30.0
_ANY_PORT = 9  # no packet is sent: the routing table alone is asked


def resolved(nodes: NodesSpec, env: Mapping[str, str]) -> NodesSpec:
    """The machines by name, with the head's address; InputError where they cannot be told.

    A Slurm job of one node has no others: the run is one machine's.
    """
    if nodes.kind == "one":
        return nodes
    hosts = _of_slurm(env) if nodes.kind == "slurm" and not nodes.hosts else nodes.hosts
    if nodes.kind == "hosts" and len(hosts) < 2:
        raise InputError("nodes.hosts: name two machines or more, this one first.")
    if len(hosts) == 1:
        return NodesSpec()
    return replace(nodes, hosts=hosts, address=nodes.address or facing(hosts[1]))


def _of_slurm(env: Mapping[str, str]) -> tuple[str, ...]:
    """The job's nodes, the one that this process is on first."""
    listed = env.get("SLURM_JOB_NODELIST")
    if not listed:
        raise InputError(
            "nodes=slurm: SLURM_JOB_NODELIST is not set, so this is no Slurm job. Begin one with "
            "bench submit slurm -m … cluster.nodes=N, sbatch or salloc, or name the machines: "
            "nodes=hosts nodes.hosts=[A,B]."
        )
    if shutil.which("scontrol") is None:
        raise InputError("nodes=slurm: scontrol, which takes SLURM_JOB_NODELIST apart, is missing.")
    done = subprocess.run(
        ("scontrol", "show", "hostnames", listed),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    hosts = tuple(done.stdout.split())
    if done.returncode != 0 or not hosts:
        raise InputError(f"nodes=slurm: scontrol cannot read {listed!r}: {done.stderr.strip()}")
    here = env.get("SLURMD_NODENAME", hosts[0])
    return (here, *(h for h in hosts if h != here)) if here in hosts else hosts


def facing(other: str) -> str:
    """This machine's IPv4 address on the way to another one; InputError where there is none."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.connect((other, _ANY_PORT))
            return str(way.getsockname()[0])
    except OSError as error:
        raise InputError(
            f"nodes: there is no way to {other!r} ({error.strerror or error}). Say where the "
            "others reach this machine: nodes.address=ADDRESS."
        ) from error


def words(nodes: NodesSpec, host: str, module: str, arguments: Sequence[str]) -> list[str]:
    """The command that starts a module of bench on a host. ssh joins words by spaces: it gets one.

    Nothing secret may be among them: a command line is seen by everybody on both machines.
    """
    command = [nodes.python or sys.executable, "-m", module, *arguments]
    start = [word.replace("{host}", host) for word in nodes.start]
    return [*start, shlex.join(command)] if Path(start[0]).name == "ssh" else [*start, *command]
