"""What claims are held against: the catalogue, the price book, the cost model and stored runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.config.catalogue import Catalogue
from bench.money.prices.book import PriceRow
from bench.trend.licences import Terms
from bench.values.errors import InputError

CostModel = Callable[[str, tuple[str, ...]], Mapping[str, Any]]
"""From a question of conf/tco and overrides to the answer, as `bench tco --json` gives it."""


def no_cost_model(question: str, _: tuple[str, ...]) -> Mapping[str, Any]:
    """Stands in where no cost model was given: InputError."""
    raise InputError(f"tco={question}: no cost model at hand to answer it.")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One load point of a stored Run as claims see it: conditions, metrics with 95 % intervals.

    `conditions` has the keys of `Conditions`; None is not known. `metrics` holds value, low, high
    and unit by name; a withheld metric has value None. `run` names the Run.
    """

    run: str
    valid: bool
    conditions: Mapping[str, Any]
    metrics: Mapping[str, tuple[float | None, float | None, float | None, str]]
    words: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    """Why the numbers are withheld, where they are."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Everything an assessment may look at; a pure value (the cost model is a function)."""

    catalogue: Catalogue
    prices: tuple[PriceRow, ...] = ()
    cost_model: CostModel = no_cost_model
    points: tuple[Point, ...] = ()
    terms: tuple[Terms, ...] | None = None
    """Licence terms over time; None takes those that are shipped."""
    installed: Mapping[str, str] = field(default_factory=dict)
    """The versions of the engines that would be launched here, as far as they are known."""
    engines: tuple[str, ...] = field(default=("vllm", "endpoint", "truth"))
