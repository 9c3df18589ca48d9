"""What Runs give to a cost, and how much server time a token takes: the input/output split.

A server saturated at x_in and x_out M tokens/s satisfies 1 = a*x_in + b*x_out, where a and b are
server-seconds per M input and output tokens. Several mixes give a and b; one mix gives a blend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bench.values import units as u
from bench.values.confidence import t_quantile
from bench.values.errors import InputError
from bench.values.spec import Licence

_NO_PART = 1e-9
"""A cost of one part below this share of the other's is rounding."""

DISTINCT_MIX = 0.02
"""Input shares closer than this are one mix: their split would be noise."""


@dataclass(frozen=True, kw_only=True)
class ThroughputPoint:
    """One load point of one deployment. `relative_ci` is the half-width of its 95 % interval as a
    share of the throughput, None when not repeated; `slo_met` is None when no SLO was checked.

    `load_w` is the deployment's mean power at this load with its own `power_relative_ci`;
    `cache_hit_rate` the share of prompt tokens that came from the prefix cache.
    """

    input_tokens_per_s: float
    output_tokens_per_s: float
    relative_ci: float | None = None
    relative_ends: tuple[float, float] | None = None
    """Both ends of that interval as shares of the throughput, where its halves differ."""
    slo_met: bool | None = None
    valid: bool = True
    label: str = ""
    load_w: float | None = None
    power_relative_ci: float | None = None
    cache_hit_rate: float | None = None

    @property
    def tokens_per_s(self) -> float:
        """Input and output together."""
        return self.input_tokens_per_s + self.output_tokens_per_s


@dataclass(frozen=True, kw_only=True)
class MeasuredQuality:
    """Measured pass rate with its 95 % interval and mean tokens per task."""

    pass_rate: float
    low: float | None = None
    high: float | None = None
    input_tokens_per_task: float
    output_tokens_per_task: float


@dataclass(frozen=True, kw_only=True)
class TcoRun:
    """What one stored Run gives to a cost. `gpus` is the deployment's (0: the whole host).

    `words` are of invalid, dummy, replay, synthetic. `idle_w` and the points' power are of the
    whole deployment within `power_scope`. `searched` says that a search found the load that the
    SLO allows, so that no higher one is left untried.
    """

    path: str
    model: str
    quant: str
    gpu: str
    gpus: int
    points: tuple[ThroughputPoint, ...]
    engine: str = ""
    host: str = ""
    as_of: str = ""
    words: tuple[Literal["invalid", "dummy", "replay", "synthetic"], ...] = ()
    idle_w: float | None = None
    power_scope: Literal["gpu board", "node"] = "gpu board"
    searched: bool = False
    quality: MeasuredQuality | None = None
    licence: Licence | None = None

    @property
    def deployment(self) -> tuple[str, str, str, int, str, str]:
        """What must agree before Runs may be pooled: the engine with its version and, where the
        processor does the work, the host too."""
        return (self.model, self.quant, self.gpu, self.gpus, self.engine, self.host)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Server-seconds per M tokens. `kind` is `split` when measured mixes told input from output,
    else `blend` (a = b, true at the measured mix only), and `why` says so.

    `residual` is the root mean square of 1 - a*x_in - b*x_out; the intervals (95 %) come from
    Student's t with three or more mixes, else from the throughput's own interval; None without.
    `spread` is the symmetric matrix (aa, ab, bb) whose quadratic form in the mix is the squared
    half-width of those residuals' interval; None where a and b come from fewer mixes.
    """

    a: u.Rate[u.ServerSecond, u.Mtok]
    b: u.Rate[u.ServerSecond, u.Mtok]
    kind: Literal["split", "blend"]
    why: str
    mixes: int
    measured_input_share: float
    relative_ci: float | None
    relative_ends: tuple[float, float] | None = None
    residual: float | None = None
    a_ci: tuple[float, float] | None = None
    b_ci: tuple[float, float] | None = None
    spread: tuple[float, float, float] | None = None

    def interval(self, w_in: float) -> float | None:
        """Half-width of the 95 % interval of the throughput at this mix, as a share of it: the
        wider of what the repeats and what the fit's residuals say; None when neither says any."""
        found = [] if self.relative_ci is None else [self.relative_ci]
        if self.spread is not None:
            aa, ab, bb = self.spread
            w_out = 1 - w_in
            half = math.sqrt(max(0.0, w_in**2 * aa + 2 * w_in * w_out * ab + w_out**2 * bb))
            found.append(half / (w_in * float(self.a) + w_out * float(self.b)))
        return max(found, default=None)


def saturated_point(run: TcoRun) -> tuple[ThroughputPoint, tuple[str, ...]]:
    """The fastest load point of a run that kept its SLO, and what to know about it.

    InputError when no valid point has throughput or none met the SLO: a cost from peak
    throughput that users would not accept is not offered.
    """
    fit = [p for p in run.points if p.valid] or list(run.points)
    fit = [p for p in fit if p.tokens_per_s > 0]
    if not fit:
        raise InputError(
            f"{run.path}: no load point served any token, or its rates are withheld; its cost is "
            "not defined."
        )
    within = [p for p in fit if p.slo_met]
    caveats = []
    left_out = [p.label for p in run.points if not p.valid]
    if left_out and len(left_out) < len(run.points):
        caveats.append(
            f"{run.path}: {', '.join(left_out)} failed the certificate and counts for nothing here"
        )
    if not within:
        unchecked = [p for p in fit if p.slo_met is None]
        if not unchecked:
            raise InputError(
                f"{run.path}: no load point met its SLO; relax workload.slo or "
                "measure a lighter load."
            )
        within = unchecked
        caveats.append(f"{run.path}: no SLO was checked: this is peak throughput, not goodput")
    best = max(within, key=lambda p: p.tokens_per_s)
    fastest = max(fit, key=lambda p: p.tokens_per_s)
    if best is fastest and not run.searched:
        what = "tried and kept its SLO" if best.slo_met else "that counts"
        caveats.append(
            f"{run.path}: {best.label or 'this load'} is the fastest {what}: "
            "heavier load may cost less per token"
        )
    return best, tuple(caveats)


def input_share(point: ThroughputPoint) -> float:
    """Input tokens as a share of all tokens."""
    return point.input_tokens_per_s / point.tokens_per_s


def fit_split(points: Sequence[ThroughputPoint]) -> Split:
    """Fit 1 = a*x_in + b*x_out by non-negative least squares over saturated points of ONE server.

    InputError for no point, or throughput that is negative, not finite or zero in both parts.
    """
    if not points:
        raise InputError("tco.throughput: no throughput is given, so nothing has a cost.")
    for p in points:
        pair = (p.input_tokens_per_s, p.output_tokens_per_s)
        if not all(math.isfinite(x) and x >= 0 for x in pair) or sum(pair) <= 0:
            raise InputError(
                f"tco.throughput.points: ({pair[0]:g}, {pair[1]:g}) tokens/s is not "
                "a throughput: give values of at least 0, not both 0."
            )
    shares = np.array([input_share(p) for p in points])
    cis = [p.relative_ci for p in points if p.relative_ci is not None]
    ci = math.sqrt(sum(c * c for c in cis) / len(cis)) if cis else None
    x = np.array([[p.input_tokens_per_s, p.output_tokens_per_s] for p in points]) / 1e6
    if len(points) == 1:
        alone = _blend(x, float(shares[0]), ci)
        return replace(alone, relative_ends=points[0].relative_ends)
    if float(shares.max() - shares.min()) < DISTINCT_MIX:
        return _blend(x, float(shares.mean()), ci)
    a, b = (float(seconds) for seconds in np.linalg.lstsq(x, np.ones(len(x)), rcond=None)[0])
    if min(a, b) <= _NO_PART * max(a, b):  # with neither below 0 the best fit has one at 0
        return _blend(x, float(shares.mean()), ci, "the mixes fit no positive cost for both parts")
    mixes = _distinct(shares)
    spread = _spread(x, np.array([a, b])) if mixes > 2 else None
    a_ci, b_ci = _intervals(x, np.array([a, b]), spread, ci)
    return Split(
        a=u.Rate(a, u.ServerSecond, u.Mtok),
        b=u.Rate(b, u.ServerSecond, u.Mtok),
        kind="split",
        why=f"regression over {mixes} measured mixes of input and output",
        mixes=mixes,
        measured_input_share=float(shares.mean()),
        relative_ci=ci,
        residual=float(np.linalg.norm(1 - x @ (a, b))) / math.sqrt(len(x)),
        a_ci=a_ci,
        b_ci=b_ci,
        spread=spread,
    )


def _distinct(shares: u.FloatArray) -> int:
    return 1 + int((np.diff(np.sort(shares)) >= DISTINCT_MIX).sum())


def _blend(x: u.FloatArray, share: float, ci: float | None, why: str | None = None) -> Split:
    """One price for both parts; points that disagree on it widen its interval."""
    each = 1 / x.sum(axis=1)
    mean = float(each.mean())
    apart = float(each.max() - each.min()) / 2 / mean
    text = why or "one measured mix cannot tell the cost of input from that of output"
    seconds = u.Rate(mean, u.ServerSecond, u.Mtok)
    return Split(
        a=seconds,
        b=seconds,
        kind="blend",
        why=text,
        mixes=1,
        measured_input_share=share,
        relative_ci=ci if apart <= (ci or 0.0) else apart,
    )


def _spread(x: u.FloatArray, theta: u.FloatArray) -> tuple[float, float, float]:
    """Squared 95 % half-widths from the fit's residuals, as the matrix (aa, ab, bb)."""
    free = len(x) - 2
    residual = 1 - x @ theta
    reach = t_quantile(free) ** 2 * float(residual @ residual) / free
    matrix = np.linalg.inv(x.T @ x) * reach
    return float(matrix[0, 0]), float(matrix[0, 1]), float(matrix[1, 1])


def _intervals(
    x: u.FloatArray,
    theta: u.FloatArray,
    spread: tuple[float, float, float] | None,
    ci: float | None,
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """95 % intervals of a and b: from the residuals where there are any, else by propagating the
    throughput's own interval through the 2x2 solution (first order)."""
    if spread is not None:
        reach = np.sqrt(np.array([spread[0], spread[2]]))
    elif ci is not None:
        # d theta = -gram x' (x*theta summed) * relative error of each point, independent
        pull = np.linalg.inv(x.T @ x) @ x.T
        reach = ci * np.sqrt((pull**2).sum(axis=1))
    else:
        return None, None
    low, high = np.maximum(theta - reach, 0.0), theta + reach
    return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))
