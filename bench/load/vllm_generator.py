"""The engine's own serving benchmark as a load generator, its figures in this package's schema.

A cross-check: it makes its own random prompts of the same lengths, runs in one process of its own,
and reports per request when it was sent and when each piece of text came.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench.load.answers import spread
from bench.values.errors import BenchError, InputError
from bench.values.record import OK, OUTCOMES, REQUEST_COLUMNS, TOKENS_AROSE, LoadPoint, PointData
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
    return [sys.executable, "-c", _PROGRAM.format(cores=server.client_cores), *words]


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
    rows: list[tuple[int, ...]] = []
    stamps: list[int] = []
    tokens: list[int] = []
    errors: dict[int, str] = {}
    order = np.argsort(np.array(result["start_times"]), kind="stable").tolist()
    for index, at in enumerate(order):
        sent_ns = round(result["start_times"][at] * 1e9)
        error = result["errors"][at]
        arrived = _arrived_ns(result, at, sent_ns) if not error else []
        counts, arose = spread(result["output_lens"][at], len(arrived))
        if error:
            errors[index] = error[-300:]
        outcome = OK if not error else OUTCOMES.index("server_error")
        end_ns = max([sent_ns + round(result["latencies"][at] * 1e9), *arrived])
        rows.append(
            (
                index,
                -1,
                0,
                sent_ns,
                sent_ns,
                arrived[0] if arrived else 0,
                end_ns,
                0 if error else 200,
                outcome,
                result["input_lens"][at],
                result["output_lens"][at],
                -1,
                -1 if error else result["output_lens"][at],
                len(stamps),
                len(arrived),
                TOKENS_AROSE.index(arose),
            )
        )
        stamps += arrived
        tokens += counts
    table = np.array(rows, dtype=np.int64).reshape(len(rows), len(REQUEST_COLUMNS))
    return PointData(
        point=point,
        start_ns=int(table[:, 3].min()) - 1 if rows else 0,
        requests={name: table[:, i].copy() for i, name in enumerate(REQUEST_COLUMNS)},
        chunk_ns=np.array(stamps, dtype=np.int64),
        chunk_tokens=np.array(tokens, dtype=np.int64),
        errors=errors,
    )


def _arrived_ns(result: dict[str, Any], at: int, sent_ns: int) -> list[int]:
    gaps_s = [result["ttfts"][at], *result["itls"][at]]
    return [sent_ns + round(s * 1e9) for s in np.cumsum(gaps_s).tolist()]
