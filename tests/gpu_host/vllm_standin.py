"""A stand-in for vLLM's server: it prints the log of a GPU start, then serves an exact schedule.

Becomes `vllm.entrypoints.openai.api_server` of a made-up package (see `package`). It takes vLLM's
arguments, refuses models of which no start was recorded, and calls itself a rehearsal wherever it
says its version: bench takes nothing of it for a measurement. VLLM_STANDIN_FAIL names a failure of
`vllm_starts.FAILURES`; VLLM_STANDIN_ITL_MS the time per token.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import uvloop
import vllm_starts
from vllm_starts import STARTS, VERSION

from bench.engines.truth_server import TruthServer

CONTEXT = 131_072


def package(folder: Path) -> Path:
    """The made-up package in `folder`: put it first in PYTHONPATH, and this file's folder after."""
    inner = folder / "vllm" / "entrypoints" / "openai"
    inner.mkdir(parents=True)
    for part in (folder / "vllm", folder / "vllm" / "entrypoints", inner):
        (part / "__init__.py").write_text(f'__version__ = "{VERSION}"\n')
    shutil.copy(__file__, inner / "api_server.py")
    return folder


class Rehearsed(TruthServer):
    """The exact schedule, with vLLM's version, context and metrics."""

    context = CONTEXT
    blocks = 0
    replicas = 1

    def answer(self, path: str) -> tuple[int, str, bytes]:
        if path == "/version":
            return 200, "application/json", json.dumps({"version": VERSION}).encode()
        if path == "/v1/models":
            data = [{"id": self.model, "object": "model", "max_model_len": self.context}]
            return 200, "application/json", json.dumps({"object": "list", "data": data}).encode()
        return super().answer(path)

    def _metrics(self) -> str:
        rows = (
            ("vllm:kv_cache_usage_perc", "gauge", 0.01 * self.running),
            ("vllm:prefix_cache_queries_total", "counter", self.prompt_tokens),
            ("vllm:prefix_cache_hits_total", "counter", 0),
        )
        more = "".join(
            f"# TYPE {name} {kind}\n"
            + "".join(
                f'{name}{{engine="{core}",model_name="{self.model}"}} {value / self.replicas}\n'
                for core in range(self.replicas)
            )
            for name, kind, value in rows
        )
        info = f'{{block_size="16",engine="0",num_gpu_blocks="{self.blocks}"}}'
        more += f"# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{info} 1.0\n"
        return super()._metrics() + more


def arguments() -> argparse.Namespace:
    """vLLM's, as far as bench gives them."""
    parser = argparse.ArgumentParser(prog="api_server.py")
    parser.add_argument("--model", required=True)
    parser.add_argument("--served-model-name", required=True)
    for name in ("--revision", "--tokenizer-revision", "--load-format", "--dtype", "--host"):
        parser.add_argument(name)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--max-model-len", type=int, default=CONTEXT)
    parser.add_argument("--tensor-parallel-size", type=int, default=1)
    parser.add_argument("--data-parallel-size", type=int, default=1)
    parser.add_argument("--gpu-memory-utilization", type=float, default=0.92)
    parser.add_argument("--enforce-eager", action="store_true")
    parser.add_argument("--disable-uvicorn-access-log", action="store_true")
    return parser.parse_args()


async def serve(given: argparse.Namespace, start: vllm_starts.Start) -> None:
    """Listen until SIGTERM."""
    loop = asyncio.get_running_loop()
    itl_ms = float(os.environ.get("VLLM_STANDIN_ITL_MS", "8"))
    server = Rehearsed(
        ttft_ms=60.0, itl_ms=itl_ms, tokens_per_chunk=1, slots=None, model=given.served_model_name
    )
    server.context = given.max_model_len
    found = vllm_starts.memory(start, given.tensor_parallel_size, given.gpu_memory_utilization)
    server.blocks = found.kv_tokens // 16
    server.replicas = given.data_parallel_size
    listener = server.listen("127.0.0.1", given.port)
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    print("(APIServer pid=1) INFO:     Application startup complete.", flush=True)
    await stopped.wait()
    listener.close()


def main() -> int:
    """Print the start, or the failure that is asked for; then serve."""
    given = arguments()
    boards = given.tensor_parallel_size
    kind = os.environ.get("VLLM_STANDIN_FAIL")
    if kind:
        print("\n".join(vllm_starts.failure_lines(kind, boards)), flush=True)
        return 1
    key = (given.served_model_name, vllm_starts.precision_of(given.model))
    if key not in STARTS:
        print(f"RuntimeError: the stand-in has no recorded start of {key}", flush=True)
        return 1
    lines = vllm_starts.start_lines(
        STARTS[key],
        model=given.model,
        boards=boards,
        utilisation=given.gpu_memory_utilization,
        context=given.max_model_len,
        port=given.port,
        replicas=given.data_parallel_size,
    )
    print("\n".join(lines), flush=True)
    uvloop.run(serve(given, STARTS[key]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
