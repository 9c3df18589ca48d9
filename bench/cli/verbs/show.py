"""`bench show`: derive a stored run's numbers again and print them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.composed import results_dir_only, row_format
from bench.cli.verb import Flag, Verb
from bench.values.json_text import json_text

VERB = Verb(
    usage=("bench show [RUN | latest ...] [results_dir=FOLDER] [--json | --format FORMAT]",),
    more="Rows for other programs: md, csv, parquet. The forms of others, as JSON lines or text:\n"
    "llm-d (llm-d-benchmark's report, one a load point), mlflow (bodies of runs/log-batch),\n"
    "prometheus (gauges for the file collector). What was withheld is absent in all of them.",
    keys=(keys.RESULTS_DIR,),
    flags=(
        Flag(
            name="--format",
            value="FORMAT",
            what="rows or a form of others instead of a table",
            choices=("md", "csv", "parquet", "llm-d", "mlflow", "prometheus"),
        ),
    ),
    words="runs",
)


def call(arguments: Arguments) -> int:
    """Show the runs named, the latest where none is."""
    from bench.report.exchange import FORMS

    where, form = results_dir_only(arguments), row_format(arguments, FORMS)
    return show(arguments.words or ("latest",), where, as_json=arguments.as_json, form=form)


def show(names: Sequence[str], results_dir: str, *, as_json: bool, form: str | None = None) -> int:
    """The named runs in full; one JSON object for one run, a list for several.

    With a file format `form`, a row per run, load point and metric, or one of the forms of others.
    """
    from bench.derive import derive
    from bench.report.document import run_document
    from bench.report.exchange import FORMS, write_exchange
    from bench.report.rows import metric_rows, write_rows
    from bench.report.terminal import print_run
    from bench.store import find_runs, load_run

    documents: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    measured = []
    for folder in find_runs(names, results_dir):
        run = load_run(folder)
        measurement = derive(run)
        if form in FORMS:
            measured.append((run, measurement))
            continue
        if form is not None:
            rows += metric_rows(run, measurement)
            continue
        documents.append(run_document(run, measurement))
        if not as_json:
            print_run(run, measurement)
    if form is not None and form in FORMS:
        write_exchange(measured, form)
    elif form is not None:
        write_rows(rows, form)
    elif as_json:
        print(json_text(documents[0] if len(documents) == 1 else documents))
    return 0
