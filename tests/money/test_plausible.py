"""Figures beyond anything seen are asked back: one table, every number of a question in it."""

from __future__ import annotations

import typing
from dataclasses import fields, is_dataclass

import pytest

from bench.ask.costs import cost_question
from bench.money.plausible import RANGES
from bench.money.spec import PowerSpec, TcoSpec
from bench.values.errors import InputError
from bench.values.figure import Figure

BOUNDED = {
    *("tco.rent.spot_on_demand_share", "tco.demand.input_share", "tco.demand.cache_hit_rate"),
    *("tco.api.discount", "tco.api.batch_share", "tco.api.batch_discount"),
    *("tco.api.long_context_share", "tco.quality.equivalence_margin"),
    *("tco.uncertainty.seed", "tco.uncertainty.throughput_power_correlation"),
}
"""Shares and the like: their own limits leave nothing implausible."""


def numbers(kind: type, path: str) -> set[str]:
    """The dotted keys of every number that a question holds."""
    found: set[str] = set()
    for f, hint in zip(fields(kind), typing.get_type_hints(kind).values(), strict=True):
        key = f"{path}.{f.name}"
        inside = {hint, *typing.get_args(hint)}
        specs = [k for k in inside if is_dataclass(k) and k is not Figure]
        if inside & {float, int}:
            found.add(key)
        for spec in specs:
            found |= numbers(typing.cast(type, spec), key)
    return found


def test_every_number_has_a_range_or_limits_of_its_own() -> None:
    """Those of points, tasks and quality by API are asked one by one."""
    every = numbers(TcoSpec, "tco") | numbers(PowerSpec, "power")
    apart = ("tco.quality.self_hosted.", "tco.quality.apis.", "tco.throughput.points.")
    every = {k for k in every if not k.startswith(apart)}
    assert every - BOUNDED == set(RANGES)


def asked(*words: str) -> str:
    """What is refused of the worked example with these words; nothing where it is taken."""
    try:
        cost_question(("tco=worked-example", *words), ())
    except InputError as error:
        return str(error)
    return ""


BESIDE = {
    "tco.own.residual_usd": ("tco.own.capex_usd=4e7", "tco.own.install_fraction=3"),
    "power.idle_w": ("power.load_w=1e6",),
    "power.gpus": ("power.gpu=h100-sxm",),
}
"""What lets a value pass the limits of its own."""


@pytest.mark.parametrize("key", RANGES)
def test_a_figure_beyond_its_range_is_asked_back(key: str) -> None:
    taken, more = RANGES[key], BESIDE.get(key, ("tco.own.residual_usd=0",))
    low = "0" if taken.low <= 1 and key.endswith("gpus") else f"{taken.low / 3:.9g}"
    high = "0.98" if key == "tco.api.decline_per_year" else f"{taken.high * 3:.9g}"
    told = [asked(f"{key}={value}", *more) for value in (low, high)]
    back = [t for t in told if "really?" in t]
    assert back, told
    assert all(t.startswith((f"{key} is ", "power.load_w is ")) for t in back)
    assert any(taken.why in t for t in back) or key == "power.idle_w"


@pytest.mark.parametrize(
    "word",
    ["tco.demand.mtok_per_month=1e9", "tco.own.life_months=4", "tco.demand.growth_per_year=50"],
)
def test_what_newcomers_typed(word: str) -> None:
    assert "really?" in asked(word)
    assert asked(word, "tco.allow=[implausible]") == ""


def test_a_price_below_the_residual_value_names_the_price() -> None:
    told = asked("tco.own.capex_usd=300")
    assert told.startswith("tco.own.capex_usd, $330 with installation, is less than residual_usd")
    told = asked("tco.own.capex_usd=300", "tco.own.residual_usd=0")
    assert told.startswith("tco.own.capex_usd is 300 $ for a server of 8 GPUs (thousands?)")
    assert "Between 800 and" in told


@pytest.mark.parametrize(
    "question", ["worked-example", "source-document", "deepseek-h800", "cpu-host", "default"]
)
def test_no_shipped_question_is_asked_back(question: str) -> None:
    cost_question((f"tco={question}",), (), measured=True)


def test_ends_of_an_interval_are_asked_back_as_its_half_is() -> None:
    """relative_ci=130 was asked back; with ends of [1e-6,1e6] 90 % of the draws lay up to $130,000
    per M tokens."""
    one = "points:[{input_tokens_per_s:6000,output_tokens_per_s:6000}],source:me,as_of:'2026-11'"
    for ends, refused in (("0.8,130", True), ("1e-6,1e6", True), ("0.19,5.4", False)):
        said = asked(f"tco.throughput={{{one},relative_ends:[{ends}]}}")
        assert ("tco.throughput.relative_ends" in said and "really?" in said) == refused, said
