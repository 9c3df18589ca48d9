"""Changes of speed between two variants, paired over load points and repeats.

Ratios, since load points differ by orders of magnitude: each pair gives the logarithm of variant ÷
baseline. Every repeat has its own prompts, the same for both variants; its mean over the load
points is one observation, and the observations of all repeats (or interleaved rounds) give a t
interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bench.metrics import METRICS, Measurement, steady_parts
from bench.quality.paired import Interval, holm
from bench.record import Run
from bench.stats import t_interval

ALPHA = 0.05
COMPARED = ("output_tokens_per_s", "ttft_p50_ms", "tpot_p50_ms", "e2e_p50_ms")
EVERYWHERE = "all loads"

Values = Mapping[tuple[str, str], Mapping[tuple[int, int], float]]
"""(metric, load) -> (round, repeat) -> value."""

Verdict = Literal["faster", "slower", "no_difference_shown", "not_measured"]


@dataclass(frozen=True, kw_only=True)
class SpeedChange:
    """Variant ÷ baseline of one metric at one load, or over all of them.

    `ratio` and `p` (paired t test) are None with fewer than two pairs; `pairs` counts repeats.
    `p_holm` is corrected for the variants beside it (overall rows) or left as `p`.
    """

    metric: str
    unit: str
    better: Literal["higher", "lower", "none"]
    load: str
    baseline: float | None
    variant: float | None
    ratio: Interval | None
    p: float | None
    p_holm: float | None
    pairs: int
    verdict: Verdict


def repeat_values(
    rounds: Sequence[tuple[Run, Measurement]], metrics: Sequence[str] = COMPARED
) -> Values:
    """Each metric's value in every repeat of every load point that passed its certificate.

    `rounds` are the runs of one variant with their measurements, oldest first.
    """
    definitions = {d.name: d for d in METRICS if d.name in metrics}
    found: dict[tuple[str, str], dict[tuple[int, int], float]] = {}
    for number, (run, measurement) in enumerate(rounds):
        valid = {p.point.label for p in measurement.points if p.valid}
        for data in (d for d in run.points if d.point.label in valid):
            for part in steady_parts([data], run.spec.workload.slo, run.spec.gpus):
                for name, definition in definitions.items():
                    series = definition.series(part)
                    if len(series):
                        key = (number, data.point.repeat)
                        value = definition.reduce(series)
                        found.setdefault((name, data.point.label), {})[key] = value
    return found


def changes(
    baseline: Values, variant: Values, metrics: Sequence[str] = COMPARED
) -> tuple[SpeedChange, ...]:
    """Per metric: the change over all loads, then at each of them."""
    found = []
    for name in metrics:
        loads = [load for metric, load in baseline if metric == name and (name, load) in variant]
        if not loads:
            continue
        logs = {load: _logs(baseline[name, load], variant[name, load]) for load in loads}
        overall = _change(name, EVERYWHERE, _mean_per_pair(list(logs.values())), None, None)
        found.append(overall)
        found += [
            _change(
                name,
                load,
                list(logs[load].values()),
                float(np.mean(list(baseline[name, load].values()))),
                float(np.mean(list(variant[name, load].values()))),
            )
            for load in loads
        ]
    return tuple(found)


def _logs(
    base: Mapping[tuple[int, int], float], other: Mapping[tuple[int, int], float]
) -> dict[tuple[int, int], float]:
    both = [key for key in base if key in other and base[key] > 0 and other[key] > 0]
    return {key: math.log(other[key] / base[key]) for key in both}


def _mean_per_pair(logs: Sequence[Mapping[tuple[int, int], float]]) -> list[float]:
    """One observation per repeat that every load point has: the mean over the load points."""
    if not logs:
        return []
    keys = set(logs[0]).intersection(*logs[1:])
    return [float(np.mean([log[key] for log in logs])) for key in sorted(keys)]


def _change(
    name: str, load: str, logs: Sequence[float], base: float | None, other: float | None
) -> SpeedChange:
    definition = next(d for d in METRICS if d.name == name)
    p = paired_t_p(logs)
    result = SpeedChange(
        metric=name,
        unit=definition.unit,
        better=definition.better,
        load=load,
        baseline=base,
        variant=other,
        ratio=ratio_interval(logs),
        p=p,
        p_holm=p,
        pairs=len(logs),
        verdict="not_measured",
    )
    return judged(result)


def ratio_interval(logs: Sequence[float]) -> Interval | None:
    """Geometric mean ratio with its 95 % t interval; None with fewer than two pairs."""
    limits = t_interval(logs)
    if limits is None:
        return None
    return Interval(
        value=math.exp(float(np.mean(logs))), low=math.exp(limits[0]), high=math.exp(limits[1])
    )


def paired_t_p(logs: Sequence[float]) -> float | None:
    """Two-sided p of the paired t test that the mean log ratio is 0; None below two pairs."""
    n = len(logs)
    if n < 2:
        return None
    from scipy.special import stdtr

    mean, spread = float(np.mean(logs)), float(np.std(logs, ddof=1))
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(n - 1, -abs(mean) / (spread / math.sqrt(n))))


def judged(change: SpeedChange) -> SpeedChange:
    """The change with its verdict: faster or slower only where the corrected p is below 5 %."""
    if change.ratio is None or change.p_holm is None:
        return replace(change, verdict="not_measured")
    if change.p_holm >= ALPHA:
        return replace(change, verdict="no_difference_shown")
    gained = (change.ratio.value > 1) == (change.better == "higher")
    return replace(change, verdict="faster" if gained else "slower")


def corrected(rows: Sequence[Sequence[SpeedChange]]) -> list[tuple[SpeedChange, ...]]:
    """The changes of several variants, the overall p values of each metric corrected together."""
    result = [list(row) for row in rows]
    for name in {c.metric for row in rows for c in row}:
        places = [
            (i, j)
            for i, row in enumerate(rows)
            for j, c in enumerate(row)
            if c.metric == name and c.load == EVERYWHERE and c.p is not None
        ]
        for (i, j), p in zip(places, holm([rows[i][j].p or 0.0 for i, j in places]), strict=True):
            result[i][j] = judged(replace(rows[i][j], p_holm=p))
    return [tuple(row) for row in result]
