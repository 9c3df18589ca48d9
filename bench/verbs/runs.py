"""`bench runs` and `bench show`: read what is stored, derive, print."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bench.derive import derive
from bench.report.document import run_document, summary
from bench.report.terminal import print_run, print_runs
from bench.store import find_run, list_runs, load_run


def list_all(results_dir: str, *, as_json: bool) -> int:
    """One line per stored run, oldest first."""
    rows = []
    for path in list_runs(results_dir):
        run = load_run(path)
        rows.append(summary(run, derive(run)))
    if as_json:
        print(json.dumps(rows))
    else:
        print_runs(rows, results_dir)
    return 0


def show(names: Sequence[str], results_dir: str, *, as_json: bool) -> int:
    """The named runs in full; one JSON object for one run, a list for several."""
    documents = []
    for name in names:
        run = load_run(find_run(name, results_dir))
        measurement = derive(run)
        documents.append(run_document(run, measurement))
        if not as_json:
            print_run(run, measurement)
    if as_json:
        print(json.dumps(documents[0] if len(documents) == 1 else documents))
    return 0
