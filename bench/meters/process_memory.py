"""Memory that a process and its descendants hold for themselves, as the kernel counts it."""

from __future__ import annotations

import re
from pathlib import Path

GIB = 1024**3


def private_gib(pid: int) -> float | None:
    """GiB private to `pid` and all its descendants now; None where the kernel does not tell.

    Shared pages (libraries, files) are left out: they would be counted once per process.
    """
    try:
        return sum(_private_bytes(one) for one in _tree(pid)) / GIB
    except OSError:
        return None


def _tree(pid: int) -> list[int]:
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found += _tree(int(child))
    return found


def _private_bytes(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(int(kib) for kib in re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.M))
