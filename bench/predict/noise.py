"""What differs between launches of one condition: estimated from one's own runs, or assumed.

Repeats share their engine's start, its memory layout and the minutes in which the machine was as
fast as it was; their interval says nothing of another start. A prediction is about another start.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, variance

from bench.predict.evidence import OWN_SPREAD, Row
from bench.values.confidence import normal_quantile, t_quantile

LEAST = 3
"""Launches of one condition from which their spread is estimated."""
ASSUMED = {"cpu": 0.12, "gpu": 0.04}
"""Log standard deviation between launches where fewer are given; docs/predict.md says from what."""
LEVEL = 0.8


@dataclass(frozen=True, kw_only=True)
class Launches:
    """Log standard deviation between launches, and the launches it rests on (0: assumed). `widened`
    for few of them as Student's t is, so that a band of normal width holds what it says."""

    log_sd: float
    launches: int = 0
    conditions: int = 0
    other_model: bool = False

    @property
    def words(self) -> str:
        """Which it was, in a line."""
        share = f"launches of one condition differ by ± {math.expm1(self.log_sd):.1%}"
        if not self.launches:
            return (
                f"{share}: assumed, no condition of your own has {LEAST} launches "
                "(docs/predict.md says from what)"
            )
        of = " of other models" if self.other_model else ""
        plural = "s" if self.conditions > 1 else ""
        return (
            f"{share}: estimated from {self.launches} launches of {self.conditions} "
            f"condition{plural} of your own{of}"
        )


def launch(row: Row) -> str:
    """The run that a row is of."""
    return row.id.rpartition("/")[0]


def condition(row: Row) -> Hashable:
    """What two launches have in common when they are launches of the same."""
    label = row.id.rpartition("/")[2]
    lengths = (round(row.output_tokens, -1), round(row.input_tokens or 0.0, -1))
    return (row.pair, row.version, row.gpu, row.gpus, row.replicas, label, lengths)


def between_launches(mine: Sequence[Row], row: Row) -> Launches:
    """How launches differ on this engine and device: by the asked model's own conditions with
    enough of them, else by other models', else assumed."""
    same = [r for r in mine if r.model == row.model]
    for rows, other in ((same, False), (mine, True)):
        found = _estimated(rows)
        if found is not None:
            return replace(found, other_model=other)
    return Launches(log_sd=ASSUMED["cpu" if row.gpu == "cpu" else "gpu"])


def _estimated(rows: Sequence[Row]) -> Launches | None:
    """The pooled spread over conditions of enough launches, less what repeats explain of it."""
    groups: dict[Hashable, list[Row]] = {}
    for r in rows:
        groups.setdefault(condition(r), []).append(r)
    many = [g for g in groups.values() if len({launch(r) for r in g}) >= LEAST]
    if not many:
        return None
    degrees = sum(len(g) - 1 for g in many)
    seen = sum(variance([math.log(r.tokens_per_s) for r in g]) * (len(g) - 1) for g in many)
    repeats = fmean((r.log_sd or 0.0) ** 2 for g in many for r in g)
    left = max(seen / degrees - repeats, 0.0)
    few = t_quantile(degrees, LEVEL) / normal_quantile(LEVEL)
    return Launches(
        log_sd=math.sqrt(left) * few, launches=sum(map(len, many)), conditions=len(many)
    )


def with_launches(mine: Sequence[Row], between: float) -> tuple[Row, ...]:
    """Own rows as the fit may count them: load points of one launch share its luck, and launches
    of one condition the model's error there, so neither averages out by being repeated."""
    of_launch = Counter(launch(r) for r in mine)
    of_condition = Counter(condition(r) for r in mine)
    usual = _known(mine)  # of a load point without repeats: one that is not known is not 0
    return tuple(
        replace(
            r,
            log_sd=math.sqrt(
                (usual if r.log_sd is None else r.log_sd) ** 2
                + between**2 * of_launch[launch(r)]
                + OWN_SPREAD**2 * (of_condition[condition(r)] - 1)
            ),
        )
        for r in mine
    )


def of_repeats(mine: Sequence[Row], row: Row) -> float:
    """How far the mean over a launch's repeats scatters (log): the root mean square of one's own,
    of the asked model where it has any."""
    same = [r for r in mine if r.model == row.model]
    return _known(same) or _known(mine)


def _known(rows: Sequence[Row]) -> float:
    """The root mean square of the scatters that are known; 0 where none is."""
    known = [r.log_sd for r in rows if r.log_sd is not None]
    return math.sqrt(fmean(sd**2 for sd in known)) if known else 0.0
