"""The time model fitted: log seconds per token, robustly, with coefficients that share strength.

Coefficient of term k for an engine and a GPU: floor + exp(global + engine + GPU), the floor 1
where physics sets one. Every part has a normal prior on its logarithm (`PRIOR`, and `SPREADS`), so
that what the evidence says little about stays near the mean of its engine or of all (partial
pooling). Huber's loss keeps single odd rows from steering. What a model, quantisation and engine
deviate by is fitted afterwards on the residuals, so that new models are predicted without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.predict.evidence import Row
from bench.predict.terms import PHYSICAL, TERMS

Array = npt.NDArray[np.float64]
K = len(TERMS)
FLOOR = np.array([1.0] * PHYSICAL + [0.0] * (K - PHYSICAL))
#        prefill weights experts cache decode all-reduce steps expert-steps tokens
PRIOR = np.log([0.5, 0.2, 0.5, 0.4, 0.6, 1.5, 4.0, 4.0, 2.0])
"""Logarithms of what a coefficient has above its floor: GEMMs at two thirds of the peak, memory at
four fifths of its bandwidth, 40 µs a layer and step, 20 µs a token."""
SPREADS = {
    "all": np.array([0.35, 0.3, 0.35, 0.35, 0.35, 0.35, 0.5, 0.5, 0.5]),
    "engine": np.array([0.4, 0.3, 0.4, 0.4, 0.4, 0.3, 0.4, 0.4, 0.5]),
    "gpu": np.array([0.3, 0.2, 0.2, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3]),
}
CPU_SPREAD = 2.5
"""A processor's terms are in made-up units: its own runs decide."""
MODE_SPREAD = 0.3
PAIR_SPREAD = 0.15
OWN_SPREAD = 0.2
"""Of one's own machine around the published coefficients, the same for all terms."""
HUBER = 1.5
PLAIN_MODE = "throughput"


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Names of what has parameters of its own."""

    engines: tuple[str, ...]
    gpus: tuple[str, ...]
    modes: tuple[str, ...]
    own: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        count = 1 + len(self.engines) + len(self.gpus)
        return K * count + len(self.modes) + len(self.own)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Parameters, their covariance, and the deviations of pairs (log) with their variances."""

    levels: Levels
    values: Array
    covariance: Array
    pairs: dict[str, tuple[float, float]]


def own_key(row: Row) -> str:
    return f"{row.engine}|{row.gpu}" if row.own else ""


def levels_of(rows: Sequence[Row]) -> Levels:
    return Levels(
        engines=tuple(sorted({r.engine for r in rows})),
        gpus=tuple(sorted({r.gpu for r in rows})),
        modes=tuple(sorted({r.mode for r in rows} - {PLAIN_MODE})),
        own=tuple(sorted({own_key(r) for r in rows} - {""})),
    )


def precisions(levels: Levels) -> Array:
    """1 ÷ variance of every parameter's prior."""
    gpu = [
        np.full(K, CPU_SPREAD) if name.startswith("cpu") else SPREADS["gpu"] for name in levels.gpus
    ]
    parts = [
        SPREADS["all"],
        *([SPREADS["engine"]] * len(levels.engines)),
        *gpu,
        np.full(len(levels.modes), MODE_SPREAD),
        np.full(len(levels.own), OWN_SPREAD),
    ]
    return np.asarray(1 / np.concatenate(parts) ** 2)


class Design:
    """Rows as arrays: terms, and where each row's parameters stand (-1: not known)."""

    def __init__(self, rows: Sequence[Row], levels: Levels) -> None:
        self.rows, self.levels = rows, levels
        self.terms = np.array([r.terms for r in rows], dtype=float).reshape(len(rows), K)
        self.log_s = np.log([r.seconds for r in rows])
        self.spread = np.array([r.spread for r in rows])
        self.engine = _places([r.engine for r in rows], levels.engines)
        self.gpu = _places([r.gpu for r in rows], levels.gpus)
        self.mode = _places([r.mode for r in rows], levels.modes)
        self.own = _places([own_key(r) for r in rows], levels.own)
        self.cpu = np.array([r.gpu.startswith("cpu") for r in rows])

    def take(self, which: npt.NDArray[np.intp]) -> Design:
        """Some of the rows."""
        one = object.__new__(Design)
        one.rows, one.levels = [self.rows[i] for i in which], self.levels
        for name in ("terms", "log_s", "spread", "engine", "gpu", "mode", "own", "cpu"):
            setattr(one, name, getattr(self, name)[which])
        return one


def _places(names: Sequence[str], known: Sequence[str]) -> npt.NDArray[np.intp]:
    at = {name: i for i, name in enumerate(known)}
    return np.array([at.get(n, -1) for n in names], dtype=np.intp)


def _blocks(d: Design) -> tuple[tuple[npt.NDArray[np.intp], int, int], ...]:
    """(place per row, offset, width) of each group of parameters beside the global ones."""
    e, g = len(d.levels.engines), len(d.levels.gpus)
    modes = K * (1 + e + g)
    return (
        (d.engine, K, K),
        (d.gpu, K * (1 + e), K),
        (d.mode, modes, 1),
        (d.own, modes + len(d.levels.modes), 1),
    )


def coefficients(d: Design, values: Array) -> Array:
    """The coefficient of every row and term."""
    return np.asarray(FLOOR + np.exp(_logs(d, values)))


def _logs(d: Design, values: Array) -> Array:
    logs = np.tile(values[:K], (len(d.rows), 1))
    for place, offset, width in _blocks(d)[:2]:
        known = place >= 0
        logs[known] += values[offset:][place[known, None] * width + np.arange(K)]
    return logs


def predict(d: Design, values: Array) -> tuple[Array, Array]:
    """Log seconds per token without the pairs' deviations, and their gradient."""
    above = d.terms * np.exp(_logs(d, values))
    total = (above + d.terms * FLOOR).sum(axis=1)
    log_s = np.log(total)
    shares = above / total[:, None]
    gradient = np.zeros((len(d.rows), d.levels.size))
    gradient[:, :K] = shares
    for place, offset, width in _blocks(d):
        rows = np.nonzero(place >= 0)[0]
        at = offset + place[rows] * width
        if width == K:
            for k in range(K):
                gradient[rows, at + k] = shares[rows, k]
        else:
            gradient[rows, at] = 1.0
            log_s[rows] += values[at]
    return log_s, gradient


def missing_variance(d: Design, values: Array) -> Array:
    """What an engine or GPU without evidence adds to the variance of log seconds: its prior's."""
    _, gradient = predict(d, values)
    shares = gradient[:, :K]
    found = np.zeros(len(d.rows))
    for place, name in ((d.engine, "engine"), (d.gpu, "gpu")):
        spread = SPREADS[name]
        one = (shares * spread) ** 2
        if name == "gpu":
            one = np.where(d.cpu[:, None], (shares * CPU_SPREAD) ** 2, one)
        found += np.where(place < 0, one.sum(axis=1), 0.0)
    return found


def fit(d: Design, start: Array | None = None, steps: int = 40) -> Fitted:
    """The parameters by damped Gauss-Newton, then the pairs' deviations."""
    prior = np.zeros(d.levels.size)
    prior[:K] = PRIOR
    weight = precisions(d.levels)
    values = prior.copy() if start is None else start.copy()
    curvature = np.diag(weight)
    for _ in range(steps):
        log_s, gradient = predict(d, values)
        residual = d.log_s - log_s
        w = _weights(residual, d.spread, d.own >= 0)
        curvature = (gradient * w[:, None]).T @ gradient + np.diag(weight)
        step = np.linalg.solve(curvature, gradient.T @ (w * residual) + weight * (prior - values))
        largest = float(np.abs(step).max())
        values = values + step * min(1.0, 1.0 / largest) if largest else values
        if largest < 1e-4:
            break
    residual = d.log_s - predict(d, values)[0]
    return Fitted(
        levels=d.levels,
        values=values,
        covariance=np.asarray(np.linalg.inv(curvature), dtype=np.float64),
        pairs=deviations(d, residual),
    )


def _weights(residual: Array, spread: Array, own: npt.NDArray[np.bool_]) -> Array:
    """Huber's weights over the variance; what was measured on one's own machine is not odd, however
    far it lies from others."""
    size = np.maximum(np.abs(residual) / spread, 1e-9)
    robust = np.where(own, 1.0, np.minimum(1.0, HUBER / size))
    return np.asarray(robust / spread**2)


def deviations(d: Design, residual: Array) -> dict[str, tuple[float, float]]:
    """Mean residual of every pair, shrunk to 0, and the variance that is left."""
    by_pair: dict[str, list[int]] = {}
    for i, row in enumerate(d.rows):
        by_pair.setdefault(row.pair, []).append(i)
    own = d.own >= 0
    return {pair: _deviation(residual[at], d.spread[at], own[at]) for pair, at in by_pair.items()}


def _deviation(residual: Array, spread: Array, own: npt.NDArray[np.bool_]) -> tuple[float, float]:
    mean = variance = 0.0
    for _ in range(6):
        w = _weights(residual - mean, spread, own)
        variance = 1 / (w.sum() + 1 / PAIR_SPREAD**2)
        mean = float(variance * (w * residual).sum())
    return mean, float(variance)


def misfit(found: Fitted, mine: Sequence[Row]) -> float:
    """How surprising one's own rows are, 1 at least: the root mean square of their residuals and of
    what their device and model deviate by, each in its standard deviation. Where it is large, what
    others measured does not hold here, and what one's own load points say of other loads rests on
    it."""
    if not mine:
        return 1.0
    log_s, _ = log_seconds(found, mine)
    off = [(s - math.log(r.seconds)) / r.spread for s, r in zip(log_s, mine, strict=True)]
    first = len(found.values) - len(found.levels.own)
    for key in {own_key(r) for r in mine}:
        off.append(float(found.values[first + found.levels.own.index(key)]) / OWN_SPREAD)
    off += [found.pairs[pair][0] / PAIR_SPREAD for pair in {r.pair for r in mine}]
    return max(1.0, math.sqrt(sum(x**2 for x in off) / len(mine)))


def log_seconds(found: Fitted, rows: Sequence[Row]) -> tuple[Array, Array]:
    """Predicted log seconds per token of rows, and their standard deviation by the model alone."""
    d = Design(rows, found.levels)
    log_s, gradient = predict(d, found.values)
    variance = np.einsum("np,pq,nq->n", gradient, found.covariance, gradient)
    variance = variance + missing_variance(d, found.values)
    for i, row in enumerate(rows):
        shared = found.pairs.get(row.pair.removesuffix("|own"), (0.0, PAIR_SPREAD**2))
        mean, left = found.pairs.get(row.pair, shared)
        log_s[i] += mean
        variance[i] += left
    return log_s, np.sqrt(variance)
