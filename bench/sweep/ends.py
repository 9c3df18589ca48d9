"""A run asked for by its id: one writer at a time, and its end in its own folder.

`claim.json` names the writer while it works: a second one is refused, unless the first is
certainly gone. `end.json` has the exit code and, for a run that was refused or failed, the one line
why: it is there for runs that never came to a run.json, too.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.store import making, write_file
from bench.values import ending
from bench.values.errors import InputError, StoreError
from bench.values.json_text import json_text
from bench.values.outside import regular

CLAIM = "claim.json"
END = "end.json"


@dataclass(frozen=True, kw_only=True)
class End:
    """How an attempt at a run ended: the exit code of its command, and why it failed."""

    exit_code: int
    error: str | None = None


def note_end(folder: Path, end: End) -> None:
    """Write an end down; StoreError where that cannot be done."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror or error}.") from error
    when = datetime.now(UTC).isoformat(timespec="seconds")
    record = {"exit_code": end.exit_code, "error": end.error, "ended": when}
    write_file(folder / END, json_text(record).encode())


def end_of(folder: Path) -> End | None:
    """The end of the last attempt; None while there is none that can be read."""
    try:
        found = json.loads(regular(folder / END).read_bytes())
        error = found.get("error")
        return End(exit_code=int(found["exit_code"]), error=None if error is None else str(error))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Be the only writer of a run; InputError when another one may still be at work.

    Two that come at once: a file that only one can create decides, on a shared disk as well.
    """
    with making(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / CLAIM
    _take(path)
    with suppress(OSError):
        (folder / END).unlink()
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def writes(folder: Path) -> bool | None:
    """Whether somebody is at work on a run; None where this machine cannot tell."""
    owner = _owner(folder / CLAIM)
    return False if owner is None else ending.lives(owner)


def _take(path: Path) -> None:
    for _ in range(2):
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            owner = _owner(path)
            if owner is not None and not _is_gone(owner):
                raise InputError(_taken(path, owner)) from None
            _move_away(path, owner)
            continue
        with os.fdopen(handle, "w") as file:
            file.write(json_text(_me()))
            file.flush()
            os.fsync(file.fileno())
        return
    raise InputError(f"{path.parent}: another process began this run at the same moment.")


def _move_away(path: Path, dead: Mapping[str, Any] | None) -> None:
    """Remove the claim of one that is gone; one that came to live in between is put back."""
    aside = path.with_name(f"{CLAIM}.{os.getpid()}.part")
    with suppress(OSError):
        path.rename(aside)
        if _owner(aside) != dead:
            os.link(aside, path)
        aside.unlink()


def _owner(path: Path) -> Mapping[str, Any] | None:
    try:
        found = json.loads(regular(path).read_bytes())
    except OSError:
        return None
    except ValueError:
        return {}  # created this moment, not yet written: somebody's, nobody knows whose
    return found if isinstance(found, dict) else {}


def _me() -> dict[str, Any]:
    return {**ending.writer(), "slurm": _slurm(), "turn": _turn()}


def _slurm() -> list[str] | None:
    """Job and number of its restarts, as Slurm tells them; None elsewhere."""
    job = os.environ.get("SLURM_JOB_ID")
    return None if job is None else [job, os.environ.get("SLURM_RESTART_COUNT", "0")]


def _turn() -> str | None:
    """What a scheduler that never runs two of one name at once calls this: BENCH_TURN."""
    return os.environ.get("BENCH_TURN")


def _is_gone(owner: Mapping[str, Any]) -> bool:
    """Whether a claim's owner has certainly ended: its process, or its turn of the same job.

    Slurm starts a job anew only after the turn before has ended, on whatever node that was.
    """
    mine, its = _slurm(), owner.get("slurm")
    if mine and its and mine[0] == its[0] and int(mine[1]) > int(its[1]):
        return True
    if _turn() and owner.get("turn") == _turn() and owner.get("host") != socket.gethostname():
        return True  # a pod's name is its host's
    return ending.lives(owner) is False


def _taken(path: Path, owner: Mapping[str, Any]) -> str:
    run = f"{path.parent.parent.name}/{path.parent.name}"
    if ending.lives(owner):
        return f"{run} is being measured by process {owner.get('pid')}: wait for it, or stop it."
    where = f"process {owner.get('pid')} on {owner.get('host')}" if owner else "another process"
    return (
        f"{run} was begun by {where}, and this machine cannot tell whether that still works. "
        f"If it does not, remove {path}."
    )
