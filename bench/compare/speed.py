"""Changes of speed between two variants: one observation per launch, paired over launches.

Ratios, since load points differ by orders of magnitude: each pair of launches gives the logarithm
of variant ÷ baseline, averaged over the load points where the change is over all of them. Three
pairs or more give a t interval, a paired t test against no change, and two one-sided tests against
the margin (TOST; Schuirmann, J. Pharmacokinet. Biopharm. 15 (1987) 657). Below three launches the
interval is over the repeats of those there are. It says what happened in them and nothing of the
next launch, so there is no p and no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np

from bench.compare.launches import ENOUGH_LAUNCHES, launches
from bench.compare.variant import Variant
from bench.measure.metrics import METRICS
from bench.measure.stats import t_interval
from bench.quality.paired import Interval, holm
from bench.values.confidence import ALPHA
from bench.values.distributions import t_cdf

MARGIN = 0.01
"""Changes surely smaller than this are none: two runs of one server differ by some 0.01 % beyond
chance now and then, and the client's own error is larger."""
COMPARED = ("output_tokens_per_s", "ttft_p50_ms", "tpot_p50_ms", "e2e_p50_ms")
EVERYWHERE = "all loads"
_RESOLUTION = 1e-9
"""Log ratios nearer to each other than this, a nanosecond in a second, are the same one."""

Verdict = Literal[
    "faster", "slower", "equivalent", "no_difference_shown", "in_this_run", "not_measured"
]
Basis = Literal["launches", "repeats"]
Key = TypeVar("Key", int, tuple[int, int])


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One metric at one load: the figure of each launch, and of each (launch, repeat)."""

    launches: Mapping[int, float] = field(default_factory=dict)
    repeats: Mapping[tuple[int, int], float] = field(default_factory=dict)


Values = Mapping[tuple[str, str], Observed]
"""(metric, load) -> what was observed."""


@dataclass(frozen=True, kw_only=True)
class SpeedChange:
    """Variant ÷ baseline of one metric at one load, or over all of them.

    `ratio` rests on `pairs` pairs of what `basis` names; None with fewer than two. `p` is that of
    no change, `p_equivalent` that of a change of the margin or more; both None below three
    `launches` of each. `_holm`: corrected for what is tested beside it, the other metrics and
    variants (overall rows) and loads (rows of one load).
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
    p_equivalent: float | None
    p_equivalent_holm: float | None
    pairs: int
    basis: Basis
    launches: int
    verdict: Verdict


def observed(variant: Variant, metrics: Sequence[str] = COMPARED) -> Values:
    """Each metric at every load point whose certificate leaves it, by launch and by repeat."""
    of_launch: dict[tuple[str, str], dict[int, list[float]]] = {}
    repeats: dict[tuple[str, str], dict[tuple[int, int], float]] = {}
    for launch, measurement in zip(launches(variant.runs), variant.measurements, strict=True):
        for point in measurement.points:
            for name in metrics:
                figure, key = point.metrics[name], (name, point.point.label)
                if figure.value is None or not figure.value > 0:
                    continue
                of_launch.setdefault(key, {}).setdefault(launch, []).append(figure.value)
                own = repeats.setdefault(key, {})
                own |= {(launch, r): v for r, v in figure.by_repeat.items() if v > 0}
    return {
        key: Observed(
            launches={launch: float(np.mean(values)) for launch, values in by_launch.items()},
            repeats=repeats[key],
        )
        for key, by_launch in of_launch.items()
    }


def changes(
    baseline: Values, variant: Values, metrics: Sequence[str] = COMPARED
) -> tuple[SpeedChange, ...]:
    """Per metric: the change over all loads, then at each of them."""
    found = []
    for name in metrics:
        loads = [load for metric, load in baseline if metric == name and (name, load) in variant]
        if not loads:
            continue
        sides = [[side[name, load] for load in loads] for side in (baseline, variant)]
        pairs = list(zip(*sides, strict=True))
        found.append(_change(name, EVERYWHERE, pairs))
        found += [_change(name, load, [pair]) for load, pair in zip(loads, pairs, strict=True)]
    return tuple(found)


def _change(name: str, load: str, pairs: Sequence[tuple[Observed, Observed]]) -> SpeedChange:
    """The change over those load points, each given as (baseline, variant)."""
    definition = next(d for d in METRICS if d.name == name)
    logs: dict[int, float] = _mean_logs([(a.launches, b.launches) for a, b in pairs])
    enough = len(logs) >= ENOUGH_LAUNCHES
    values = list(logs.values())
    if not enough:
        values = list(_mean_logs([(a.repeats, b.repeats) for a, b in pairs]).values())
    p = paired_t_p(values) if enough else None
    same = equivalence_p(values) if enough else None
    one = pairs[0] if len(pairs) == 1 and load != EVERYWHERE else None
    result = SpeedChange(
        metric=name,
        unit=definition.unit,
        better=definition.better,
        load=load,
        baseline=None if one is None else float(np.mean(list(one[0].launches.values()))),
        variant=None if one is None else float(np.mean(list(one[1].launches.values()))),
        ratio=ratio_interval(values),
        p=p,
        p_holm=p,
        p_equivalent=same,
        p_equivalent_holm=same,
        pairs=len(values),
        basis="launches" if enough else "repeats",
        launches=len(logs),
        verdict="not_measured",
    )
    return judged(result)


def _mean_logs(
    pairs: Sequence[tuple[Mapping[Key, float], Mapping[Key, float]]],
) -> dict[Key, float]:
    """Per launch or repeat that every load point has on both sides: the mean log ratio."""
    keys = set(pairs[0][0]).intersection(*(side for pair in pairs for side in pair))
    return {
        key: float(np.mean([math.log(other[key] / base[key]) for base, other in pairs]))
        for key in sorted(keys)
    }


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
    mean, spread = float(np.mean(logs)), float(np.std(logs, ddof=1))
    if spread <= _RESOLUTION:
        return 1.0 if abs(mean) <= _RESOLUTION else 0.5 ** (n - 1)
    return 2 * t_cdf(n - 1, -abs(mean) / (spread / math.sqrt(n)))


def equivalence_p(logs: Sequence[float], margin: float = MARGIN) -> float | None:
    """p of two one-sided t tests that the ratio lies outside 1 ± margin: the larger of the two;
    None below two pairs."""
    n = len(logs)
    if n < 2:
        return None
    mean, spread = float(np.mean(logs)), float(np.std(logs, ddof=1))
    clear = min(mean - math.log1p(-margin), math.log1p(margin) - mean)
    if spread <= _RESOLUTION:
        return 0.0 if clear > 0 else 1.0
    return t_cdf(n - 1, -clear / (spread / math.sqrt(n)))


def judged(change: SpeedChange) -> SpeedChange:
    """The change with its verdict from the corrected p values; `in_this_run` where there is none
    for want of launches."""
    if change.p_holm is None or change.p_equivalent_holm is None or change.ratio is None:
        return replace(change, verdict="in_this_run" if change.launches else "not_measured")
    if change.p_equivalent_holm < ALPHA:
        return replace(change, verdict="equivalent")
    if change.p_holm >= ALPHA:
        return replace(change, verdict="no_difference_shown")
    gained = (change.ratio.value > 1) == (change.better == "higher")
    return replace(change, verdict="faster" if gained else "slower")


def corrected(rows: Sequence[Sequence[SpeedChange]]) -> list[tuple[SpeedChange, ...]]:
    """The changes of several variants, judged by p values corrected together (Holm): those over all
    loads in one family, those of single loads in another, the tests of equivalence like those of a
    difference."""
    result = [list(row) for row in rows]
    for overall in (True, False):
        places = [
            (i, j)
            for i, row in enumerate(rows)
            for j, c in enumerate(row)
            if (c.load == EVERYWHERE) is overall and c.p is not None
        ]
        different = holm([rows[i][j].p or 0.0 for i, j in places])
        same = holm([rows[i][j].p_equivalent or 0.0 for i, j in places])
        for (i, j), p, q in zip(places, different, same, strict=True):
            result[i][j] = judged(replace(rows[i][j], p_holm=p, p_equivalent_holm=q))
    return [tuple(row) for row in result]
