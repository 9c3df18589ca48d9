"""A load that is known: works when it is told to, and says when it really did.

`python scripts/selfcheck_load.py cuda|cpu` answers one line of JSON for each that it reads from
stdin: {"load": "idle" | "steady" | "square", "start_ns", "end_ns", "period_s"}, on CLOCK_MONOTONIC.
A square wave works in the first half of each period. Torch alone puts load on the GPU.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from asked_help import answer_help

HELD_BYTES = 4 * 2**30
"""Device memory that the process takes, so that memory readings have something to show."""


def cuda_unit() -> tuple[Callable[[], None], int]:
    """A unit of work of about half a millisecond on a large board, and the bytes held."""
    import torch

    torch.manual_seed(0)
    a = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    b = torch.randn_like(a)
    out = torch.empty_like(a)
    held = torch.empty(HELD_BYTES, device="cuda", dtype=torch.uint8)

    def unit() -> None:
        for _ in range(3):
            torch.mm(a, b, out=out)
        torch.cuda.synchronize()

    unit()
    unit.keep = held  # type: ignore[attr-defined]
    return unit, int(torch.cuda.memory_reserved())


def cpu_unit() -> tuple[Callable[[], None], int]:
    """A unit of about half a millisecond on one core, for rehearsals."""
    block = bytes(2**19)

    def unit() -> None:
        hashlib.sha256(block).digest()

    return unit, len(block)


def perform(order: dict[str, Any], unit: Callable[[], None]) -> dict[str, Any]:
    """Follow one order; units done and the stamps at which work went on (even) or off (odd)."""
    start, end = order["start_ns"], order["end_ns"]
    half = round((order.get("period_s") or 0.0) * 1e9 / 2) or end - start
    units, edges, working = 0, [], False
    wait(start)
    while (now := time.monotonic_ns()) < end:
        on = order["load"] != "idle" and (now - start) // half % 2 == 0
        if on != working:
            edges.append(time.monotonic_ns())
            working = on
        if on:
            unit()
            units += 1
        else:
            wait(min(end, start + ((now - start) // half + 1) * half))
    if working:
        edges.append(time.monotonic_ns())
    return {"units": units, "edges_ns": edges}


def wait(until_ns: int) -> None:
    """Sleep, and turn for the last 0.2 ms."""
    left_s = (until_ns - time.monotonic_ns()) / 1e9 - 2e-4
    if left_s > 0:
        time.sleep(left_s)
    while time.monotonic_ns() < until_ns:
        pass


def main() -> int:
    """Say what is held, then follow orders until stdin closes."""
    unit, held = cuda_unit() if sys.argv[1:] == ["cuda"] else cpu_unit()
    print(json.dumps({"pid": os.getpid(), "allocated_bytes": held}), flush=True)
    for line in sys.stdin:
        print(json.dumps(perform(json.loads(line), unit)), flush=True)
    return 0


if __name__ == "__main__":
    answer_help(__doc__)
    sys.exit(main())
