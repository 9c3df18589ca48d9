"""`bench split`: what a prompt and an output token cost in energy, from runs of unlike mixes."""

from __future__ import annotations

from collections.abc import Sequence

from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.composed import (
    results_dir_only,
)
from bench.cli.verb import Verb
from bench.values.errors import InputError
from bench.values.json_text import json_text

VERB = Verb(
    usage=("bench split RUN RUN ... [results_dir=FOLDER] [--json]",),
    more="Six load points or more, valid in energy, of one deployment; e.g. from the sweep\n"
    "bench -m load=energy load.concurrency=[8] workload.input_tokens=64,512,2048 "
    "workload.output_tokens=64,256",
    keys=(keys.RESULTS_DIR,),
    words="runs",
)


def call(arguments: Arguments) -> int:
    """Split the energy of the runs named."""
    return run(arguments.words, results_dir_only(arguments), as_json=arguments.as_json)


def run(names: Sequence[str], results_dir: str, *, as_json: bool) -> int:
    """Print the split or why there is none: that is an answer, so the exit status is 0."""
    from bench.derive import derive
    from bench.power.mixes import mixes
    from bench.power.split import split_energy
    from bench.power.table import VERIFIED_ON_HARDWARE
    from bench.report.console import console
    from bench.report.split_table import print_split
    from bench.store import find_run, load_run
    from bench.values.codec import encode

    if not names:
        raise InputError("bench split: name the runs of the mixes, as bench runs lists them.")
    paths = list(dict.fromkeys(find_run(name, results_dir) for name in names))
    runs = [load_run(path) for path in paths]
    found = mixes([(r, derive(r)) for r in runs])
    split = split_energy(found.points)
    if as_json:
        verified = VERIFIED_ON_HARDWARE and found.source == "nvml"
        document = {"runs": [r.path for r in runs], "split": encode(split)}
        print(json_text({**document, "verified_on_hardware": verified, **encode(found)}))
    else:
        print_split(console(), found, split)
    return 0
