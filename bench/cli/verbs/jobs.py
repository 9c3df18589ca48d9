"""`bench jobs`: what became of the runs of a sweep: waiting, running, done, failed."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.composed import results_dir_only
from bench.cli.sweeps import ended, row_of_run
from bench.cli.verb import Flag, Verb
from bench.values.codec import encode
from bench.values.errors import InputError
from bench.values.json_text import json_text

if TYPE_CHECKING:
    from bench.sweep.asked import Sweep

VERB = Verb(
    usage=("bench jobs [SWEEP] [results_dir=FOLDER] [--wait] [--cancel ID[,ID]] [--json]",),
    more="SWEEP is a folder's name below results_dir/.sweeps; the newest without one. When all\n"
    "have ended, their comparison follows, and the exit code is 1 if one failed.",
    keys=(keys.RESULTS_DIR,),
    flags=(
        Flag(name="--wait", what="until nothing waits or runs any more"),
        Flag(name="--cancel", value="ID[,ID]", what="end these, by the exact ids JOB_N shown"),
    ),
    words="any",
)

_EVERY_S = 2.0


def call(arguments: Arguments) -> int:
    """Show one sweep, after cancelling or waiting as asked."""
    from bench.sweep.asked import find
    from bench.sweep.state import states

    if len(arguments.words) > 1:
        raise InputError(f"bench jobs shows one sweep, not {' and '.join(arguments.words)}.")
    given = arguments.options.get("--cancel", ())
    ids = [i for one in given for i in one.split(",") if i]
    if given and not ids:
        raise InputError(f"--cancel: {given[0]!r} names no job; bench jobs shows their ids, JOB_N.")
    sweep = find(next(iter(arguments.words), None), results_dir_only(arguments))
    if ids:
        sweep = _cancel(sweep, ids)
    found = states(sweep)
    while any(s.kind in ("waiting", "running") for s in found):
        if "--wait" not in arguments.flags:
            if arguments.as_json:
                print(json_text([encode(s) for s in found]))
            else:
                from bench.report.sweep_table import print_sweep

                rows = {s.element.run: row_of_run(sweep.folder(s.element)) for s in found}
                print_sweep(sweep, found, rows)
            return 0
        time.sleep(_EVERY_S)
        found = states(sweep)
    return ended(sweep, arguments, {e.run for e in sweep.elements})


def _cancel(sweep: Sweep, ids: list[str]) -> Sweep:
    """Call elements off at the scheduler; InputError for an id that is not exactly one of them."""
    from bench.sweep import slurm
    from bench.sweep.asked import keep

    if sweep.scheduler != "slurm" or sweep.job is None:
        raise InputError(f"--cancel: no scheduler that bench asks holds sweep {sweep.name}.")
    known = {f"{sweep.job}_{n}": n for n in range(len(sweep.elements))}
    wrong = [i for i in ids if i not in known]
    if wrong:
        raise InputError(f"--cancel: {wrong[0]!r} is none of {', '.join(known)}.")
    numbers = sorted({*sweep.cancelled, *(known[i] for i in ids)})
    sweep = keep(replace(sweep, cancelled=tuple(numbers)))
    slurm.cancel(ids)
    print(f"bench: cancelled {', '.join(ids)}.", file=sys.stderr)
    return sweep
