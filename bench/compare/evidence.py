"""What two variants offer for a condition: paired observations, or why there are none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.compare.condition import ALL_LOADS, Condition
from bench.compare.estimate import Estimate, at_least_as_wide, of_values, share_half_width
from bench.compare.launches import ENOUGH_LAUNCHES, counted, launches, remedy
from bench.compare.variant import Measured, Variant, point_at
from bench.measure.metrics import Metric
from bench.power.table import POWER_METRICS
from bench.quality.verdict import TaskComparison
from bench.values.confidence import normal_quantile
from bench.values.finding import is_valid
from bench.values.record import TaskScore

Observations = Mapping[tuple[int, int], float]
"""(launch or run, repeat) -> value."""

_POWER = {d.name for d in POWER_METRICS if d.unit != "1"}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """`estimate` is of the condition's quantity, in logarithms where `logarithmic`. With a `reason`
    nothing is concluded, and an estimate shows what was seen in these runs. `baseline` and
    `variant` are the figures themselves, for people."""

    estimate: Estimate | None = None
    reason: str | None = None
    baseline: float | None = None
    variant: float | None = None
    logarithmic: bool = False


class _MissingError(Exception):
    """There is no evidence; the text says why."""


def of_load(condition: Condition, base: Variant, other: Variant, loads: Sequence[str]) -> Evidence:
    """The evidence at one load point, or of the mean over several."""
    sides = (base, other) if condition.kind != "value" else (other,)
    try:
        for side in sides:
            _sound(side)
        found = [[_metrics(side, condition.metric, load) for load in loads] for side in sides]
        return _paired(condition, sides, found)
    except _MissingError as error:
        return Evidence(reason=str(error))


def _sound(side: Variant) -> None:
    """Nothing is concluded from a run that did not finish or failed as a whole."""
    for one in side.rounds:
        wrong = [f for f in one.measurement.findings if not is_valid([f])]
        if wrong or one.run.status != "complete":
            why = f"{wrong[0].code}: {wrong[0].text}" if wrong else one.run.status
            raise _MissingError(f"{_named(one)} is not valid ({why})")


def _metrics(side: Variant, name: str, load: str) -> list[Metric]:
    """The metric at one load in every round."""
    return [_metric(one, name, load) for one in side.rounds]


def _metric(one: Measured, name: str, load: str) -> Metric:
    point = point_at(one.measurement, load)
    if point is None:
        raise _MissingError(f"{_named(one)} has no load point {load}")
    metric = point.metrics.get(name)
    if metric is None or metric.value is None:
        withheld = metric is not None and metric.withheld_value is not None
        did = "withheld by the certificate of" if withheld else "not measured in"
        why = "" if metric is None or metric.reason is None else f" ({metric.reason})"
        raise _MissingError(f"{did} {_named(one)}{why}")
    if metric.arose in ("replay", "synthetic"):
        raise _MissingError(f"in {_named(one)} it is {metric.arose}, not measured")
    return metric


def _paired(
    condition: Condition, sides: Sequence[Variant], found: Sequence[Sequence[Sequence[Metric]]]
) -> Evidence:
    """Observations of both sides set against each other, load by load, then averaged.

    One observation per launch. With too few of them the repeats say what happened in these runs,
    and the reason says that this is no evidence.
    """
    counts = [max(launches(side.runs)) + 1 for side in sides]
    enough = min(counts) >= ENOUGH_LAUNCHES
    if enough and len(set(counts)) > 1:
        said = " and ".join(map(str, counts))
        raise _MissingError(f"launches are paired, and there are {said}: give as many runs of both")
    observed = _by_launch if enough else _by_repeat
    loads = [
        _differences(
            condition,
            [observed(side, metrics) for side, metrics in zip(sides, at_load, strict=True)],
        )
        for at_load in zip(*found, strict=True)
    ]
    keys = set(loads[0]).intersection(*loads[1:])
    values = [float(np.mean([load[key] for load in loads])) for key in sorted(keys)]
    estimate = of_values(values)
    shown = [float(np.mean([m.value for at in side for m in at])) for side in found]
    reason = None
    if not enough:
        runs = [run for side in sides for run in side.runs]
        reason = f"in this run only: {counted(min(counts))} of a variant; {remedy(runs)}"
    elif estimate is None:
        raise _MissingError("there is no pair of launches")
    return Evidence(
        estimate=estimate and _honest(condition, estimate, sides, found, shown),
        reason=reason,
        baseline=shown[0] if len(shown) > 1 else None,
        variant=shown[-1],
        logarithmic=condition.kind == "ratio",
    )


def _by_launch(side: Variant, rounds: Sequence[Metric]) -> Observations:
    """The figure of each launch: the mean over its runs, where there are several."""
    found: dict[tuple[int, int], list[float]] = {}
    for launch, metric in zip(launches(side.runs), rounds, strict=True):
        assert metric.value is not None
        found.setdefault((launch, 0), []).append(metric.value)
    return {key: float(np.mean(values)) for key, values in found.items()}


def _by_repeat(side: Variant, rounds: Sequence[Metric]) -> Observations:
    """Every repeat of every run; a run's one figure where a metric has no repeats."""
    found: dict[tuple[int, int], float] = {}
    for number, metric in enumerate(rounds):
        own = metric.by_repeat or ({} if metric.value is None else {0: metric.value})
        found |= {(number, repeat): value for repeat, value in own.items()}
    return found


def _differences(
    condition: Condition, sides: Sequence[Observations]
) -> dict[tuple[int, int], float]:
    base, other = sides[0], sides[-1]
    both = [key for key in base if key in other]
    if condition.kind == "value":
        return dict(other)
    if condition.kind == "change":
        return {key: other[key] - base[key] for key in both}
    if any(side[key] <= 0 for side in (base, other) for key in both):
        raise _MissingError(
            f"{condition.metric} is 0 in a pair, and a ratio to 0 says nothing: state the change "
            "in its unit"
        )
    return {key: math.log(other[key] / base[key]) for key in both}


def _honest(
    condition: Condition,
    estimate: Estimate,
    sides: Sequence[Variant],
    found: Sequence[Sequence[Sequence[Metric]]],
    shown: Sequence[float],
) -> Estimate:
    """The estimate with what repeats cannot show: rare failures, and the meters' own error."""
    if condition.metric == "error_rate":
        counts = [sum(m.n for at in side for m in at) for side in found]
        if min(counts) > 0:
            half = share_half_width(list(zip(shown, counts, strict=True)))
            estimate = at_least_as_wide(estimate, half)
    if condition.metric in _POWER:
        error = _instrument_error(sides)
        of_each = [error * abs(value) for value in shown]
        other_boards = len({_devices(side) for side in sides}) > 1
        systematic = {
            "value": of_each[-1],
            "change": sum(of_each) if other_boards else error * abs(estimate.value),
            "ratio": 2 * error if other_boards else 0.0,  # the same gain on both sides cancels
        }[condition.kind]
        estimate = replace(estimate, systematic=systematic)
    return estimate


def _instrument_error(sides: Sequence[Variant]) -> float:
    errors = [
        error.value
        for side in sides
        for one in side.rounds
        for point in one.measurement.points
        if (error := point.metrics.get("energy_instrument_error")) and error.value is not None
    ]
    return max(errors, default=0.0)


def _devices(side: Variant) -> frozenset[str]:
    return frozenset(
        str(device.get("uuid"))
        for one in side.rounds
        for device in (one.measurement.power or {}).get("devices", ())
    )


def of_quality(
    condition: Condition,
    other: Variant,
    compared: Sequence[TaskComparison],
    scores: Sequence[TaskScore],
) -> Evidence:
    """The evidence of one task: paired over its items, or the score with its standard error."""
    assert condition.task is not None
    task, metric = condition.task
    try:
        _sound_quality(other)
        if condition.kind == "value":
            return _score(condition, [s for s in scores if s.task == task and not s.group], metric)
        found = next(
            (
                c
                for c in compared
                if c.task == task and (c.primary if metric is None else c.metric == metric)
            ),
            None,
        )
        if found is None:
            raise _MissingError(f"{condition.metric} was not scored in both runs")
        return _changed(condition, found)
    except _MissingError as error:
        return Evidence(reason=str(error))


def _sound_quality(side: Variant) -> None:
    result = side.rounds[-1].run.quality
    if result is not None and result.status != "complete":
        raise _MissingError(f"quality of {_named(side.rounds[-1])} is not valid ({result.failure})")


def _score(condition: Condition, scores: Sequence[TaskScore], metric: str | None) -> Evidence:
    score = next((s for s in scores if metric is None or s.metric == metric), None)
    if score is None:
        raise _MissingError(f"{condition.metric} was not scored")
    if score.stderr is None:
        raise _MissingError(f"lm-eval gives no standard error for {condition.metric}")
    half = normal_quantile() * score.stderr
    estimate = Estimate(
        value=score.value, low=score.value - half, high=score.value + half, n=score.n
    )
    return Evidence(estimate=estimate, variant=score.value)


def _changed(condition: Condition, found: TaskComparison) -> Evidence:
    """The change of the score itself: recovery turns it round where lower is better."""
    interval = found.difference
    if condition.kind == "ratio":
        if found.recovery is None:
            raise _MissingError(
                f"{condition.metric} has no ratio to its baseline: state the change"
            )
        r = found.recovery
        ends = (r.low, r.high) if found.higher_is_better else (1 / r.high, 1 / r.low)
        value = r.value if found.higher_is_better else 1 / r.value
        interval = replace(interval, value=value - 1, low=ends[0] - 1, high=ends[1] - 1)
    return Evidence(
        estimate=Estimate(value=interval.value, low=interval.low, high=interval.high, n=found.n),
        baseline=found.baseline,
        variant=found.variant,
    )


def _named(one: Measured) -> str:
    """The run's folder as people type it."""
    return "/".join(one.run.path.rsplit("/", 2)[-2:]) or "the run"


def loads_of(condition: Condition, base: Variant, other: Variant) -> list[list[str]]:
    """The groups of load points that the condition is tested on, each by itself."""
    labels = list(
        dict.fromkeys(
            p.point.label
            for side in (base, other)
            for one in side.rounds
            for p in one.measurement.headline
        )
    )
    if condition.load == ALL_LOADS:
        return [labels] if labels else []
    return [[condition.load]] if condition.load is not None else [[label] for label in labels]
