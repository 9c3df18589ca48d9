"""The worked example, the external check and the source document's table, digit by digit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from tco_support import ask, ask_json, request

from bench.money.answer import TcoAnswer
from bench.money.api_price import Terms, api_blend
from bench.money.fleet import Work, monthly_bill
from bench.money.inputs import (
    build_work,
    own_costs,
)
from bench.money.prices.book import PriceRow, TokenKind
from bench.values import units as u

APIS = {
    "anthropic/claude-sonnet-4.5": (6.00, 180_000, 6.345, 5_335_354, 5_667, 2),
    "google/gemini-3-pro": (4.50, 135_000, 8.917, 3_546_522, 7_560, 2),
    "deepseek/deepseek-r1": (0.96, 28_800, 205, -675_120, 120_802, 9),
    "mistral/mistral-medium-3.1": (0.80, 24_000, 34_870, -865_929, 627_573, 42),
    "openai/gpt-5-mini": (0.6875, 20_625, None, -1_000_091, None, None),
}


@pytest.fixture(scope="module")
def example() -> TcoAnswer:
    return ask("tco=worked-example")


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return ask_json("tco=worked-example")


def test_every_printed_quantity(example: TcoAnswer, data: dict[str, Any]) -> None:
    model, bill = data["model"], example.bill
    assert round(model["monthly_rate"], 8) == 0.00797414
    assert round(model["discount_at_end"], 8) == 0.68301346
    assert round(model["usd_per_server_month"], 2) == 7_270.59
    assert round(data["split"]["a_server_s_per_mtok_input"], 4) == 33.3333
    assert round(data["split"]["b_server_s_per_mtok_output"], 4) == 133.3333
    assert round(model["output_tokens_per_s_per_server"], 3) == 4_285.714
    assert round(model["mean_output_tokens_per_s"], 2) == 2_853.88
    assert round(model["peak_output_tokens_per_s"], 2) == 7_134.70
    assert (data["servers"], data["gpus"]) == (3, 24)
    assert round(data["utilisation"], 6) == 0.221969
    assert round(model["mean_kw_per_server"], 6) == 3.576662
    assert round(float(bill.energy), 2) == 1_018.28
    assert round(float(bill.hardware), 2) == 21_811.77
    assert float(bill.site) == pytest.approx(6_120 + 6_000)
    assert round(float(bill.staff), 2) == 10_833.33
    assert round(data["monthly_usd"], 2) == 45_783.38
    assert round(model["input_share_of_cost"], 6) == 0.428571
    loaded = data["levels"]["loaded"]
    assert round(loaded["usd_per_mtok_blended"], 6) == 1.526113
    assert round(loaded["usd_per_mtok_input"], 6) == 0.872064
    assert round(loaded["usd_per_mtok_output"], 6) == 3.488258


@pytest.mark.parametrize("key", APIS)
def test_api_table(data: dict[str, Any], key: str) -> None:
    blend, monthly, payback, npv, crossing, servers = APIS[key]
    api = data["apis"][key]
    assert api["usd_per_mtok_blended"] == pytest.approx(blend)
    assert api["monthly_usd"] == pytest.approx(monthly)
    assert round(data["npv_usd"][key]) == npv
    digits = 0 if payback is not None and payback > 100 else 3
    shown = data["payback_at_todays_prices_months"][key]
    assert (None if shown is None else round(shown, digits)) == payback
    within = payback if payback is not None and payback <= 48 else None  # prices are steady here
    found = data["payback_months"][key]
    assert (None if found is None else round(found, 3)) == within
    first = data["breakeven_mtok_per_month"][key]
    # the published figures are the first whole M tokens at which self-hosting is cheaper
    assert (None if first is None else math.ceil(first)) == crossing
    assert (api["crossings"][0]["servers"] if api["crossings"] else None) == servers


def _bill_at(volume: float) -> float:
    asked = request("tco=worked-example")
    split = ask("tco=worked-example").split
    work = build_work(asked.tco, split, {"tco.demand.mtok_per_month": np.asarray(volume)})
    return float(monthly_bill(own_costs(asked.tco, asked.power, {}), work).total)


def test_first_crossing_at_0_80_on_the_published_grid() -> None:
    """627,600 is the first multiple of 100 M; the exact crossing lies just below."""
    assert _bill_at(627_600) < 0.80 * 627_600
    assert _bill_at(627_500) > 0.80 * 627_500


def test_floor_is_the_limit_of_the_bill(example: TcoAnswer) -> None:
    """The limit of F/V is 0.7638; the published 0.7696 is F/V at 250 active servers."""
    floor = example.apis[-1].breakeven.floor_usd_per_mtok
    step = float(example.work.capacity())
    assert round(_bill_at(250 * step) / (250 * step), 4) == 0.7696
    assert _bill_at(1e6 * step) / (1e6 * step) == pytest.approx(floor, rel=1e-5)
    assert round(floor, 4) == 0.7638


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("tco.people.fte=0", 1.165),
        ("tco.people.fte=2", 2.609),
        ("tco.demand.peak_to_mean=1.5", 1.526),
        ("tco.demand.peak_to_mean=4", 2.297),
        ("tco.fleet.spares=0", 1.141),
        ("tco.fleet.spares=2", 1.911),
        ("tco.own.capex_usd=240000", 1.360),
        ("tco.own.capex_usd=360000", 1.692),
        ("power.usd_per_kwh=0.05", 1.509),
        ("power.usd_per_kwh=0.20", 1.560),
    ],
)
def test_one_at_a_time(override: str, expected: float) -> None:
    blended = ask_json("tco=worked-example", override)["levels"]["loaded"]["usd_per_mtok_blended"]
    assert round(blended, 3) == expected


def test_discounted_blend_with_cache_hits() -> None:
    """3/15 with cached input 0.30, half of it hit, 25 % off, at 3:1: 3.740625."""
    prices: tuple[tuple[TokenKind, float], ...] = (
        ("input", 3.0),
        ("cached_input", 0.30),
        ("output", 15.0),
    )
    rows: dict[str, PriceRow] = {
        kind: PriceRow(provider="p", model="m", kind=kind, usd=usd, as_of="2026", source="test")
        for kind, usd in prices
    }
    terms = Terms(
        w_in=np.asarray(0.75),
        cache_hit_rate=np.asarray(0.5),
        discount=np.asarray(0.25),
        batch_share=np.asarray(0.0),
        long_context_share=np.asarray(0.0),
    )
    blend = api_blend("p/m", rows, terms)
    assert float(blend.price) == pytest.approx(3.740625, abs=1e-12)
    assert blend.used == ("input", "output", "cached_input")
    assert blend.caveats == ()


def test_deepseek_node_figures() -> None:
    """Published node throughput and $2/GPU-h give 0.0603/0.3003 $/M and 226.9 nodes."""
    data = ask_json("tco=deepseek-h800")
    marginal = data["levels"]["marginal"]
    assert round(marginal["usd_per_mtok_input"], 6) == 0.060305
    assert round(marginal["usd_per_mtok_output"], 6) == 0.300300
    assert round(data["servers_exact"], 1) == 226.9
    assert data["servers"] == 227
    assert data["payback_months"] == {"deepseek/deepseek-r1": None}


SOURCE_TABLE = {
    "anthropic/claude-sonnet-4.5": (6.00, 411),
    "google/gemini-3-pro": (4.50, 548),
    "source-document/gpt-5.1-mini": (1.925, 1_281),
    "source-document/mistral-medium-3.1": (0.60, 4_111),
    "source-document/deepseek-r1": (0.55, 4_485),
    "deepseek/deepseek-r1": (0.96, 2_569),
    "z.ai/glm-4.7": (1.00, 2_467),
    "deepseek/deepseek-v3.2": (0.315, 7_831),
    "hosted/llama-4-scout": (0.15, 16_444),
}


def test_break_even_table_of_the_source_document() -> None:
    data = ask_json("tco=source-document")
    assert round(data["monthly_usd"]) == 2_467
    for key, (blend, expected) in SOURCE_TABLE.items():
        assert data["apis"][key]["usd_per_mtok_blended"] == pytest.approx(blend), key
        assert round(data["breakeven_mtok_per_month"][key]) == expected, key
        assert data["apis"][key]["capacity_mtok_per_month"] == pytest.approx(525.6)


def test_an_engineer_puts_the_source_document_beyond_its_box() -> None:
    data = ask_json("tco=source-document", "tco.people.fte.value=1")
    assert round(data["monthly_usd"] - 2_466.6667) == 16_667
    assert min(data["breakeven_mtok_per_month"].values()) > 525.6


def test_power_without_the_implied_pue_is_146_dollars() -> None:
    data = ask_json("tco=source-document", "power.pue=1")
    assert round(data["monthly_usd_parts"]["energy"]) == 146


def test_first_level_is_what_leaderboards_print(example: TcoAnswer) -> None:
    """$/server-hour over saturated throughput, by hand: 7270.59/730 h over 17,142.86 tokens/s."""
    per_mtok = 7_270.591349 / 730 / (17_142.857143 * 3600 / 1e6)
    assert float(example.levels.marginal.blended) == pytest.approx(per_mtok)


def test_capacity_is_where_servers_are_added(example: TcoAnswer) -> None:
    work: Work = example.work
    assert isinstance(work.capacity(), u.Rate)
    assert float(work.capacity()) == pytest.approx(15_317.4857, abs=1e-3)
