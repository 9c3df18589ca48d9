"""`bench split`: energy of prompt and of output tokens over stored runs, where they can tell."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bench.derive import derive
from bench.power.mixes import mixes
from bench.power.split import split_energy
from bench.power.table import VERIFIED_ON_HARDWARE
from bench.report.split_table import print_split
from bench.report.terminal import console
from bench.store import find_run, load_run
from bench.values.codec import encode
from bench.values.errors import InputError


def run(names: Sequence[str], results_dir: str, *, as_json: bool) -> int:
    """Print the split or why there is none: that is an answer, so the exit status is 0."""
    if not names:
        raise InputError("bench split: name the runs of the mixes, as bench runs lists them.")
    paths = list(dict.fromkeys(find_run(name, results_dir) for name in names))
    runs = [load_run(path) for path in paths]
    found = mixes([(r, derive(r)) for r in runs])
    split = split_energy(found.points)
    if as_json:
        verified = VERIFIED_ON_HARDWARE and found.source == "nvml"
        document = {"runs": [r.path for r in runs], "split": encode(split)}
        print(json.dumps({**document, "verified_on_hardware": verified, **encode(found)}))
    else:
        print_split(console(), found, split)
    return 0
