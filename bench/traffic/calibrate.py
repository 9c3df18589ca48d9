"""Measure the instrument itself: load the built-in truth server at a given load."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import __version__
from bench.engines.truth import serve_truth
from bench.engines.truth_server import UNPACED
from bench.host import provenance
from bench.measure.client_error import Calibration, Shape, cpu_us_per_token, errors
from bench.traffic.workers import send_load
from bench.traffic.workload import generate
from bench.values.codec import decode, encode
from bench.values.errors import BenchError
from bench.values.json_text import json_text
from bench.values.outside import regular
from bench.values.record import LoadPoint, PointData
from bench.values.scratch import scratch
from bench.values.server import Progress, ProgressCallback, Server
from bench.values.spec import SloSpec, TruthSpec, WorkloadSpec

_TARGET_S = 1.0
"""The paced load's length, all its turns together."""
_REQUEST_TIMEOUT_S = 30.0
_FAST_STREAMS = 64
_FAST_TOKENS = 256


def calibrate(shape: Shape, progress: ProgressCallback, *, cached: bool = True) -> Calibration:
    """The client's error at `shape` on this machine; a few seconds, or none if known already."""
    cache = _cache_path()
    known = _read(cache)
    if cached and shape.key in known:
        before = decode(Calibration, known[shape.key], str(cache))
        # Bad ones are not taken as they are: the machine may have been busy just then.
        if before.is_small:
            return replace(before, cached=True)
    progress(Progress(phase="calibrating the load generator", elapsed_s=0.0))
    result = _measure(shape)
    _write(cache, {**known, shape.key: encode(result)})
    return result


def _measure(shape: Shape) -> Calibration:
    with scratch("calibrate") as folder:
        paced = TruthSpec(
            ttft_ms=shape.ttft_ms, itl_ms=shape.itl_ms, tokens_per_chunk=shape.tokens_per_chunk
        )
        turns = -(-_requests(shape) // shape.concurrency)
        steps = min(400, max(8, round(_TARGET_S * 1e3 / turns / max(shape.itl_ms, 0.5))))
        with serve_truth(paced, folder, _silent, own_cores=shape.own_cores) as server:
            data = _sent(server, shape, steps * shape.tokens_per_chunk)
            found = errors(data, _log(server))
            fast = replace(server, base_url=server.base_url.removesuffix("/v1") + UNPACED + "/v1")
            streams = replace(shape, concurrency=_FAST_STREAMS, workers=1)
            flood = _sent(fast, streams, _FAST_TOKENS)
    cpu = cpu_us_per_token(data)
    if cpu is None:
        raise BenchError("calibration failed: the truth server sent no token")
    return Calibration(
        shape=shape,
        ttft_error_p50_ms=found["ttft_error_p50_ms"],
        ttft_error_p99_ms=found["ttft_error_p99_ms"],
        itl_error_p50_ms=found["itl_error_p50_ms"],
        itl_error_p99_ms=found["itl_error_p99_ms"],
        client_cpu_us_per_token=cpu,
        max_tokens_per_s=_tokens_per_s(flood),
        requests=data.count,
    )


def _sent(server: Server, shape: Shape, output_tokens: int) -> PointData:
    workload = WorkloadSpec(
        name="calibration",
        input_tokens=64,
        output_tokens=output_tokens,
        slo=SloSpec(ttft_ms=1e9, tpot_ms=1e9),
    )
    point = LoadPoint(index=0, repeat=0, mode="closed", concurrency=shape.concurrency)
    requests = tuple(generate(workload, _requests(shape), seed=(0,), vocab_size=None))
    return send_load(server, point, requests, timeout_s=_REQUEST_TIMEOUT_S, workers=shape.workers)


def _requests(shape: Shape) -> int:
    return max(2 * shape.concurrency, 24)


def _tokens_per_s(data: PointData) -> float:
    span_s = float(data.requests["end_ns"].max() - data.requests["sent_ns"].min()) / 1e9
    return float(data.chunk_tokens.sum()) / span_s


def _log(server: Server) -> list[dict[str, Any]]:
    url = server.base_url.removesuffix("/v1") + "/truth/log"
    with urllib.request.urlopen(url, timeout=_REQUEST_TIMEOUT_S) as reply:
        log: list[dict[str, Any]] = json.load(reply)
    return log


def _silent(_: Progress) -> None:
    """Starting a truth server takes a second: nothing to show."""


def _cache_path() -> Path:
    """One file per machine and version: its errors are not another machine's."""
    machine = provenance.machine()
    parts = [__version__, *(machine[k] for k in ("host_cpu", "host_cpu_count", "kernel", "python"))]
    name = hashlib.sha256(json_text([*parts, sorted(os.sched_getaffinity(0))]).encode())
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "bench" / f"calibration-{name.hexdigest()[:12]}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(regular(path).read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(path: Path, known: Mapping[str, Any]) -> None:
    """Keep what was found; a cache that cannot be written only costs seconds next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json_text(known, indent=1))
        part.replace(path)
    except OSError:
        return
