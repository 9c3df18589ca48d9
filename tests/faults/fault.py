"""A fault and its promise, and the list that the parts of the table put theirs into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from misbehaving import Misbehave
from point_support import even, point

from bench.config.compose import compose, run_spec
from bench.store import create_run_dir, save_point, save_run
from bench.values.record import Anchor, Run


@dataclass(frozen=True)
class Place:
    """What a fault may use: an empty folder, and servers that misbehave."""

    folder: Path
    misbehave: Misbehave


@dataclass(frozen=True)
class Fault:
    """One fault, and the promise that is kept."""

    point: int
    name: str
    promise: str
    do: Callable[[Place], None]


FAULTS: list[Fault] = []
TRUTH = ("engine=truth", "gpus=0", "meter=none", "load.calibrate=false", "load.repeats=1")
FIT = ("fit", "model=tiny", "gpu=h100-sxm", "gpus=1")
TWO = "one line, exit 2"


def fault(number: int, name: str, promise: str) -> Callable[[Callable[[Place], None]], None]:
    """Put a function into the table."""

    def add(do: Callable[[Place], None]) -> None:
        FAULTS.append(Fault(number, name, promise, do))

    return add


def stored(folder: Path, **changes: object) -> Path:
    """A complete run of one load point."""
    spec = run_spec(compose(["engine=truth", "gpus=0", f"results_dir={folder}"]))
    path = create_run_dir(spec)
    save_point(path, point(even(12)))
    given: dict[str, object] = {"status": "complete", **changes}
    save_run(path, Run(spec=spec, anchor=Anchor(monotonic_ns=0, wall_iso="2026"), **given))  # type: ignore[arg-type]
    return path
