"""MLPerf inference: loadgen's mlperf_log_summary.txt, and a round's summary_results.json.

Source of the definitions: loadgen/results.cc of mlcommons/inference. Both are figures alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bench.foreign.result import Result, number, point_of
from bench.values.errors import InputError
from bench.values.finding import Finding, finding, some
from bench.values.record import LoadPoint

_TITLE = "MLPerf Results Summary"
_PAIR = re.compile(r"^\s*(\*?\s*[^:]+?)\s*:\s*(.*?)\s*$")
_RATES = {
    "requests_per_s": ("Completed samples per second", "Samples per second"),
    "output_tokens_per_s": ("Completed tokens per second", "Tokens per second"),
}
_LATENCIES = {
    "e2e": ("Mean latency", "percentile latency"),
    "ttft": ("Mean First Token latency", "percentile first token latency"),
    "tpot": ("Mean Time to Output Token", "percentile time to output token"),
}
_LIMITS = (("ttft_p99_ms", "ttft_latency (ns)"), ("tpot_p99_ms", "tpot_latency (ns)"))
_KEYS = ("Scenario", "Mode", "SUT name", "target_qps", "samples_per_query", "min_duration (ms)")
_UNSAID = (
    "raw data: no figure can be computed again (mlperf_log_detail.txt has the events)",
    "model, GPUs, quantisation and engine: they stand in the submission around this file",
    "repeats: one run has no interval",
)
_ROUND_UNSAID = ("latencies and how long it ran: a round's table has one rate a system",)


def read_text(path: str, text: str) -> list[Result] | None:
    """The result of a loadgen summary; None for other text."""
    if _TITLE not in text[:400]:
        return None
    said = _pairs(text)
    if "Scenario" not in said or "Mode" not in said:
        raise InputError(f"audit: {path}: an MLPerf summary without Scenario and Mode.")
    if said["Mode"] != "PerformanceOnly":
        raise InputError(f"audit: {path}: mode {said['Mode']} measures no speed.")
    claims = dict(_claims(said))
    if not claims:
        raise InputError(f"audit: {path}: scenario {said['Scenario']} has no rate or latency.")
    offline = said["Scenario"] == "Offline"
    known = {}
    if (samples := _value(said, "samples_per_query")) and offline:
        known["requests"] = samples
    rates = [claims.get(name) for name in ("output_tokens_per_s", "requests_per_s")]
    if rates[0] and rates[1]:
        known["output_tokens"] = rates[0] / rates[1]
    return [
        Result(
            tool="mlperf",
            version=None,
            file=path,
            point=point_of(None, None if offline else _value(said, "target_qps")),
            detail="summary",
            claims=claims,
            known=known,
            found=tuple(_checks(said, claims)),
            conditions={key: said[key] for key in _KEYS if key in said},
            unsaid=_UNSAID,
            notes=("all samples are there at once: a latency is time since the start",)
            if offline
            else (),
        )
    ]


def _pairs(text: str) -> dict[str, str]:
    """What stands before and behind each colon; the first of a name counts."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        pair = _PAIR.match(line)
        if pair is not None:
            found.setdefault(pair[1], pair[2])
    return found


def _value(said: Mapping[str, str], key: str) -> float | None:
    try:
        return number({key: float(said[key])}, key)
    except (KeyError, ValueError):
        return None


def _claims(said: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    for ours, names in _RATES.items():
        value = next((v for name in names if (v := _value(said, name)) is not None), None)
        if value is not None:
            yield ours, value
    for stem, (mean, percentile) in _LATENCIES.items():
        if stem == "e2e" and said["Scenario"] == "Offline":
            continue
        keys = {"mean": mean, **{f"p{q}": f"{q}.00 {percentile}" for q in (50, 90, 95, 99)}}
        for ours, key in keys.items():
            if (value := _value(said, f"{key} (ns)")) is not None:
                yield f"{stem}_{ours}_ms", value / 1e6


def _checks(said: Mapping[str, str], claims: Mapping[str, float]) -> Iterator[Finding]:
    """Its own verdict, and whether that follows from its own limits."""
    verdict = said.get("Result is", "missing")
    if verdict != "VALID":
        yield finding("own_verdict", "fail", f"the tool itself says that it is {verdict}")
    else:
        yield finding("own_verdict", "pass", "the tool itself says that it is VALID")
    if said["Scenario"] != "Server":
        return
    for ours, key in _LIMITS:
        limit, value = _value(said, key), claims.get(ours)
        if not limit or value is None:
            continue
        text = f"{ours} {value:.4g} ms, limit {limit / 1e6:.4g}"
        if value > limit / 1e6 and verdict == "VALID":
            text += ": it may not be VALID"
            yield some("own_limits", text, ("requests_per_s", "output_tokens_per_s"), value, "ms")
        else:
            yield finding("own_limits", "pass", text, value, "ms")


def read(path: str, found: Any) -> list[Result] | None:
    """Each system of a round's table; None where the file is of another tool."""
    rows = found if isinstance(found, list) else []
    if not rows or not all(
        isinstance(r, dict) and {"Submitter", "Scenario", "Performance_Result"} <= r.keys()
        for r in rows
    ):
        return None
    kept = [(i, r) for i, r in enumerate(rows) if r.get("Performance_Units") in _UNITS]
    if not kept:
        raise InputError(f"audit: {path}: none of its {len(rows)} rows is of tokens or queries/s.")
    return [_row(path, r, i) for i, r in kept]


_UNITS = {"Tokens/s": "output_tokens_per_s", "Queries/s": "requests_per_s"}
_COLUMNS = {
    **{"Submitter": "submitter", "Platform": "system", "Model": "model", "Scenario": "scenario"},
    **{"Accelerator": "accelerator", "a#": "gpus_per_node", "Nodes": "nodes"},
    **{"Software": "engine", "weight_data_types": "precision", "version": "round"},
}


def _row(path: str, row: Mapping[str, Any], index: int) -> Result:
    value = number(row, "Performance_Result")
    name = _UNITS[row["Performance_Units"]]
    return Result(
        tool="mlperf",
        version=str(row["version"]) if row.get("version") else None,
        file=path,
        point=LoadPoint(index=index, repeat=0, mode="open"),
        detail="summary",
        claims={} if value is None else {name: value},
        conditions={ours: row[theirs] for theirs, ours in _COLUMNS.items() if theirs in row},
        unsaid=(*_UNSAID[:1], *_ROUND_UNSAID, _UNSAID[2]),
    )
