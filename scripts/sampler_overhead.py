"""What the power sampler costs a real vLLM: rounds without and with it, in turn, on one server.

    python scripts/sampler_overhead.py --out FILE.json [--rounds 6] [--requests N] KEY=VALUE ...

Exit code 0: it costs less than the self-check's limit, by the whole 95 % interval; 3: more; 4: too
restless to say. Without a GPU a made-up board is read.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from gpu_selfcheck import exit_code, sampler

from bench.config.compose import catalogue, compose, run_spec
from bench.engines import load_engine
from bench.power.selfcheck_sensors import overhead_answer, overheads
from bench.preflight import preflight
from bench.traffic.plan import plan, warm_ups
from bench.traffic.workers import send_load
from bench.values.codec import encode
from bench.values.record import LoadPoint, PointData
from bench.values.server import Server
from bench.values.spec import RunSpec


def rate(data: PointData) -> float:
    """Tokens/s from the first request sent to the last one ended."""
    span_ns = int(data.requests["end_ns"].max() - data.requests["sent_ns"].min())
    return float(data.chunk_tokens.sum()) / span_ns * 1e9


def in_turns(
    spec: RunSpec, server: Server, rounds: int, folder: Path
) -> tuple[list[float], list[float]]:
    """Rates without and with the sampler's process: A B A B A …"""
    for point in warm_ups(spec.load):
        send_load(server, point, plan(spec, server, point).requests, timeout_s=600)
    kind = "nvml" if spec.gpus else "synthetic"
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(2 * rounds + 1):
        on = number % 2
        concurrency = spec.load.concurrency[0]
        point = LoadPoint(index=0, repeat=number, mode="closed", concurrency=concurrency)
        with sampler(kind, folder / "power.jsonl") if on else nullcontext():
            data = send_load(server, point, plan(spec, server, point).requests, timeout_s=600)
        found[on].append(rate(data))
        print(f"{'with' if on else 'without'} the sampler: {rate(data):,.1f} tokens/s", flush=True)
    return found


def main() -> int:
    """Serve once, measure in turns, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--requests", type=int, default=192)
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    words = [f"load.requests={given.requests}", "load.calibrate=false", "meter=none"]
    spec, _ = preflight(run_spec(compose([*words, *given.overrides])), catalogue())
    with (
        tempfile.TemporaryDirectory() as folder,
        load_engine("vllm").serve(spec, Path(folder), lambda _: None) as server,
    ):
        without, with_it = in_turns(spec, server, given.rounds, Path(folder))
    answer = overhead_answer("sampler overhead on vLLM", overheads(without, with_it))
    document = {"rates_without": without, "rates_with": with_it, **encode(answer)}
    given.out.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{answer.verdict}: {answer.text}")
    return exit_code([answer])


if __name__ == "__main__":
    sys.exit(main())
