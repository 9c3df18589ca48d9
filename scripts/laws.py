"""Do the figures keep Little's law, and do tokens tie out, on a server that counts for itself?

    python scripts/laws.py [--engine truth|vllm] [--seconds 8] [--repeats 3]

One server, several lengths and loads, measured as `bench` measures them. Per row: requests/s x mean
E2E / requests in flight - 1 (Little 1961; within 1 %), tokens that the client received against the
server's own counter before and after, tokens in the window against the rise of that counter, read
from /metrics all the while (each within 0.5 %), and tokens of the requests that ended against those
that arrived (within what bench's certificate allows). Exit code 1 where one is not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.config.compose import catalogue, compose, run_spec
from bench.engines import load_engine
from bench.measure.checks.consistency import little_error, tie_out_error, tie_out_limit
from bench.measure.metrics import Steady, output_rate, request_rate, steady_parts
from bench.meters import engine_stats
from bench.preflight import preflight
from bench.traffic.plan import load_points
from bench.traffic.points import Driver
from bench.values.record import PointData
from bench.values.server import Server
from bench.values.spec import RunSpec

LOGNORMAL = "{dist: lognormal, median: 48, sigma: 0.6, min: 2, max: 200}"
ROWS = {
    "truth": (("64", "50", (1, 4, 16)), ("512", "20", (8, 64)), ("64", LOGNORMAL, (8, 32))),
    "vllm": (("64", "32", (1, 8, 32)), ("512", "64", (4, 16)), ("128", LOGNORMAL, (8, 32))),
}
KEYS = {
    "truth": ("engine=truth", "engine.ttft_ms=50", "engine.itl_ms=20", "gpus=0"),
    "vllm": ("model=tiny", "gpus=0"),
}
LITTLE, TIE_OUT = 0.01, 0.005
_COUNTER = "generation_tokens_total"
_POLL_S = 0.1


@dataclass(frozen=True)
class Laws:
    """How far each law is off over the repeats of one load, and by what rates it was seen."""

    title: str
    requests_per_s: float
    tokens_per_s: float
    little: float
    tie_out: float
    counted: float
    slope: float
    allowed: float

    @property
    def kept(self) -> bool:
        """Whether all are within what is tolerated."""
        ties = max(abs(self.counted), abs(self.slope))
        ended = abs(self.tie_out) <= self.allowed
        return abs(self.little) <= LITTLE and ties <= TIE_OUT and ended


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", choices=sorted(ROWS), default="truth")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    print(
        "| input, output tokens, in flight | req/s | tok/s | Little's law | ended / arrived "
        "| client / server | tok/s / counter's slope |\n|---|" + " ---: |" * 6,
        flush=True,
    )
    kept = True
    for laws in measured(asked.engine, asked.seconds, asked.repeats):
        shown = (laws.little, laws.tie_out, laws.counted, laws.slope)
        words = " | ".join(f"{v:+.2%}" for v in shown)
        rates = f"{laws.requests_per_s:.4g} | {laws.tokens_per_s:.4g}"
        print(f"| {laws.title} | {rates} | {words} |", flush=True)
        kept &= laws.kept
    return 0 if kept else 1


def measured(engine: str, seconds: float, repeats: int) -> Iterator[Laws]:
    """Every row of the engine's, on one server."""
    first = spec_of(engine, "64", "32", (1,), seconds, repeats)
    with (
        tempfile.TemporaryDirectory() as folder,
        load_engine(first.engine.kind).serve(first, Path(folder), lambda _: None) as server,
    ):
        for prompt, output, loads in ROWS[engine]:
            spec = spec_of(engine, prompt, output, loads, seconds, repeats)
            yield from laws_of(spec, server, f"{prompt}, {output}")


def spec_of(
    engine: str, prompt: str, output: str, loads: Sequence[int], seconds: float, repeats: int
) -> RunSpec:
    """A run as it would be asked for on the command line."""
    words = [
        *(*KEYS[engine], "load=closed", f"load.concurrency={list(loads)}"),
        *(f"load.duration_s={seconds}", f"load.repeats={repeats}", "load.calibrate=false"),
        *(f"workload.input_tokens={prompt}", f"workload.output_tokens={output}"),
    ]
    return preflight(run_spec(compose(words)), catalogue())[0]


def laws_of(spec: RunSpec, server: Server, lengths: str) -> Iterator[Laws]:
    """One entry per load."""
    driver = Driver(spec, server, lambda _: None)
    driver.warm_up()
    by_load: dict[int, list[tuple[PointData, list[tuple[int, float]]]]] = {}
    for point in load_points(spec.load):
        with counter(server) as read:
            data = driver.measure(point, point.label)
        by_load.setdefault(point.concurrency or 0, []).append((data, read))
    for slots, repeats in by_load.items():
        parts = steady_parts([d for d, _ in repeats], spec.workload.slo, spec.gpus)
        ours = sum(float(d.chunk_tokens.sum()) for d, _ in repeats)
        server_tokens = sum(d.counted(_COUNTER) or 0.0 for d, _ in repeats)
        slopes = [slope(p, read) for p, (_, read) in zip(parts, repeats, strict=True)]
        yield Laws(
            title=f"{lengths}, {slots}",
            requests_per_s=float(np.mean([request_rate(p) for p in parts])),
            tokens_per_s=float(np.mean([output_rate(p) for p in parts])),
            little=float(np.mean([little_error(p) for p in parts])),
            tie_out=float(np.mean([tie_out_error(p) for p in parts])),
            counted=ours / server_tokens - 1 if server_tokens else np.nan,
            slope=float(np.mean(slopes)),
            allowed=tie_out_limit(parts),
        )


@contextmanager
def counter(server: Server) -> Iterator[list[tuple[int, float]]]:
    """The server's counter of generated tokens, read all the while: (when, how many)."""
    read: list[tuple[int, float]] = []
    over = threading.Event()

    def poll() -> None:
        while not over.wait(_POLL_S):
            found = engine_stats.read_all(server)
            if found is not None and _COUNTER in found:
                read.append((int(found["read_ns"]), float(found[_COUNTER])))

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield read
    finally:
        over.set()
        thread.join()


def slope(part: Steady, read: Sequence[tuple[int, float]]) -> float:
    """Our tokens/s between the first and the last reading inside the window ÷ the counter's - 1."""
    inside = [(t, n) for t, n in read if part.window.start_ns <= t <= part.window.end_ns]
    if len(inside) < 2:
        return float("nan")
    (begin, least), (end, most) = inside[0], inside[-1]
    came = (part.data.chunk_ns > begin) & (part.data.chunk_ns <= end)
    return float(part.data.chunk_tokens[came].sum()) / (most - least) - 1


if __name__ == "__main__":
    sys.exit(main())
