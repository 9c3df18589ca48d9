"""APIs alone: a demand and a price give a monthly bill, without server, throughput or watts."""

from __future__ import annotations

import json

import pytest

from bench.ask.costs import bought, cost_question
from bench.cli.main import main
from bench.values.errors import InputError

OWN = (
    'prices.more_rows=[{provider:me,model:mine,kind:input,usd:1.2,as_of:"2026-11",source:offer},'
    '{provider:me,model:mine,kind:cached_input,usd:0.3,as_of:"2026-11",source:offer},'
    '{provider:me,model:mine,kind:output,usd:4,as_of:"2026-11",source:offer}]'
)
ASKED = ("tco.basis=api", "tco.demand.mtok_per_month=30000", "tco.demand.input_share=0.75")
MINE = (*ASKED, OWN, "tco.api.compare=[me/mine]")


def test_the_bill_by_hand() -> None:
    """0.75 × 1.2 + 0.25 × 4 = 1.90 $/M; × 30,000 M = $57,000 a month. Half of the prompts from the
    cache: 0.75 × (0.6 + 0.15) + 1 = 1.5625, $46,875. A fifth off: $45,600."""
    for more, usd in (
        ((), 57_000),
        (("tco.demand.cache_hit_rate=0.5",), 46_875),
        (("tco.api.discount=0.2",), 45_600),
    ):
        [bill] = bought(cost_question((*MINE, *more), ())).apis
        assert bill.usd_per_month == pytest.approx(usd)
        assert bill.usd_per_mtok == pytest.approx(usd / 30_000)
        assert bill.monthly == {}


def test_a_demand_with_a_range_gives_the_bill_one_as_lopsided() -> None:
    """Uniform from 10,000 to 60,000 M at $1.90: P5 12,500 M, P50 35,000 M, P95 57,500 M."""
    demand = "tco.demand.mtok_per_month={value:30000,low:10000,high:60000,dist:uniform,source:us}"
    words = [demand if w.startswith("tco.demand.mtok") else w for w in MINE]
    [bill] = bought(cost_question(words, ())).apis
    assert bill.usd_per_month == pytest.approx(57_000)
    for name, mtok in (("p5", 12_500), ("p50", 35_000), ("p95", 57_500)):
        assert bill.monthly[name] == pytest.approx(1.9 * mtok, rel=1e-3)


def test_every_api_of_the_book_the_cheapest_first(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["tco", *ASKED])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    # llama-4-scout 0.75 × 0.1 + 0.25 × 0.3 = 0.15; sonnet 0.75 × 3 + 0.25 × 15 = 6
    assert shown.startswith(
        "default: hosted/llama-4-scout bills $4,500.00 a month ($0.15 per M tokens) for 30,000 M "
        "tokens, 75% input: the least of 8 APIs, up to $180,000.00 (anthropic/claude-sonnet-4.5)"
    )
    with pytest.raises(SystemExit):
        main(["tco", *ASKED, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert (document["basis"], document["cheapest"]) == ("api", "hosted/llama-4-scout")
    bills = [a["monthly_usd"] for a in document["apis"].values()]
    assert bills == sorted(bills)
    assert document["apis"]["anthropic/claude-sonnet-4.5"]["monthly_usd"] == pytest.approx(180_000)
    assert document["apis"]["anthropic/claude-sonnet-4.5"]["monthly_usd_p5"] is None
    assert not any(a["key"].startswith(("tco.own", "tco.people")) for a in document["assumed"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (ASKED[:2], "which share of the tokens are prompts: tco.demand.input_share=0.75"),
        ((*ASKED, "tco.own.capex_usd=1e5"), "tco.own: tco.basis=api asks about no servers: leave"),
        ((*ASKED, "power.load_w=900"), "power: tco.basis=api asks about no servers: leave power"),
        ((*ASKED, "tco.server.gpus=8"), "tco.server: tco.basis=api asks about no servers"),
        ((*ASKED, "tco.api.compare=[me/mine]"), "A price of your own, in $/M tokens: 'prices.more"),
    ],
)
def test_what_is_missing_or_would_not_count_is_said(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError) as refused:
        bought(cost_question(words, ()))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_question_of_servers_can_be_asked_without_them() -> None:
    """The example's own demand and mix, its servers left out; a run beside it would not count."""
    found = bought(cost_question(("tco=worked-example", "tco.basis=api"), ()))
    assert found.apis[-1].usd_per_month == pytest.approx(180_000)
    with pytest.raises(InputError, match="leave the run out"):
        cost_question(("tco=worked-example", "tco.basis=api"), (), measured=True)


def test_a_bill_below_a_cent_is_no_bill_of_zero(capsys: pytest.CaptureFixture[str]) -> None:
    """0.001 M tokens at $1.90 are $0.0019: was $0.00 alone, and 0 beside servers."""
    little = ("tco.demand.mtok_per_month=0.001", "tco.demand.input_share=0.75")
    mine = (*little, OWN, "tco.api.compare=[me/mine]")
    points = "tco.throughput.points=[{input_tokens_per_s:900,output_tokens_per_s:300}]"
    for words in (("tco.basis=api", *mine), (*mine, points, "tco=default")):
        with pytest.raises(SystemExit) as left:
            main(["tco", *words])
        assert left.value.code == 0
        out = capsys.readouterr().out
        [row] = [line for line in out.splitlines() if line.startswith(" me/mine ")]
        assert row.split()[1:3] == ["1.9000", "0.0019"]
