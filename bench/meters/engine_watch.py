"""The engine's own gauges, read once a second while it is loaded, into the run's folder."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.meters.page import page
from bench.meters.watch import FOLDER, Watch
from bench.values.clock import now_ns
from bench.values.server import Gauges, Progress, ProgressCallback, Server
from bench.values.telemetry import ENGINE, Reading, reading_line

ENGINE_FILE = "engine.jsonl"
PERIOD_S = 1.0
_TIMEOUT_S = 2.0

_SUMMED = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:generation_tokens_total": "generation_tokens",
    "sglang:num_running_reqs": "running",
    "sglang:num_queue_reqs": "waiting",
    "sglang:generation_tokens_total": "generation_tokens",
    "llamacpp:requests_processing": "running",
    "llamacpp:requests_deferred": "waiting",
    "llamacpp:tokens_predicted_total": "generation_tokens",
    "trtllm_num_requests_running": "running",
    "trtllm_num_requests_waiting": "waiting",
    "trtllm_generation_tokens_total": "generation_tokens",
}
_LARGEST = {
    "vllm:kv_cache_usage_perc": "kv_use",
    "vllm:gpu_cache_usage_perc": "kv_use",
    "sglang:token_usage": "kv_use",
    "trtllm_kv_cache_utilization": "kv_use",
}
"""What each engine calls them; llama.cpp tells nothing of its cache. TensorRT-LLM's come as JSON
(`iteration_gauges`): its Prometheus gauges, for servers that somebody else started, are set when an
answer ends."""


class EngineWatch:
    """What the engine said last."""

    def __init__(self) -> None:
        self.last: Reading | None = None
        self.before: Reading | None = None
        self.phase = ""

    def begins(self, phase: str) -> None:
        """Forget what was read before this phase: it is of the load before."""
        if phase != self.phase:
            self.phase, self.last, self.before = phase, None, None

    def gauges(self) -> Gauges:
        """Requests, cache and, from the last two readings, tokens per second."""
        if self.last is None:
            return Gauges()
        values = self.last.values
        rate = None
        if self.before is not None:
            now, then = values.get("generation_tokens"), self.before.values.get("generation_tokens")
            elapsed_s = (self.last.t_ns - self.before.t_ns) / 1e9
            if now is not None and then is not None and elapsed_s > 0:
                rate = (now - then) / elapsed_s
        return Gauges(
            tokens_per_s=rate,
            running=values.get("running"),
            waiting=values.get("waiting"),
            kv_use=values.get("kv_use"),
        )


@contextmanager
def watch_engine(
    server: Server, run_dir: Path, period_s: float = PERIOD_S
) -> Iterator[EngineWatch]:
    """Read the gauges every `period_s` for as long as the context lasts; nothing without a URL.

    A reading that fails is left out: the engine may be too busy to answer.
    """
    watch = EngineWatch()
    metrics_url = server.gauges_url or server.metrics_url
    if metrics_url is None:
        yield watch
        return
    over = threading.Event()
    path = run_dir / FOLDER / ENGINE_FILE
    path.parent.mkdir(exist_ok=True)

    def follow() -> None:
        with path.open("w", buffering=1) as file:
            while not over.wait(period_s):
                reading = read(metrics_url, server)
                if reading is not None:
                    watch.before, watch.last = watch.last, reading
                    print(reading_line("engine", ENGINE, reading), file=file)

    thread = threading.Thread(target=follow, name="engine gauges", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join(_TIMEOUT_S + period_s)


def with_gauges(progress: ProgressCallback, meter: Watch, engine: EngineWatch) -> ProgressCallback:
    """The same callback, told besides what the engine and the meters show at that moment."""

    def show(state: Progress) -> None:
        engine.begins(state.phase)
        shown, power = engine.gauges(), meter.gauges()
        gauges = replace(
            shown,
            power_w=power.power_w,
            temperature_c=power.temperature_c,
            memory_gib=power.memory_gib,
        )
        progress(replace(state, gauges=gauges))

    return show


def read(metrics_url: str, server: Server | None = None) -> Reading | None:
    """One reading; None when the engine does not answer or knows none of the gauges."""
    before = now_ns()
    text = page(metrics_url, _TIMEOUT_S, server)
    after = now_ns()
    values = gauges_in(text) if text is not None else {}
    if not values:
        return None
    return Reading(t_ns=(before + after) // 2, half_ns=(after - before) // 2, values=values)


def gauges_in(text: str) -> dict[str, float | int | None]:
    """The few gauges needed, by a scan: a whole parse every second would cost the machine more.

    Requests and tokens are summed over engines, the use of the KV cache is the fullest engine's.
    """
    if text.lstrip().startswith("["):
        return iteration_gauges(text)
    values: dict[str, float | int | None] = {}
    for line in text.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        key = _SUMMED.get(name) or _LARGEST.get(name)
        if key is None:
            continue
        value = _number(line.rpartition(" ")[2])
        if value is None:
            continue
        known = values.get(key)
        if known is None:
            values[key] = value
        else:
            values[key] = known + value if name in _SUMMED else max(known, value)
    return values


def iteration_gauges(text: str) -> dict[str, float | int | None]:
    """The gauges of TensorRT-LLM's last iteration; reading its statistics empties their queue, so
    nobody else may ask for them."""
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    last = told[-1] if isinstance(told, list) and told and isinstance(told[-1], dict) else {}
    cache = last.get("kvCacheStats")
    cache = cache if isinstance(cache, dict) else {}
    used, most = cache.get("usedNumBlocks"), cache.get("maxNumBlocks")
    values: dict[str, float | int | None] = {
        "running": last.get("numActiveRequests"),
        "waiting": last.get("numQueuedRequests"),
        "kv_use": used / most if isinstance(used, int) and isinstance(most, int) and most else None,
    }
    return {k: v for k, v in values.items() if isinstance(v, (int, float))}


def _number(text: str) -> float | None:
    """A sample's value; None for what is no finite number, which an engine does not mean."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
