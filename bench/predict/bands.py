"""80 % bands: how far predictions were off where rows like the one asked for had been left out.

A prediction's spread is the model's own (`regression.log_seconds`) and the scatter of rows around
it; what that leaves out is calibrated: the deciles of (measured - predicted) ÷ spread over rows
left out in the way in which the question is new (nothing new, another model, another GPU, another
engine), and a factor for engines newer than all evidence. Conformal in the sense that no shape of
the errors is assumed. Logarithms throughout.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bench.predict.evidence import PUBLISHED, Row
from bench.predict.regression import Array
from bench.values.confidence import normal_quantile
from bench.values.prediction import Band

Novelty = Literal["same", "model", "gpu", "engine"]
NOVELTIES: tuple[Novelty, ...] = ("same", "model", "gpu", "engine")
LEVEL = 0.8
NORMAL = normal_quantile(LEVEL)
"""What the deciles after a refit are at least: the noise of one's own launches is known as such."""
CALIBRATION = PUBLISHED.with_name("bands.json")


@dataclass(frozen=True, kw_only=True)
class Deciles:
    """The first and the last decile of scores, and how many scores they rest on."""

    low: float
    high: float
    n: int

    def widened(self, factor: float) -> Deciles:
        return Deciles(low=self.low * factor, high=self.high * factor, n=self.n)

    def at_least(self, size: float) -> Deciles:
        """No nearer to 0 than `size` at either end."""
        return Deciles(low=min(self.low, -size), high=max(self.high, size), n=self.n)


UNKNOWN = Deciles(low=-3.0, high=3.0, n=0)


def deciles(scores: Sequence[float] | Array, *, symmetric: bool = False) -> Deciles:
    """The outer deciles with the correction for a finite count: of n, the ⌊(n+1)/10⌋th from each
    end; never inside of 0, so that the prediction lies in its band. `symmetric` takes the size
    alone, for the few groups whose errors may all have one sign."""
    found = np.sort(np.asarray(scores, dtype=float))
    n = len(found)
    if n == 0:
        return UNKNOWN
    if symmetric:
        size = float(np.quantile(np.abs(found), min(1.0, LEVEL * (n + 1) / n)))
        return Deciles(low=-size, high=size, n=n)
    k = max(1, math.floor((n + 1) * (1 - LEVEL) / 2))
    return Deciles(low=min(float(found[k - 1]), 0.0), high=max(float(found[n - k]), 0.0), n=n)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The deciles of scores by novelty, and what widens them for a later engine (`later`). After a
    refit on the asked model the deciles are `own`; on other models alone, `others` widens instead.
    Those of TPOT and power are of log(measured ÷ predicted) where the rate is right; `power_shares`
    of a board's limit are drawn where matrix units, memory and neither set the pace."""

    scores: dict[Novelty, Deciles]
    later: float
    own: Deciles
    others: float
    tpot: Deciles
    watts: Deciles
    power_shares: tuple[float, ...]


@functools.cache
def calibration(path: Path = CALIBRATION) -> Calibration:
    """What the script stored beside the evidence."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return Calibration(
        scores={name: Deciles(**data["scores"][name]) for name in NOVELTIES},
        later=data["later"],
        own=Deciles(**data["own"]),
        others=data["others"],
        tpot=Deciles(**data["tpot"]),
        watts=Deciles(**data["watts"]),
        power_shares=tuple(data["power_shares"]),
    )


def novelty(row: Row, rows: Sequence[Row]) -> Novelty:
    """How new a question is to the evidence, the farthest step first; a model that was measured on
    other GPUs alone is as new as one that was not."""
    if not any(r.engine == row.engine for r in rows):
        return "engine"
    if not any(r.gpu == row.gpu and r.engine == row.engine for r in rows):
        return "gpu"
    pair = row.pair.removesuffix("|own")
    known = any(r.gpu == row.gpu and r.pair.removesuffix("|own") == pair for r in rows)
    return "same" if known else "model"


def ends(new: Novelty, mine: Sequence[Row], row: Row) -> Deciles:
    """The deciles that a question's band takes, by what is known of it: `mine` are own rows of its
    engine and device."""
    c = calibration()
    if any(r.model == row.model for r in mine):
        return c.own
    return c.scores[new].widened(c.others if mine else c.later)


def spread(row: Row, model_spread: float) -> float:
    """The prediction's own log spread: of the model, and of rows around it."""
    return math.hypot(row.spread, model_spread)


def band(log_rate: float, scale: float, at: Deciles) -> Band:
    """The band of a rate from its predicted logarithm, its spread and the deciles of scores."""
    return Band(
        value=math.exp(log_rate),
        low=math.exp(log_rate + scale * at.low),
        high=math.exp(log_rate + scale * at.high),
    )
