"""`bench runs` and `bench show`: read what is stored, derive, print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.cli.verbs.summaries import summaries
from bench.derive import derive
from bench.report.document import run_document, summary
from bench.report.rows import flat, metric_rows, write_rows
from bench.report.terminal import print_run, print_runs
from bench.store import find_run, load_run


def list_all(results_dir: str, *, as_json: bool, form: str | None = None) -> int:
    """One line per stored run, oldest first; `form` is a file format instead of a table."""
    rows = summaries(results_dir, _row)
    if form is not None:
        write_rows([flat(row) for row in rows], form)
    elif as_json:
        print(json.dumps(rows))
    else:
        print_runs(rows, results_dir)
    return 0


def _row(path: Path) -> dict[str, Any]:
    run = load_run(path)
    return summary(run, derive(run))


def show(names: Sequence[str], results_dir: str, *, as_json: bool, form: str | None = None) -> int:
    """The named runs in full; one JSON object for one run, a list for several.

    With a file format `form`, a row per run, load point and metric.
    """
    documents: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for name in names:
        run = load_run(find_run(name, results_dir))
        measurement = derive(run)
        if form is not None:
            rows += metric_rows(run, measurement)
            continue
        documents.append(run_document(run, measurement))
        if not as_json:
            print_run(run, measurement)
    if form is not None:
        write_rows(rows, form)
    elif as_json:
        print(json.dumps(documents[0] if len(documents) == 1 else documents))
    return 0
