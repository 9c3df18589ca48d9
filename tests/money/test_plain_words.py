"""What a cost answer says first: own, rented or bought, and what belongs to which server."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tco_support import ask

from bench.ask.costs import cost_question
from bench.report.tco_table import (
    against_draws,
    fleet,
    life_words,
    over_the_life,
    own_or_rent,
    payback_words,
    verdict,
)
from bench.values.errors import InputError


def test_owning_against_renting_is_said_with_the_api() -> None:
    said = own_or_rent(ask("tco=worked-example"))
    # 3 servers x 8 GPUs x 730.5 h x $1.99 + staff 10,833 = 45,7xx a month, as owning: 45,783
    assert "owning and renting cost the same within 1 %" in said
    assert "the cheapest API $0.6875" in said
    dear = own_or_rent(ask("tco=worked-example", "tco.own.capex_usd=600000"))
    assert dear.startswith("For servers of your own, rent rather than own: owning costs $")
    cheap = own_or_rent(ask("tco=worked-example", "tco.own.capex_usd=100000"))
    assert cheap.startswith("For servers of your own, own rather than rent: owning costs $")


def test_where_one_way_has_no_price_it_says_which() -> None:
    said = own_or_rent(replace(ask("tco=worked-example"), options=()))
    assert said == ""
    answer = ask("tco=worked-example")
    own = tuple(o for o in answer.options if o.basis in ("own", "spot"))
    assert own_or_rent(replace(answer, options=own)).startswith("Own or rent cannot be told: spot:")


def test_a_headline_apart_from_its_draws_says_why() -> None:
    answer = ask("tco=worked-example")
    assert "The median of the draws is $2.14, above the headline's $1.53" in against_draws(answer)
    even = {"usd_per_mtok_blended": {"p5": 1.4, "p50": 1.55, "p95": 1.7}}
    assert against_draws(replace(answer, uncertain=even)) == ""


def test_staff_grows_with_the_fleet() -> None:
    """0.1 people a server x 3 servers x 200,000 x 1.3 / 12 = 6,500 $ a month more."""
    base = ask("tco=worked-example")
    more = ask("tco=worked-example", "tco.people.fte_per_server=0.1")
    assert float(base.bill.servers) == 3
    assert float(more.bill.staff) - float(base.bill.staff) == pytest.approx(6_500)
    assert float(more.bill.total) - float(base.bill.total) == pytest.approx(6_500)


SERVER = ("tco=worked-example", "tco.server.gpus=4")


def test_figures_belong_to_the_server_they_were_given_for() -> None:
    with pytest.raises(InputError) as refused:
        cost_question(SERVER, ())
    for said in ("4×h100-sxm", "8×h100-sxm", "tco.throughput.points", "tco.own.capex_usd"):
        assert said in str(refused.value)
    with pytest.raises(
        InputError, match=r"type tco\.own\.capex_usd, tco\.own\.residual_usd, .* of this"
    ):
        cost_question(SERVER, (), measured=True)
    typed = (
        "capex_usd=150000",
        "residual_usd=3e4",
        "provisioned_kw=6",
        "maintenance_usd_per_month=900",
    )
    words = tuple(f"tco.own.{word}" for word in typed)
    assert cost_question((*SERVER, *words), (), measured=True).tco.server.gpus == 4
    # Power of the group is that of eight GPUs: only what the run itself measured may be used.
    assert cost_question((*SERVER, *words), (), measured=True).power.load_w is None
    same = cost_question(("tco=worked-example", "tco.server.gpus=8"), ())
    assert same.tco.server.gpus == 8


def test_a_rented_server_is_not_set_beside_the_purchase_of_another_one() -> None:
    asked = cost_question((*SERVER, "tco.basis=on_demand"), (), measured=True)
    assert asked.tco.own is None
    assert (asked.power.load_w, asked.power.host_adder_w) == (None, None)


@pytest.mark.parametrize(
    "key",
    [
        "power.usd_per_kwh=30",
        "power.usd_per_kwh={value:0.2,low:0.1,high:30,source:mine}",
        "tco.people.salary_usd_per_year=150",
        "tco.fleet.claimed_servers=1000000",
        "tco.throughput.points=[{input_tokens_per_s:1,output_tokens_per_s:1e12}]",
        "tco.rent.spot_recovery_h=900",
    ],
)
def test_an_implausible_figure_is_asked_back_and_can_be_meant(key: str) -> None:
    with pytest.raises(InputError, match=r"really\?"):
        cost_question(("tco=worked-example", key), ())
    cost_question(("tco=worked-example", key, "tco.allow=[implausible]"), ())


def test_a_payback_beyond_the_life_is_no_number() -> None:
    """34,870 months of savings of $1 a month each are no payback of a server that lasts four years;
    nothing is bought where servers are rented."""
    example = ask("tco=worked-example")
    found = {a.key: payback_words(a, example) for a in example.apis}
    assert found["mistral/mistral-medium-3.1"] == "never within 4 years"
    assert found["openai/gpt-5-mini"] == "never within 4 years"
    assert found["anthropic/claude-sonnet-4.5"] == "6.3"
    for months, life in ((12, "1 year"), (18, "18 months")):
        words = (f"tco.own.life_months={months}", "tco.api.decline_per_year=0")
        short = ask("tco=worked-example", *words)
        found = {a.key: payback_words(a, short) for a in short.apis}
        assert found["openai/gpt-5-mini"] == f"never within {life}"
    rented = ask("tco=worked-example", "tco.basis=on_demand")
    assert {payback_words(a, rented) for a in rented.apis} == {"–"}
    assert (life_words(12), life_words(30), life_words(36)) == ("year", "30 months", "3 years")


def test_cheaper_now_and_not_over_the_life_is_said() -> None:
    """Where API prices fall by 60 % a year, buying loses although this month's bill is lower."""
    steady, falling = "tco=worked-example", "tco.api.decline_per_year=0.6"
    assert over_the_life(ask(steady)) == ""
    found = ask(steady, falling)
    gemini = next(a for a in found.apis if a.key == "google/gemini-3-pro")
    assert float(gemini.price) > float(found.levels.loaded.blended)
    assert gemini.npv is not None
    assert (float(gemini.npv) < 0) is ("google/gemini-3-pro" in over_the_life(found))
    told = over_the_life(found)
    for api in found.apis:
        assert api.npv is not None
        turned = float(api.npv) * (float(api.price) - float(found.levels.loaded.blended)) < 0
        assert not turned or api.key in told or " more" in told
    grown = over_the_life(ask(steady, "tco.demand.growth_per_year=2"))
    assert "API prices steady, demand growing 200 % a year" in grown
    assert "gains against" in grown
    assert "though owning is dearer now" in grown


def test_headline_and_own_or_rent_are_one_verdict() -> None:
    """Servers at $3 M each cost more than any API; the same rented cost $1.53, less than Claude's
    $6.00: the API is cheaper than owning, and both lines say so."""
    words = ("tco.own.capex_usd=3e6", "tco.api.compare=[anthropic/claude-sonnet-4.5]")
    found = ask("tco=worked-example", *words)
    assert verdict(found).startswith("the API is cheaper than servers of your own: self-hosting")
    said = own_or_rent(found)
    assert "rent rather than own" in said
    assert "with servers rented on demand less than the cheapest API's $6.00 per M tokens" in said
    plain = ask("tco=worked-example", "tco.api.compare=[deepseek/deepseek-r1]")
    assert verdict(plain).startswith("the API is cheaper: self-hosting costs $1.53")


def test_one_api_is_not_every_api() -> None:
    found = ask("tco=worked-example", "tco.api.compare=[anthropic/claude-sonnet-4.5]")
    assert verdict(found) == (
        "self-hosting is cheaper: it costs $1.53 per M tokens, less than "
        "anthropic/claude-sonnet-4.5 ($6.00)"
    )


def test_without_interest_the_parts_add_up_by_hand() -> None:
    """3 servers x (330,000 - 60,000) / 48 = 16,875; site 3 x (10.2 x 200 + 2,000) = 12,120; staff
    0.5 x 200,000 x 1.3 / 12 = 10,833.33; energy as before. Table, sentence and steps agree."""
    found = ask("tco=worked-example", "tco.own.wacc_per_year=0")
    bill = found.bill
    assert float(bill.hardware) == pytest.approx(16_875)
    total = 16_875 + 12_120 + 10_833.3333 + float(bill.energy)
    assert float(bill.total) == pytest.approx(total)
    assert sum(float(s.monthly) for s in found.steps) == pytest.approx(total)
    assert float(found.levels.loaded.blended) == pytest.approx(total / 30_000)
    assert f"${total:,.2f} a month" in fleet(found)
    (own,) = (o for o in found.options if o.basis == "own")
    assert own.levels is not None
    assert float(own.levels.loaded.blended) == pytest.approx(total / 30_000)
    # steady prices: buying pays over the years exactly where this month is cheaper
    for api in found.apis:
        assert api.npv is not None
        assert (float(api.npv) > 0) is (float(api.price) > total / 30_000)


def test_growth_that_no_figure_takes_is_said() -> None:
    words = ("tco=worked-example", "tco.demand.growth_per_year=1")
    rented = ask(*words, "tco.basis=on_demand").caveats
    assert any("growth_per_year enters payback and NPV alone" in c for c in rented)
    assert not any("growth_per_year" in c for c in ask(*words).caveats)


def test_draws_that_move_nothing_are_no_interval() -> None:
    assert "draws" not in fleet(ask("tco=deepseek-h800"))
    assert "90 % of 10,000 draws" in fleet(ask("tco=worked-example"))
