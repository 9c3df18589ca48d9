"""What was equalised between engines and what was not, by what each served under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.compare.likeness import Difference
from bench.measure.checks.server import PROMPT_TOLERANCE
from bench.measure.measurement import Measurement, PointMeasurement
from bench.values.record import Run
from bench.values.serving import CONDITIONS

_COUNTED = {
    "input_tokens": "prompt tokens, as the server counted",
    "output_tokens": "output tokens, as the server counted",
}
_HOST = {"cores": "cores of the engine"}
WORDS: Mapping[str, str] = {**_COUNTED, **CONDITIONS, **_HOST}
"""Every condition in words, in the order of the table."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition over all engines; None among the values where it is not known.

    `alike` is False where two that are known differ, else None where one of them is not known: what
    is not known is never equal.
    """

    key: str
    words: str
    values: tuple[Any, ...]
    alike: bool | None


def conditions(measured: Sequence[tuple[Run, Measurement]]) -> tuple[Condition, ...]:
    """Every condition, engine beside engine."""
    told = [of_run(run, measurement) for run, measurement in measured]
    found = []
    for key, words in WORDS.items():
        values = tuple(one.get(key) for one in told)
        found.append(Condition(key=key, words=words, values=values, alike=_alike(key, values)))
    return tuple(found)


def of_run(run: Run, measurement: Measurement) -> dict[str, Any]:
    """The conditions of one run, as far as server, log and answers tell them."""
    server, facts = run.server or {}, run.engine_facts or {}
    found: dict[str, Any] = dict(server.get("conditions") or {})
    if facts.get("kv_cache_tokens") is not None:  # the engine's own word, else what was worked out
        found["kv_tokens"] = facts["kv_cache_tokens"]
    points = measurement.headline
    found["input_tokens"] = _mean([_prompt(p) for p in points])
    found["output_tokens"] = _mean([_answer(p) for p in points])
    count = run.provenance.get("host_cpu_count")
    if count is not None:
        found["cores"] = count - len(server.get("client_cores") or ())
    return found


def unlike(
    baseline: tuple[Run, Measurement], variant: tuple[Run, Measurement], allow: Sequence[str] = ()
) -> tuple[Difference, ...]:
    """Conditions under which two engines do not compare; () for runs of one engine, whose settings
    are compared key by key."""
    if baseline[0].spec.engine.kind == variant[0].spec.engine.kind:
        return ()
    return tuple(
        Difference(
            key=f"served.{c.key}",
            baseline=c.values[0],
            variant=c.values[1],
            kind="refused",
            allowed=any(f"served.{c.key}" == a or a == "served" for a in allow),
        )
        for c in conditions((baseline, variant))
        if c.alike is False
    )


def _alike(key: str, values: Sequence[Any]) -> bool | None:
    known = [v for v in values if v is not None]
    if key in _COUNTED:
        same = not known or max(known) - min(known) <= PROMPT_TOLERANCE * min(known)
    else:
        same = len({_plain(key, v) for v in known}) <= 1
    if not same:
        return False
    return True if len(known) == len(values) else None


def _plain(key: str, value: Any) -> str:
    """One word for formats that engines name differently."""
    word = str(value).casefold().removeprefix("all ").removeprefix("mostly ")
    return _FORMATS.get(word, word) if key in ("weights", "kv_type") else word


_FORMATS = {
    **dict.fromkeys(("float32", "float", "f32"), "float32"),
    **dict.fromkeys(("float16", "half", "f16", "fp16"), "float16"),
    **dict.fromkeys(("bfloat16", "bf16"), "bfloat16"),
}


def _prompt(point: PointMeasurement) -> float | None:
    found = (f.figure for f in point.findings if f.code == "prompt_length")
    return next((figure for figure in found if figure is not None), None)


def _answer(point: PointMeasurement) -> float | None:
    rate, requests = (_known(point, name) for name in ("output_tokens_per_s", "requests_per_s"))
    return None if rate is None or not requests else rate / requests


def _known(point: PointMeasurement, name: str) -> float | None:
    metric = point.metrics[name]
    return metric.withheld_value if metric.value is None else metric.value


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
