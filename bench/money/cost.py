"""From server time to money per token: marginal cost, a bill spread over demand, answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.money.throughput import Split
from bench.values import units as u
from bench.values.errors import InputError


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
    monthly: u.Rate[u.Usd, u.Month],
    demand: u.Rate[u.Mtok, u.Month],
    split: Split,
    w_in: u.FloatArray,
) -> TokenCost:
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
