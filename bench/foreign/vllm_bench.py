"""Results of vLLM's serving benchmark, of SGLang's, which descends from it, and of their summaries.

Source of the definitions: vllm/benchmarks/serve.py (calculate_metrics), sglang/bench_serving.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bench.foreign.columns import Sent, point_data
from bench.foreign.result import LATENCIES, Result, Span, exact, number, point_of, statistics
from bench.values.errors import InputError
from bench.values.finding import Finding, finding, some

_STEMS = {"ttft": "ttft", "tpot": "tpot", "itl": "itl", "e2e": "e2el"}
_COUNTED = 0.05
"""A text is not always taken apart into the tokens that it was made of."""
_LISTS = ("ttfts", "itls", "output_lens")
UNSAID = (
    "the length that was asked for (answers that ended early do not show)",
    "GPUs, quantisation and version of the engine",
    "how late the client itself was",
    "repeats: one run has no interval",
)


def read(path: str, found: Any) -> list[Result] | None:
    """Its results, None where the file is of another tool."""
    rows = found if isinstance(found, list) else [found]
    if not rows or not all(isinstance(r, dict) and _is_ours(r) for r in rows):
        return None
    return [_result(path, row, index) for index, row in enumerate(rows)]


def _is_ours(row: Mapping[str, Any]) -> bool:
    return "output_throughput" in row and "mean_ttft_ms" in row and "duration" in row


def _result(path: str, row: Mapping[str, Any], index: int) -> Result:
    tool = "sglang" if "total_output_tokens_retokenized" in row else "vllm"
    listed = all(isinstance(row.get(k), list) for k in _LISTS)
    raw = list(requests(row, path)) if listed else []
    sent, ends = _without_ends(raw)
    # A rate with a cap on what is in flight is an open loop that may have to wait.
    rate = number(row, "request_rate")
    point = point_of(None if rate else row.get("max_concurrency"), rate, index)
    timed = bool(sent) and isinstance(row.get("start_times"), list)
    keys = ("date", "backend", "model_id", "tokenizer_id", "num_prompts", "max_concurrency")
    unsaid = UNSAID if "random_output_len" not in row else UNSAID[1:]
    if not sent:
        unsaid = (*unsaid, "raw data: run it again with --save-detailed")
    elif not timed:
        unsaid = (*unsaid, "when each request was sent (no start_times): rates over time")
    return Result(
        tool=tool,
        version=None,
        file=path,
        point=point,
        detail="chunks" if timed else "summary",
        claims=_claims(row),
        again=_again(row, raw) or _totals(row),
        known=_known(row),
        found=tuple(_counted_again(row)),
        data=point_data(point, sent) if timed else None,
        conditions={
            "model": row.get("model_id"),
            **{k: row[k] for k in (*keys, "request_rate", "burstiness") if k in row},
        },
        unsaid=unsaid,
        notes=(*ends, *_notes(row)),
    )


def _without_ends(sent: list[Sent]) -> tuple[list[Sent], tuple[str, ...]]:
    """The requests without a last piece that is no token: an empty one that ends the stream.

    The benchmark takes any chunk for text; one more in every answer than tokens is such an end.
    """
    good = [s for s in sent if s.error is None]
    if not good or any(len(s.stamps_ns) != (s.output_tokens or 0) + 1 for s in good):
        return sent, ()
    told = "it took the end of every stream for a token: one gap of each answer is none"
    cut = [replace(s, stamps_ns=s.stamps_ns[:-1]) if s.error is None else s for s in sent]
    return cut, (told,)


def requests(row: Mapping[str, Any], path: str = "the result") -> Iterator[Sent]:
    """Every request of a detailed result. Its clock is CLOCK_MONOTONIC too."""
    try:
        n = len(row["ttfts"])
        starts = row.get("start_times") or [0.0] * n
        errors, inputs = row.get("errors") or [""] * n, row.get("input_lens") or [-1] * n
        latencies = row.get("latencies")
        for at in range(n):
            sent_ns = round(starts[at] * 1e9)
            gaps_s = np.cumsum([row["ttfts"][at], *row["itls"][at]]).tolist()
            stamps = [sent_ns + round(s * 1e9) for s in gaps_s]
            end_ns = stamps[-1] if latencies is None else sent_ns + round(latencies[at] * 1e9)
            yield Sent(
                sent_ns=sent_ns,
                stamps_ns=stamps,
                end_ns=end_ns,
                input_tokens=int(inputs[at]),
                requested_tokens=int(row.get("random_output_len") or -1),
                output_tokens=int(row["output_lens"][at]),
                error=errors[at] or None,
            )
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"audit: {path}: the lists of its requests do not fit: {error}.") from None


def _claims(row: Mapping[str, Any]) -> dict[str, float]:
    names = {
        "output_tokens_per_s": "output_throughput",
        "requests_per_s": "request_throughput",
        "total_tokens_per_s": "total_token_throughput",
    }
    found = {ours: number(row, theirs) for ours, theirs in names.items()}
    for stem in LATENCIES:
        theirs = (
            _STEMS[stem] if number(row, f"mean_{_STEMS[stem]}_ms") is not None else "e2e_latency"
        )
        theirs = theirs if stem == "e2e" else _STEMS[stem]
        for name in ("mean", "median", "p90", "p95", "p99"):
            ours = f"{stem}_{'p50' if name == 'median' else name}_ms"
            found[ours] = number(row, f"{name}_{theirs}_ms")
    completed, failed = number(row, "completed"), number(row, "failed")
    if completed is not None and failed is not None and completed + failed:
        found["error_rate"] = failed / (completed + failed)
    return {k: v for k, v in found.items() if v is not None}


def _again(row: Mapping[str, Any], sent: list[Sent]) -> dict[str, Span]:
    """The tool's figures from its own lists, by its own definitions."""
    good = [s for s in sent if s.error is None and s.output_tokens]
    duration = number(row, "duration")
    if not good or not duration:
        return {}
    tokens = sum(s.output_tokens or 0 for s in good)
    prompts = sum(s.input_tokens for s in good)
    ttft = [(s.stamps_ns[0] - s.sent_ns) / 1e6 for s in good]
    took = [(s.end_ns - s.sent_ns) / 1e6 for s in good]
    gaps = [g / 1e6 for s in good for g in np.diff(s.stamps_ns).tolist()]
    tpot = [
        (t - f) / ((s.output_tokens or 0) - 1)
        for s, t, f in zip(good, took, ttft, strict=True)
        if (s.output_tokens or 0) > 1
    ]
    rates = {
        "output_tokens_per_s": tokens / duration,
        "requests_per_s": len(good) / duration,
        **({"total_tokens_per_s": (tokens + prompts) / duration} if prompts > 0 else {}),
        "error_rate": 1 - len(good) / len(sent),
    }
    return {
        **exact(rates),
        **statistics("ttft", ttft),
        **statistics("itl", gaps),
        **statistics("tpot", tpot),
        **statistics("e2e", took),
    }


def _known(row: Mapping[str, Any]) -> dict[str, float]:
    """Requests and mean lengths, from its totals."""
    completed = number(row, "completed")
    found = {"requests": completed}
    if completed:
        for ours, theirs in (("output_tokens", "output"), ("input_tokens", "input")):
            total = number(row, f"total_{theirs}_tokens")
            found[ours] = None if total is None else total / completed
    return {k: v for k, v in found.items() if v is not None}


def _counted_again(row: Mapping[str, Any]) -> Iterator[Finding]:
    """SGLang counts what it received once more, from the text: what was asked for is no count."""
    said = number(row, "total_output_tokens")
    again = number(row, "total_output_tokens_retokenized")
    if not said or again is None:
        return
    share = again / said
    text = f"counted from their text, the answers have {share:.1%} of the tokens it counts with"
    if abs(share - 1) > _COUNTED:
        text += ": what it divides by is not what came"
        yield some("counted_again", text, ("output_tokens_per_s", "tpot", "itl"), share, "1")
    else:
        yield finding("counted_again", "pass", text, share, "1")


def _totals(row: Mapping[str, Any]) -> dict[str, Span]:
    """Without lists: its rates from its own totals and duration."""
    duration = number(row, "duration")
    totals = {
        "requests_per_s": number(row, "completed"),
        "output_tokens_per_s": number(row, "total_output_tokens"),
    }
    if not duration:
        return {}
    return exact({k: v / duration for k, v in totals.items() if v is not None})


def _notes(row: Mapping[str, Any]) -> Iterator[str]:
    most, asked = number(row, "max_concurrent_requests"), number(row, "max_concurrency")
    if most is not None and asked and most > asked:
        yield (
            f"its peak of {most:.0f} concurrent requests counts all that touched one second; "
            f"{asked:.0f} were allowed at a time"
        )
