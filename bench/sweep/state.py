"""What became of each run of a sweep: from the store, and from the scheduler where one holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.store import load_run
from bench.sweep import slurm
from bench.sweep.asked import Element, Sweep
from bench.sweep.ends import end_of, writes
from bench.values import ending
from bench.values.errors import StoreError
from bench.values.outside import regular

Kind = Literal["waiting", "running", "done", "failed", "cancelled", "missing"]


@dataclass(frozen=True, kw_only=True)
class State:
    """One run of a sweep. `said` is a line for people, `error` why it failed.

    `exit_code` is its command's; None while it waits or runs, and for one that left no word.
    """

    element: Element
    number: int
    kind: Kind
    said: str
    exit_code: int | None = None
    error: str | None = None


def states(sweep: Sweep) -> list[State]:
    """Every run of a sweep in its order. The scheduler's word comes first: a run that it begins
    anew has an end from before."""
    held = slurm.queue(sweep.job) if sweep.scheduler == "slurm" and sweep.job else {}
    return [_state(sweep, n, e, held) for n, e in enumerate(sweep.elements)]


def at_work(sweep: Sweep) -> bool:
    """Whether a sweep's launcher lives here, or the scheduler holds a part of it."""
    if sweep.scheduler is None:
        return ending.lives(sweep.writer) is True
    return any(s.kind in ("waiting", "running") for s in states(sweep))


Found = tuple[Kind, str, int | None, str | None]
"""Kind, line for people, exit code and error of a State."""


def _state(sweep: Sweep, number: int, element: Element, held: Mapping[int, slurm.Held]) -> State:
    kind, said, code, error = _found(sweep, number, sweep.folder(element), held.get(number))
    return State(element=element, number=number, kind=kind, said=said, exit_code=code, error=error)


def _found(sweep: Sweep, number: int, folder: Path, job: slurm.Held | None) -> Found:
    if job is not None and not job.runs:
        return "waiting", f"{job.id}: {job.why}", None, None
    if job is not None or writes(folder) is not False:
        return "running", _live_line(sweep, number) or ("" if job is None else job.id), None, None
    end = end_of(folder)
    if end is not None and end.exit_code in (0, 5):
        said = "done" if end.exit_code == 0 else "done, NOT VALID"
        return "done", said, end.exit_code, None
    if number in sweep.cancelled:
        return "cancelled", "cancelled", None if end is None else end.exit_code, "cancelled"
    if end is not None:
        return "failed", end.error or "failed", end.exit_code, end.error
    return _without_end(folder)


def _without_end(folder: Path) -> Found:
    """A run that left no end: killed, or never begun. One from before ends were kept is told by
    its run.json."""
    try:
        run = load_run(folder)
    except StoreError:
        said = "it left nothing: never begun, or cancelled before it began"
        return "missing", said, None, said
    if run.status == "complete":
        return "done", "done", 0, None
    why = run.failure or ending.words("failed", run.ended_by or "killed")
    return "failed", why, None, why


def _live_line(sweep: Sweep, number: int) -> str:
    """The last line of a run's log in its sweep's folder; "" without one."""
    try:
        with regular(Path(sweep.path) / f"{number}.log").open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - 2048))
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1][:200] if lines else ""
