"""How long lists and comparisons of thousands of stored runs take: one run, copied.

    python scripts/many_runs.py FOLDER [--counts 1000,10000] [--keep]

A truth run is measured, and copied under other names and stamps until so many lie there. Then, each
in a process of its own: bench runs --json (from each run's summary.json, and with the index),
bench compare of 100, bench report of the last. Wall clock, processor
seconds and the largest memory of each are printed, and two lists at once are held to one answer.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

RUN = (
    *("engine=truth", "gpus=0", "meter=none", "load.concurrency=[1,4]", "load.repeats=3"),
    *("load.duration_s=0.4", "load.calibrate=false", "engine.ttft_ms=5", "engine.itl_ms=1"),
    *("workload.input_tokens=16", "workload.output_tokens=16"),
)
TARGET_S = {1000: 2.0, 10_000: 10.0}


def bench(*words: str) -> tuple[float, float, float, bytes]:
    """(wall s, processor s, MB, stdout) of one command; an error ends all."""
    began_s = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        command = [sys.executable, "-m", "bench.cli", *words]
        process = subprocess.Popen(command, stdout=out, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.monotonic() - began_s
        for file in (out, said):
            file.seek(0)
        if process.returncode:
            sys.exit(f"bench {' '.join(words[:3])} …: {said.read().decode()[-300:]}")
        return wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, out.read()


def copy(source: Path, number: int) -> Path:
    """The run once more, measured `number` minutes later as far as its name says."""
    stamp = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    target = source.parent / f"none-x0-{stamp:%Y%m%d-%H%M%S}"
    # Records are never written again, so a link is as good as a copy; summaries are.
    shutil.copytree(source, target, copy_function=_linked)
    return target


def _linked(source: str, target: str) -> None:
    if Path(source).name in ("run.json", "summary.json"):
        shutil.copy2(source, target)
    else:
        os.link(source, target)


def shown(what: str, found: tuple[float, float, float, bytes], target_s: float | None) -> None:
    """A line of the table."""
    wall_s, cpu_s, mb, _ = found
    verdict = "" if target_s is None else f"  ({'met' if wall_s <= target_s else 'MISSED'})"
    print(f"{what:58}{wall_s:8.2f}{cpu_s:10.2f}{mb:8.0f}{verdict}", flush=True)


def main() -> int:
    """Make them, time them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--counts", default="1000,10000")
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    where = f"results_dir={arguments.folder}"
    if not list(arguments.folder.glob("*/*/run.json")):
        bench(*RUN, where)
    first = sorted(arguments.folder.glob("*/*/run.json"))[-1].parent
    there = len(list(arguments.folder.glob("*/*/run.json")))
    print(f"{'':58}{'wall s':>8}{'CPU s':>10}{'MB':>8}", flush=True)
    for count in map(int, arguments.counts.split(",")):
        for number in range(there, count):
            copy(first, number)
        there = max(there, count)
        names = [p.parent for p in sorted(arguments.folder.glob("*/*/run.json"))]
        target_s = TARGET_S.get(count)
        index = arguments.folder / ".index.json"
        index.unlink(missing_ok=True)
        shown(f"runs --json of {count:,}, index gone", bench("runs", "--json", where), None)
        shown("the same, with the index", bench("runs", "--json", where), target_s)
        hundred = [f"{p.parent.name}/{p.name}" for p in names[:100]]
        shown("compare --json of 100 of them", bench("compare", "--json", *hundred, where), 10.0)
        last = f"{names[-1].parent.name}/{names[-1].name}"
        shown("report of the last", bench("report", last, where), None)
        with ThreadPoolExecutor(2) as two:
            index.unlink()
            lists = list(two.map(lambda _: bench("runs", "--json", where)[3], range(2)))
        alike = [json.loads(text) for text in lists]
        print(f"two lists at once, index gone: {'alike' if alike[0] == alike[1] else 'UNLIKE'}")
    if not arguments.keep:
        shutil.rmtree(arguments.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
