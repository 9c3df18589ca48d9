"""`bench tco`: what a token costs on your own servers, and whether an API is cheaper."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ask.costs import answered, book_rows, bought, check_day, cost_question, trace_of
from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.verb import Flag, Verb
from bench.config.compose import options, split_results_dir
from bench.values.errors import InputError
from bench.values.json_text import json_text
from bench.values.outside import regular

if TYPE_CHECKING:
    from bench.money.answer import TcoAnswer
    from bench.money.prices.book import PriceRow
    from bench.money.spec import TcoRequest
    from bench.money.throughput import TcoRun


VERB = Verb(
    usage=(
        "bench tco [RUN | latest ...] [tco=NAME] [prices=NAME] [power=NAME] [KEY=VALUE ...] "
        "[--json]",
    ),
    more=(
        "Every answer sets owning, renting and the APIs of the book beside each other.\n"
        "  bench tco RUN                                        from a measured run\n"
        "  bench tco tco=worked-example                         an example, all of it assumed\n"
        "  bench tco tco.basis=api tco.demand.mtok_per_month=30000 tco.demand.input_share=0.75\n"
        "                                                       APIs alone: no server, no GPU\n"
        "docs/guide/how-to/cost.md types a throughput, a server and prices of one's own."
    ),
    keys=(
        ("tco=NAME", "the question: demand, servers, what they cost"),
        ("tco.basis=WAY", "own, on_demand, reserved, spot: whose bill leads; api: no servers"),
        ("tco.demand.mtok_per_month=N", "M tokens a month, prompts and answers together"),
        ("tco.demand.input_share=X", "which share of them are prompts; a run says its own"),
        ("tco.server.gpu=NAME", "the server of a typed figure; tco.server.gpus=N, how many GPUs"),
        ("tco.api.compare=[A/B]", "which APIs of the book: all, unless said"),
        ("prices=NAME", "the price book; prices.book=FILE adds a CSV of your own"),
        ("power=NAME", "what electricity and cooling cost"),
        ("tco.allow=[invalid]", "let a run that is not valid answer"),
        keys.RESULTS_DIR,
    ),
    flags=(
        Flag(
            name="--since",
            what="what changed since a date, a run or a stored answer (FILE.json)",
            value="WHEN",
        ),
    ),
    words="runs",
)


def call(arguments: Arguments) -> int:
    """Answer the cost question, from stored runs where some are named."""
    results_dir, overrides = split_results_dir(arguments.overrides)
    for word in set(arguments.words) & set(options("tco", arguments.config_dirs)):
        raise InputError(f"{word!r} is a cost question, and no run: type tco={word}.")
    runs = stored(arguments.words, results_dir)
    if "tco" not in arguments.typed_keys and (asked := own_question(runs)) is not None:
        overrides = [f"tco={asked}", *overrides]
    request = cost_question(overrides, arguments.config_dirs, measured=bool(runs))
    if request.tco.basis == "api":
        if arguments.option("--since") is not None:
            raise InputError("--since: not of tco.basis=api; bench prices says how prices moved.")
        return run_apis(request, as_json=arguments.as_json)
    if (when := arguments.option("--since")) is not None:
        return since_when(request, runs, when, results_dir, as_json=arguments.as_json)
    return run(request, runs, as_json=arguments.as_json)


def own_question(runs: Sequence[TcoRun]) -> str | None:
    """The one question about a host without GPU, where all runs are of one."""
    return "cpu-host" if runs and all(r.gpu == "cpu" for r in runs) else None


def stored(names: Sequence[str], results_dir: str) -> tuple[TcoRun, ...]:
    """The named Runs as the cost model takes them."""
    from bench.derive import derive
    from bench.money.of_run import tco_run
    from bench.store import find_runs, load_run

    runs = (load_run(path) for path in find_runs(names, results_dir))
    return tuple(tco_run(run, derive(run)) for run in runs)


def run(request: TcoRequest, runs: tuple[TcoRun, ...] = (), *, as_json: bool = False) -> int:
    """Print the answer as tables or JSON and return 0; InputError when there is none."""
    from bench.money.document import to_json
    from bench.report.console import console
    from bench.report.tco_table import print_answer

    found = answered(request, runs)
    if as_json:
        print(json_text(to_json(found), indent=2))
    else:
        print_answer(found, console())
    return 0


def run_apis(request: TcoRequest, *, as_json: bool = False) -> int:
    """Print what each API bills and return 0; InputError where that cannot be said."""
    from bench.money.api_bills import to_json
    from bench.report.console import console
    from bench.report.tco_apis import print_bills

    found = bought(request)
    if as_json:
        print(json_text(to_json(found), indent=2))
    else:
        print_bills(found, console())
    return 0


def since_when(
    request: TcoRequest, runs: tuple[TcoRun, ...], when: str, results_dir: str, *, as_json: bool
) -> int:
    """Print what changed since a date, a run's day or a stored answer; returns 0."""
    from bench.money.answer import answer
    from bench.money.since import Since, figures_of, figures_of_document, moved, since
    from bench.report.console import console
    from bench.report.since_table import print_since, since_document

    rows, trace = book_rows(request.prices), trace_of(request)
    today = datetime.now(tz=UTC).date()

    def ask(book: tuple[PriceRow, ...], as_of: str | None) -> TcoAnswer:
        asked = replace(request, prices=replace(request.prices, as_of=as_of))
        return answer(asked, runs, book, trace, today)

    if when.endswith(".json"):
        try:
            before = figures_of_document(_stored_answer(when))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"--since: {when} is no answer of bench tco --json.") from error
        after = figures_of(ask(rows, None))
        found = Since(since=when, figures=moved(before, after), changes=())
    else:
        day = _day(when, results_dir)
        check_day(day, rows, today, "--since")
        found = since(ask, rows, day)
    if as_json:
        print(json_text(since_document(found), indent=2))
    else:
        print_since(console(), found)
    return 0


def _stored_answer(name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(regular(Path(name)).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--since: {name}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"--since: {name} is no JSON: {error}.") from error
    return found


def _day(when: str, results_dir: str) -> str:
    """A date as typed, or the day on which a stored run began."""
    from bench.store import find_run, load_run
    from bench.values.figure import first_day

    try:
        first_day(when)
    except ValueError:
        return load_run(find_run(when, results_dir)).anchor.wall_iso[:10]
    return when
