"""Seconds of `bench engine=endpoint` outside its load, two checkouts in turns.

    python scripts/startup.py OLD [NEW]

OLD and NEW (default: this one) are checkouts. A built-in truth server runs meanwhile; each run
sends it 3 x 60 requests. Cold: nothing of an earlier run is known, so that the load generator is
calibrated; warm: it was before. On a machine that does nothing else; both use this Python.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
from asked_help import answer_help

TURNS = 4
LOAD = (
    "gpus=0 meter=none workload.input_tokens=64 workload.output_tokens=64 "
    "load.concurrency=[4] load.requests=60 load.repeats=3"
).split()


def main() -> int:
    """Both checkouts, cold and warm; the medians and their ratio."""
    if not 2 <= len(sys.argv) <= 3:
        print("usage: python scripts/startup.py OLD [NEW]", file=sys.stderr)
        return 2
    old = Path(sys.argv[1]).resolve()
    new = Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else Path(__file__).parents[1].resolve()
    with tempfile.TemporaryDirectory() as name, served(new, Path(name)) as url:
        for checkout in (old, new):  # the files that Python compiles are there afterwards
            outside_s(checkout, Path(name), url, cold=True)
        for cold in (True, False):
            found: dict[Path, list[float]] = {old: [], new: []}
            for _ in range(TURNS):
                for checkout, seconds in found.items():
                    seconds.append(outside_s(checkout, Path(name), url, cold=cold))
            told(found, old, new, "cold" if cold else "warm")
    return 0


def told(found: dict[Path, list[float]], old: Path, new: Path, state: str) -> None:
    """One line a checkout, and their ratio."""
    for checkout, seconds in found.items():
        print(f"{state}  {checkout}: {' '.join(f'{s:.2f}' for s in sorted(seconds))} s")
    ratio = statistics.median(found[new]) / statistics.median(found[old])
    print(f"{state}  new ÷ old, medians: {ratio:.2f}", flush=True)


def environment(checkout: Path, home: Path) -> dict[str, str]:
    """Of a program of that checkout, whose calibrations lie below `home`."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(checkout), "HOME": str(home), "XDG_CACHE_HOME": str(home)}


@contextmanager
def served(checkout: Path, folder: Path) -> Iterator[str]:
    """A truth server (20 ms to the first token, then 2 ms each); its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = f"-m bench.engines.truth_server --host 127.0.0.1 --port {port} --model m".split()
    words += "--ttft-ms 20 --itl-ms 2 --tokens-per-chunk 1".split()
    process = subprocess.Popen(
        [sys.executable, *words],
        env=environment(checkout, folder),
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()  # it listens
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def outside_s(checkout: Path, folder: Path, url: str, *, cold: bool) -> float:
    """Wall seconds of one run less those in which a measured load ran."""
    home, results = folder / f"home-{checkout.name}", folder / "results"
    shutil.rmtree(results, ignore_errors=True)
    if cold:
        shutil.rmtree(home, ignore_errors=True)
    home.mkdir(exist_ok=True)
    words = ["engine=endpoint", f"engine.base_url={url}", "engine.served_model=m", *LOAD]
    began_s = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "bench.cli", *words, f"results_dir={results}"],
        env=environment(checkout, home),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    wall_s = time.monotonic() - began_s
    spans = [pq.read_table(file) for file in results.rglob("requests.parquet")]
    load_ns = sum(max(t["end_ns"].to_pylist()) - min(t["scheduled_ns"].to_pylist()) for t in spans)
    return wall_s - float(load_ns) / 1e9


if __name__ == "__main__":
    answer_help(__doc__)
    raise SystemExit(main())
