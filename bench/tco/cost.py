"""From measured throughput to money per token: the input/output split, levels and answers.

A server saturated at x_in and x_out M tokens/s satisfies 1 = a*x_in + b*x_out, where a and b are
server-seconds per M input and output tokens. Several mixes give a and b; one mix gives a blend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize, stats

from bench import units as u
from bench.errors import InputError
from bench.spec import Licence

DISTINCT_MIX = 0.02
"""Input shares closer than this are one mix: their split would be noise."""


@dataclass(frozen=True, kw_only=True)
class ThroughputPoint:
    """One load point of one deployment. `relative_ci` is the half-width of its 95 % interval as a
    share of the throughput, None when not repeated; `slo_met` is None when no SLO was checked."""

    input_tokens_per_s: float
    output_tokens_per_s: float
    relative_ci: float | None = None
    slo_met: bool | None = None
    valid: bool = True
    label: str = ""


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

    `words` are of invalid, dummy, replay, synthetic. `load_w` and `idle_w` are of the whole
    deployment within `power_scope`; `power_relative_ci` is the share of their 95 % interval.
    """

    path: str
    model: str
    quant: str
    gpu: str
    gpus: int
    points: tuple[ThroughputPoint, ...]
    as_of: str = ""
    words: tuple[Literal["invalid", "dummy", "replay", "synthetic"], ...] = ()
    load_w: float | None = None
    idle_w: float | None = None
    power_scope: Literal["gpu board", "node"] = "gpu board"
    power_relative_ci: float | None = None
    cache_hit_rate: float | None = None
    quality: MeasuredQuality | None = None
    licence: Licence | None = None

    @property
    def deployment(self) -> tuple[str, str, str, int]:
        """What must agree before Runs may be pooled."""
        return (self.model, self.quant, self.gpu, self.gpus)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Server-seconds per M tokens. `kind` is `split` when measured mixes told input from output,
    else `blend` (a = b, true at the measured mix only), and `why` says so.

    `residual` is the root mean square of 1 - a*x_in - b*x_out; the intervals (95 %) come from
    Student's t with three or more mixes, else from the throughput's own interval; None without.
    """

    a: u.Rate[u.ServerSecond, u.Mtok]
    b: u.Rate[u.ServerSecond, u.Mtok]
    kind: Literal["split", "blend"]
    why: str
    mixes: int
    measured_input_share: float
    relative_ci: float | None
    residual: float | None = None
    a_ci: tuple[float, float] | None = None
    b_ci: tuple[float, float] | None = None


def saturated_point(run: TcoRun) -> tuple[ThroughputPoint, str | None]:
    """The fastest load point of a run that kept its SLO, and a caveat when none was checked.

    InputError when no valid point has throughput or none met the SLO: a cost from peak
    throughput that users would not accept is not offered.
    """
    fit = [p for p in run.points if p.valid] or list(run.points)
    fit = [p for p in fit if p.input_tokens_per_s + p.output_tokens_per_s > 0]
    if not fit:
        raise InputError(f"{run.path}: no load point served any token; its cost is not defined.")
    within = [p for p in fit if p.slo_met]
    caveat = None
    if not within:
        unchecked = [p for p in fit if p.slo_met is None]
        if not unchecked:
            raise InputError(f"{run.path}: no load point met its SLO; relax workload.slo or "
                             "measure a lighter load.")  # fmt: skip
        within = unchecked
        caveat = f"{run.path}: no SLO was checked, so this is peak throughput, not goodput"
    return max(within, key=lambda p: p.input_tokens_per_s + p.output_tokens_per_s), caveat


def input_share(point: ThroughputPoint) -> float:
    """Input tokens as a share of all tokens."""
    return point.input_tokens_per_s / (point.input_tokens_per_s + point.output_tokens_per_s)


def fit_split(points: Sequence[ThroughputPoint]) -> Split:
    """Fit 1 = a*x_in + b*x_out by non-negative least squares over saturated points of ONE server.

    InputError for no point, or throughput that is negative, not finite or zero in both parts.
    """
    if not points:
        raise InputError("tco.throughput: no throughput is given, so nothing has a cost.")
    for p in points:
        pair = (p.input_tokens_per_s, p.output_tokens_per_s)
        if not all(math.isfinite(x) and x >= 0 for x in pair) or sum(pair) <= 0:
            raise InputError(f"tco.throughput.points: ({pair[0]:g}, {pair[1]:g}) tokens/s is not "
                             "a throughput: give values of at least 0, not both 0.")  # fmt: skip
    shares = np.array([input_share(p) for p in points])
    cis = [p.relative_ci for p in points if p.relative_ci is not None]
    ci = math.sqrt(sum(c * c for c in cis) / len(cis)) if cis else None
    x = np.array([[p.input_tokens_per_s, p.output_tokens_per_s] for p in points]) / 1e6
    if float(shares.max() - shares.min()) < DISTINCT_MIX:
        return _blend(x, float(shares.mean()), ci)
    (a, b), norm = optimize.nnls(x, np.ones(len(x)))
    if a == 0 or b == 0:
        return _blend(x, float(shares.mean()), ci, "the mixes fit no positive cost for both parts")
    mixes = _distinct(shares)
    a_ci, b_ci = _intervals(x, (float(a), float(b)), mixes, ci)
    return Split(
        a=u.Rate(a, u.ServerSecond, u.Mtok), b=u.Rate(b, u.ServerSecond, u.Mtok), kind="split",
        why=f"regression over {mixes} measured mixes of input and output", mixes=mixes,
        measured_input_share=float(shares.mean()), relative_ci=ci,
        residual=float(norm) / math.sqrt(len(x)), a_ci=a_ci, b_ci=b_ci,
    )  # fmt: skip


def _distinct(shares: u.FloatArray) -> int:
    return 1 + int((np.diff(np.sort(shares)) >= DISTINCT_MIX).sum())


def _blend(x: u.FloatArray, share: float, ci: float | None, why: str | None = None) -> Split:
    seconds = u.Rate(float((1 / x.sum(axis=1)).mean()), u.ServerSecond, u.Mtok)
    text = why or "one measured mix cannot tell the cost of input from that of output"
    return Split(a=seconds, b=seconds, kind="blend", why=text, mixes=1,
                 measured_input_share=share, relative_ci=ci)  # fmt: skip


def _intervals(
    x: u.FloatArray, fitted: tuple[float, float], mixes: int, ci: float | None
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """95 % intervals of a and b: from the residuals where there are any, else by propagating the
    throughput's own interval through the 2x2 solution (first order)."""
    gram = np.linalg.inv(x.T @ x)
    free = len(x) - 2
    theta = np.array(fitted)
    if free > 0 and mixes > 2:
        residual = 1 - x @ theta
        variance = np.diag(gram) * float(residual @ residual) / free
        reach = float(stats.t.ppf(0.975, free)) * np.sqrt(variance)
    elif ci is not None:
        # d theta = -gram x' (x*theta summed) * relative error of each point, independent
        pull = gram @ x.T
        reach = ci * np.sqrt((pull**2).sum(axis=1))
    else:
        return None, None
    low, high = np.maximum(theta - reach, 0.0), theta + reach
    return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))


@dataclass(frozen=True, kw_only=True)
class TokenCost:
    """$/M tokens at one level; input and output are None when only a blend is known."""

    blended: u.Rate[u.Usd, u.Mtok]
    input: u.Rate[u.Usd, u.Mtok] | None
    output: u.Rate[u.Usd, u.Mtok] | None


def seconds_per_mtok(split: Split, w_in: u.FloatArray) -> u.Rate[u.ServerSecond, u.Mtok]:
    """Server-seconds per M tokens of the mix: w_in*a + w_out*b."""
    return split.a * w_in + split.b * (1 - w_in)


def marginal_cost(
    server: u.Rate[u.Usd, u.ServerMonth], split: Split, w_in: u.FloatArray
) -> TokenCost:
    """Level 1: server time at saturation and nothing else."""
    second = u.per_server_second(server)
    told_apart = split.kind == "split"
    return TokenCost(
        blended=second * seconds_per_mtok(split, w_in),
        input=second * split.a if told_apart else None,
        output=second * split.b if told_apart else None,
    )


def spread_cost(
    monthly: u.Rate[u.Usd, u.Month], demand: u.Rate[u.Mtok, u.Month], split: Split,
    w_in: u.FloatArray,
) -> TokenCost:  # fmt: skip
    """Levels 2 and 3: a monthly bill over the demand, shared by the server time each part takes.

    sigma = w_in*a/(w_in*a + w_out*b); c_in*V_in + c_out*V_out gives the bill back. A part that
    the mix does not contain has no price (None), as has a part of a blend.
    """
    blended = monthly.per(demand)
    if split.kind == "blend":
        return TokenCost(blended=blended, input=None, output=None)
    sigma = (split.a * w_in).ratio(seconds_per_mtok(split, w_in))
    w_out = 1 - w_in
    return TokenCost(
        blended=blended,
        input=blended * (sigma / w_in) if np.all(w_in > 0) else None,
        output=blended * ((1 - sigma) / w_out) if np.all(w_out > 0) else None,
    )


def usd_per_correct_answer(
    cost: TokenCost, tokens_in: float, tokens_out: float, pass_rate: float
) -> u.Qty[u.Usd]:
    """Dollars per correct answer: (tokens_in*c_in + tokens_out*c_out)/pass rate.

    A blend prices both parts alike. InputError for a pass rate of 0: no answer is correct.
    """
    if not 0 < pass_rate <= 1:
        raise InputError(f"tco.quality.pass_rate must be above 0 and at most 1, not {pass_rate:g}.")
    price_in, price_out = cost.input or cost.blended, cost.output or cost.blended
    answer = price_in * u.mtok(u.Qty(tokens_in, u.Token))
    answer = answer + price_out * u.mtok(u.Qty(tokens_out, u.Token))
    return answer * (1 / pass_rate)
