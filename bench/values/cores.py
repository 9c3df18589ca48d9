"""Which cores the engine has and which the load client."""

from __future__ import annotations

import functools
import os
from pathlib import Path

Cores = tuple[int, ...]


def available() -> Cores:
    """The cores this process may run on, in rising order."""
    return tuple(sorted(os.sched_getaffinity(0)))


def split(own: int | None) -> tuple[Cores, Cores]:
    """(cores of the engine, the client's own); the last ones are the client's, () means shared."""
    cores = available()
    own = min(own or 0, len(cores) - 1)
    return (cores[:-own], cores[-own:]) if own else (cores, ())


@functools.cache
def cpu_name() -> str | None:
    """The processor as the system names it; None where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else None


def host_words(name: str | None, count: int | None) -> str:
    """A processor as evidence of it is told apart: `AMD EPYC, 2 cores`."""
    return f"{name or 'unknown processor'}, {count or 'unknown'} cores"
