"""`bench runs`: list the stored runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.composed import (
    results_dir_only,
    row_format,
)
from bench.cli.verb import Verb
from bench.values.json_text import json_text

VERB = Verb(
    usage=("bench runs [results_dir=FOLDER] [--json | --format md|csv|parquet]",),
    keys=(keys.RESULTS_DIR,),
    flags=(keys.ROWS,),
)


def call(arguments: Arguments) -> int:
    """List them all."""
    where, form = results_dir_only(arguments), row_format(arguments)
    return list_all(where, as_json=arguments.as_json, form=form)


def list_all(results_dir: str, *, as_json: bool, form: str | None = None) -> int:
    """One line per stored run, oldest first; `form` is a file format instead of a table."""
    from bench.cli.summaries import code, row_of, summaries
    from bench.cli.team import rows_at
    from bench.report.rows import flat, write_rows
    from bench.report.terminal import print_runs
    from bench.sweep.mirror import mirror_of
    from bench.values.address import is_address

    if is_address(results_dir):
        from bench.sweep.remote import Address

        mirror = mirror_of(results_dir)
        rows = rows_at(Address(results_dir), mirror, lambda p: row_of(p, derived), code())
    else:
        rows = summaries(results_dir, derived)
    if form is not None:
        write_rows([flat(row) for row in rows], form)
    elif as_json:
        print(json_text(rows))
    else:
        print_runs(rows, results_dir)
    return 0


def derived(path: Path) -> dict[str, Any]:
    """The line of a stored run, derived from its records."""
    from bench.derive import derive
    from bench.report.document import summary
    from bench.store import load_run

    run = load_run(path)
    return summary(run, derive(run))
