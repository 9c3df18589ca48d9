"""Faults of files and permissions (kind 8)."""

from __future__ import annotations

import os
from pathlib import Path

from fault import FIT, TRUTH, TWO, Place, fault, stored
from said import bench, refused

from bench.cli.summaries import summaries
from bench.cli.verbs.runs import derived


@fault(8, "results_dir is a file", TWO)
def _(place: Place) -> None:
    (place.folder / "file").write_text("")
    refused(bench(*TRUTH, f"results_dir={place.folder / 'file'}"), 2, "results_dir")
    refused(bench("-m", *TRUTH, "seed=1,2", f"results_dir={place.folder / 'file'}"), 2)


@fault(8, "results_dir below a file of the kernel", TWO)
def _(place: Place) -> None:
    refused(bench(*TRUTH, "results_dir=/proc/self/results"), 2, "results_dir")


@fault(8, "a FIFO where a file is expected", TWO)
def _(place: Place) -> None:
    fifo = place.folder / "fifo.yaml"
    os.mkfifo(fifo)
    (place.folder / "config.json").symlink_to(fifo)
    refused(bench("claim", str(fifo)), 2)
    refused(bench(*TRUTH, f"workload.file={fifo}"), 2)
    refused(bench("prices", "import", str(fifo)), 2)
    refused(bench("fit", f"model.path={place.folder}", "gpu=h100-sxm", "gpus=1"), 2)


@fault(8, "a FIFO in place of a stored file", "nobody waits for it; listed with why")
def _(place: Place) -> None:
    good = stored(place.folder)
    names = ("run.json", "ending.json", "summary.json", "points/*/point.json")
    for name in (*names, "points/*/*.parquet", "telemetry/power.jsonl"):
        bad = stored(place.folder)
        target = next(bad.glob(name), bad / name)
        target.parent.mkdir(exist_ok=True)
        target.unlink(missing_ok=True)
        os.mkfifo(target)
        rows = {r["run"]: r for r in summaries(str(place.folder), derived)}
        assert rows[str(good)]["status"] == "complete"
        harmless = name in ("ending.json", "summary.json")
        assert ("unreadable" in rows[str(bad)]) is not harmless, f"{name}: {rows[str(bad)]}"
        said = bench("show", str(bad), f"results_dir={place.folder}")
        assert said.code == (0 if harmless else 1), said.err


@fault(8, "a FIFO for a case file, an answer or a snapshot", TWO)
def _(place: Place) -> None:
    fifo = str(place.folder / "fifo")
    os.mkfifo(fifo)
    refused(bench("case", "compare", fifo, fifo), 2, "is no file")
    refused(bench("tco", f"--since={fifo}"), 2)
    refused(bench("snapshot", "import", fifo), 2)


@fault(8, "a device without an end for a file", TWO)
def _(place: Place) -> None:
    refused(bench(*TRUTH, "workload.file=/dev/zero"), 2)
    refused(bench("prices", "import", "/dev/zero"), 2)


@fault(8, "the working folder was deleted", TWO)
def _(place: Place) -> None:
    gone = place.folder / "gone"
    gone.mkdir()
    before = Path.cwd()
    os.chdir(gone)
    try:
        gone.rmdir()
        said = bench(*FIT)
        listed = bench("runs")
    finally:
        os.chdir(before)
    refused(said, 2, "is gone")
    refused(listed, 2, "is gone")
