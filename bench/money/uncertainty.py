"""A seeded Latin hypercube over the inputs that have a range, and a tornado of each of them.

Draws are vectors, so that one evaluation of the model covers all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bench.money.spec import UncertaintySpec
from bench.values.confidence import normal_quantile
from bench.values.distributions import normal_inverse
from bench.values.figure import Figure
from bench.values.units import FloatArray


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One tornado bar: the result with this input at its 10th and 90th percentile, others at
    their central value."""

    key: str
    input_p10: float
    input_p90: float
    result_p10: float
    result_p90: float

    @property
    def swing(self) -> float:
        """Width of the bar."""
        return abs(self.result_p90 - self.result_p10)


def quantile(figure: Figure, p: FloatArray) -> FloatArray:
    """The value(s) of a figure at probability p; its value where it has no range."""
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return np.full_like(p, figure.value)
    span = figure.high - figure.low
    if figure.dist == "uniform":
        return np.asarray(figure.low + span * p)
    if figure.dist == "triangular":
        mode = (figure.value - figure.low) / span
        rising, falling = np.sqrt(mode * p), 1 - np.sqrt((1 - mode) * (1 - p))
        return np.asarray(figure.low + span * np.where(p < mode, rising, falling))
    # low, value and high of a lognormal are P5, P50 and P95: each half has a spread of its own, so
    # that a range off its centre is drawn as it was given
    z = _normal_scores(p) / normal_quantile(0.9)
    below, above = math.log(figure.value / figure.low), math.log(figure.high / figure.value)
    return np.asarray(figure.value * np.exp(z * np.where(z < 0, below, above)))


def _normal_scores(p: FloatArray) -> FloatArray:
    """Where in the standard normal distribution these probabilities lie."""
    return np.array([normal_inverse(each) for each in p.tolist()])


def uncertain(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """The figures that have a range."""
    return {k: f for k, f in figures.items() if f.low is not None and f.low != f.high}


def sample(
    figures: Mapping[str, Figure], spec: UncertaintySpec, pair: tuple[str, str]
) -> dict[str, FloatArray]:
    """Draws of every uncertain figure by key (Latin hypercube; McKay, Beckman, Conover 1979).

    The second key of `pair` is put in an order that has the wished rank correlation with the
    first (Iman and Conover 1982): every stratum stays hit exactly once.
    """
    ranged = uncertain(figures)
    if not ranged:
        return {}
    keys = list(ranged)
    unit = latin_hypercube(spec.draws, len(keys), spec.seed)
    first, second = pair
    if first in ranged and second in ranged:
        i, j = keys.index(first), keys.index(second)
        rho = 2 * math.sin(math.pi / 6 * spec.throughput_power_correlation)  # rank to normal score
        z_first, z_second = _normal_scores(unit[:, i]), _normal_scores(unit[:, j])
        wished = rho * z_first + math.sqrt(1 - rho * rho) * z_second
        unit[:, j] = np.sort(unit[:, j])[np.argsort(np.argsort(wished))]
    return {key: quantile(ranged[key], unit[:, n]) for n, key in enumerate(keys)}


def latin_hypercube(draws: int, dimensions: int, seed: int) -> FloatArray:
    """Points of the unit cube, each of `draws` strata of each dimension hit once.

    Those of scipy.stats.qmc, draw by draw; importing that takes most of a second.
    """
    (rng,) = np.random.default_rng(seed).spawn(1)
    within = rng.uniform(size=(draws, dimensions))
    strata = np.tile(np.arange(1, draws + 1), (dimensions, 1))
    for row in strata:
        rng.shuffle(row)
    return np.asarray((strata.T - within) / draws)


def tornado(
    figures: Mapping[str, Figure], result: Callable[[Mapping[str, FloatArray]], FloatArray]
) -> tuple[Bar, ...]:
    """Bars of every uncertain figure at P10 and P90, widest first; `result` takes values by key
    and leaves the figures not named at their central value."""
    bars = []
    for key, figure in uncertain(figures).items():
        ends = quantile(figure, np.array([0.1, 0.9]))
        low, high = np.broadcast_to(result({key: ends}), (2,))
        bars.append(
            Bar(
                key=key,
                input_p10=float(ends[0]),
                input_p90=float(ends[1]),
                result_p10=float(low),
                result_p90=float(high),
            )
        )
    bars = [bar for bar in bars if bar.swing > 0]
    return tuple(sorted(bars, key=lambda bar: bar.swing, reverse=True))


def percentiles(draws: FloatArray) -> dict[str, float]:
    """The 5th, 50th and 95th percentile."""
    low, middle, high = np.percentile(draws, [5, 50, 95])
    return {"p5": float(low), "p50": float(middle), "p95": float(high)}
