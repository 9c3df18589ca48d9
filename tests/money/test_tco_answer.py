"""What a cost answer refuses, what Runs give it, and what the verb prints."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tco_support import TODAY, ask, ask_json, cpu_run, request

from bench.ask.costs import answered
from bench.cli.verbs import tco as verb
from bench.money.answer import answer
from bench.money.spec import PowerSpec
from bench.money.throughput import (
    MeasuredQuality,
    TcoRun,
    ThroughputPoint,
    saturated_point,
)
from bench.report.tco_table import print_answer
from bench.values.codec import decode
from bench.values.errors import InputError
from bench.values.spec import Licence, ModelSpec

# --- refusals: named, never $0 ---

BAD = [
    (["tco.server.gpu=h1000-sxm"], r"tco.server.gpu: 'h1000-sxm' is unknown. Did you mean 'h100"),
    (["tco.basis=reserved"], "h100-sxm has no 'rent_reserved' price"),
    (["tco.basis=on_demand", "tco.rent.provider=nobody"], "tco.rent.provider: 'nobody'"),
    (["tco.api.compare=[acme/gpt]"], "tco.api.compare: 'acme/gpt' has no price"),
    (["prices.as_of=2025-06-01", "tco.api.compare=[openai/gpt-5-mini]"], "has no price"),
    (["tco.own.capex_usd=-1"], "tco.own.capex_usd must be above 0"),
    (["tco.own.residual_usd=400000"], "residual_usd must not exceed"),
    (["tco.demand.mtok_per_month=0"], "mtok_per_month must be above 0"),
    (["tco.demand.input_share=1.5"], "input_share must be at least 0 and at most 1"),
    (["tco.demand.peak_to_mean=0.5"], "peak_to_mean must be at least 1"),
    (["tco.fleet.headroom=0"], "headroom must be above 0"),
    (["tco.fleet.spares=0.5"], "spares must be a whole number"),
    (["power.idle_w=8000"], "power.idle_w must not exceed load_w"),
    (["power.load_w=null"], "power.load_w is missing"),
    (["power.pue=0.9"], "power.pue must be at least 1"),
    (
        ["tco.throughput.points=[{input_tokens_per_s: 0, output_tokens_per_s: 0}]"],
        "is not a throughput",
    ),
    (
        ["tco.throughput.points=[{input_tokens_per_s: -5, output_tokens_per_s: 9}]"],
        "is not a throughput",
    ),
    (["tco.throughput.points=[]"], "no throughput is given"),
    (["tco.throughput=null"], "tco.throughput is null and no Run was given"),
    (["tco.own=null"], "own is missing"),
    (["tco.api.decline_per_year=null"], "fewer than two dated"),
    (["tco.own.capex_usd.low=310000"], "between low and high"),
    (["prices.as_of=2026-13-01"], "is not a date"),
    (["tco.throughput.relative_ci=-0.2"], "relative_ci must be at least 0"),
    (["tco.api.discount=1"], "discount must be at least 0 and below 1"),
    (["tco.api.batch_discount=1"], "batch_discount must be at least 0 and below 1"),
    (["tco.api.decline_per_year=1"], "decline_per_year must be at least -1 and below 1"),
    (["tco.quality.equivalence_margin=-1"], "equivalence_margin must be at least 0"),
    (["tco.server.gpus=0"], "gpus is 0 of gpu 'h100-sxm'"),
    (["tco.server.gpu=cpu"], "gpus is 8 of gpu 'cpu'"),
    (["tco.use=comercial"], "Did you mean 'commercial'"),
    (["tco.demand.mtok_per_month=.nan"], "is not a number"),
    (["tco.demand.trace=week.csv"], r"input_share itself: add tco.demand.mtok_per_month=null"),
    (
        [
            "prices.more_rows=[{provider: p, model: m, kind: input, usd: 3e-6, as_of: 2026-01, "
            "source: s}]"
        ],
        "usd is 3e-06 per million tokens, which no one asks",
    ),
]


@pytest.mark.parametrize(("overrides", "text"), BAD)
def test_bad_input_is_named(overrides: list[str], text: str) -> None:
    with pytest.raises(InputError, match=text):
        ask("tco=worked-example", *overrides)


def test_a_missing_figure_is_named_with_its_whole_path() -> None:
    data: dict[str, Any] = {"name": "p", "pue": {"value": 1.0, "source": "t"}}
    with pytest.raises(InputError, match=r"config.power: the key 'usd_per_kwh' is missing"):
        decode(PowerSpec, data, "config.power")


@pytest.mark.parametrize("word", ["invalid", "dummy", "replay", "synthetic"])
def test_doubtful_runs_are_refused_or_carry_their_word(word: str) -> None:
    run = cpu_run(words=(word,))
    with pytest.raises(InputError, match=rf"is {word}: no cost .* tco.allow=\[{word}\]"):
        ask("tco=cpu-host", runs=(run,))
    found = ask("tco=cpu-host", f"tco.allow=[{word}]", runs=(run,))
    assert found.words == (word,)
    screen = io.StringIO()
    print_answer(found, Console(file=screen, width=200))
    marked = [line for line in screen.getvalue().splitlines() if f"[{word.upper()}]" in line]
    starts = ("cpu-host", "Against", "Cost per", "What the", "Ways", "What moves", "Not measured")
    assert all(any(line.startswith(s) for line in marked) for s in starts)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (
            [],
            "3 of 5 APIs are cheaper: self-hosting costs $1.53 per M tokens, less than "
            "google/gemini-3-pro ($4.50) and 1 more, more than deepseek/deepseek-r1 ($0.96) and 2 "
            "more",
        ),
        (
            ["tco.api.compare=[openai/gpt-5-mini]"],
            "the API is cheaper: self-hosting costs $1.53 per M tokens, more than "
            "openai/gpt-5-mini ($0.6875)",
        ),
        (
            ["tco.api.compare=[openai/gpt-5-mini,deepseek/deepseek-r1]"],
            "the API is cheaper: self-hosting costs $1.53 per M tokens, more than all 2 APIs "
            "compared, from openai/gpt-5-mini ($0.6875) to deepseek/deepseek-r1 ($0.96)",
        ),
        (
            [
                "tco.api.compare=[google/gemini-3-pro,anthropic/claude-sonnet-4.5]",
                "tco.api.discount=0.6",
            ],
            "it cannot be told which is cheaper: self-hosting costs $1.53 per M tokens, not to "
            "be told from google/gemini-3-pro ($1.80, self-hosting cheaper in 28% of draws) and 1 "
            "more",
        ),
    ],
)
def test_the_first_line_is_the_answer_in_words(overrides: list[str], text: str) -> None:
    screen = io.StringIO()
    print_answer(ask("tco=worked-example", *overrides), Console(file=screen, width=400))
    assert screen.getvalue().splitlines()[0] == f"worked-example: {text}"


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_figure_is_cut_in_a_narrow_terminal(width: int) -> None:
    screen = io.StringIO()
    print_answer(ask("tco=worked-example"), Console(file=screen, width=width))
    text = " ".join(screen.getvalue().split())
    for figure in ("5,667 (N=2)", "+5,335,354", "1.5261", "45,783.38", "none (floor $0.7638)"):
        assert figure in text


@pytest.mark.parametrize(
    ("question", "runs", "unit"),
    [("tco=worked-example", (), "GPU"), ("tco=cpu-host", (cpu_run(),), "server")],
)
def test_a_rent_names_what_an_hour_of_it_is_for(
    question: str, runs: tuple[TcoRun, ...], unit: str
) -> None:
    screen = io.StringIO()
    print_answer(ask(question, runs=runs), Console(file=screen, width=200))
    assert f"rent, $/{unit}-h" in screen.getvalue()


def test_unlike_runs_are_not_pooled() -> None:
    with pytest.raises(InputError, match="unlike and cannot be pooled"):
        ask("tco=cpu-host", runs=(cpu_run(), cpu_run(path="other", quant="int8")))


def test_a_run_of_other_hardware_is_refused() -> None:
    with pytest.raises(InputError, match="was measured on 'cpu': type tco=cpu-host"):
        ask("tco=default", runs=(cpu_run(),))
    with pytest.raises(InputError, match="on 'l4': type one of that hardware, tco=NAME"):
        ask("tco=default", runs=(cpu_run(gpu="l4", gpus=1),))


def test_a_run_whose_slo_nobody_checked_did_not_keep_it() -> None:
    point = ThroughputPoint(input_tokens_per_s=400, output_tokens_per_s=100, slo_met=None)
    said = " ".join(saturated_point(cpu_run(points=(point,)))[1])
    assert "no SLO was checked" in said
    assert "this load is the fastest that counts: heavier load may cost less per token" in said
    assert "kept its SLO" not in said


def test_hardware_nobody_named() -> None:
    """A server of known timing runs on nothing; an endpoint runs on something untold."""
    with pytest.raises(InputError, match=r"does not say on which hardware .* gpu=NAME gpus=N"):
        ask("tco=cpu-host", runs=(cpu_run(gpu="auto"),))
    synthetic = cpu_run(gpu="auto", words=("synthetic",))
    assert ask("tco=cpu-host", "tco.allow=[synthetic]", runs=(synthetic,)).words == ("synthetic",)


def test_goodput_not_peak() -> None:
    fast = ThroughputPoint(input_tokens_per_s=800, output_tokens_per_s=200, slo_met=False)
    good = ThroughputPoint(input_tokens_per_s=400, output_tokens_per_s=100, slo_met=True)
    data = ask_json("tco=cpu-host", runs=(cpu_run(points=(good, fast)),))
    assert data["model"]["tokens_per_s_per_server"] == pytest.approx(500)
    with pytest.raises(InputError, match="no load point met its SLO"):
        ask("tco=cpu-host", runs=(cpu_run(points=(fast,)),))
    zero = ThroughputPoint(input_tokens_per_s=0, output_tokens_per_s=0, slo_met=True)
    with pytest.raises(InputError, match="no load point served any token"):
        ask("tco=cpu-host", runs=(cpu_run(points=(zero,)),))


# --- answers from Runs ---


def test_one_mix_is_a_blend_and_says_so() -> None:
    data = ask_json("tco=cpu-host", runs=(cpu_run(),))
    assert data["split"]["kind"] == "blend"
    assert data["levels"]["loaded"]["usd_per_mtok_input"] is None
    assert data["levels"]["loaded"]["usd_per_mtok_blended"] > 0
    assert any("one measured mix" in line for line in data["caveats"])
    assert data["model"]["input_share"] == pytest.approx(0.8)
    with pytest.raises(InputError, match="measure a second mix"):
        ask("tco=cpu-host", "tco.demand.input_share=0.5", runs=(cpu_run(),))


def test_two_mixes_split_input_from_output() -> None:
    """1 = a*400e-6 + b*100e-6 and 1 = a*100e-6 + b*200e-6: a = 1428.57, b = 4285.71."""
    point = ThroughputPoint(input_tokens_per_s=100, output_tokens_per_s=200, slo_met=True)
    other = cpu_run(path="run-2", points=(point,))
    runs = (cpu_run(), other)
    with pytest.raises(InputError, match="input_share is missing"):
        ask("tco=cpu-host", runs=runs)
    data = ask_json("tco=cpu-host", "tco.demand.input_share=0.75", runs=runs)
    assert data["split"]["a_server_s_per_mtok_input"] == pytest.approx(1e6 / 700)
    assert data["split"]["b_server_s_per_mtok_output"] == pytest.approx(3e6 / 700)
    assert "throughput" not in " ".join(a["key"] for a in data["assumed"])
    assert data["split"]["throughput_source"] == "measured: results/tiny/run-1, run-2"


def test_a_cpu_host_from_run_to_answer() -> None:
    """Marginal by hand: rent of $0.10/h over 500 tokens/s is 0.10/1.8 $/M."""
    data = ask_json("tco=cpu-host", "tco.basis=on_demand", runs=(cpu_run(),))
    assert data["levels"]["marginal"]["usd_per_mtok_blended"] == pytest.approx(0.10 / 1.8)
    assert (data["servers"], data["gpus"]) == (1, 0)
    assert data["uncertainty"]["usd_per_mtok_blended"]["p5"] > 0
    assert data["options"]["own"]["monthly_usd"] > 0
    assert any(a["key"] == "prices.cloud/cpu.rent_on_demand" for a in data["assumed"])


def test_another_engine_or_processor_is_not_pooled() -> None:
    run = cpu_run(engine="vllm 0.32.0", host="EPYC")
    for other in (replace(run, engine="vllm 0.11.0"), replace(run, host="Xeon")):
        with pytest.raises(InputError, match="unlike and cannot be pooled"):
            ask("tco=cpu-host", runs=(run, replace(other, path="b")))


def test_the_fastest_load_tried_may_not_be_the_limit() -> None:
    """Said where nothing slower or overloaded lies beyond, unless a search found the limit."""
    said = "heavier load may cost less"
    assert any(said in line for line in ask("tco=cpu-host", runs=(cpu_run(),)).caveats)
    searched = ask("tco=cpu-host", runs=(cpu_run(searched=True),))
    assert not any(said in line for line in searched.caveats)


def test_only_what_enters_is_listed_as_assumed() -> None:
    """Spot is not priced in the book for this GPU, and no boards were measured."""
    keys = {a.key for a in ask("tco=worked-example").assumed}
    assert "tco.rent.spot_on_demand_share" not in keys
    assert "power.host_adder_w" not in keys
    assert {"tco.own.capex_usd", "power.load_w"} <= keys


def test_a_share_kept_on_demand_brings_its_price_along() -> None:
    """Spot at (0.8 x 1 / (1 - 0.02 x 0.25) + 0.2 x 2) $/GPU-h on 3 servers of 8."""
    row = "{provider: x, model: h100-sxm, kind: rent_spot, usd: 1, as_of: 2026-11, source: t}"
    data = ask_json(
        "tco=worked-example",
        "tco.basis=spot",
        f"prices.more_rows=[{row}]",
        "tco.rent.spot_interruptions_per_h=0.02",
        "tco.rent.spot_recovery_h=0.25",
        "tco.rent.spot_on_demand_share=0.2",
    )
    rate = 0.8 / (1 - 0.02 * 0.25) + 0.2 * 2
    assert data["monthly_usd_parts"]["hardware"] == pytest.approx(3 * 8 * 730 * rate)
    kinds = [p["kind"] for p in data["options"]["spot"]["prices"]]
    assert kinds == ["rent_spot", "rent_on_demand"]
    assert any(a["key"] == "prices.cloud-low/h100-sxm.rent_on_demand" for a in data["assumed"])


def test_measured_boards_need_the_rest_of_the_server() -> None:
    point = ThroughputPoint(
        input_tokens_per_s=4000,
        output_tokens_per_s=1000,
        slo_met=True,
        load_w=2000.0,
        power_relative_ci=0.05,
    )
    run = cpu_run(gpu="h100-sxm", gpus=4, points=(point,), idle_w=400.0)
    with pytest.raises(InputError, match=r"power\.host_adder_w is missing"):
        ask("tco=default", "power.host_adder_w=null", runs=(run,))
    found = ask("tco=default", "power.host_adder_w=1000", runs=(run,))
    # two copies of four GPUs on a server of eight: 4000 W + 1000 W, and 800 W + 1000 W
    assert float(found.costs.load_kw) == pytest.approx(5.0)
    assert float(found.costs.idle_kw) == pytest.approx(1.8)
    assert any("2 copies" in line for line in found.caveats)
    assert "power.load_w" not in {a.key for a in found.assumed}


def test_power_is_that_of_the_load_whose_throughput_counts() -> None:
    """The overloaded point draws 3 kW, the one within the SLO 2 kW; of two Runs the dearer."""
    good = ThroughputPoint(
        input_tokens_per_s=4000, output_tokens_per_s=1000, slo_met=True, load_w=2000.0
    )
    over = replace(good, output_tokens_per_s=1500, slo_met=False, load_w=3000.0)
    run = cpu_run(gpu="h100-sxm", gpus=8, points=(good, over), idle_w=400.0)
    assert float(ask("tco=default", runs=(run,)).costs.load_kw) == pytest.approx(2.0 + 1.4)
    other = replace(run, path="run-2", points=(replace(good, load_w=2500.0),))
    assert float(ask("tco=default", runs=(run, other)).costs.load_kw) == pytest.approx(2.5 + 1.4)


def test_idle_above_load_as_measured_is_refused() -> None:
    point = ThroughputPoint(input_tokens_per_s=400, output_tokens_per_s=100, load_w=10.0)
    run = cpu_run(points=(point,), power_scope="node")
    with pytest.raises(InputError, match="idle_w must not exceed load_w, as measured by"):
        ask("tco=cpu-host", runs=(run,))


def test_licence_is_in_the_answer() -> None:
    clause = Licence(name="Community", gated=True, commercial=True, restrictions="700M users")
    assert ask("tco=cpu-host", runs=(cpu_run(licence=clause),)).licence == (
        "Community, restricted: 700M users",
        "Community: the weights are gated (terms to accept before download)",
    )
    closed = Licence(name="Research", commercial=False)
    found = ask("tco=cpu-host", runs=(cpu_run(licence=closed),)).licence
    assert "does not allow commercial use" in found[0]
    assert ask("tco=cpu-host", "tco.use=research", runs=(cpu_run(licence=closed),)).licence == ()


def test_measured_quality_gives_cost_per_correct_answer() -> None:
    quality = MeasuredQuality(
        pass_rate=0.5, low=0.49, high=0.51, input_tokens_per_task=1000, output_tokens_per_task=200
    )
    data = ask_json("tco=cpu-host", runs=(cpu_run(quality=quality),))
    blended = data["levels"]["loaded"]["usd_per_mtok_blended"]
    (own,) = data["correct_answers"]
    assert own["usd_per_correct_answer"] == pytest.approx(blended * 1200e-6 / 0.5)


def test_a_quality_that_is_never_right_has_no_cost() -> None:
    quality = MeasuredQuality(pass_rate=0.0, input_tokens_per_task=9, output_tokens_per_task=9)
    with pytest.raises(InputError, match="pass_rate must be above 0"):
        ask("tco=cpu-host", runs=(cpu_run(quality=quality),))


def test_unlike_cache_hit_rates_are_said() -> None:
    def points(rate: float | None) -> tuple[ThroughputPoint, ...]:
        return (
            ThroughputPoint(
                input_tokens_per_s=400, output_tokens_per_s=100, slo_met=True, cache_hit_rate=rate
            ),
        )

    def said(rate: float | None, *overrides: str) -> str:
        return " ".join(
            ask("tco=cpu-host", *overrides, runs=(cpu_run(points=points(rate)),)).caveats
        )

    assert "cache hit rate of 0.40; the API is priced at 0.00" in said(0.4)
    assert "cache hit rate" not in said(0.0)
    assert "cache hit rate" not in said(None)
    half = "tco.demand.cache_hit_rate=0.5"
    assert "hit rate was not measured; the API is priced at 0.50" in said(None, half)
    assert "cache hit rate" not in said(0.5, half)


# --- the verb ---


def test_json_has_the_promised_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert verb.run(request("tco=worked-example"), (), as_json=True) == 0
    data = json.loads(capsys.readouterr().out)
    for level in ("marginal", "utilised", "loaded"):
        assert set(data["levels"][level]) == {
            "usd_per_mtok_input",
            "usd_per_mtok_output",
            "usd_per_mtok_blended",
        }
    by_api = ("breakeven_mtok_per_month", "payback_months", "npv_usd", "p_self_host_cheaper")
    for key in by_api:
        assert len(data[key]) == 5, key
    assert {"servers", "utilisation", "monthly_usd", "assumed"} <= set(data)
    assert all(a["source"] for a in data["assumed"])


def test_the_trace_is_the_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """168 hours of 3e9 tokens: 3,000 M x 730 a month, flat."""
    trace = tmp_path / "week.csv"
    rows = [f"{h},2250000000,750000000" for h in range(168)]
    trace.write_text("\n".join(["hour,input_tokens,output_tokens", *rows]), encoding="utf-8")
    nulls = ["mtok_per_month=null", "peak_to_mean=null", "input_share=null", f"trace={trace}"]
    asked = request("tco=worked-example", *(f"tco.demand.{item}" for item in nulls))
    assert verb.run(asked, (), as_json=True) == 0
    model = json.loads(capsys.readouterr().out)["model"]
    assert model["demand_mtok_per_month"] == pytest.approx(3000 * 730)
    assert model["input_share"] == pytest.approx(0.75)
    missing = request(
        "tco=worked-example",
        *(f"tco.demand.{i}" for i in nulls[:3]),
        "tco.demand.trace=/nowhere.csv",
    )
    with pytest.raises(InputError, match=r"tco\.demand\.trace: /nowhere\.csv"):
        verb.run(missing)


def test_the_model_group_serves_the_licence_without_a_run() -> None:
    asked = request("tco=worked-example")
    model = ModelSpec(
        name="m", max_context_tokens=8, licence=Licence(name="Closed", commercial=False)
    )
    found = answer(replace(asked, model=model), (), asked.prices.rows, None, TODAY)
    assert "Closed does not allow commercial use" in found.licence[0]


def test_an_answer_as_of_a_date_leaves_out_what_had_no_price_yet() -> None:
    answer = ask_json("tco=worked-example", "prices.as_of=2026-02-17")
    assert "openai/gpt-5-mini" not in answer["breakeven_mtok_per_month"]
    assert "anthropic/claude-sonnet-4.5" in answer["breakeven_mtok_per_month"]
    assert any("2026-02-17: openai/gpt-5-mini" in caveat for caveat in answer["caveats"])


def test_a_run_given_twice_is_not_pooled_with_itself() -> None:
    with pytest.raises(InputError, match="one run is given twice"):
        answered(request("tco=cpu-host"), (cpu_run(), cpu_run()))
