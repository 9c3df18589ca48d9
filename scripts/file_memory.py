"""Read a million rows, and a gigabyte, of each kind: seconds and the most memory that it took.

python scripts/file_memory.py [rows]     # 1,000,000 by default; files go to a scratch folder
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from asked_help import answer_help

from bench.traffic.workload_summary import summarise
from bench.values.spec import SloSpec, WorkloadSpec

FILLER = "word " * 195


def mooncake(rows: int) -> Iterator[str]:
    """A row every 250 ms, of 512-token blocks of which the first is everybody's."""
    for i in range(rows):
        row = {"timestamp": 250 * i, "input_length": 1500, "output_length": 20}
        yield json.dumps({**row, "hash_ids": [0, 2 * i + 1, 2 * i + 2]}) + "\n"


def azure(rows: int) -> Iterator[str]:
    """As Azure writes them."""
    yield "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    for i in range(rows):
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(1_700_000_000 + i // 4))
        yield f"{at}.{i % 4 * 25:02d}00000,{100 + i % 900},{1 + i % 50}\n"


def sharegpt(rows: int) -> Iterator[str]:
    """One array of conversations of about 1 kB each."""
    record = json.dumps(
        {"conversations": [{"from": "human", "value": FILLER}, {"from": "gpt", "value": "Yes."}]}
    )
    yield "["
    for i in range(rows):
        yield ("," if i else "") + record
    yield "]"


def _measure(path: str, name: str) -> None:
    start = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slo = SloSpec(ttft_ms=1, tpot_ms=1)
    found = summarise(WorkloadSpec(name="f", input_tokens=1, output_tokens=1, slo=slo, file=path))
    took_s = time.monotonic() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    size_gb = Path(path).stat().st_size / 1e9
    print(
        f"{name:10} {found.requests:>9,} requests, {size_gb:.2f} GB: {took_s:.0f} s, "
        f"memory grew by {grown:.0f} MiB",
        flush=True,
    )


def main() -> None:
    """Write and read each kind; a process of its own for each, so that its peak is its own."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    kinds: dict[str, Callable[[int], Iterator[str]]] = {
        "mooncake": mooncake,
        "azure": azure,
        "sharegpt": sharegpt,
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in kinds.items():
            path = Path(folder) / (f"{name}.csv" if name == "azure" else f"{name}.json")
            with path.open("w") as file:
                file.writelines(lines(rows))
            reader = multiprocessing.get_context("spawn").Process(
                target=_measure, args=(str(path), name)
            )
            reader.start()
            reader.join()
            path.unlink()


if __name__ == "__main__":
    answer_help(__doc__)
    main()
