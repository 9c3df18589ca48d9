"""`bench case`: export what serving cost as an anonymous case, and set cases side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ask.costs import answered, cost_question
from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.verb import Verb
from bench.config.compose import split_results_dir
from bench.values.errors import InputError, StoreError, nearest
from bench.values.json_text import json_text
from bench.values.outside import regular

if TYPE_CHECKING:
    from bench.money.case import Known

VERB = Verb(
    usage=(
        "bench case export RUN FILE.json [tco=NAME] [KEY=VALUE ...]",
        "bench case compare FILE.json FILE.json ... [--json]",
    ),
    more="A case holds names of the catalogue, numbers and how they arose: no host, path, address\n"
    "or free text. Read it before you give it away.",
    keys=(("tco=NAME", "the cost question, as of bench tco"), keys.RESULTS_DIR),
    words="any",
)


def call(arguments: Arguments) -> int:
    """Export a run, or compare cases."""
    verb, *names = arguments.words or ("",)
    if verb == "export" and len(names) == 2:
        results_dir, overrides = split_results_dir(arguments.overrides)
        return export(names[0], names[1], results_dir, overrides, arguments.config_dirs)
    if verb == "compare" and len(names) > 1 and not arguments.overrides:
        return compare(tuple(names), as_json=arguments.as_json)
    hint = nearest(verb, ("export", "compare")) if verb else ""
    raise InputError(
        f"bench case takes: export RUN FILE.json, or compare FILE.json FILE.json ...{hint}"
    )


def export(
    name: str, path: str, results_dir: str, overrides: Any, config_dirs: tuple[str, ...]
) -> int:
    """Write the case of one run; never over an existing file."""
    from bench.derive import derive
    from bench.money.case import case_of
    from bench.money.of_run import tco_run
    from bench.report.document import summary
    from bench.store import find_run, load_run
    from bench.values.codec import encode

    if Path(path).exists():
        raise InputError(f"{path} exists already; choose another name.")
    run = load_run(find_run(name, results_dir))
    measurement = derive(run)
    said = summary(run, measurement)
    best = next((p for p in measurement.headline if p.point.label == said["best_load"]), None)
    metrics = {} if best is None else {k: encode(m) for k, m in best.metrics.items()}
    question = cost_question(overrides, config_dirs, measured=True)
    answer = answered(question, (tco_run(run, measurement),))
    case = case_of(said, metrics, answer, _known())
    try:
        Path(path).write_text(json_text(case, indent=2), "utf-8")
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}.") from error
    print(f"{path}: read it before you give it away")
    return 0


def _known() -> Known:
    """The shipped names: none of a folder of one's own."""
    from bench.config.compose import catalogue, claim_costs
    from bench.money.case import Known

    every = catalogue()
    prices, _ = claim_costs()
    return Known(
        models=frozenset(every.models),
        quants=frozenset(every.quants),
        gpus=frozenset(every.gpus),
        prices=frozenset(row.key for row in prices),
    )


def compare(names: tuple[str, ...], *, as_json: bool) -> int:
    """Print cases side by side."""
    from bench.money.case import beside, checked
    from bench.report.console import console
    from bench.report.grid import Grid, column, numbers, print_grid
    from bench.report.numbers import quantity

    rows = beside([checked(read(name), name) for name in names])
    titles = [Path(name).stem for name in names]
    if as_json:
        print(
            json_text({"cases": titles, "rows": {r.name: list(r.values) for r in rows}}, indent=2)
        )
        return 0
    cells = tuple(
        (
            r.name,
            *("–" if v is None else v if isinstance(v, str) else quantity(v) for v in r.values),
        )
        for r in rows
    )
    print_grid(console(), Grid(columns=(column(""), *numbers(*titles)), rows=cells))
    return 0


def read(name: str) -> object:
    """A case file's content; InputError when it cannot be read."""
    try:
        found: object = json.loads(regular(Path(name)).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{name}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is no JSON: {error}.") from error
    return found
