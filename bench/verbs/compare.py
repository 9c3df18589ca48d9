"""`bench compare`: stored runs in, one table with a verdict per variant out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.codec import encode
from bench.compare.compare import Comparison, compare
from bench.compare.variant import Measured, apart, group
from bench.derive import derive
from bench.errors import BenchError, InputError
from bench.record import Run
from bench.store import find_run, load_quality_items, load_run

Execute = Callable[[str, int], Run]
"""From a variant and the number of the round to the Run it makes."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `bench compare` was asked. `names` are runs, the baseline first unless it is named;
    `rounds` says that runs of one variant belong together."""

    names: tuple[str, ...] = ()
    baseline: str | None = None
    allow: tuple[str, ...] = ()
    margin: float | None = None
    load: str | None = None
    usd_per_hour: float | None = None
    rounds: bool = False
    results_dir: str = "results"
    as_json: bool = False


def run(request: Request) -> int:
    """Print the comparison of stored runs; 0 whatever it says: a verdict is an answer."""
    names = list(request.names)
    if request.baseline is not None:
        names = [request.baseline, *(n for n in names if n != request.baseline)]
    paths = [find_run(name, request.results_dir) for name in names]
    return show(compared(paths, request), as_json=request.as_json)


def compared(paths: Sequence[Path], request: Request) -> Comparison:
    """The comparison of the runs in those folders, the first one's variant as baseline."""
    measured = [measured_run(path) for path in paths]
    variants = group(measured) if request.rounds else apart(measured)
    return compare(
        variants,
        allow=request.allow,
        margin=request.margin,
        load=request.load,
        usd_per_hour=request.usd_per_hour,
    )


def measured_run(path: Path) -> Measured:
    """A stored run with its measurement and its scored items."""
    stored = load_run(path)
    return Measured(run=stored, measurement=derive(stored), items=load_quality_items(path))


def show(comparison: Comparison, *, as_json: bool) -> int:
    """Print a comparison as a table or as JSON."""
    if as_json:
        print(json.dumps(encode(comparison)))
    else:
        from bench.report.compare_table import print_comparison

        print_comparison(comparison)
    return 0


def interleave(variants: Sequence[str], rounds: int, execute: Execute, request: Request) -> int:
    """Measure the variants in turn, `rounds` times over, then compare them round by round.

    A drift of the machine then touches all variants alike, and restarts of the engine become part
    of the interval. A round that fails ends the series; what was measured stays stored.
    """
    if len(variants) < 2 or rounds < 2:
        raise InputError("--interleave needs two variants (quant=A,B) and two rounds or more.")
    paths = []
    for number in range(rounds):
        for name in variants:
            made = execute(name, number)
            if made.status != "complete":
                raise BenchError(f"{made.path}: {made.failure or 'not complete'}; series ended.")
            paths.append(Path(made.path))
    return show(compared(paths, request), as_json=request.as_json)
