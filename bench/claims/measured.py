"""A claim beside measurements: the same conditions or nothing, and an interval or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.claims.bounds import hold
from bench.claims.metrics import metric_unit
from bench.claims.quantity import parse_unit, quantity
from bench.claims.sources import Point, Sources
from bench.claims.spec import Report, Serving, Stated
from bench.claims.variants import gpu_names
from bench.claims.verdict import Check, CheckVerdict, from_interval, number, say
from bench.values.engine_words import same_condition
from bench.values.units import UnitError

SHOWN_RUNS = 5
SHOWN_NEAR = 2
_WHOLE_RUN = ("model", "quant", "gpu", "gpus")
"""What must agree before the rest of a run is worth comparing."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One condition that differs: the claim's value and the measurement's (None: not known)."""

    key: str
    claimed: Any
    measured: Any

    def __str__(self) -> str:
        if self.claimed is None and self.measured is None:
            return f"{self.key} said by neither"
        return f"{self.key} {_word(self.claimed)} ≠ {_word(self.measured)}"


def _word(value: Any) -> str:
    return "not said" if value is None else str(value)


def required(says: Serving, gpus: Mapping[str, Any]) -> dict[str, Any]:
    """Every condition that a comparison needs, as the claim gives it; None is unsaid."""
    c = says.conditions
    names = gpu_names(c, gpus) if c.gpu is not None else ()
    found: dict[str, Any] = {
        "model": c.model,
        "quant": c.quant,
        "gpu": names[0] if len(names) == 1 else c.gpu,
        "gpus": c.gpus,
        "engine": c.engine,
        "engine_version": c.engine_version,
        "input_tokens": c.dataset or c.input_tokens,
        "output_tokens": c.dataset or c.output_tokens,
    }
    if c.gpu is not None and len(names) != 1:
        found["form_factor"] = c.form_factor
    if c.gpu == "cpu":
        found |= {"host_cpu": c.host_cpu, "host_cpu_count": c.host_cpu_count}
        if c.host_cpu_count is not None and c.own_cores is not None:
            found["engine_cores"] = c.host_cpu_count - c.own_cores
    if c.rate_per_s is not None:
        found["rate_per_s"] = c.rate_per_s
    else:
        found["concurrency"] = c.concurrency
    if c.speculative is not None:
        found["speculative"] = c.speculative
    if says.metric is not None:
        found["metric definition"] = says.definition
    return found


def missing(says: Serving, gpus: Mapping[str, Any]) -> tuple[str, ...]:
    """The conditions that the source leaves unsaid, the number itself included."""
    found = [key for key, value in required(says, gpus).items() if value is None]
    if says.metric is None:
        found.append("metric")
    elif says.stated is None or says.stated.value is None:
        found.append("value")
    return tuple(found)


def differences(wanted: Mapping[str, Any], have: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Conditions that are not the same; what either side does not know is never the same."""
    return tuple(
        Difference(key=key, claimed=value, measured=have.get(key))
        for key, value in wanted.items()
        if key != "metric definition"
        and (value is None or not same_condition(key, value, have.get(key)))
    )


def check_runs(says: Serving, sources: Sources) -> Check:
    """Stored runs under the claim's own conditions; a claim with unsaid ones is not comparable."""
    wanted = required(says, sources.catalogue.gpus)
    lacking = missing(says, sources.catalogue.gpus)
    near = _near(wanted, sources.points)
    if lacking:
        either = "; nor speculative, so read either way" if _may_speculate(says) else ""
        lines = [f"the source does not say: {', '.join(lacking)}{either}", *near]
        return Check(
            kind="runs",
            verdict="not comparable",
            evidence=tuple(lines),
            figures={"missing": float(len(lacking))},
        )
    assert says.stated is not None
    assert says.metric is not None
    same = [p for p in sources.points if not differences(wanted, p.conditions)]
    if _may_speculate(says):
        same = [_noted(p) for p in same]
    judged = [_believed(says, p, sources) for p in same]
    lines = [text for _, text, _ in judged[-SHOWN_RUNS:]]
    verdict = _together([v for v, _, _ in judged])
    if not same:
        lines = ["no stored run under these conditions", *near]
    figures = {k: v for _, _, numbers in judged[-1:] for k, v in numbers.items()}
    return Check(
        kind="runs",
        verdict=verdict,
        evidence=tuple(lines),
        figures={"runs": float(len(same)), **figures},
    )


def _may_speculate(says: Serving) -> bool:
    """Whether the source leaves speculative decoding open, on hardware where it is used."""
    c = says.conditions
    return c.speculative is None and c.tokens_per_pass is None and c.gpu != "cpu"


def _noted(p: Point) -> Point:
    """The point, with speculation named where a claim does not mention it."""
    if not p.conditions.get("speculative"):
        return p
    word = "with speculative decoding, which the source does not mention (speculative)"
    return replace(p, words=(*p.words, word))


def _near(wanted: Mapping[str, Any], points: Sequence[Point]) -> list[str]:
    """The stored runs with the fewest differences, and exactly which those are."""
    close = [
        (differences(wanted, p.conditions), p)
        for p in points
        if not differences(
            {k: wanted[k] for k in _WHOLE_RUN if wanted[k] is not None}, p.conditions
        )
    ]
    close = sorted((pair for pair in close if pair[0]), key=lambda pair: len(pair[0]))
    return [
        f"nearest stored run {p.run}: {'; '.join(map(str, found))}{_to_say(found)}"
        for found, p in close[:SHOWN_NEAR]
    ]


def _to_say(found: Sequence[Difference]) -> str:
    """The keys that say of a server what it does not say itself, where that alone is missing."""
    keys = [
        f"{key}={str(d.claimed).lower() if isinstance(d.claimed, bool) else d.claimed}"
        for key, d in ((_TOLD.get(d.key), d) for d in found)
        if key is not None and d.claimed is not None and d.measured in (None, "endpoint")
    ]
    if not keys:
        return ""
    return f" (its server does not say: a run at it with {' '.join(keys)} does)"


_TOLD = {
    "engine": "engine.serves",
    "engine_version": "engine.version",
    "speculative": "engine.speculative",
}


def _believed(
    says: Serving, point: Point, sources: Sources
) -> tuple[CheckVerdict, str, dict[str, float | None]]:
    """What one load point says of the claim, unless the claim's own conditions forbid it: then
    something else was served than was said, and it is no evidence."""
    assert says.stated is not None
    assert says.metric is not None
    verdict, text, figures = _judge(says.stated, says.metric, point)
    ends = [x for k, x in figures.items() if k.startswith("ci_") and x is not None]
    held = [
        hold(says.metric, end, Stated(value=end, unit=metric_unit(says.metric)), says.conditions,
             sources.catalogue)
        for end in ends
    ]  # fmt: skip
    drafts = point.conditions.get("speculative") is True
    beyond = ("impossible",) if drafts else ("impossible", "not comparable")
    if not held or any(h.verdict not in beyond for h in held):
        return verdict, text, figures
    bound = held[0].figures.get("bound")
    limit = "" if bound is None else f" ({number(bound)} {metric_unit(says.metric)})"
    draft = "" if drafts else ", or it drafts tokens (engine.speculative=true says so)"
    why = (
        f"no evidence, beyond the bound of these conditions{limit}: the model, the GPU or the "
        f"count is another{draft}"
    )
    return "untested", f"{text.partition('; stated')[0]}: {why}", figures


def _judge(
    stated: Stated, metric: str, point: Point
) -> tuple[CheckVerdict, str, dict[str, float | None]]:
    """What one load point says of the claim."""
    value, low, high, unit = point.metrics.get(metric, (None, None, None, metric_unit(metric)))
    if value is None:
        why = "not measured"
        if not point.valid:
            why = f"withheld, the run failed its certificate: {'; '.join(point.failures)}"
        return "untested", f"{point.run}: {metric} {why}", {}
    words = f" ({', '.join(point.words)})" if point.words else ""
    figures = {"measured": value, "ci_low": low, "ci_high": high}
    if low is None or high is None:
        return (
            "untested",
            f"{point.run}: {number(value)} {unit}{words} without an interval: no "
            "verdict from one number",
            figures,
        )
    try:
        scaled = [quantity(v, unit).to(parse_unit(stated.unit)) for v in (value, low, high)]
    except UnitError as error:
        return "untested", f"{point.run}: {error}", figures
    verdict = from_interval(stated, scaled[1], scaled[2])
    reading = {
        "confirmed": "the interval bears the claim out",
        "refuted": "the interval excludes the claim",
        "untested": "the interval does not decide (more repeats narrow it)",
        "not comparable": "the claim has no number",
    }[verdict]
    text = (
        f"{point.run}: {number(scaled[0])} {stated.unit}, 95 % interval {number(scaled[1])} to "
        f"{number(scaled[2])}{words}; stated {say(stated)}: {reading}"
    )
    return verdict, text, figures


def _together(verdicts: Sequence[CheckVerdict]) -> CheckVerdict:
    """Runs that contradict each other decide nothing: the latest conditions are the same."""
    decided = {v for v in verdicts if v in ("confirmed", "refuted")}
    return decided.pop() if len(decided) == 1 else "untested"


def check_reports(says: Serving, sources: Sources) -> Check | None:
    """What others measured, and why it does not settle the claim: one number has no interval,
    and its conditions differ."""
    if not says.reports:
        return None
    wanted = required(says, sources.catalogue.gpus)
    lines: list[str] = []
    alike = False
    for report in says.reports:
        have = _conditions(report, says, sources)
        found = differences(wanted, have)
        other = report.metric is not None and report.metric != says.metric
        alike |= not found and not other
        same = [f"metric {says.metric} ≠ {report.metric}"] if other else []
        same += [str(d) for d in found]
        lines.append(
            f"reported {number(report.value)} {report.unit} ({report.source}, {report.as_of}); "
            + (
                f"conditions that differ or are unsaid: {'; '.join(same)}"
                if same
                else "under the same conditions, but a single number without an interval"
            )
        )
    first = says.reports[0]
    return Check(
        kind="reports",
        verdict="untested" if alike else "not comparable",
        evidence=tuple(lines),
        figures={"reported": first.value, "stated": says.stated.value if says.stated else None},
    )


def _conditions(report: Report, says: Serving, sources: Sources) -> dict[str, Any]:
    alike = Serving(
        conditions=report.conditions,
        metric=report.metric or says.metric,
        definition=says.definition,
        stated=says.stated,
    )
    return required(alike, sources.catalogue.gpus)
