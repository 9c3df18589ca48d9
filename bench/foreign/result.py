"""A result of another tool in one form: what it claims, and the raw data where it has them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.foreign import lines
from bench.values.errors import InputError
from bench.values.file_kind import other_reader
from bench.values.finding import Finding
from bench.values.record import LoadPoint, PointData

Span = tuple[float, float]
Detail = Literal["chunks", "requests", "summary"]
"""What the file keeps: every piece of text, first and last of every request, or figures alone."""

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0}
LATENCIES = ("ttft", "itl", "tpot", "e2e")


@dataclass(frozen=True, kw_only=True)
class Result:
    """One load point that another tool measured.

    `claims` are its figures by this package's names and units; `again` the same figures computed
    from the file's own raw data by the tool's own definitions, as far as they go, as the range that
    they may be in (percentiles are taken by several rules: a rank either way); `known` its other
    figures that checks need (requests, output_tokens of a mean answer, asked_output_tokens,
    e2e_per_token_ms); `found` what its reader checked; `conditions` what the file says of how it
    was measured; `unsaid` what decides the figures and is not in it.
    """

    tool: str
    version: str | None
    file: str
    point: LoadPoint
    detail: Detail
    claims: Mapping[str, float]
    again: Mapping[str, Span] = field(default_factory=dict)
    data: PointData | None = None
    known: Mapping[str, float] = field(default_factory=dict)
    found: tuple[Finding, ...] = ()
    conditions: Mapping[str, Any] = field(default_factory=dict)
    unsaid: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def point_of(concurrency: Any, rate_per_s: Any, index: int = 0) -> LoadPoint:
    """A closed loop of so many in flight, or an open one of that rate, as the tool was asked."""
    if isinstance(concurrency, (int, float)) and concurrency >= 1:
        return LoadPoint(index=index, repeat=0, mode="closed", concurrency=int(concurrency))
    known = isinstance(rate_per_s, (int, float)) and math.isfinite(rate_per_s) and rate_per_s > 0
    return LoadPoint(
        index=index, repeat=0, mode="open", rate_per_s=float(rate_per_s) if known else None
    )


def statistics(stem: str, values_ms: Sequence[float]) -> dict[str, Span]:
    """Mean and percentiles of a latency; a percentile from a rank below to a rank above."""
    known = sorted(v for v in values_ms if math.isfinite(v))
    if not known:
        return {}
    mean = sum(known) / len(known)
    found = {f"{stem}_mean_ms": (mean, mean)}
    for name, q in PERCENTILES.items():
        at = (len(known) - 1) * q / 100
        low, high = max(0, math.floor(at) - 1), min(len(known) - 1, math.ceil(at) + 1)
        found[f"{stem}_{name}_ms"] = (known[low], known[high])
    return found


def exact(figures: Mapping[str, float]) -> dict[str, Span]:
    """Figures that one rule gives."""
    return {name: (value, value) for name, value in figures.items()}


def number(record: Mapping[str, Any], *path: str) -> float | None:
    """The finite number at a path of keys; None where there is none."""
    found: Any = record
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found):
        return None
    return float(found)


def whole_file(path: str) -> str:
    """A result's text, which is read whole."""
    with lines.opened(path, "audit") as file:
        return file.read(lines.MOST_LINE * 8)


def parsed_file(path: str, text: str) -> Any:
    """The JSON that a file holds, or the rows of JSONL (SGLang appends runs)."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        other = other_reader(path, "audit") or f" ({error})."
        raise InputError(
            f"audit: {path}: neither JSON nor JSONL, as a result of a benchmark is.{other}"
        ) from None
    return rows


Reader = Callable[[str, Any], "list[Result] | None"]
"""From a file's name and its JSON to its results; None where it is not of that tool."""
