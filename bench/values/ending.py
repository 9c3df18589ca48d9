"""How a run ended, told apart afterwards: complete, interrupted and by what, engine, disk, killed.

Whoever is killed writes nothing any more. So a run names its writer from the start, and one that
says "running" while its writer is gone was killed. A full disk keeps its own ending from being
written too: a page that was filled when there was room takes it in place.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.values.json_text import json_text
from bench.values.outside import regular

NAME = "ending.json"
_PAGE_BYTES = 4096
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

WORDS = {
    "SIGINT": "interrupted by Ctrl-C (SIGINT)",
    "SIGTERM": "interrupted by SIGTERM",
    "SIGUSR1": "stopped by SIGUSR1, as a scheduler does before the time is up",
    "SIGHUP": "interrupted by SIGHUP, its terminal was closed",
    "killed": "killed (SIGKILL, want of memory, or the machine went down)",
    "engine_start": "the engine did not start",
    "engine_died": "the engine died",
    "disk_full": "the disk was full",
    "error": "failed",
}
"""What stands for `Run.ended_by` in a sentence."""

SHORT = {
    "SIGINT": "Ctrl-C",
    "engine_start": "no engine",
    "engine_died": "engine died",
    "disk_full": "disk full",
    "error": "failed",
}
"""The same in a column of a table; what is not here stands for itself."""


def words(status: str, ended_by: str | None) -> str:
    """How a run ended, in words; those from before this was kept only know `failed`."""
    return status if ended_by is None else WORDS.get(ended_by, ended_by)


def short(status: str, ended_by: str | None) -> str:
    """The same in one or two words."""
    return status if ended_by is None else SHORT.get(ended_by, ended_by)


def writer(pid: int | None = None) -> dict[str, Any]:
    """What tells this process from any other one: machine, boot, space of process ids, start."""
    pid = os.getpid() if pid is None else pid
    return {
        "pid": pid,
        "started_ticks": started_ticks(pid),
        "boot": _boot(),
        "pid_space": _pid_space(),
        "host": socket.gethostname(),
    }


def lives(who: Mapping[str, Any] | None) -> bool | None:
    """Whether the process still lives; None where this machine or container cannot tell."""
    if not who or who.get("started_ticks") is None:
        return None
    if who.get("boot") != _boot():
        return False if who.get("host") == socket.gethostname() else None
    if who.get("pid_space") != _pid_space():
        return None
    return bool(started_ticks(int(who["pid"])) == who["started_ticks"])


def started_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (/proc/PID/stat, field 22); None: gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _pid_space() -> str:
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def reserve(folder: Path) -> None:
    """Take room for an ending while there is some. Raises OSError."""
    with (folder / NAME).open("wb") as page:
        page.write(b" " * _PAGE_BYTES)
        page.flush()
        os.fsync(page.fileno())


def note_in_place(folder: Path, ended_by: str, failure: str) -> None:
    """Write an ending into the room taken: a disk that is full by then takes it."""
    content = json_text({"ended_by": ended_by, "failure": failure[:1000]}).encode()
    with suppress(OSError), regular(folder / NAME).open("r+b") as page:
        page.write(content[:_PAGE_BYTES].ljust(_PAGE_BYTES))
        page.flush()
        os.fsync(page.fileno())


def noted(folder: Path) -> tuple[str, str] | None:
    """(ended_by, failure) as noted in place; None where nothing was."""
    try:
        found = json.loads(regular(folder / NAME).read_bytes()[:_PAGE_BYTES])
        return str(found["ended_by"]), str(found["failure"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def release(folder: Path) -> None:
    """Give the room back: run.json says how the run ended."""
    with suppress(OSError):
        (folder / NAME).unlink()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold further signals back while the last thing is written.

    By handlers, not by a mask: of a process with threads, another one would take the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread alone
        return
    came: list[int] = []
    usual = {n: signal.signal(n, lambda number, _: came.append(number)) for n in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
