"""A headline is no surer than its draws: what share of them a verdict takes, and its words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tco_support import ask, ask_json

from bench.money.answer import TcoAnswer
from bench.money.standing import Standing, standing
from bench.report.tco_table import own_or_rent, verdict


@pytest.mark.parametrize(
    ("ours", "price", "odds", "found"),
    [
        (1, 2, None, "self-host"),  # no draws: the central figures are all that is known
        (2, 1, None, "api"),
        (1, 2, 0.95, "self-host"),
        (1, 2, 0.94, "probably self-host"),
        (1, 2, 0.67, "probably self-host"),
        (1, 2, 0.60, "cannot be told"),
        (1, 2, 0.40, "cannot be told"),
        (1, 2, 0.01, "cannot be told"),  # centre and draws disagree: neither is a verdict
        (2, 1, 0.05, "api"),
        (2, 1, 0.06, "probably api"),
        (2, 1, 0.34, "cannot be told"),
        (2, 1, 0.99, "cannot be told"),
    ],
)
def test_what_share_a_verdict_takes(
    ours: float, price: float, odds: float | None, found: Standing
) -> None:
    assert standing(ours, price, odds) == found


def placed(*odds: float) -> TcoAnswer:
    """The worked example ($1.53) against as many of its APIs, dearest first, with these odds."""
    answer = ask("tco=worked-example")
    ours = float(answer.levels.loaded.blended)
    apis = [
        replace(a, p_self_host_cheaper=o, cheaper=standing(ours, float(a.price), o))
        for a, o in zip(answer.apis, odds, strict=False)
    ]
    return replace(answer, apis=tuple(apis))


CLAUDE, GEMINI, R1 = "anthropic/claude-sonnet-4.5", "google/gemini-3-pro", "deepseek/deepseek-r1"


@pytest.mark.parametrize(
    ("odds", "text"),
    [
        (
            (0.8,),
            "self-hosting is probably cheaper: self-hosting costs $1.53 per M tokens, probably "
            f"less than {CLAUDE} ($6.00, self-hosting cheaper in 80% of draws)",
        ),
        (
            (0.4,),
            "it cannot be told which is cheaper: self-hosting costs $1.53 per M tokens, not to be "
            f"told from {CLAUDE} ($6.00, self-hosting cheaper in 40% of draws)",
        ),
        (
            (1.0, 0.6),
            "self-hosting is cheaper than 1 of 2 APIs, of 1 it cannot be told: self-hosting costs "
            f"$1.53 per M tokens, less than {CLAUDE} ($6.00), not to be told from {GEMINI} "
            "($4.50, self-hosting cheaper in 60% of draws)",
        ),
        (
            (1.0, 0.8, 0.0),
            "1 of 3 APIs is cheaper: self-hosting costs $1.53 per M tokens, less than "
            f"{CLAUDE} ($6.00), probably less than {GEMINI} ($4.50, self-hosting cheaper in 80% of "
            f"draws), more than {R1} ($0.96)",
        ),
        (
            (1.0, 0.5, 0.2, 0.0),
            "1 of 4 APIs is cheaper, 1 probably, of 1 it cannot be told: self-hosting costs $1.53 "
            f"per M tokens, less than {CLAUDE} ($6.00), not to be told from {GEMINI} ($4.50, "
            f"self-hosting cheaper in 50% of draws), probably more than {R1} ($0.96, self-hosting "
            "cheaper in 20% of draws), more than mistral/mistral-medium-3.1 ($0.80)",
        ),
        (
            (1.0, 1.0, 0.2),
            "1 of 3 APIs is probably cheaper: self-hosting costs $1.53 per M tokens, less than "
            f"{GEMINI} ($4.50) and 1 more, probably more than {R1} ($0.96, self-hosting cheaper in "
            "20% of draws)",
        ),
    ],
)
def test_the_headline_is_no_surer_than_the_draws(odds: tuple[float, ...], text: str) -> None:
    assert verdict(placed(*odds)) == text


def test_an_api_that_is_probably_cheaper() -> None:
    answer = placed(1, 1, 0.2)
    assert verdict(replace(answer, apis=answer.apis[2:])) == (
        "the API is probably cheaper: self-hosting costs $1.53 per M tokens, probably more than "
        f"{R1} ($0.96, self-hosting cheaper in 20% of draws)"
    )


def test_own_or_rent_is_no_surer_than_the_draws() -> None:
    """One bill is drawn for both: the same demand, throughput and staff in every draw."""
    answer = ask("tco=worked-example", "tco.own.capex_usd=600000")
    found = answer.own_or_rent
    assert found is not None
    assert found.p_own_cheaper == 0.0  # nothing of rent is drawn, and owning costs twice
    assert "For servers of your own, rent rather than own: " in own_or_rent(answer)
    for odds, said in (
        (0.2, "probably rent rather than own (owning cheaper in 20% of draws): "),
        (0.45, "it cannot be told whether to own or rent (owning cheaper in 45% of draws): "),
        (0.9999, "it cannot be told whether to own or rent (owning cheaper in over 99% of draws)"),
    ):
        told = own_or_rent(replace(answer, own_or_rent=replace(found, p_own_cheaper=odds)))
        assert told.startswith(f"For servers of your own, {said}"), told
    close = ask("tco=worked-example").own_or_rent
    assert close is not None
    assert close.p_own_cheaper == pytest.approx(0.49, abs=0.05)  # $1.526 against $1.529


def test_the_odds_of_owning_are_those_of_a_hand_count() -> None:
    """Owning less renting is linear in the price of the server, which alone is drawn (uniform from
    240,000 to 360,000): the share below the price at which both cost the same."""
    fixed = tuple(
        f"tco.{key}=null"
        for key in (
            *("people.fte.low", "people.fte.high", "demand.peak_to_mean.low"),
            *("demand.peak_to_mean.high", "fleet.spares.low", "fleet.spares.high"),
        )
    )
    words = ("tco=worked-example", *fixed, "power.usd_per_kwh=0.1")
    answer = ask(*words)

    def gap(price: float) -> float:
        found = ask(*words, f"tco.own.capex_usd={price}").own_or_rent
        assert found is not None
        return found.own_usd_per_mtok - found.rent_usd_per_mtok

    low, high = gap(240_000), gap(360_000)
    assert low < 0 < high
    even = 240_000 + 120_000 * -low / (high - low)
    assert answer.own_or_rent is not None
    assert answer.own_or_rent.p_own_cheaper == pytest.approx((even - 240_000) / 120_000, abs=2e-3)


def test_the_document_says_it_too() -> None:
    found = ask_json("tco=worked-example")
    assert {k: a["cheaper"] for k, a in found["apis"].items()} == {
        CLAUDE: "self-host",
        GEMINI: "self-host",
        R1: "api",
        "mistral/mistral-medium-3.1": "api",
        "openai/gpt-5-mini": "api",
    }
    assert found["own_or_rent"]["tier"] == "on_demand"
    assert found["server"] == {"name": "8x H100 SXM", "gpu": "h100-sxm", "gpus": 8}
