"""Sweeps at the command line: each run by its id, and the end of all read from the store."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.arguments import Arguments
from bench.cli.streams import interrupted_code, shown_error
from bench.values.errors import BenchError, InputError, StoreError
from bench.values.json_text import json_text

if TYPE_CHECKING:
    from bench.sweep.asked import Element, Sweep
    from bench.values.spec import RunSpec

Document = dict[str, Any]


def by_id(
    run_id: str, results_dir: str, do: Callable[[], tuple[Document | None, int]]
) -> tuple[Document | None, int]:
    """Do a run that has an id, once: one that is complete is read instead of measured again.

    Whatever its end is, it is written into the run's folder before this returns or raises.
    """
    from bench.store import asked_run_dir
    from bench.sweep.ends import End, claimed, end_of, note_end

    folder = asked_run_dir(run_id, results_dir)
    known = stored(folder)
    if known is not None and known["status"] == "complete":
        end = end_of(folder)
        print(f"bench: {run_id} is complete already: nothing is measured again.", file=sys.stderr)
        return known, 0 if end is None else end.exit_code
    end = End(exit_code=1)
    with claimed(folder):
        try:
            document, code = do()
            end = End(exit_code=code)
        except BenchError as error:
            end = End(exit_code=error.exit_code, error=shown_error(error))
            raise
        except KeyboardInterrupt as error:
            end = End(exit_code=interrupted_code(error), error=f"interrupted ({error.args[:1]})")
            raise
        except BaseException as error:
            end = End(exit_code=1, error=shown_error(error) or type(error).__name__)
            raise
        finally:
            note_end(folder, end)
    return document, code


def stored(folder: Path) -> Document | None:
    """The JSON document of a stored run; None where there is none that can be read."""
    from bench.derive import derive
    from bench.report.document import run_document
    from bench.store import load_run

    try:
        run = load_run(folder)
        return run_document(run, derive(run))
    except StoreError:
        return None


def asked_sweep(
    specs: Sequence[RunSpec],
    combinations: Sequence[Sequence[str]],
    results_dir: str,
    *,
    resume: bool,
) -> Sweep:
    """The sweep of these runs, written down: a new one or, to resume, the one begun before.

    InputError where the same sweep is at work or waits: it is not run twice at once. One that has
    ended may be measured again: its runs are launches of their own.
    """
    from dataclasses import replace

    from bench.sweep.asked import ask, keep, same
    from bench.sweep.state import at_work
    from bench.values import ending

    before = same(combinations, results_dir)
    if before is not None and at_work(before):
        raise InputError(
            f"this sweep is at work already, as {before.name}: bench jobs {before.name} shows it."
        )
    if resume and before is None:
        raise InputError(
            f"--resume: no sweep of these words was begun below {results_dir}; leave it out."
        )
    sweep = before if resume and before is not None else ask(specs, combinations, results_dir)
    return keep(replace(sweep, writer=ending.writer(), scheduler=None, job=None, cancelled=()))


def ended(sweep: Sweep, arguments: Arguments, printed: Collection[str] = ()) -> int:
    """Show what became of a sweep: documents or tables, a comparison, and the exit code.

    `printed` are the runs whose tables have been seen already.
    """
    from bench.sweep.state import states

    found = states(sweep)
    if arguments.as_json:
        print(json_text([_document(sweep, s.element, s.error or s.said) for s in found]))
    else:
        from bench.report.sweep_table import print_sweep

        for state in found:
            if state.element.run not in printed and state.kind in ("done", "failed"):
                _print(sweep.folder(state.element))
        print_sweep(
            sweep, found, {s.element.run: row_of_run(sweep.folder(s.element)) for s in found}
        )
        _compare([sweep.folder(s.element) for s in found if s.kind == "done"])
    failed = sum(state.exit_code != 0 for state in found)
    if failed:
        print(f"bench: {failed} of {len(found)} runs of the sweep failed.", file=sys.stderr)
    return 1 if failed else 0


def _document(sweep: Sweep, element: Element, why: str) -> Document:
    """A run of a sweep: its document, or why there is none, and the id it was asked for by."""
    folder = sweep.folder(element)
    document = stored(folder)
    if document is not None and document["status"] == "complete":
        return {**document, "run_id": element.run}
    found: Document = {"run_id": element.run, "valid": False, "error": why}
    return found if document is None else {**found, "run": document["run"]}


def row_of_run(folder: Path) -> Mapping[str, Any] | None:
    """The line of a stored run, as `bench runs` has it; None where none is stored."""
    from bench.cli.summaries import row_of
    from bench.cli.verbs.runs import derived

    return row_of(folder, derived) if (folder / "run.json").is_file() else None


def _print(folder: Path) -> None:
    from bench.derive import derive
    from bench.report.terminal import print_run
    from bench.store import load_run

    try:
        run = load_run(folder)
    except StoreError:
        return  # refused before anything was stored: the table says why
    print_run(run, derive(run))


def _compare(folders: Sequence[Path]) -> None:
    """After a sweep over quant: its runs beside each other, unless they differ in more."""
    from bench.cli.verbs import compare
    from bench.store import load_run

    done = [f for f in folders if load_run(f).status == "complete"]
    if len({load_run(f).spec.engine.kind for f in done}) > 1:
        _show_engines(done)
    if len({load_run(f).spec.quant.name for f in done}) < 2:
        return
    try:
        compare.show(compare.compared(done, compare.Request()), as_json=False)
    except InputError as error:
        print(f"no comparison of the sweep: {error}", file=sys.stderr)


def _show_engines(folders: Sequence[Path]) -> None:
    """After a sweep over engines: what was equalised between them, and what was not."""
    from bench.derive import derive
    from bench.report.console import console
    from bench.report.fairness_table import print_fairness
    from bench.store import load_run

    runs = [load_run(folder) for folder in folders]
    print_fairness(console(), [(run, derive(run)) for run in runs])
