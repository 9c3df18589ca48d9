"""`bench tco`: what self-hosting costs per token, and whether buying is cheaper."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.cli.verbs.prices import book_rows
from bench.derive import derive
from bench.report.tco_table import print_answer
from bench.report.terminal import console
from bench.store import find_run, load_run
from bench.tco.answer import TcoAnswer, answer
from bench.tco.demand import Demand, trace_demand
from bench.tco.document import to_json
from bench.tco.of_run import tco_run
from bench.tco.spec import TcoRequest
from bench.tco.throughput import (
    TcoRun,
)
from bench.values.errors import InputError


def stored(names: Sequence[str], results_dir: str) -> tuple[TcoRun, ...]:
    """The named Runs as the cost model takes them."""
    runs = (load_run(find_run(name, results_dir)) for name in names)
    return tuple(tco_run(run, derive(run)) for run in runs)


def run(request: TcoRequest, runs: tuple[TcoRun, ...] = (), *, as_json: bool = False) -> int:
    """Print the answer as tables or JSON and return 0; InputError when there is none."""
    found = answered(request, runs)
    if as_json:
        print(json.dumps(to_json(found), indent=2))
    else:
        print_answer(found, console())
    return 0


def answered(request: TcoRequest, runs: tuple[TcoRun, ...]) -> TcoAnswer:
    """The answer as of today; InputError when there is none."""
    today = datetime.now(tz=UTC).date()
    return answer(request, runs, book_rows(request.prices), _trace(request), today)


def _trace(request: TcoRequest) -> Demand | None:
    name = request.tco.demand.trace
    if name is None:
        return None
    try:
        return trace_demand(Path(name).read_text(encoding="utf-8").splitlines(), name)
    except OSError as error:
        raise InputError(f"tco.demand.trace: {name}: {error.strerror}.") from error
