"""Whether two snapshots of a leaderboard are on one scale: what the models in both say.

A rating that is fitted anew moves single models by their votes and nobody by the same amount. Where
most models moved alike, the scale was moved (re-based), and values before and after are not one
series. Another source is another scale, whatever the shift.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.values.confidence import normal_quantile
from bench.values.count_words import count

LEAST_COMMON = 8
"""Models in both snapshots below which nothing is said."""
LEAST_SHIFT = 2.0
"""Points of a common shift below which it is the noise of a refit."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """From one snapshot to the next: the median change of the models in both, its standard error,
    their number, and whether the scale is the same."""

    common: int
    median: float | None
    error: float | None
    same_scale: bool
    why: str


def plain(model: str) -> str:
    """A model's name as both kinds of lists would write it: case, spaces and marks left out."""
    return "".join(c for c in model.casefold() if c.isalnum())


def shift(before: Mapping[str, float], after: Mapping[str, float], *, same_source: bool) -> Shift:
    """The common shift of the ratings of models in both snapshots."""
    old = {plain(m): r for m, r in before.items()}
    new = {plain(m): r for m, r in after.items()}
    moved = np.array([new[m] - old[m] for m in old if m in new])
    if len(moved) < LEAST_COMMON:
        text = f"only {count(len(moved), 'model')} in both: "
        text += "whether the scale is the same cannot be told"
        return Shift(common=len(moved), median=None, error=None, same_scale=False, why=text)
    median = float(np.median(moved))
    spread = 1.4826 * float(np.median(np.abs(moved - median)))
    error = 1.2533 * spread / math.sqrt(len(moved))
    rebased = abs(median) > max(LEAST_SHIFT, 3 * error)
    band = normal_quantile() * error
    said = f"{len(moved)} models in both moved by {median:+.1f} ± {band:.1f} points"
    why = f"{said}: the scale was moved" if rebased else f"{said}: one scale"
    if not same_source and not rebased:
        why = f"{said}, but the sources differ: not one scale"
    return Shift(
        common=len(moved),
        median=median,
        error=error,
        same_scale=same_source and not rebased,
        why=why,
    )


def scale_numbers(shifts: Sequence[Shift]) -> tuple[int, ...]:
    """A number of its scale for each snapshot, from the shifts between them."""
    numbers = [0]
    for one in shifts:
        numbers.append(numbers[-1] + (0 if one.same_scale else 1))
    return tuple(numbers)


def joined(shifts: Sequence[Shift]) -> tuple[float, ...] | None:
    """What to add to each snapshot's values to bring them onto the newest scale, by the models in
    both; None where a shift is not known. Only for those who ask for it: its error is not in the
    values."""
    added = [0.0]
    for one in reversed(shifts):
        if one.median is None:
            return None
        added.append(added[-1] + (0.0 if one.same_scale else one.median))
    return tuple(reversed(added))
