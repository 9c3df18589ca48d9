"""Cost per correct answer: compared with an API where quality is equal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.money.api_price import api_blend
from bench.money.apis import terms
from bench.money.cost import (
    TokenCost,
    usd_per_correct_answer,
)
from bench.money.prices.book import PriceRow
from bench.money.spec import TaskQuality, TcoSpec
from bench.money.throughput import (
    MeasuredQuality,
    TcoRun,
)
from bench.values import units as u
from bench.values.errors import InputError, nearest
from bench.values.figure import Figure, figure

SELF = "self-hosted"


@dataclass(frozen=True, kw_only=True)
class CorrectAnswer:
    """Dollars per correct answer. `equivalent` says whether the pass rate lies within the margin
    of the self-hosted one with 95 % intervals; None when an interval is missing."""

    key: str
    usd: u.Qty[u.Usd]
    pass_rate: float
    equivalent: bool | None


def correct_answers(
    spec: TcoSpec,
    runs: tuple[TcoRun, ...],
    loaded: TokenCost,
    chosen: Mapping[str, Mapping[str, PriceRow]],
) -> tuple[CorrectAnswer, ...]:
    """The self-hosted model, then every API whose quality is given; empty without quality."""
    measured = next((run.quality for run in runs if run.quality is not None), None)
    own = _task(measured) if measured is not None else spec.quality.self_hosted
    if own is None:
        return ()
    found = [_price(SELF, own, loaded, None)]
    for key, task in spec.quality.apis.items():
        if key not in chosen:
            raise InputError(f"tco.quality.apis: {key!r} is not compared.{nearest(key, chosen)}")
        both = [
            api_blend(key, chosen[key], terms(spec, {}, np.asarray(w))).price for w in (1.0, 0.0)
        ]
        cost = TokenCost(blended=both[1], input=both[0], output=both[1])
        verdict = equivalent(
            figure(own.pass_rate), figure(task.pass_rate), spec.quality.equivalence_margin
        )
        found.append(_price(key, task, cost, verdict))
    return tuple(found)


def _price(key: str, task: TaskQuality, cost: TokenCost, verdict: bool | None) -> CorrectAnswer:
    rate = figure(task.pass_rate).value
    dollars = usd_per_correct_answer(
        cost,
        figure(task.input_tokens_per_task).value,
        figure(task.output_tokens_per_task).value,
        rate,
    )
    return CorrectAnswer(
        key=key, usd=dollars, pass_rate=rate, equivalent=True if key == SELF else verdict
    )


def _task(quality: MeasuredQuality) -> TaskQuality:
    try:
        return TaskQuality(
            pass_rate=Figure(
                value=quality.pass_rate,
                low=quality.low,
                high=quality.high,
                source="measured",
                arose="measured",
            ),
            input_tokens_per_task=quality.input_tokens_per_task,
            output_tokens_per_task=quality.output_tokens_per_task,
        )
    except ValueError as error:
        raise InputError(
            f"measured quality: {error}; it has no cost per correct answer."
        ) from error


def equivalent(own: Figure, other: Figure, margin: float) -> bool | None:
    """Whether the whole 95 % interval of the difference lies within the margin; None without
    intervals (equality cannot be shown from two bare numbers)."""
    reaches = []
    for f in (own, other):
        if f.low is None or f.high is None:
            return None
        reaches.append((f.high - f.low) / 2)
    return abs(own.value - other.value) + math.hypot(*reaches) <= margin
