"""`bench tco`: what a token costs on your own servers, and whether buying is cheaper."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.composed import (
    cost_question,
)
from bench.cli.verb import Verb
from bench.config.compose import split_results_dir
from bench.values.json_text import json_text
from bench.values.outside import text_file

if TYPE_CHECKING:
    from bench.tco.answer import TcoAnswer
    from bench.tco.demand import Demand
    from bench.tco.spec import TcoRequest
    from bench.tco.throughput import TcoRun


VERB = Verb(
    usage=(
        "bench tco [RUN | latest ...] [tco=NAME] [prices=NAME] [power=NAME] [KEY=VALUE ...] "
        "[--json]",
    ),
    keys=(
        ("tco=NAME", "the question: demand, servers, what they cost"),
        ("prices=NAME", "the price book; prices.book=FILE adds a CSV of your own"),
        ("power=NAME", "what electricity and cooling cost"),
        ("tco.allow=[invalid]", "let a run that is not valid answer"),
        keys.RESULTS_DIR,
    ),
    words="runs",
)


def call(arguments: Arguments) -> int:
    """Answer the cost question, from stored runs where some are named."""
    results_dir, overrides = split_results_dir(arguments.overrides)
    request = cost_question(overrides, arguments.config_dirs)
    return run(request, stored(arguments.words, results_dir), as_json=arguments.as_json)


def stored(names: Sequence[str], results_dir: str) -> tuple[TcoRun, ...]:
    """The named Runs as the cost model takes them."""
    from bench.derive import derive
    from bench.store import find_run, load_run
    from bench.tco.of_run import tco_run

    runs = (load_run(find_run(name, results_dir)) for name in names)
    return tuple(tco_run(run, derive(run)) for run in runs)


def run(request: TcoRequest, runs: tuple[TcoRun, ...] = (), *, as_json: bool = False) -> int:
    """Print the answer as tables or JSON and return 0; InputError when there is none."""
    from bench.report.tco_table import print_answer
    from bench.report.terminal import console
    from bench.tco.document import to_json

    found = answered(request, runs)
    if as_json:
        print(json_text(to_json(found), indent=2))
    else:
        print_answer(found, console())
    return 0


def answered(request: TcoRequest, runs: tuple[TcoRun, ...]) -> TcoAnswer:
    """The answer as of today; InputError when there is none."""
    from bench.cli.verbs.prices import book_rows
    from bench.tco.answer import answer

    today = datetime.now(tz=UTC).date()
    return answer(request, runs, book_rows(request.prices), trace_of(request), today)


def trace_of(request: TcoRequest) -> Demand | None:
    """The demand of the trace that the question names; None without one."""
    from bench.tco.demand import trace_demand

    name = request.tco.demand.trace
    if name is None:
        return None
    return trace_demand(text_file(name, "tco.demand.trace").splitlines(), name)
