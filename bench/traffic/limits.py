"""Whether this machine can hold the streams asked for, checked before the run."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from bench.values.errors import InputError

STREAMS_PER_WORKER = 1000
"""One process follows this many streams at 100 tokens/s each with about half of one core."""

_SPARE_DESCRIPTORS = 64
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def take_descriptors() -> None:
    """Raise this process's soft limit of open files to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def workers_for(streams: int, wanted: int | None = None) -> int:
    """Processes for so many streams: those `wanted`, else what they need, at most the cores."""
    return wanted or max(1, min(os.cpu_count() or 1, -(-streams // STREAMS_PER_WORKER)))


def ensure_streams(streams: int, workers: int) -> None:
    """InputError with the remedy when this machine cannot hold so many streams.

    `streams` is the number of connections open at once to one server from all `workers`.
    """
    per_worker = -(-streams // workers)
    need = per_worker + _SPARE_DESCRIPTORS
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and need > hard:
        raise InputError(
            f"{per_worker} open streams need {need} file descriptors per worker but the hard limit "
            f"is {hard}: raise it (ulimit -Hn {need}) or use more load.workers."
        )
    ports = ephemeral_ports()
    if ports is not None and streams > ports:
        raise InputError(
            f"{streams} open streams to one address need as many local ports but this machine has "
            f"{ports}: widen them (sysctl net.ipv4.ip_local_port_range='1024 65535')."
        )


def ephemeral_ports() -> int | None:
    """Local ports available to outgoing connections; None where the system does not say."""
    try:
        low, high = map(int, _PORT_RANGE.read_text().split())
    except (OSError, ValueError):
        return None
    return high - low + 1
