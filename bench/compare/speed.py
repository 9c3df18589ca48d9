"""Changes of speed between two variants, paired over load points and repeats.

Ratios, since load points differ by orders of magnitude: each pair gives the logarithm of variant ÷
baseline. Every repeat has its own prompts, the same for both variants; its mean over the load
points is one observation, and the observations give a t interval: repeats, or the means of rounds
where there are three or more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bench.measure.metrics import ENOUGH_REPEATS, METRICS, Measurement
from bench.measure.stats import t_interval, within
from bench.quality.paired import Interval, holm

ALPHA = 0.05
MARGIN = 0.01
"""Changes surely smaller than this are none: two runs of one server differ by some 0.01 % beyond
chance now and then, and the client's own error is larger."""
COMPARED = ("output_tokens_per_s", "ttft_p50_ms", "tpot_p50_ms", "e2e_p50_ms")
EVERYWHERE = "all loads"
_RESOLUTION = 1e-9
"""Log ratios nearer to each other than this, a nanosecond in a second, are the same one."""

Values = Mapping[tuple[str, str], Mapping[tuple[int, int], float]]
"""(metric, load) -> (round, repeat) -> value."""

Verdict = Literal["faster", "slower", "equivalent", "no_difference_shown", "not_measured"]


@dataclass(frozen=True, kw_only=True)
class SpeedChange:
    """Variant ÷ baseline of one metric at one load, or over all of them.

    `ratio` and `p` (paired t test) are None with fewer than two pairs; `pairs` counts observations.
    `p_holm` is corrected for the other metrics and variants (overall rows) or left as `p`.
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


def repeat_values(rounds: Sequence[Measurement], metrics: Sequence[str] = COMPARED) -> Values:
    """Each metric's value in every repeat of every load point that passed its certificate.

    `rounds` are the measurements of one variant's runs, oldest first.
    """
    found: dict[tuple[str, str], dict[tuple[int, int], float]] = {}
    for number, measurement in enumerate(rounds):
        for point in (p for p in measurement.points if p.valid):
            for name in metrics:
                for repeat, value in point.metrics[name].by_repeat.items():
                    found.setdefault((name, point.point.label), {})[number, repeat] = value
    return found


def independent(values: Mapping[tuple[int, int], float]) -> list[float]:
    """Observations that owe nothing to each other: repeats, or from three rounds on their means.

    Repeats of one run share its engine start and its hour; a mean per round does not.
    """
    rounds: dict[int, list[float]] = {}
    for (number, _), value in sorted(values.items()):
        rounds.setdefault(number, []).append(value)
    if len(rounds) >= ENOUGH_REPEATS:
        return [float(np.mean(of_round)) for of_round in rounds.values()]
    return [value for of_round in rounds.values() for value in of_round]


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
                independent(logs[load]),
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
    """The observations over all load points: a repeat that each of them has gives their mean."""
    if not logs:
        return []
    keys = set(logs[0]).intersection(*logs[1:])
    return independent({key: float(np.mean([log[key] for log in logs])) for key in keys})


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
    """Two-sided p of the paired t test that the mean log ratio is 0; None below two pairs.

    Pairs that agree exactly give no spread to test against: what remains is their common sign, by
    the exact sign test, which no fewer than six of them carry below 5 %.
    """
    n = len(logs)
    if n < 2:
        return None
    from scipy.special import stdtr

    mean, spread = float(np.mean(logs)), float(np.std(logs, ddof=1))
    if spread <= _RESOLUTION:
        return 1.0 if abs(mean) <= _RESOLUTION else 0.5 ** (n - 1)
    return float(2 * stdtr(n - 1, -abs(mean) / (spread / math.sqrt(n))))


def judged(change: SpeedChange) -> SpeedChange:
    """The change with its verdict: equivalent where its interval lies within the margin, faster or
    slower only where the corrected p is below 5 %."""
    if change.ratio is None or change.p_holm is None:
        return replace(change, verdict="not_measured")
    limits = change.ratio.low, change.ratio.high
    if within(limits, 1 - MARGIN, 1 + MARGIN) == "yes":
        return replace(change, verdict="equivalent")
    if change.p_holm >= ALPHA:
        return replace(change, verdict="no_difference_shown")
    gained = (change.ratio.value > 1) == (change.better == "higher")
    return replace(change, verdict="faster" if gained else "slower")


def corrected(rows: Sequence[Sequence[SpeedChange]]) -> list[tuple[SpeedChange, ...]]:
    """The changes of several variants, the overall p values of all metrics corrected together."""
    result = [list(row) for row in rows]
    places = [
        (i, j)
        for i, row in enumerate(rows)
        for j, c in enumerate(row)
        if c.load == EVERYWHERE and c.p is not None
    ]
    for (i, j), p in zip(places, holm([rows[i][j].p or 0.0 for i, j in places]), strict=True):
        result[i][j] = judged(replace(rows[i][j], p_holm=p))
    return [tuple(row) for row in result]
