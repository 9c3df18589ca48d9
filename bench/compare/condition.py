"""What a regression gate is told: `ttft_p99_ms@c16 > 5%`, taken apart or refused in one line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from bench.power.table import EVERY_METRIC
from bench.values.errors import InputError, nearest

Kind = Literal["ratio", "change", "value"]

MEMORY_GIB = (
    "engine_reserved_gib",
    "weights_gib",
    "kv_pool_gib",
    "other_gib",
    "kv_peak_gib",
    "need_estimate_gib",
)
UNITS = {d.name: d.unit for d in EVERY_METRIC} | dict.fromkeys(MEMORY_GIB, "GiB")
"""Every figure of a load point and its unit."""

BETTER = {d.name: d.better for d in EVERY_METRIC}
"""Which way each figure gets better; a memory is neither."""

QUALITY = "quality."
ALL_LOADS = "all"

_SHAPE = re.compile(
    r"\s*(?P<metric>[A-Za-z_][\w.:/-]*)\s*(?:@\s*(?P<load>[\w.-]+))?\s*(?P<op>[<>]=?|=+)"
    r"\s*(?P<sign>[+-]?)(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d{1,2})?|\.\d+)\s*(?P<unit>\S.*)?"
)
_HOW = (
    "write METRIC[@LOAD] < NUMBER, with %: 'output_tokens_per_s < -3%'; with a sign: a change in "
    "the metric's unit, 'ttft_p50_ms > +20'; with neither: the value itself, 'error_rate > 0.01'"
)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """The gate fails when `metric` lies below (`<`) or above (`>`) `limit`.

    `ratio`: variant ÷ baseline - 1 (limit -0.03 for -3%); `change`: variant - baseline in `unit`;
    `value`: the variant's own figure. `load` None means each load point, `all` their mean. For a
    task of quality, `metric` is `quality.TASK` or `quality.TASK:METRIC`.
    """

    text: str
    metric: str
    op: Literal["<", ">"]
    limit: float
    kind: Kind
    unit: str
    load: str | None = None

    @property
    def task(self) -> tuple[str, str | None] | None:
        """(task, its metric or None for the one that it is judged by); None for a load's figure."""
        if not self.metric.startswith(QUALITY):
            return None
        task, _, metric = self.metric.removeprefix(QUALITY).partition(":")
        return task, metric or None

    @property
    def read_as(self) -> str:
        """The condition in words, as it was understood."""
        side = "below" if self.op == "<" else "above"
        if self.kind == "ratio":
            return f"relative change of {self.metric} {side} {self.limit * 100:+.10g}%"
        unit = "" if self.unit == "1" else f" {self.unit}"
        if self.kind == "change":
            return f"change of {self.metric} {side} {self.limit:+.10g}{unit}"
        return f"value of {self.metric} {side} {self.limit:.10g}{unit}"


def parse(text: str) -> Condition:
    """The condition that `text` states; InputError says what is wrong and names the nearest."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise InputError(f"--fail-if {text!r} is no condition: {_what_is_odd(text)}{_HOW}.")
    metric, load, op = found["metric"], found["load"], found["op"]
    if op not in ("<", ">"):
        raise InputError(f"--fail-if {text!r}: {op!r} is not < or >; {_HOW}.")
    unit = _unit_of(metric, text)
    if load is not None and metric.startswith(QUALITY):
        raise InputError(f"--fail-if {text!r}: quality is scored once per run, not at {load!r}.")
    number = float(f"{found['sign']}{found['number']}")
    said = (found["unit"] or "").strip()
    if said == "%":
        return right_way(_ratio(text, metric, op, number, unit, load), BETTER.get(metric, "none"))
    if said and said != unit:
        raise InputError(f"--fail-if {text!r}: {_other_unit(metric, unit, said)}")
    condition = Condition(
        text=text.strip(),
        metric=metric,
        op="<" if op == "<" else ">",
        limit=number,
        kind="change" if found["sign"] else "value",
        unit=unit,
        load=load,
    )
    return _reachable(right_way(condition, BETTER.get(metric, "none")))


def _what_is_odd(text: str) -> str:
    """A clause for what other programs or keyboards write; else empty."""
    if found := re.search(r"[<>]\s*[+-]?(nan|inf\w*)\b", text, re.IGNORECASE):
        return f"{found[1]} is no number that anything can be held against; "
    if re.search("[\u2010-\u2015\u2212]", text):
        return "the minus is the sign on the keyboard, -; "
    return ""


def _other_unit(metric: str, unit: str, said: str) -> str:
    """What is wrong with the words behind a number."""
    if said.casefold() in ("percent", "pct", "per cent"):
        return f"a percentage is written with %, not {said}."
    if said.startswith(","):
        return "a number has a point, not a comma: 3.5%."
    return f"{metric} is in {'shares of 1' if unit == '1' else unit}, not in {said}."


def _reachable(condition: Condition) -> Condition:
    """The condition; InputError where no figure could ever break it: a gate that always holds."""
    metric, limit = condition.metric, condition.limit
    most = 1.0 if metric == "error_rate" else math.inf
    never = None
    if condition.kind == "value" and condition.op == "<" and limit <= 0 and metric in BETTER:
        never = "nothing lies below 0"
    elif condition.op == ">" and limit > most:
        never = f"a share is at most {most:g}"
    if never is not None:
        raise InputError(f"--fail-if {condition.text!r} would never fail: {metric}: {never}.")
    return condition


def right_way(condition: Condition, better: Literal["higher", "lower", "none"]) -> Condition:
    """The condition; InputError where it would fail what gets better, naming the right sign."""
    if better == "none" or (condition.op == "<") == (better == "higher"):
        return condition
    op, sign = ("<", "-" if condition.limit else "") if better == "higher" else (">", "+")
    amount = f"{abs(condition.limit) * (100 if condition.kind == 'ratio' else 1):.10g}"
    limit = {
        "ratio": f"{sign.strip('+')}{amount}%",
        "change": f"{sign}{amount}",
        "value": f"{condition.limit:.10g}",
    }[condition.kind]
    at = "" if condition.load is None else f"@{condition.load}"
    raise InputError(
        f"--fail-if {condition.text!r} fails a run that gets better: of {condition.metric}, "
        f"{better} is better. Did you mean '{condition.metric}{at} {op} {limit}'?"
    )


def _ratio(
    text: str, metric: str, op: str, percent: float, unit: str, load: str | None
) -> Condition:
    if unit == "1" and not metric.startswith(QUALITY):
        raise InputError(
            f"--fail-if {text!r}: {metric} is a share, so a percentage can be read in two ways: "
            f"write '{metric} {op} {abs(percent) / 100:g}' for the share itself or "
            f"'{metric} {op} {percent / 100:+g}' for its change."
        )
    signed = "+" in text or "-" in text[text.index(op) :]
    if op == "<" and percent > 0 and not signed and BETTER.get(metric) != "lower":
        name = text.partition(op)[0].strip()
        raise InputError(
            f"--fail-if {text!r}: a percentage is a change, and this one would fail all that do "
            f"not rise by it: write '{name} < -{percent:g}%' for a fall, or "
            f"'{name} < +{percent:g}%'."
        )
    if percent <= -100:
        raise InputError(f"--fail-if {text!r}: nothing falls by {-percent:g}% or more.")
    return Condition(
        text=text.strip(),
        metric=metric,
        op="<" if op == "<" else ">",
        limit=percent / 100,
        kind="ratio",
        unit=unit,
        load=load,
    )


def _unit_of(metric: str, text: str) -> str:
    if metric.startswith(QUALITY) and len(metric) > len(QUALITY):
        return "1"
    if metric not in UNITS:
        raise InputError(f"--fail-if {text!r}: {metric!r} is no metric.{closest(metric, UNITS)}")
    return UNITS[metric]


def closest(name: str, names: Iterable[str]) -> str:
    """The nearest name; where none is near, a few to choose from."""
    known = sorted(names)
    if name.lower() in _CALLED and (meant := _CALLED[name.lower()]) in known:
        return f" Did you mean {meant!r}?"
    hint = nearest(name, known)
    if "Did you mean" in hint or len(known) <= 6:
        return hint
    return f" For example: {', '.join(n for n in EXAMPLES if n in known)}, quality.TASK."


_CALLED = {
    **dict.fromkeys(
        ("tok/s", "toks/s", "tokens/s", "tps", "throughput", "output_tps", "speed"),
        "output_tokens_per_s",
    ),
    **dict.fromkeys(("req/s", "rps", "qps"), "requests_per_s"),
    **dict.fromkeys(("ttft", "ttft_ms", "latency"), "ttft_p50_ms"),
    **dict.fromkeys(("tpot", "tpot_ms"), "tpot_p50_ms"),
    **dict.fromkeys(("itl", "itl_ms"), "itl_p50_ms"),
    **dict.fromkeys(("e2e", "e2e_ms"), "e2e_p50_ms"),
}
"""What others call a metric."""

EXAMPLES = (
    "output_tokens_per_s",
    "ttft_p99_ms",
    "tpot_p50_ms",
    "energy_per_output_token_j",
    "error_rate",
)
