"""The price book keeps history; imports read the public shapes and say what changed."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tco_support import TODAY, ask, ask_json, request

from bench.ask.costs import book_rows
from bench.cli.verbs import prices as verb
from bench.money.answer import answer
from bench.money.document import to_json
from bench.money.prices.book import PriceRow, PricesSpec, TokenKind, decline, select
from bench.money.prices.tables import changes, read_prices
from bench.report.prices_table import book_document, print_book
from bench.values.errors import InputError
from bench.values.figure import age_days, first_day

DATA = Path(__file__).parents[1] / "data" / "prices"


def _row(usd: float, as_of: str, kind: Any = "input", model: str = "m") -> PriceRow:
    return PriceRow(provider="p", model=model, kind=kind, usd=usd, as_of=as_of, source="test")


def test_later_rows_do_not_overwrite_earlier_ones() -> None:
    rows = [_row(3.0, "2025"), _row(1.0, "2026-03-01"), _row(2.0, "2025-07")]
    key = ("p", "m", "input")
    assert select(rows, None)[key].usd == 1.0
    assert select(rows, "2026-02-17")[key].usd == 2.0
    assert select(rows, "2025-06-30")[key].usd == 3.0
    assert key not in select(rows, "2024")


def test_an_answer_as_of_a_date_outlives_later_prices() -> None:
    asked = request("tco=worked-example", "prices.as_of=2026-11-23")
    later = PriceRow(
        provider="deepseek",
        model="deepseek-r1",
        kind="input",
        usd=0.01,
        as_of="2026-12-01",
        source="test",
    )
    before = answer(asked, (), asked.prices.rows, None, TODAY)
    after = answer(asked, (), (*asked.prices.rows, later), None, TODAY)
    assert [float(a.price) for a in after.apis] == [float(a.price) for a in before.apis]
    now = request("tco=worked-example")
    changed = answer(now, (), (*now.prices.rows, later), None, TODAY)
    blends = {a.key: float(a.price) for a in changed.apis}
    assert blends["deepseek/deepseek-r1"] == pytest.approx(0.75 * 0.01 + 0.25 * 2.19)


@pytest.mark.parametrize("usd", [0.0, -1.0, math.nan, math.inf])
def test_no_price_is_not_a_price(usd: float) -> None:
    with pytest.raises(ValueError, match="usd must be above 0"):
        _row(usd, "2026")


@pytest.mark.parametrize("text", ["26", "2026-13", "2026-02-30", "yesterday", "2026-1-1-1", ""])
def test_bad_dates(text: str) -> None:
    with pytest.raises(ValueError, match="is not a date"):
        first_day(text)


def test_ages_count_from_the_first_day_of_a_partial_date() -> None:
    assert age_days("2026-07", TODAY) == 145
    assert age_days("2026", TODAY) == 326
    assert age_days("2027", TODAY) == 0


def test_stale_figures_are_flagged() -> None:
    found = ask("tco=worked-example")
    ages = {a.key: a.age_days for a in found.assumed}
    assert ages["prices.openai/gpt-5-mini.input"] == 145
    assert ages["tco.own.capex_usd"] is None
    (line,) = [c for c in found.caveats if c.startswith("stale")]
    assert "prices.openai/gpt-5-mini (145 days)" in line
    fresh = ask("tco=worked-example", "prices.stale_days=150")
    assert {a.key: a.age_days for a in fresh.assumed}["prices.openai/gpt-5-mini.input"] is None


def test_decline_of_an_exact_halving() -> None:
    """Halved every 365.25 days: 50 % a year; two dates leave no interval."""
    found = decline([_row(8.0, "2024-01-01"), _row(4.0, "2025-01-01")])
    assert found is not None
    assert found.per_year == pytest.approx(1 - 0.5 ** (365.25 / 366))
    assert (found.low, found.high) == (None, None)
    assert decline([_row(8.0, "2024-01-01"), _row(8.0, "2024-01-01", "output")]) is None


def test_decline_with_interval_by_hand() -> None:
    """ln price 0, -1, -1 at years 0, 1, 2: slope -1/2, residuals -1/6, 1/3, -1/6 with one degree
    of freedom: standard error sqrt(1/6/2), t(0.975, 1) = 12.7062."""
    days = ["2021-01-01", "2022-01-01", "2023-01-01"]  # 365 days each
    rows = [_row(p, d) for p, d in zip((1.0, math.exp(-1), math.exp(-1)), days, strict=True)]
    found = decline(rows)
    assert found is not None
    year = 365 / 365.25
    error = math.sqrt(1 / 6 / 2) / year
    assert found.per_year == pytest.approx(1 - math.exp(-0.5 / year))
    assert found.low == pytest.approx(1 - math.exp(-0.5 / year + 12.7062047 * error))
    assert found.high == pytest.approx(1 - math.exp(-0.5 / year - 12.7062047 * error))


def test_decline_pools_series_each_with_its_level() -> None:
    """Two prices far apart that both fall by 10 % over the same days fall by 10 % together."""
    rows = [
        _row(10.0, "2025-01-01"),
        _row(9.0, "2026-01-01"),
        _row(1.0, "2025-01-01", "output"),
        _row(0.9, "2026-01-01", "output"),
    ]
    found = decline(rows)
    assert found is not None
    assert found.per_year == pytest.approx(1 - 0.9 ** (365.25 / 365))
    assert (found.series, found.dates) == (2, 4)


def test_history_can_stand_in_for_an_assumed_decline() -> None:
    asked = request(
        "tco=worked-example",
        "tco.api.decline_per_year=null",
        "tco.api.compare=[deepseek/deepseek-r1]",
    )
    prices: tuple[tuple[TokenKind, float], ...] = (("input", 1.10), ("output", 4.38))
    old = tuple(
        PriceRow(
            provider="deepseek",
            model="deepseek-r1",
            kind=kind,
            usd=usd,
            as_of="2024",
            source="test",
        )
        for kind, usd in prices
    )
    (api,) = answer(asked, (), asked.prices.rows + old, None, TODAY).apis
    assert api.history is not None
    assert api.history.per_year == pytest.approx(0.5, abs=1e-3)
    assert api.npv is not None
    assert float(api.npv) < -675_120  # worse than with steady prices


def _read(name: str, provider: str | None = None, **names: str) -> dict[tuple[str, str], float]:
    text = (DATA / name).read_text(encoding="utf-8")
    found = read_prices(text, name, as_of="2026-11-23", provider=provider, gpu_names=names)
    return {(row.key, row.kind): row.usd for row in found.rows}


def test_litellm_prices_per_token_become_per_million() -> None:
    assert _read("litellm.json") == {
        ("anthropic/claude-sonnet-4.5", "input"): 3.0,
        ("anthropic/claude-sonnet-4.5", "output"): 15.0,
        ("anthropic/claude-sonnet-4.5", "cached_input"): 0.3,
        ("anthropic/claude-sonnet-4.5", "cache_write"): 3.75,
        ("anthropic/claude-sonnet-4.5", "long_input"): 6.0,
        ("anthropic/claude-sonnet-4.5", "long_output"): 22.5,
        ("deepseek/deepseek-r1", "input"): 0.28,
        ("deepseek/deepseek-r1", "output"): 0.42,
        ("deepseek/deepseek-r1", "cached_input"): 0.028,
    }


def test_entries_without_a_price_are_counted_not_free() -> None:
    text = (DATA / "litellm.json").read_text(encoding="utf-8")
    assert read_prices(text, "f", as_of="2026", provider=None).skipped == 2


def test_gpu_offers_are_per_gpu_and_the_lowest_counts() -> None:
    assert _read("skypilot.csv", "sky", H100="h100-sxm") == {
        ("sky/h100-sxm", "rent_on_demand"): 2.49,  # 23.92/8 = 2.99 is dearer
        ("sky/h100-sxm", "rent_spot"): 1.2,
    }
    assert _read("gpuhunt.csv", "hunt") == {
        ("hunt/A10", "rent_on_demand"): 2.0,
        ("hunt/A10", "rent_spot"): 0.5,
    }


GCP = """InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,\
AvailabilityZone,Price,SpotPrice
a3-highgpu-8g,208.0,1872.0,,,,us-central1,us-central1-a,9.46006,2.88933
a3-highgpu-1g,26.0,234.0,,,,us-central1,us-central1-a,1.18251,0.36117
,,,H100,8.0,,us-central1,us-central1-a,78.4,18.0
,,,H100,1.0,,us-central1,us-central1-a,9.8,700.0
,,,H100,1.0,,us-east4,us-east4-z,2.0,1.0
,,,T4,1.0,,us-central1,us-central1-a,0.35,0.1
"""
"""The shape of catalogs/v8/gcp/vms.csv, github.com/skypilot-org/skypilot-catalog at 006059e0, with
its machines' prices; the GPUs' are made up."""


def test_a_gpu_that_is_listed_apart_from_its_machine_costs_both() -> None:
    """(78.4 + 9.46006) ÷ 8 on demand, less than 9.8 + 1.18251; (18 + 2.88933) ÷ 8 on the spot
    market. 700 means no price; a zone without the machine and a GPU that any machine takes are
    left out, and were 2.0 and 0.35 dollars an hour."""
    found = read_prices(GCP, "gcp.csv", as_of="2026-11-26", provider="gcp")
    assert {(r.model, r.kind): r.usd for r in found.rows} == {
        ("H100", "rent_on_demand"): pytest.approx((78.4 + 9.46006) / 8, abs=1e-6),
        ("H100", "rent_spot"): pytest.approx((18.0 + 2.88933) / 8, abs=1e-6),
    }
    assert found.skipped == 5


VENDOR = """{"vendor": "anthropic", "models": [{"id": "claude-3-haiku", "name": "Claude 3 Haiku",
 "price_history": [{"input": 0.25, "output": 1.25, "from_date": null, "to_date": null,
 "input_cached": null}]}]}"""
"""A row of data/anthropic.json, github.com/simonw/llm-prices at 2026-08-05."""


def test_a_vendors_file_of_llm_prices() -> None:
    found = read_prices(VENDOR, "anthropic.json", as_of="2026-08-05", provider=None)
    assert [(r.provider, r.model, r.kind, r.usd, r.as_of) for r in found.rows] == [
        ("anthropic", "claude-3-haiku", "input", 0.25, "2026-08-05"),
        ("anthropic", "claude-3-haiku", "output", 1.25, "2026-08-05"),
    ]


@pytest.mark.parametrize(
    ("text", "provider", "match"),
    [
        ("{not json", None, "not JSON"),
        ("{}", None, "no usable price"),
        ("a,b\n1,2\n", None, "none of the known price tables"),
        ("gpu_name,gpu_count,price\nA10,1,2\n", None, "do not say whose"),
        ("provider,model,kind,usd,as_of,source\np,m,inputt,1,2026,s\n", None, "Did you mean"),
        ("provider,model,kind,usd,as_of,source\np,m,input,x,2026,s\n", None, "line 2"),
        ("provider,model,kind,usd,as_of,source\np,m,input,0,2026,s\n", None, "above 0"),
    ],
)
def test_bad_files_are_named(text: str, provider: str | None, match: str) -> None:
    with pytest.raises(InputError, match=match):
        read_prices(text, "file", as_of="2026-11-23", provider=provider)


def test_changes_against_what_held() -> None:
    known = [_row(3.0, "2026-01-01"), _row(15.0, "2026-01-01", "output")]
    new = [
        _row(2.4, "2026-11-23"),
        _row(15.0, "2026-11-23", "output"),
        _row(1.0, "2026-11-23", model="n"),
        _row(3.0, "2026-01-01"),
    ]
    found = changes(known, new)
    assert [(c.row.key, c.row.kind, c.relative) for c in found] == [
        ("p/m", "input", pytest.approx(-0.2)),
        ("p/m", "output", 0.0),
        ("p/n", "input", None),
    ]


def test_import_appends_and_keeps_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = tmp_path / "book.csv"
    spec = PricesSpec(rows=request("tco=worked-example").prices.rows, book=str(book))
    source = str(DATA / "litellm.json")
    assert verb.run(spec, import_path=source, as_of="2026-11-20") == 0
    first = book.read_text(encoding="utf-8")
    out = " ".join(capsys.readouterr().out.split())
    assert "0 new, 3 changed, 6 confirmed at a later date" in out
    assert "9 rows appended" in out
    assert verb.run(spec, import_path=source, as_of="2026-11-20") == 0
    assert book.read_text(encoding="utf-8") == first  # nothing new, nothing changed
    cheaper = tmp_path / "new.json"
    cheaper.write_text('{"m": {"litellm_provider": "deepseek", "input_cost_per_token": 1e-07}}')
    assert verb.run(spec, import_path=str(cheaper), as_of="2026-11-23") == 0
    assert book.read_text(encoding="utf-8").startswith(first)
    rows = book_rows(spec)
    assert len(rows) == len(spec.rows) + 10
    capsys.readouterr()
    assert verb.run(spec) == 0
    assert "of them have a history and fell by" in " ".join(capsys.readouterr().out.split())


def test_what_came_later_changes_nothing_as_of_a_date(tmp_path: Path) -> None:
    """A price cut of November is neither the price nor part of the history on 17 February."""
    asked = request("tco=worked-example", "prices.as_of=2026-02-17")
    rows = asked.prices.rows
    later = PriceRow(
        provider="deepseek",
        model="deepseek-r1",
        kind="output",
        usd=0.42,
        as_of="2026-11-20",
        source="test",
    )
    before, after = (to_json(answer(asked, (), r, None, TODAY)) for r in (rows, (*rows, later)))
    assert before == after
    assert before["apis"]["deepseek/deepseek-r1"]["price_decline_per_year"] is None
    now = request("tco=worked-example")
    found = to_json(answer(now, (), (*rows, later), None, TODAY))["apis"]["deepseek/deepseek-r1"]
    assert found["usd_per_mtok_blended"] == pytest.approx(0.75 * 0.55 + 0.25 * 0.42)
    assert found["price_decline_per_year"]["per_year"] > 0.5


def test_prices_as_plain_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = PricesSpec(rows=(_row(3.0, "2026-01-01"),), book=str(tmp_path / "book.csv"))
    new = tmp_path / "new.json"
    new.write_text('{"m": {"litellm_provider": "p", "input_cost_per_token": 2.4e-06}}')
    assert verb.run(spec, import_path=str(new), as_of="2026-11-23", as_json=True) == 0
    imported = json.loads(capsys.readouterr().out)
    (change,) = imported["appended"]
    assert (change["usd"], change["before"]["usd"]) == (2.4, 3.0)
    assert change["relative"] == pytest.approx(-0.2)
    assert verb.run(replace(spec, as_of="2026-05-01"), as_json=True) == 0
    (then,) = json.loads(capsys.readouterr().out)["prices"]
    assert (then["usd"], then["age_days"], then["stale"], then["decline"]) == (3.0, 120, True, None)
    assert verb.run(spec, as_json=True) == 0
    book = json.loads(capsys.readouterr().out)
    assert book["prices"][0]["usd"] == 2.4
    assert book["decline"]["per_year"] == pytest.approx(1 - 0.8 ** (365.25 / 326))


@pytest.mark.parametrize(("per_token", "kept"), [(3e-6, True), (3.0, False), (1e-12, False)])
def test_a_price_in_another_unit_is_no_price(per_token: float, kept: bool) -> None:
    """$3 per token would be $3,000,000 per million, 1e-12 would be nothing: units were mixed."""
    table = {
        "a": {"litellm_provider": "p", "input_cost_per_token": per_token},
        "b": {"litellm_provider": "p", "input_cost_per_token": 1e-6},
    }
    found = read_prices(json.dumps(table), "f", as_of="2026", provider=None)
    assert ("a" in {row.model for row in found.rows}) is kept
    assert found.skipped == (0 if kept else 1)


def test_written_cache_is_said_where_it_costs_more() -> None:
    """Hits at 0.30 for half the input: 0.75*(1.5 + 0.15) + 0.25*15; writing costs 3.75."""
    found = ask(
        "tco=worked-example",
        "tco.demand.cache_hit_rate=0.5",
        "tco.api.compare=[anthropic/claude-sonnet-4.5]",
    )
    assert float(found.apis[0].price) == pytest.approx(0.75 * 1.65 + 0.25 * 15)
    assert any("written to its cache are charged as plain input" in c for c in found.caveats)


def test_a_missing_book_is_named() -> None:
    with pytest.raises(InputError, match=r"prices.book: /nowhere.csv"):
        verb.run(PricesSpec(book="/nowhere.csv"))


def test_tiers_without_a_price_are_charged_plain_and_said() -> None:
    """gpt-5-mini has no cached price in the book: hits cost the input price."""
    found = ask(
        "tco=worked-example", "tco.demand.cache_hit_rate=0.5", "tco.api.compare=[openai/gpt-5-mini]"
    )
    assert float(found.apis[0].price) == pytest.approx(0.6875)
    assert any("no cached_input price" in line for line in found.caveats)


def test_batch_and_long_context_shares() -> None:
    """Sonnet 4.5 at 3:1: 6.00 plain, 3.00 batch, 0.75*6 + 0.25*22.5 = 10.125 long."""
    data = ask_json(
        "tco=worked-example",
        "tco.api.batch_share=0.2",
        "tco.api.long_context_share=0.5",
        "tco.api.compare=[anthropic/claude-sonnet-4.5]",
    )
    blend = data["apis"]["anthropic/claude-sonnet-4.5"]["usd_per_mtok_blended"]
    assert blend == pytest.approx(0.8 * (0.5 * 6.0 + 0.5 * 10.125) + 0.2 * 3.0)


def test_llm_prices_hold_from_day_to_day() -> None:
    """DeepSeek's change of 2025-02-08: the old price on the day before, the new one from then on
    and on the day of the file; one without days on that day alone."""
    models = [
        {
            "id": "deepseek-chat",
            "price_history": [
                {"input": 0.27, "output": 1.1, "from_date": "2025-02-08", "to_date": None},
                {"input": 0.14, "output": 0.28, "from_date": None, "to_date": "2025-02-08"},
            ],
        },
        {"id": "free", "price_history": [{"input": 0, "output": 0}]},
    ]
    vendor = {"vendor": "deepseek", "models": models}
    found = read_prices(json.dumps(vendor), "d.json", as_of="2026-08-05", provider=None)
    assert (found.shape, found.skipped) == ("llm-prices", 1)
    inputs = sorted((r.as_of, r.usd) for r in found.rows if r.kind == "input")
    assert inputs == [("2025-02-07", 0.14), ("2025-02-08", 0.27), ("2026-08-05", 0.27)]
    entry = {"id": "m", "vendor": "v", "input": 2, "output": 8, "input_cached": 0.5}
    every = {"updated_at": "2026-01-02T03:04:05", "prices": [entry]}
    rows = read_prices(json.dumps(every), "p.json", as_of="1970", provider=None).rows
    assert {(r.key, r.kind, r.usd, r.as_of) for r in rows} == {
        ("v/m", "input", 2, "2026-01-02"),
        ("v/m", "output", 8, "2026-01-02"),
        ("v/m", "cached_input", 0.5, "2026-01-02"),
    }


def test_litellm_by_mode_with_the_threshold_of_a_long_prompt() -> None:
    """An image model priced by the token is no chat model; a long prompt's price keeps its 200k."""
    text = json.dumps(
        {
            "a": {
                "litellm_provider": "x",
                "mode": "image_generation",
                "input_cost_per_token": 1e-6,
            },
            "b": {"litellm_provider": "x", "mode": "embedding", "input_cost_per_token": 1e-6},
            "c": {
                "litellm_provider": "x",
                "mode": "chat",
                "input_cost_per_token": 3e-6,
                "input_cost_per_token_above_200k_tokens": 6e-6,
            },
        }
    )
    found = read_prices(text, "l.json", as_of="2026-11-01", provider=None)
    assert {r.model for r in found.rows} == {"c"}
    assert [(r.kind, r.usd) for r in found.rows] == [("input", 3.0), ("long_input", 6.0)]
    assert found.rows[1].source.endswith("above 200k tokens")
    assert sum(found.left_out.values()) == 2


def test_offers_have_the_names_of_gpus_or_are_asked_for() -> None:
    """RunPod's A100-80GB-SXM is one GPU; Lambda's H100 may be several; a T4 is none here."""
    text = (
        "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,SpotPrice\n"
        "2x,A100-80GB-SXM,2.0,32.0,160.0,3.78,CA,\n"
        "8x,H100,8.0,208.0,1800.0,23.92,us,\n"
        "1x,L4,1.0,4.0,16.0,0.50,us,0.25\n"
        "1x,T4,1.0,4.0,16.0,0.35,us,\n"
    )
    gpus = ("a100-80gb-sxm", "a100-80gb-pcie", "h100-sxm", "h100-pcie", "l4", "l40s")
    asked: dict[str, Any] = {"as_of": "2026-11-01", "provider": "x", "gpus": gpus}
    found = read_prices(text, "s.csv", **asked)
    rents = {(r.model, r.kind): r.usd for r in found.rows}
    assert rents == {
        ("a100-80gb-sxm", "rent_on_demand"): 1.89,
        ("l4", "rent_on_demand"): 0.5,
        ("l4", "rent_spot"): 0.25,
    }
    assert "its host included" in found.rows[0].source
    assert set(found.left_out) == {
        "H100 may be h100-pcie or h100-sxm: say +prices.gpu_names.H100=NAME",
        "T4 is no GPU of conf/gpu",
    }
    said = read_prices(text, "s.csv", gpu_names={"H100": "h100-sxm"}, **asked)
    assert ("h100-sxm", 2.99) in {(r.model, r.usd) for r in said.rows}


def test_openrouters_models() -> None:
    """Texts per token become $/M tokens; a router's -1 and a free 0 are no prices; an image model
    is left out, and said."""
    table = {
        "data": [
            {
                "id": "a/b",
                "pricing": {"prompt": "0.000003", "completion": "0.000015", "image": "0.01"},
                "architecture": {"output_modalities": ["text"]},
            },
            {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
            {"id": "a/free", "pricing": {"prompt": "0", "completion": "0"}},
            {
                "id": "a/draws",
                "pricing": {"prompt": "0.000001"},
                "architecture": {"output_modalities": ["image", "text"]},
            },
        ]
    }
    found = read_prices(json.dumps(table), "o.json", as_of="2026-11-01", provider=None)
    assert [(r.key, r.kind, r.usd) for r in found.rows] == [
        ("openrouter/a/b", "input", 3.0),
        ("openrouter/a/b", "output", 15.0),
    ]
    assert (found.skipped, dict(found.left_out)) == (2, {"answers in image, text": 1})


@pytest.mark.parametrize(
    ("after", "words", "change"),
    [(4.0, "falls 50 %", -0.5), (12.0, "rises 50 %", 0.5), (8.0, "steady", 0.0)],
)
def test_a_price_falls_or_rises_in_words_and_a_change_has_the_sign_of_trend(
    after: float, words: str, change: float
) -> None:
    """From 8 to 4 in a year is half of it gone: a change of -50 %, as bench trend prints it."""
    rows = [_row(8.0, "2024-01-01"), _row(after, "2024-12-31")]
    out = Console(file=io.StringIO(), width=200)
    print_book(out, select(rows, None), rows, TODAY, 90)
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert words in text
    (price,) = book_document(select(rows, None), rows, TODAY, 90)["prices"]
    assert price["change_per_year"] == pytest.approx(change, abs=0.002)
    assert price["decline"]["per_year"] == pytest.approx(-change, abs=0.002)
