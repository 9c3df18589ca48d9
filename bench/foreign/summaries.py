"""Results that are figures alone: inference-perf's summary, InferenceX's rows.

Nothing of them can be computed again; what they claim is named, and that it cannot be checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.foreign.result import Result, number, point_of

_UNSAID = (
    "raw data: no figure can be computed again",
    "failed requests, drift and how late its client was, but for what it counts itself",
    "repeats: one run has no interval",
)
_INFERENCE_PERF = {
    "ttft": "time_to_first_token",
    "itl": "inter_token_latency",
    "tpot": "time_per_output_token",
    "e2e": "request_latency",
}
_NORMALISED = "normalized_time_per_output_token"
_LATE_S = 0.1
_INFERENCEX = {"ttft": "ttft", "itl": "itl", "tpot": "tpot", "e2e": "e2el"}


def read(path: str, found: Any) -> list[Result] | None:
    """Their results, None where the file is of another tool."""
    if isinstance(found, dict) and isinstance(found.get("successes"), dict):
        return [_inference_perf(path, found)]
    rows = found if isinstance(found, list) else [found]
    if rows and all(
        isinstance(r, dict) and {"hw", "conc", "tput_per_gpu"} <= r.keys() for r in rows
    ):
        return [_inferencex(path, row, i) for i, row in enumerate(rows)]
    return None


def _inference_perf(path: str, found: Mapping[str, Any]) -> Result:
    good = found["successes"]
    claims = {
        "output_tokens_per_s": number(good, "throughput", "output_tokens_per_sec"),
        "total_tokens_per_s": number(good, "throughput", "total_tokens_per_sec"),
        "requests_per_s": number(good, "throughput", "requests_per_sec"),
    }
    for stem, theirs in _INFERENCE_PERF.items():
        for ours in ("mean", "p50", "p90", "p95", "p99"):
            key = "median" if ours == "p50" else ours
            value = number(good, "latency", theirs, key)
            claims[f"{stem}_{ours}_ms"] = None if value is None else 1e3 * value
    ok, bad = number(good, "count"), number(found, "failures", "count") or 0.0
    if ok is not None and ok + bad:
        claims["error_rate"] = bad / (ok + bad)
    load = found.get("load_summary") or {}
    known = {
        "requests": ok,
        "output_tokens": number(good, "output_len", "mean"),
        "input_tokens": number(good, "prompt_len", "mean"),
        "e2e_per_token_ms": _ms(number(good, "latency", _NORMALISED, "mean")),
    }
    return Result(
        tool="inference-perf",
        version=None,
        file=path,
        point=point_of(load.get("concurrency"), load.get("requested_rate")),
        detail="summary",
        claims={k: v for k, v in claims.items() if v is not None},
        known={k: v for k, v in known.items() if v is not None},
        conditions={k: v for k, v in load.items() if isinstance(v, (int, float, str))},
        unsaid=(*_UNSAID, "GPUs, model, quantisation and engine"),
        notes=tuple(_late(load)),
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def _late(load: Mapping[str, Any]) -> Iterator[str]:
    """How late its own client sent: requests waited in it, which no latency of its shows."""
    late_s = number(load, "schedule_delay", "p99")
    if late_s is not None and late_s > _LATE_S:
        yield (
            f"its own client sent up to {late_s:.3g} s (p99) after it meant to: the load was below "
            "the one that was asked for, and no latency of its shows that wait"
        )


def _inferencex(path: str, row: Mapping[str, Any], index: int) -> Result:
    gpus = number(row, "tp") or number(row, "num_gpus")
    per_gpu = {
        "output_tokens_per_s": number(row, "output_tput_per_gpu"),
        "total_tokens_per_s": number(row, "tput_per_gpu"),
    }
    claims = {k: v * gpus for k, v in per_gpu.items() if v is not None and gpus is not None}
    for stem, theirs in _INFERENCEX.items():
        for ours in ("mean", "p50", "p90", "p95", "p99"):
            value = number(row, f"{'median' if ours == 'p50' else ours}_{theirs}")
            if value is not None:
                claims[f"{stem}_{ours}_ms"] = 1e3 * value
    asked = number(row, "osl")
    keys = ("hw", "tp", "ep", "model", "framework", "precision", "isl", "osl", "conc")
    more = ("spec_decoding", "disagg", "image")
    return Result(
        tool="inferencex",
        version=None,
        file=path,
        point=point_of(row.get("conc"), None, index),
        detail="summary",
        claims=claims,
        known={} if asked is None else {"asked_output_tokens": asked},
        conditions={k: row[k] for k in (*keys, *more) if k in row},
        unsaid=_UNSAID,
        notes=("its rates are per GPU, multiplied here by the tensor parallel size",),
    )
