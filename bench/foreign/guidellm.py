"""Results of GuideLLM (benchmarks.json): every request with its first and its last token.

Source of the definitions: guidellm/schemas (generative request stats), read with 0.8.1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bench.foreign.columns import Sent, point_data
from bench.foreign.result import Result, Span, exact, number, point_of, statistics
from bench.values.count_words import count
from bench.values.errors import InputError

UNSAID = (
    "when each token came (first and last alone): ITL is a mean per request",
    "GPUs, quantisation and version of the engine",
    "repeats: one run has no interval",
)
_STATISTICS = {"mean": ("mean",), "p50": ("median",), "p90": ("percentiles", "p90")} | {
    f"p{q}": ("percentiles", f"p{q}") for q in (95, 99)
}


def read(path: str, found: Any) -> list[Result] | None:
    """Its results, None where the file is of another tool."""
    if not isinstance(found, dict) or not isinstance(found.get("benchmarks"), list):
        return None
    version = (found.get("metadata") or {}).get("guidellm_version")
    try:
        return [_result(path, b, version, i) for i, b in enumerate(found["benchmarks"])]
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise InputError(f"audit: {path}: not as GuideLLM 0.8 writes it: no {error}.") from None


def _result(path: str, one: Mapping[str, Any], version: str | None, index: int) -> Result:
    groups = one["requests"]
    good, bad = groups.get("successful") or [], groups.get("errored") or []
    strategy = (one.get("config") or {}).get("strategy") or {}
    sent = [*(_sent(r) for r in good), *(_sent(r, failed=True) for r in bad)]
    cut = groups.get("incomplete") or []
    notes = list(_notes(one, cut))
    point = point_of(strategy.get("streams"), strategy.get("rate"), index)
    return Result(
        tool="guidellm",
        version=version,
        file=path,
        point=point,
        detail="requests" if sent else "summary",
        claims=_claims(one),
        again=_again(one, good, bad),
        data=point_data(point, sent) if sent else None,
        conditions={
            "model": _model(good),
            "strategy": strategy.get("type_"),
            "streams": strategy.get("streams"),
            "rate": strategy.get("rate"),
            "warmup": ((one.get("config") or {}).get("warmup") or {}).get("percent"),
        },
        unsaid=UNSAID,
        notes=tuple(notes),
    )


def _sent(r: Mapping[str, Any], *, failed: bool = False) -> Sent:
    """One request; its clock is the wall's, which may be set while it runs."""
    times = (r.get("info") or {}).get("timings") or {}
    start, end = times.get("request_start"), times.get("request_end")
    start = r["request_start_time"] if start is None else start
    end = (r.get("request_end_time") or start) if end is None else end
    first, last = times.get("first_token_iteration"), times.get("last_token_iteration")
    stamps = [t for t in (first, last) if t is not None]
    if len(stamps) == 2 and times.get("token_iterations") == 1:
        stamps = stamps[:1]
    error = None
    if failed:
        error = str((r.get("info") or {}).get("error") or "failed")
    tokens = r.get("output_tokens")
    return Sent(
        sent_ns=_ns(start),
        stamps_ns=[_ns(t) for t in stamps],
        end_ns=_ns(end),
        input_tokens=-1 if r.get("prompt_tokens") is None else int(r["prompt_tokens"]),
        output_tokens=None if tokens is None else int(tokens),
        requested_tokens=_asked(r.get("request_args")),
        error=error,
        ends_only=True,
    )


def _model(good: list[Any]) -> str | None:
    """The model that its first request named."""
    try:
        name = json.loads(good[0]["request_args"])["body"].get("model")
    except (IndexError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return name if isinstance(name, str) else None


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _asked(arguments: Any) -> int:
    """The length that its request asked for; -1 where it does not say."""
    try:
        body = json.loads(arguments)["body"] if isinstance(arguments, str) else {}
        asked = body.get("max_completion_tokens") or body.get("max_tokens")
    except (ValueError, KeyError, AttributeError, TypeError):
        return -1
    return asked if isinstance(asked, int) else -1


def _claims(one: Mapping[str, Any]) -> dict[str, float]:
    metrics = one["metrics"]
    found: dict[str, float | None] = {
        "output_tokens_per_s": number(metrics, "output_tokens_per_second", "successful", "mean"),
        "requests_per_s": number(metrics, "requests_per_second", "successful", "mean"),
        "total_tokens_per_s": number(metrics, "tokens_per_second", "successful", "mean"),
    }
    theirs = {
        "ttft": ("time_to_first_token_ms", 1.0),
        "itl": ("inter_token_latency_ms", 1.0),
        "tpot": ("time_per_output_token_ms", 1.0),
        "e2e": ("request_latency", 1e3),
    }
    for stem, (name, scale) in theirs.items():
        for ours, keys in _STATISTICS.items():
            value = number(metrics, name, "successful", *keys)
            found[f"{stem}_{ours}_ms"] = None if value is None else scale * value
    totals = metrics.get("request_totals") or {}
    ok, bad = number(totals, "successful"), number(totals, "errored")
    if ok is not None and bad is not None and ok + bad:
        found["error_rate"] = bad / (ok + bad)
    return {k: v for k, v in found.items() if v is not None}


def _again(one: Mapping[str, Any], good: list[Any], bad: list[Any]) -> dict[str, Span]:
    """Its figures from its own requests; a mean ITL is weighted by tokens, as it has it."""
    duration = number(one, "duration")
    if not good or not duration:
        return {}
    tokens = [r.get("output_tokens") or 0 for r in good]
    prompts = [r.get("prompt_tokens") or 0 for r in good]
    ttft = [r["time_to_first_token_ms"] for r in good if r.get("time_to_first_token_ms")]
    took = [1e3 * r["request_latency"] for r in good if r.get("request_latency")]
    pairs = [
        (r["inter_token_latency_ms"], r["output_tokens"] - 1)
        for r in good
        if r.get("inter_token_latency_ms") and (r.get("output_tokens") or 0) > 1
    ]
    gaps = sum(n for _, n in pairs)
    rates = {
        "output_tokens_per_s": sum(tokens) / duration,
        "requests_per_s": len(good) / duration,
        "total_tokens_per_s": (sum(tokens) + sum(prompts)) / duration,
        "error_rate": len(bad) / (len(good) + len(bad)),
        **({"itl_mean_ms": sum(v * n for v, n in pairs) / gaps} if gaps else {}),
    }
    return {
        **exact(rates),
        **statistics("ttft", ttft),
        **statistics("e2e", took),
    }


def _notes(one: Mapping[str, Any], cut: list[Any]) -> Iterator[str]:
    if cut:
        many = count(len(cut), "request", "were")
        yield f"{many} cut off at its end, which counts neither as good nor as bad"
    for said in one.get("warnings") or []:
        text = said.get("message") or said.get("note") if isinstance(said, Mapping) else said
        if text:
            yield f"it warned itself: {str(text)[:200]}"
