"""Results of AIPerf: its folder with profile_export_aiperf.json and profile_export.jsonl.

Source of the definitions: AIPerf's metrics reference, read with 0.13.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.foreign import lines
from bench.foreign.columns import Sent, point_data
from bench.foreign.result import Detail, Result, Span, exact, number, point_of, statistics
from bench.values.errors import InputError
from bench.values.json_text import json_text
from bench.values.record import PointData

SUMMARY, RECORDS = "profile_export_aiperf.json", "profile_export.jsonl"
UNSAID = (
    "GPUs, quantisation and version of the engine",
    "repeats: one run has no interval",
)
_RATES = {
    "output_tokens_per_s": "output_token_throughput",
    "total_tokens_per_s": "total_token_throughput",
    "requests_per_s": "request_throughput",
}
_LATENCIES = {
    "ttft": "time_to_first_token",
    "itl": "inter_token_latency",
    "e2e": "request_latency",
}
_SCALE = {"ms": 1.0, "s": 1e3, "us": 1e-3, "ns": 1e-6, "sec": 1e3}


def summary_of(folder: str) -> str:
    """The summary in a folder of AIPerf's; InputError where there is none."""
    found = sorted(Path(folder).rglob(SUMMARY))
    if len(found) != 1:
        raise InputError(f"audit: {folder}: {len(found)} files {SUMMARY} in it; name one.")
    return str(found[0])


def read(path: str, found: Any) -> list[Result] | None:
    """Its result, None where the file is of another tool."""
    if not isinstance(found, dict) or "time_to_first_token" not in found:
        return None
    if not isinstance(found["time_to_first_token"], dict):
        return None
    asked = found.get("input_config") or {}
    beside = (Path(path).with_name(f"{RECORDS}{packed}") for packed in ("", ".gz", ".zst"))
    records = next((p for p in beside if p.exists()), None)
    sent = [] if records is None else list(_records(str(records), _asked(asked)))
    again: dict[str, Span] = {}
    data: PointData | None = None
    phase = (asked.get("loadgen") or {}) if isinstance(asked, dict) else {}
    point = point_of(_deep(asked, "concurrency"), _deep(asked, "request_rate"))
    unsaid: tuple[str, ...] = UNSAID
    if sent:
        again = _again(sent, number(found, "benchmark_duration", "avg"))
        data = point_data(point, sent)
    else:
        unsaid = (*UNSAID, f"raw data: {RECORDS} is not beside it")
    return [
        Result(
            tool="aiperf",
            version=found.get("aiperf_version") or _version(found),
            file=path,
            point=point,
            detail=_detail(sent),
            claims=_claims(found),
            again=again,
            data=data,
            conditions={
                "model": _model(asked),
                "concurrency": point.concurrency,
                "loadgen": phase or None,
            },
            unsaid=unsaid,
            notes=tuple(_notes(found)),
        )
    ]


def _model(config: Any) -> str | None:
    items = _under(_under(config, ("models",)), ("items",))
    name = items[0].get("name") if isinstance(items, list) and items else None
    return name if isinstance(name, str) else None


def _detail(sent: list[Sent]) -> Detail:
    if not sent:
        return "summary"
    return "requests" if any(s.ends_only for s in sent if s.error is None) else "chunks"


def _notes(found: Mapping[str, Any]) -> Iterator[str]:
    late = number(found, "credit_to_start_latency", "p99")
    if late is not None:
        yield f"its own client sent up to {late:.3g} ms (p99) after it meant to"
    connecting = number(found, "http_req_connecting", "p99")
    if connecting:
        yield f"new connections took up to {connecting:.3g} ms (p99), which its TTFT contains"
    if found.get("was_cancelled"):
        yield "it was cancelled before its end"


def _version(found: Mapping[str, Any]) -> str | None:
    info = found.get("run_info")
    version = info.get("aiperf_version") if isinstance(info, Mapping) else None
    return version if isinstance(version, str) else None


def _deep(found: Any, key: str) -> Any:
    """The first number under this key, however deep its configuration nests."""
    if isinstance(found, Mapping):
        value = found.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
        return next((v for v in (_deep(x, key) for x in found.values()) if v is not None), None)
    if isinstance(found, list):
        return next((v for v in (_deep(x, key) for x in found) if v is not None), None)
    return None


def _asked(config: Any) -> int:
    """The mean output length that was asked for, -1 where it does not say or where it varies."""
    output = _under(config, ("output_tokens", "osl"))
    if isinstance(output, Mapping):
        mean, spread = output.get("mean"), output.get("stddev") or 0
        return int(mean) if isinstance(mean, (int, float)) and not spread else -1
    return int(output) if isinstance(output, int) and not isinstance(output, bool) else -1


def _under(found: Any, keys: tuple[str, ...]) -> Any:
    if isinstance(found, Mapping):
        hit = next((found[k] for k in keys if found.get(k) is not None), None)
        if hit is not None:
            return hit
        return next((v for v in (_under(x, keys) for x in found.values()) if v is not None), None)
    if isinstance(found, list):
        return next((v for v in (_under(x, keys) for x in found) if v is not None), None)
    return None


def _records(path: str, asked: int) -> Iterator[Sent]:
    """Every request of the measured phase; its clock is the wall's."""
    with lines.opened(path, "audit") as file:
        for number_of, line in lines.numbered(file, path):
            row = lines.parsed(line, path, number_of)
            try:
                about, metrics = row["metadata"], row["metrics"]
                if about.get("benchmark_phase") not in (None, "profiling"):
                    continue
                yield _sent(about, metrics, row.get("error"), asked)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                said = f"not as AIPerf 0.13 writes it: no {error}"
                raise InputError(f"{path}:{number_of}: {said}.") from None


def _sent(about: Mapping[str, Any], metrics: Mapping[str, Any], error: Any, asked: int) -> Sent:
    start_ns, end_ns = int(about["request_start_ns"]), int(about["request_end_ns"])
    first_ms, took_ms = _ms(metrics, "time_to_first_token"), _ms(metrics, "request_latency")
    tokens = number(metrics, "output_sequence_length", "value")
    gaps = (metrics.get("inter_chunk_latency") or {}).get("value")
    stamps = [] if first_ms is None else [start_ns + round(first_ms * 1e6)]
    if stamps and isinstance(gaps, list):
        for gap_ms in gaps:
            stamps.append(stamps[-1] + round(gap_ms * 1e6))
    elif stamps and took_ms is not None and tokens is not None and tokens >= 2:
        stamps.append(start_ns + round(took_ms * 1e6))
    return Sent(
        sent_ns=start_ns,
        stamps_ns=stamps,
        end_ns=end_ns,
        input_tokens=int(number(metrics, "input_sequence_length", "value") or -1),
        output_tokens=None if tokens is None else int(tokens),
        requested_tokens=asked,
        error=None if error is None else json_text(error)[:300],
        ends_only=not isinstance(gaps, list),
    )


def _ms(metrics: Mapping[str, Any], name: str) -> float | None:
    value = number(metrics, name, "value")
    scale = _SCALE.get(str((metrics.get(name) or {}).get("unit", "ms")))
    return None if value is None or scale is None else value * scale


def _claims(found: Mapping[str, Any]) -> dict[str, float]:
    claims = {ours: number(found, theirs, "avg") for ours, theirs in _RATES.items()}
    for stem, theirs in _LATENCIES.items():
        scale = _SCALE.get(str((found.get(theirs) or {}).get("unit", "ms")))
        for ours, key in {"mean": "avg", **{f"p{q}": f"p{q}" for q in (50, 90, 95, 99)}}.items():
            value = number(found, theirs, key)
            claims[f"{stem}_{ours}_ms"] = None if value is None or not scale else value * scale
    good = number(found, "request_count", "avg")
    bad = number(found, "error_request_count", "avg") or 0.0
    if good is not None and good + bad:
        claims["error_rate"] = bad / (good + bad)
    return {k: v for k, v in claims.items() if v is not None}


def _again(sent: list[Sent], duration_s: float | None) -> dict[str, Span]:
    """Its figures from its own records; a rate is of successes over its whole duration."""
    good = [s for s in sent if s.error is None and s.output_tokens is not None and s.stamps_ns]
    if not good:
        return {}
    seconds = duration_s or (max(s.end_ns for s in sent) - min(s.sent_ns for s in sent)) / 1e9
    tokens = sum(s.output_tokens or 0 for s in good)
    ends = [s for s in good if (s.output_tokens or 0) > 1]
    rates = {
        "output_tokens_per_s": tokens / seconds,
        "requests_per_s": len(good) / seconds,
        "error_rate": 1 - len(good) / len(sent),
    }
    return {
        **exact(rates),
        **statistics("ttft", [(s.stamps_ns[0] - s.sent_ns) / 1e6 for s in good]),
        **statistics(
            "itl",
            [(s.stamps_ns[-1] - s.stamps_ns[0]) / 1e6 / ((s.output_tokens or 0) - 1) for s in ends],
        ),
        **statistics("e2e", [(s.stamps_ns[-1] - s.sent_ns) / 1e6 for s in good]),
    }
