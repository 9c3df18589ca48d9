"""The engine's own counters, read from its Prometheus endpoint."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

from bench.values.clock import now_ns

_TIMEOUT_S = 5.0
PREFIX = "vllm:"


def read(metrics_url: str | None) -> dict[str, Any] | None:
    """All of vLLM's counters and gauges, summed over engines, plus `read_ns`.

    None when there is no such endpoint or it does not answer: not measured. Configuration that
    vLLM publishes as labels comes under `cache_config_info`.
    """
    if metrics_url is None:
        return None
    try:
        with urllib.request.urlopen(metrics_url, timeout=_TIMEOUT_S) as reply:
            text = reply.read().decode("utf-8", "replace")
    except (urllib.error.URLError, OSError):
        return None
    return {**parse(text), "read_ns": now_ns()}


def parse(text: str) -> dict[str, Any]:
    """Sums by sample name without the prefix; histograms keep `_sum` and `_count` only."""
    from prometheus_client.parser import text_string_to_metric_families

    values: dict[str, Any] = {}
    for family in text_string_to_metric_families(text):
        if not family.name.startswith(PREFIX):
            continue
        for sample in family.samples:
            name = sample.name.removeprefix(PREFIX)
            if name.endswith(("_bucket", "_created")):
                continue
            if name.endswith("_info"):
                values[name] = dict(sample.labels)
            else:
                values[name] = values.get(name, 0.0) + sample.value
    return values


def delta(before: dict[str, Any] | None, after: dict[str, Any] | None, name: str) -> float | None:
    """How much a counter rose; None when it was not there both times."""
    if before is None or after is None or name not in before or name not in after:
        return None
    return float(after[name]) - float(before[name])
