"""Which cores the engine has and which the load client."""

from __future__ import annotations

import os

Cores = tuple[int, ...]


def available() -> Cores:
    """The cores this process may run on, in rising order."""
    return tuple(sorted(os.sched_getaffinity(0)))


def split(own: int | None) -> tuple[Cores, Cores]:
    """(cores of the engine, the client's own); the last ones are the client's, () means shared."""
    cores = available()
    own = min(own or 0, len(cores) - 1)
    return (cores[:-own], cores[-own:]) if own else (cores, ())
