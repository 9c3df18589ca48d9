"""The engine's own serving benchmark as a load generator, its figures in this package's schema.

A cross-check: it makes its own random prompts of the same lengths, runs in one process of its own,
and reports per request when it was sent and when each piece of text came.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.foreign.columns import point_data
from bench.foreign.vllm_bench import requests
from bench.values.errors import BenchError, InputError
from bench.values.interpreter import python
from bench.values.record import LoadPoint, PointData
from bench.values.scratch import scratch
from bench.values.server import Server
from bench.values.spec import WorkloadSpec

# Not the `vllm` command: it asks for package metadata that the CPU build has under another name.
_PROGRAM = """\
import os
if {cores}:
    os.sched_setaffinity(0, {cores})
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""
_START_S = 120.0


def argv(
    server: Server, point: LoadPoint, workload: WorkloadSpec, count: int, seed: int, result: Path
) -> list[str]:
    """The command that sends `count` requests at `point`; InputError where it has no equivalent."""
    lengths = (workload.input_tokens, workload.output_tokens)
    if not all(isinstance(n, int) for n in lengths) or workload.turns > 1:
        raise InputError("load.generator: vllm knows workloads of fixed lengths only; use bench.")
    if server.model_path is None:
        raise InputError(
            "load.generator: vllm needs the model's tokenizer here: use engine=vllm with local "
            "weights, or load.generator=bench."
        )
    words = ["--backend", "openai", "--base-url", server.base_url.removesuffix("/v1")]
    words += ["--endpoint", "/v1/completions", "--model", server.served_model]
    words += ["--tokenizer", server.model_path, "--dataset-name", "random"]
    words += ["--random-input-len", str(lengths[0]), "--random-output-len", str(lengths[1])]
    words += ["--random-range-ratio", "0", "--random-prefix-len", "0"]
    words += ["--num-prompts", str(count), "--ignore-eos", "--seed", str(seed), "--disable-tqdm"]
    if point.mode == "closed":
        words += ["--max-concurrency", str(point.concurrency)]
    else:
        words += ["--request-rate", str(point.rate_per_s)]
    words += ["--save-result", "--save-detailed", "--result-filename", str(result)]
    return python("-c", _PROGRAM.format(cores=server.client_cores), *words)


def run_benchmark(
    server: Server,
    point: LoadPoint,
    workload: WorkloadSpec,
    count: int,
    *,
    seed: int,
    timeout_s: float,
) -> PointData:
    """Run the engine's benchmark at one load point; BenchError with its last words if it fails."""
    with scratch("vllm") as folder:
        result = folder / "result.json"
        command = argv(server, point, workload, count, seed, result)
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout_s + _START_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise BenchError(
                f"load.generator=vllm did not end within {timeout_s + _START_S:g} s."
            ) from None
        if done.returncode or not result.exists():
            said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
            raise BenchError(f"load.generator=vllm failed; it said: {said[-1][:200]}.")
        return observed(json.loads(result.read_text()), point, seed)


def observed(result: dict[str, Any], point: LoadPoint, seed: int) -> PointData:
    """The benchmark's detailed result as raw observations. Its clock is CLOCK_MONOTONIC too."""
    # It was told to ignore the end of a text: what came is what was asked for.
    sent = [replace(s, requested_tokens=s.output_tokens or 0) for s in requests(result)]
    return point_data(point, sent)
