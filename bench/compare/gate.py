"""A regression gate: is a change real and beyond its limit, is it not, or can that not be said?

Three outcomes, from the 95 % interval of each quantity over launches of the engine, three or more
of each variant (quality: over items). Wholly beyond the limit, after Holm's correction over all
tests of the gate: failed. Wholly on the good side: held; the gate holds only if every test does,
which needs no correction (an intersection-union test; Berger 1982). Else, and for runs that are not
valid or did not measure it: not enough evidence. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.compare.compare import Comparison, Row
from bench.compare.condition import ALL_LOADS, QUALITY, Condition, Kind, closest, right_way
from bench.compare.evidence import Evidence, loads_of, of_load, of_quality
from bench.compare.launches import NO_TURNS, take_turns
from bench.compare.variant import Measured, Variant
from bench.quality.paired import holm
from bench.values.confidence import ALPHA
from bench.values.errors import InputError
from bench.values.record import TaskScore

Outcome = Literal["failed", "held", "not_enough_evidence"]
EXIT_CODES: dict[Outcome, int] = {"held": 0, "failed": 3, "not_enough_evidence": 4}
_MOST_MORE = 1000


@dataclass(frozen=True, kw_only=True)
class GateTest:
    """One condition on one variant at one load.

    `estimate` with its 95 % interval is what is tested against `limit`: a relative change for
    `ratio`, a change or the figure itself in `unit` otherwise. `p` is against the limit, `p_holm`
    corrected for the tests beside it; None where nothing could be tested.
    """

    condition: str
    read_as: str
    run: str
    load: str | None
    kind: Kind
    unit: str
    limit: float
    baseline: float | None = None
    variant: float | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    p: float | None = None
    p_holm: float | None = None
    outcome: Outcome = "not_enough_evidence"
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Gate:
    """All tests of a gate, its outcome and the exit code that says it."""

    tests: tuple[GateTest, ...]
    outcome: Outcome
    exit_code: int
    note: str | None = None
    alpha: float = ALPHA


def judge(
    variants: Sequence[Variant],
    comparison: Comparison,
    conditions: Sequence[Condition],
    load: str | None = None,
) -> Gate:
    """Test every condition on every variant against the first; `load` restricts to one point.

    InputError for a load or a task that no run has.
    """
    base = variants[0]
    conditions = [
        replace(c, load=load) if c.load is None and load and c.task is None else c
        for c in conditions
    ]
    for condition in conditions:
        _known(condition, variants)
    pending = [
        _evidence(condition, base, other, row)
        for other, row in zip(variants[1:], comparison.rows[1:], strict=True)
        for condition in conditions
    ]
    tests = _corrected([test for tests in pending for test in tests])
    outcomes = {t.outcome for t in tests}
    outcome: Outcome = "held"
    if "failed" in outcomes:
        outcome = "failed"
    elif "not_enough_evidence" in outcomes:
        outcome = "not_enough_evidence"
    return Gate(
        tests=tuple(tests),
        outcome=outcome,
        exit_code=EXIT_CODES[outcome],
        note=_note(variants),
    )


def _known(condition: Condition, variants: Sequence[Variant]) -> None:
    """InputError for a load or a task that is in no run: more likely misspelt than missing."""
    measured = [m for v in variants for m in v.rounds]
    if condition.task is not None:
        scored = {QUALITY + s.task for m in measured for s in _scores(m)}
        name = QUALITY + condition.task[0]
        if scored and name not in scored:
            raise InputError(
                f"--fail-if {condition.text!r}: no run scored {condition.task[0]!r}."
                f"{closest(name, scored)}"
            )
        _right_way_for_task(condition, [s for m in measured for s in _scores(m)])
        return
    labels = {p.point.label for m in measured for p in m.measurement.points}
    if condition.load not in (None, ALL_LOADS) and condition.load not in labels:
        hint = closest(str(condition.load), {*labels, ALL_LOADS})
        raise InputError(
            f"--fail-if {condition.text!r}: no run has a load point {condition.load!r}.{hint}"
        )


def _scores(measured: Measured) -> tuple[TaskScore, ...]:
    return () if measured.run.quality is None else measured.run.quality.scores


def _right_way_for_task(condition: Condition, scores: Sequence[TaskScore]) -> None:
    """InputError for a limit on a task that only a better score can break."""
    assert condition.task is not None
    task, metric = condition.task
    higher = {s.higher_is_better for s in scores if s.task == task and metric in (None, s.metric)}
    if len(higher) == 1:
        right_way(condition, "higher" if higher.pop() else "lower")


def _evidence(condition: Condition, base: Variant, other: Variant, row: Row) -> list[GateTest]:
    if condition.task is not None:
        return [
            _tested(condition, row, None, of_quality(condition, other, row.quality, row.scores))
        ]
    groups = loads_of(condition, base, other)
    if not groups:
        nothing = Evidence(reason="no load point was measured")
        return [_tested(condition, row, condition.load, nothing)]
    return [
        _tested(
            condition,
            row,
            ALL_LOADS if condition.load == ALL_LOADS else group[0],
            of_load(condition, base, other, group),
        )
        for group in groups
    ]


def _tested(condition: Condition, row: Row, load: str | None, found: Evidence) -> GateTest:
    """The test before any correction: `held`, or `failed` where p alone says so."""
    test = GateTest(
        condition=condition.text,
        read_as=condition.read_as,
        run=row.name,
        load=load,
        kind=condition.kind,
        unit=condition.unit,
        limit=condition.limit,
        baseline=found.baseline,
        variant=found.variant,
        reason=found.reason,
    )
    estimate = found.estimate
    if estimate is None:
        return test
    ends = estimate.interval
    shown = [math.expm1(v) if found.logarithmic else v for v in (estimate.value, *ends)]
    test = replace(test, estimate=shown[0], low=shown[1], high=shown[2], n=estimate.n)
    if found.reason is not None:
        return test
    limit = math.log1p(condition.limit) if found.logarithmic else condition.limit
    below, above = estimate.p_below(limit), estimate.p_above(limit)
    beyond, within = (below, above) if condition.op == "<" else (above, below)
    test = replace(test, p=beyond, p_holm=beyond)
    if within < ALPHA:
        return replace(test, outcome="held")
    if beyond < ALPHA:
        return replace(test, outcome="failed")
    half = max(estimate.value - estimate.low, estimate.high - estimate.value)
    clear = abs(estimate.value - limit) - estimate.systematic
    return replace(test, reason=f"the limit lies inside the interval; {_more(half, clear, test.n)}")


def _more(half: float, clear: float, n: int) -> str:
    """About how many more observations would tell, were the estimate the truth."""
    needed = math.inf if clear <= 0 else n * (half / clear) ** 2 - n
    if needed > _MOST_MORE:
        return "the estimate is too near to it for launches to tell"
    return f"about {max(1, math.ceil(needed)):,} more would tell"


def _corrected(tests: Sequence[GateTest]) -> list[GateTest]:
    """The tests with p corrected together (Holm); a failure that does not outlive it is none."""
    known = [t for t in tests if t.p is not None]
    adjusted = iter(holm([t.p or 0.0 for t in known]))
    result = []
    for test in tests:
        if test.p is None:
            result.append(test)
            continue
        test = replace(test, p_holm=next(adjusted))
        if test.outcome == "failed" and (test.p_holm or 0.0) >= ALPHA:
            reason = f"beyond the limit alone, but one of {len(known)} tests: repeat it"
            test = replace(test, outcome="not_enough_evidence", reason=reason)
        result.append(test)
    return result


def _note(variants: Sequence[Variant]) -> str | None:
    turns = all(take_turns(variants[0].runs, v.runs) for v in variants[1:])
    return None if turns else NO_TURNS
