"""The engine's own counters, read from its Prometheus endpoint."""

from __future__ import annotations

import math
import re
from typing import Any

from bench.meters.page import page
from bench.values.clock import now_ns
from bench.values.server import Server

_TIMEOUT_S = 5.0
PREFIX = "vllm:"
_OTHERS = ("llamacpp:", "sglang:", "trtllm_")
_OTHER_NAMES = {
    "llamacpp:tokens_predicted_total": "generation_tokens_total",
    "llamacpp:prompt_tokens_total": "prompt_tokens_total",
    "sglang:generation_tokens_total": "generation_tokens_total",
    "sglang:prompt_tokens_total": "prompt_tokens_total",
    "sglang:cached_tokens_total": "prefix_cache_hits_total",
    "llamacpp:prompt_tokens_cached_total": "prefix_cache_hits_total",
    "trtllm_generation_tokens_total": "generation_tokens_total",
    "trtllm_prompt_tokens_total": "prompt_tokens_total",
    "trtllm_prompt_cached_tokens_total": "prefix_cache_hits_total",
}
"""Counters of other engines that mean what vLLM's do, under its names; the rest keep their own.

TensorRT-LLM's as read in tensorrt_llm/metrics/collector.py at 050f80d (2026), never seen: they rise
when an answer ends, and the last is not there before its first hit. 1.1 had none of tokens."""
_SHARES = ("_perc", "_ratio", "_rate", "_utilization", "token_usage")
"""How the names of gauges end that are shares: two halves of a cache at 0.8 are not at 1.6."""


def read(metrics_url: str, server: Server | None = None) -> dict[str, Any] | None:
    """All counters and gauges of vLLM and of those in `_OTHERS`, summed over engines (shares: the
    largest), plus `read_ns`.

    None when there is no such endpoint or it does not answer: not measured. Configuration that
    vLLM publishes as labels comes under `cache_config_info`.
    """
    text = page(metrics_url, _TIMEOUT_S, server)
    values = None if text is None else parse(text)
    return None if values is None else {**values, "read_ns": now_ns()}


def process_start_s(server: Server) -> float | None:
    """When the server's process began, in Unix seconds, as Prometheus clients publish it
    (`process_start_time_seconds`): tells launches apart. None where it does not say."""
    if server.metrics_url is None:
        return None
    text = page(server.metrics_url, _TIMEOUT_S, server) or ""
    found = re.search(r"^process_start_time_seconds\s+(\S+)", text, re.M)
    try:
        return None if found is None else float(found[1])
    except ValueError:
        return None


def read_all(server: Server) -> dict[str, Any] | None:
    """The counters of all replicas, summed; None unless every one of them answers."""
    found = [read(url, server) for url in server.metrics_urls]
    if not found or any(values is None for values in found):
        return None
    total: dict[str, Any] = {}
    for values in found:
        for name, value in (values or {}).items():
            known = total.get(name)
            if isinstance(known, float) and isinstance(value, float):
                value = _joined(name, known, value)
            total[name] = value
    return total


def parse(text: str) -> dict[str, Any] | None:
    """Sums by sample name without the prefix; histograms keep `_sum` and `_count` only.

    None for a text that is no exposition of metrics: half of one would be a wrong sum.
    """
    from prometheus_client.parser import text_string_to_metric_families

    try:
        families = list(text_string_to_metric_families(text))
    except (ValueError, KeyError, IndexError):  # what the parser raises for garbage
        return None
    values: dict[str, Any] = {}
    for family in families:
        if not family.name.startswith((PREFIX, *_OTHERS)):
            continue
        for sample in family.samples:
            name = _OTHER_NAMES.get(sample.name, sample.name.removeprefix(PREFIX))
            if name.endswith(("_bucket", "_created")):
                continue
            if name.endswith("_info"):
                values[name] = dict(sample.labels)
            elif (value := _finite(sample.value)) is not None:
                values[name] = _joined(name, values.get(name, 0.0), value)
    return _with_lookups(text, values)


def _finite(value: float) -> float | None:
    """A sample as a number; None for infinity, and for what is beyond a double's range."""
    try:
        number = float(value)
    except OverflowError:  # the parser makes whole numbers of any length
        return None
    return number if math.isfinite(number) else None


def _joined(name: str, known: float, more: float) -> float:
    """Of two engines: sums, but of shares (of a full cache, say) the larger one."""
    return max(known, more) if name.endswith(_SHARES) else known + more


def _with_lookups(text: str, values: dict[str, Any]) -> dict[str, Any]:
    """Prompt tokens that were looked up in the cache, under vLLM's name, for engines that count
    hits alone: SGLang's and TensorRT-LLM's prompt tokens include them, llama.cpp's are those it
    computed."""
    hits, prompt = values.get("prefix_cache_hits_total"), values.get("prompt_tokens_total")
    if hits is None or prompt is None or "prefix_cache_queries_total" in values:
        return values
    computed = hits if "llamacpp:" in text else 0.0
    return {**values, "prefix_cache_queries_total": prompt + computed}


def delta(before: dict[str, Any] | None, after: dict[str, Any] | None, name: str) -> float | None:
    """How much a counter rose; None when it was not there both times."""
    if before is None or after is None or name not in before or name not in after:
        return None
    return float(after[name]) - float(before[name])
