"""Whether this machine can hold the streams asked for, checked before the run."""

from __future__ import annotations

import resource
from pathlib import Path

from bench.errors import InputError

_SPARE_DESCRIPTORS = 64
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def ensure_streams(streams: int, per_worker: int) -> None:
    """Raise the soft descriptor limit as far as needed; InputError with the remedy if impossible.

    `streams` is the number of connections open at once to one server from all workers,
    `per_worker` the most that one process holds.
    """
    need = per_worker + _SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = hard == resource.RLIM_INFINITY
    if not unlimited and need > hard:
        raise InputError(
            f"{per_worker} open streams need {need} file descriptors per worker but the hard limit "
            f"is {hard}: raise it (ulimit -Hn {need}) or use more load.workers."
        )
    if soft != resource.RLIM_INFINITY and need > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
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
