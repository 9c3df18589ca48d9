"""A ratio over a baseline: both sides need their conditions, and each side its own bound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from bench.claims.bounds import hold
from bench.claims.fits import check_fit
from bench.claims.metrics import known_metric
from bench.claims.spec import Conditions, Speedup, Stated
from bench.claims.verdict import Check, CheckVerdict, agrees, number, say
from bench.config.catalogue import Catalogue
from bench.values.engine_words import same_condition

NEEDED = ("model", "quant", "gpu", "gpus", "engine", "input_tokens", "output_tokens", "concurrency")


def check_speedup(says: Speedup, catalogue: Catalogue) -> Iterator[Check]:
    """The two numbers' own ratio where both are given, each side's memory and bound, and which
    conditions are unsaid or differ beside the one that is praised."""
    known_metric(says.metric)
    if says.value is not None and says.baseline_value is not None:
        yield _ratio(says)
    for side, conditions, value in _sides(says):
        fit = check_fit(conditions, catalogue)
        if fit.verdict == "impossible":
            yield fit
        if value is not None:
            stated = Stated(value=value, unit=known_metric(says.metric).unit)
            found = hold(
                says.metric,
                value,
                stated,
                conditions,
                catalogue,
                defined=says.definition is not None,
            )
            lines = tuple(f"{side}: {line}" for line in found.lines)
            yield Check(kind="bound", verdict=found.verdict, evidence=lines, figures=found.figures)
    yield _conditions(says)


def times(says: Speedup) -> Stated:
    """The stated number as a factor: 170 % more is 2.7 times, 63 % less of a time likewise."""
    s = says.stated
    if s.unit == "x" or s.value is None:
        return s
    less = known_metric(says.metric).at_least
    ends = [None if v is None else _factor(v, less=less) for v in (s.value, s.high)]
    return Stated(value=ends[0], high=ends[1], unit="x", relation=s.relation, tolerance=s.tolerance)


def _factor(percent: float, *, less: bool) -> float:
    return 1 / max(1 - abs(percent) / 100, 1e-9) if less else 1 + percent / 100


def _sides(says: Speedup) -> list[tuple[str, Conditions, float | None]]:
    """Both sides with their numbers; a missing one follows from the other and the ratio."""
    ratio = times(says).value
    less = known_metric(says.metric).at_least
    new, old = says.value, says.baseline_value
    if ratio and new is None and old is not None:
        new = old / ratio if less else old * ratio
    if ratio and old is None and new is not None:
        old = new * ratio if less else new / ratio
    return [("claimed", says.conditions, new), ("baseline", says.baseline, old)]


def _ratio(says: Speedup) -> Check:
    assert says.value is not None
    assert says.baseline_value is not None
    less = known_metric(says.metric).at_least
    over, under = (says.baseline_value, says.value) if less else (says.value, says.baseline_value)
    found = over / under if under else float("inf")
    stated = times(says)
    same = agrees(stated, found)
    text = f"{number(over)} ÷ {number(under)} = {number(found)}, stated {say(says.stated)}"
    verdict: CheckVerdict = "possible" if same else "untested" if same is None else "refuted"
    if same is False and says.stated.unit == "%" and agrees(says.stated, 100 * found):
        verdict, text = (
            "not comparable",
            f"{text}: right if it is {say(says.stated)} of it, not more",
        )
    if same:  # that a source divides rightly does not say that it measured rightly
        text += ": the division is right, which confirms no measurement"
    return Check(
        kind="arithmetic",
        verdict=verdict,
        evidence=(text,),
        figures={"computed": found, "stated": stated.value},
    )


def _conditions(says: Speedup) -> Check:
    """What is unsaid on either side, and what differs: a ratio is about one difference."""
    lacking = [
        f"{side} {key}"
        for side, c in (("claimed", says.conditions), ("baseline", says.baseline))
        for key in NEEDED
        if getattr(c, key) is None
    ]
    differ = [
        f"{f.name} {old} → {new}"
        for f in fields(Conditions)
        for old, new in [(getattr(says.baseline, f.name), getattr(says.conditions, f.name))]
        if f.name != "unlisted" and not same_condition(f.name, old, new)
    ]
    lines = [f"from baseline to claim: {'; '.join(differ) or 'no condition differs'}"]
    if lacking:
        lines.insert(0, f"the source does not say: {', '.join(lacking)}")
    return Check(
        kind="runs",
        verdict="not comparable" if lacking else "untested",
        evidence=tuple(lines),
        figures={"missing": float(len(lacking)), "differences": float(len(differ))},
    )
