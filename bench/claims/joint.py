"""Numbers of one claim held against each other: power is energy times rate, users share a rate.

Each can be possible alone and the set still be impossible: 0.1 J a token at 100,000 tokens/s are
10 kW, which one GPU cannot draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.claims.limits import POWER_SLACK
from bench.claims.metrics import in_metric_unit
from bench.claims.spec import Conditions, Serving
from bench.claims.variants import gpu_names
from bench.claims.verdict import Check, CheckVerdict, number
from bench.config.catalogue import Catalogue

ENERGY_OF: Mapping[str, str] = {
    "energy_per_output_token_j": "output_tokens_per_s",
    "energy_per_total_token_j": "total_tokens_per_s",
    "energy_per_request_j": "requests_per_s",
}
USER_SLACK = 1.25
"""A mean or median over users is less than all of them together by their spread; above this share
it is another run."""
COST_SLACK = 1.05
"""The rounding of a rent, which the conditions give as one number."""
LENGTH_SLACK = 1.1
"""Answers that end early and requests that straddle the window."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """The range that counts as a stated number, in the metric's unit."""

    low: float
    high: float


def check_joint(says: Serving, catalogue: Catalogue) -> Check | None:
    """The worst of all pairs that can be held against each other; None where there is none."""
    numbers = bands(says)
    found = [
        *_power(numbers, says.conditions, catalogue),
        *_users(numbers, says.conditions),
        *_cost(numbers, says.conditions),
    ]
    if not found:
        return None
    order: tuple[CheckVerdict, ...] = ("impossible", "refuted", "not comparable", "possible")
    found.sort(key=lambda one: order.index(one[0]))
    return Check(
        kind="joint",
        verdict=found[0][0],
        evidence=tuple(text for _, text, _ in found),
        figures={k: v for _, _, figures in found for k, v in figures.items()},
    )


def bands(says: Serving) -> dict[str, Band]:
    """Every number that the claim states, by metric."""
    found = {}
    for one in ((says.metric, says.stated), *((a.metric, a.stated) for a in says.also)):
        metric, stated = one
        if metric is not None and stated is not None and stated.value is not None:
            low, high = (in_metric_unit(v, stated.unit, metric) for v in stated.band)
            found[metric] = Band(low=low, high=high)
    return found


Found = tuple[CheckVerdict, str, dict[str, float | None]]


def _power(numbers: Mapping[str, Band], c: Conditions, catalogue: Catalogue) -> Iterator[Found]:
    """Energy per token times tokens per second is power: below the GPUs' limit, and what is
    stated."""
    for energy, rate in ENERGY_OF.items():
        if energy not in numbers or rate not in numbers:
            continue
        watts = Band(
            low=numbers[energy].low * numbers[rate].low,
            high=numbers[energy].high * numbers[rate].high,
        )
        figures: dict[str, float | None] = {"power_w": watts.low}
        text = f"{number(numbers[energy].low)} J × {number(numbers[rate].low)}/s"
        text += f" = {number(watts.low)} W"
        stated = numbers.get("power_mean_w")
        if stated is not None and (watts.low > stated.high or watts.high < stated.low):
            yield "refuted", f"{text}, beside a stated {number(stated.low)} W", figures
        limits = [catalogue.gpus[n].power_w for n in gpu_names(c, catalogue.gpus)]
        known = [w for w in limits if w is not None]
        if not known or not c.gpus or len(known) < len(limits):
            continue
        most = POWER_SLACK * max(known) * c.gpus
        figures["power_limit_w"] = most
        if watts.low <= most:
            yield "possible", f"{text}, of {number(most)} W that the GPUs may draw", figures
        elif c.power_scope == "gpu":
            yield "impossible", f"{text}, but the GPUs may draw {number(most)} W", figures
        else:
            text += f", more than the {number(most)} W that the GPUs may draw"
            yield "not comparable", f"{text}; what else the energy covers is not said", figures


def _users(numbers: Mapping[str, Band], c: Conditions) -> Iterator[Found]:
    """All users together get no more than their number times what one gets; and a rate of
    requests of fixed length is a rate of tokens."""
    rate, user = numbers.get("output_tokens_per_s"), numbers.get("output_tokens_per_s_per_user")
    if user is None:
        times = [numbers[n] for n in ("tpot_p50_ms", "tpot_mean_ms") if n in numbers]
        user = Band(low=1e3 / times[0].high, high=1e3 / times[0].low) if times else None
    if rate is not None and user is not None and c.concurrency:
        together = user.high * c.concurrency
        text = f"{c.concurrency} users at {number(user.high)} tokens/s get {number(together)}"
        figures: dict[str, float | None] = {"users_together": together}
        if rate.low > USER_SLACK * together:
            yield "refuted", f"{text} tokens/s, beside a stated {number(rate.low)}", figures
        else:
            yield "possible", f"{text} tokens/s or less", figures
    requests = numbers.get("requests_per_s")
    if rate is not None and requests is not None and c.output_tokens and c.dataset is None:
        most = requests.high * c.output_tokens * LENGTH_SLACK
        text = f"{number(requests.high)} requests/s of {c.output_tokens} tokens"
        verdict: CheckVerdict = "refuted" if rate.low > most else "possible"
        beside = f"{text}, beside {number(rate.low)} tokens/s"
        yield verdict, beside, {"tokens_by_requests": requests.high * c.output_tokens}


def _cost(numbers: Mapping[str, Band], c: Conditions) -> Iterator[Found]:
    """The rent over the rate is the cost of a token."""
    for rate, cost in (
        ("output_tokens_per_s", "usd_per_mtok_output"),
        ("total_tokens_per_s", "usd_per_mtok_total"),
    ):
        if rate not in numbers or cost not in numbers or not (c.usd_per_gpu_h and c.gpus):
            continue
        rent = c.usd_per_gpu_h * c.gpus / 3600 * 1e6
        low, high = (rent / r for r in (numbers[rate].high, numbers[rate].low))
        text = f"{number(c.usd_per_gpu_h)} USD × {c.gpus} GPUs an hour over "
        text += f"{number(numbers[rate].low)} tokens/s is {number(high)} USD/Mtok"
        apart = low > numbers[cost].high * COST_SLACK or high * COST_SLACK < numbers[cost].low
        verdict: CheckVerdict = "refuted" if apart else "possible"
        yield verdict, f"{text}, stated {number(numbers[cost].low)}", {"usd_per_mtok": high}
