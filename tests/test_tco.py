"""Properties of the cost model, its refusals, and answers from Runs."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from tco_support import TODAY, ask, ask_json, cpu_run, request

from bench import units as u
from bench.breakeven import breakeven
from bench.codec import decode
from bench.cost import (
    MeasuredQuality,
    Split,
    ThroughputPoint,
    fit_split,
    spread_cost,
    usd_per_correct_answer,
)
from bench.errors import InputError
from bench.figure import Figure
from bench.report.tco_table import print_answer
from bench.spec import Licence, ModelSpec
from bench.tco import Capital, Costs, Work, monthly_bill, npv, spot_rate
from bench.tco_answer import answer
from bench.tco_quality import equivalent
from bench.tco_spec import PowerSpec
from bench.verbs import tco as verb

positive = st.floats(0.01, 1e4)


def _split(a: float, b: float) -> Split:
    return Split(a=u.Rate(a, u.ServerSecond, u.Mtok), b=u.Rate(b, u.ServerSecond, u.Mtok),
                 kind="split", why="test", mixes=2, measured_input_share=0.5,
                 relative_ci=None)  # fmt: skip


@given(a=positive, b=positive, w_in=st.floats(0.01, 0.99), volume=positive, bill=positive)
def test_input_and_output_costs_give_the_bill_back(
    a: float, b: float, w_in: float, volume: float, bill: float
) -> None:
    demand: u.Rate[u.Mtok, u.Month] = u.Rate(volume, u.Mtok, u.Month)
    cost = spread_cost(u.usd_per_month(bill), demand, _split(a, b), np.asarray(w_in))
    assert cost.input is not None
    assert cost.output is not None
    back = cost.input * (demand * w_in) + cost.output * (demand * (1 - w_in))
    assert float(back) == pytest.approx(bill, rel=1e-9)


@given(a=st.floats(1, 1e3), b=st.floats(1, 1e3), mixes=st.lists(st.floats(0.1, 0.9), min_size=2,
       max_size=6, unique_by=lambda m: round(m, 1)))  # fmt: skip
def test_the_split_is_recovered_from_mixes(a: float, b: float, mixes: list[float]) -> None:
    points = []
    for share in mixes:
        total = 1e6 / (share * a + (1 - share) * b)
        points.append(ThroughputPoint(input_tokens_per_s=total * share,
                                      output_tokens_per_s=total * (1 - share)))  # fmt: skip
    fitted = fit_split(points)
    if max(mixes) - min(mixes) >= 0.02:
        assert fitted.kind == "split"
        assert float(fitted.a) == pytest.approx(a, rel=1e-6)
        assert float(fitted.b) == pytest.approx(b, rel=1e-6)


def _costs(**changes: Any) -> Costs:
    none = np.asarray(0.0)
    fields: dict[str, Any] = {
        "server": u.Rate(1000.0, u.Usd, u.ServerMonth), "site": u.Rate(0.0, u.Usd, u.ServerMonth),
        "load_kw": none, "idle_kw": none, "energy": u.Rate(0.1, u.Usd, u.Kwh),
        "staff": u.usd_per_month(0.0),
    }  # fmt: skip
    return Costs(**{**fields, **changes})


def _work(volume: float = 1.0, **changes: Any) -> Work:
    """One server carries 1,000 M tokens a month at this split."""
    fields: dict[str, Any] = {
        "demand": u.Rate(volume, u.Mtok, u.Month), "w_in": np.asarray(0.5),
        "peak_to_mean": np.asarray(1.0), "headroom": np.asarray(1.0), "spares": np.asarray(0.0),
        "split": _split(2628.0, 2628.0),
    }  # fmt: skip
    return Work(**{**fields, **changes})


def test_all_crossings_of_a_bill_in_steps() -> None:
    """$1000 a server and $500 staff at 1,000 M each against $1.30/M, by hand: 1,500 at one server
    is 1,153 > 1,000: none; two servers cost 2,500: 1,923; three 3,500: 2,692; four 4,500: 3,461;
    before 2,000 the API is dearer, just above it 3,500 > 2,600: cheaper again; and so on."""
    costs = _costs(staff=u.usd_per_month(500.0))
    found = breakeven(costs, _work(), u.usd_per_mtok(1.30))
    seen = [(round(c.mtok_per_month), c.servers, c.cheaper) for c in found.crossings]
    assert seen == [
        (1923, 2, "self-host"), (2000, 3, "api"), (2692, 3, "self-host"), (3000, 4, "api"),
        (3462, 4, "self-host"), (4000, 5, "api"), (4231, 5, "self-host"),
    ]  # fmt: skip
    assert found.for_good_above == pytest.approx(5500 / 1.30)


@settings(max_examples=60, deadline=None)
@given(price=st.floats(1.02, 20), staff=st.floats(0, 5000), spares=st.integers(0, 3))
def test_crossings_agree_with_the_bill_itself(price: float, staff: float, spares: int) -> None:
    costs = _costs(staff=u.usd_per_month(staff), idle_kw=np.asarray(0.5), load_kw=np.asarray(0.9))
    work = _work(spares=np.asarray(float(spares)))
    found = breakeven(costs, work, u.usd_per_mtok(price))

    def cheaper(volume: float) -> bool:
        bill = monthly_bill(costs, replace(work, demand=u.Rate(volume, u.Mtok, u.Month)))
        return float(bill.total) < price * volume

    for crossing in found.crossings[:20]:
        at = crossing.mtok_per_month
        assert cheaper(at * (1 + 1e-6)) is (crossing.cheaper == "self-host")
        assert cheaper(at * (1 - 1e-6)) is (crossing.cheaper == "api")
    if found.crossings:
        assert not cheaper(found.crossings[0].mtok_per_month * 0.5)


def test_no_crossing_at_or_below_the_floor() -> None:
    assert breakeven(_costs(), _work(), u.usd_per_mtok(1.0)).first is None
    assert breakeven(_costs(), _work(), u.usd_per_mtok(0.5)).for_good_above is None


def test_annuity_without_interest_is_straight_line() -> None:
    capital = Capital(upfront=u.usd(60_000.0), residual=u.usd(6_000.0), life_months=36,
                      monthly_rate=np.asarray(0.0))  # fmt: skip
    assert float(capital.per_month()) == pytest.approx(1_500.0)


def _two_months(**changes: Any) -> Costs:
    capital = Capital(upfront=u.usd(1_000.0), residual=u.usd(200.0), life_months=2,
                      monthly_rate=np.asarray(0.1))  # fmt: skip
    return _costs(capital=capital, **changes)


def test_npv_by_hand() -> None:
    """-1000 + 600/1.1 + (600 + 200)/1.21 = 206.61 with an API bill of $600 a month."""
    worth = npv(_two_months(), _work(600.0), u.usd_per_mtok(1.0), np.asarray(0.0), np.asarray(0.0))
    assert worth is not None
    assert float(worth) == pytest.approx(-1000 + 600 / 1.1 + 800 / 1.21)


def test_npv_with_falling_prices_and_growth_by_hand() -> None:
    """Prices fall to 1/4 and demand to 4 times a year: at month t both are powers of t/12. Demand
    900, 900*4^(1/12) = 1010, 1134: a second server is bought at month 0 for month 1."""
    worth = npv(_two_months(), _work(900.0), u.usd_per_mtok(1.0), np.asarray(0.75),
                np.asarray(3.0))  # fmt: skip
    assert worth is not None
    # each month's bill is 900 * 4^(t/12) * 4^(-t/12) = 900; both servers are bought at month 0
    by_hand = -2 * 1000 + 900 / 1.1 + (900 + 2 * 200) / 1.21
    assert float(worth) == pytest.approx(by_hand)


def test_spot_counts_lost_hours() -> None:
    rate = spot_rate(u.Rate(2.0, u.Usd, u.GpuHour), np.asarray(0.1), np.asarray(2.0))
    assert float(rate) == pytest.approx(2.5)
    with pytest.raises(InputError, match="no useful hour"):
        spot_rate(u.Rate(2.0, u.Usd, u.GpuHour), np.asarray(0.5), np.asarray(2.0))


def test_cost_per_correct_answer_by_hand() -> None:
    """1,000 in at $1/M and 500 out at $4/M are $0.003; at a pass rate of 0.6, $0.005."""
    demand: u.Rate[u.Mtok, u.Month] = u.Rate(2.0, u.Mtok, u.Month)
    cost = spread_cost(u.usd_per_month(5.0), demand, _split(1, 4), np.asarray(0.5))
    assert float(usd_per_correct_answer(cost, 1000, 500, 0.6)) == pytest.approx(0.005)
    with pytest.raises(InputError, match="pass_rate"):
        usd_per_correct_answer(cost, 1000, 500, 0.0)


def test_equal_quality_must_be_shown() -> None:
    def rate(value: float, reach: float) -> Figure:
        return Figure(value=value, low=value - reach, high=value + reach, source="test")

    assert equivalent(rate(0.70, 0.003), rate(0.71, 0.004), 0.02) is True  # 0.01 + 0.005
    assert equivalent(rate(0.70, 0.03), rate(0.71, 0.04), 0.02) is False
    assert equivalent(Figure(value=0.7, source="t"), rate(0.7, 0.001), 0.02) is None


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
    (["tco.throughput.points=[{input_tokens_per_s: 0, output_tokens_per_s: 0}]"],
     "is not a throughput"),
    (["tco.throughput.points=[{input_tokens_per_s: -5, output_tokens_per_s: 9}]"],
     "is not a throughput"),
    (["tco.throughput.points=[]"], "no throughput is given"),
    (["tco.throughput=null"], "tco.throughput is null and no Run was given"),
    (["tco.own=null"], "own is missing"),
    (["tco.api.decline_per_year=null"], "fewer than two dated"),
    (["tco.own.capex_usd.low=310000"], "between low and high"),
    (["prices.as_of=2026-13-01"], "is not a date"),
]  # fmt: skip


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
    tables = [line for line in screen.getvalue().splitlines() if f"[{word.upper()}]" in line]
    assert len(tables) == 1 + 5  # the headline and every table


def test_unlike_runs_are_not_pooled() -> None:
    with pytest.raises(InputError, match="unlike and cannot be pooled"):
        ask("tco=cpu-host", runs=(cpu_run(), cpu_run(path="other", quant="int8")))


def test_a_run_of_other_hardware_is_refused() -> None:
    with pytest.raises(InputError, match="was measured on 'cpu'"):
        ask("tco=default", runs=(cpu_run(),))


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


def test_measured_boards_need_the_rest_of_the_server() -> None:
    point = ThroughputPoint(input_tokens_per_s=4000, output_tokens_per_s=1000, slo_met=True)
    run = cpu_run(gpu="h100-sxm", gpus=4, points=(point,), load_w=2000.0, idle_w=400.0,
                  power_relative_ci=0.05)  # fmt: skip
    with pytest.raises(InputError, match=r"power\.host_adder_w is missing"):
        ask("tco=default", "power.host_adder_w=null", runs=(run,))
    found = ask("tco=default", "power.host_adder_w=1000", runs=(run,))
    # two copies of four GPUs on a server of eight: 4000 W + 1000 W, and 800 W + 1000 W
    assert float(found.costs.load_kw) == pytest.approx(5.0)
    assert float(found.costs.idle_kw) == pytest.approx(1.8)
    assert any("2 copies" in line for line in found.caveats)
    assert "power.load_w" not in {a.key for a in found.assumed}


def test_idle_above_load_as_measured_is_refused() -> None:
    run = cpu_run(load_w=10.0, power_scope="node")
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
    quality = MeasuredQuality(pass_rate=0.5, low=0.49, high=0.51, input_tokens_per_task=1000,
                              output_tokens_per_task=200)  # fmt: skip
    data = ask_json("tco=cpu-host", runs=(cpu_run(quality=quality),))
    blended = data["levels"]["loaded"]["usd_per_mtok_blended"]
    (own,) = data["correct_answers"]
    assert own["usd_per_correct_answer"] == pytest.approx(blended * 1200e-6 / 0.5)


def test_a_quality_that_is_never_right_has_no_cost() -> None:
    quality = MeasuredQuality(pass_rate=0.0, input_tokens_per_task=9, output_tokens_per_task=9)
    with pytest.raises(InputError, match="pass_rate must be above 0"):
        ask("tco=cpu-host", runs=(cpu_run(quality=quality),))


def test_unlike_cache_hit_rates_are_said() -> None:
    found = ask("tco=cpu-host", runs=(cpu_run(cache_hit_rate=0.4),))
    assert any("cache hit rate of 0.40" in line for line in found.caveats)


# --- the verb ---


def test_json_has_the_promised_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert verb.run(request("tco=worked-example"), (), as_json=True) == 0
    data = json.loads(capsys.readouterr().out)
    for level in ("marginal", "utilised", "loaded"):
        assert set(data["levels"][level]) == {
            "usd_per_mtok_input", "usd_per_mtok_output", "usd_per_mtok_blended",
        }  # fmt: skip
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
    missing = request("tco=worked-example", *(f"tco.demand.{i}" for i in nulls[:3]),
                      "tco.demand.trace=/nowhere.csv")  # fmt: skip
    with pytest.raises(InputError, match=r"tco\.demand\.trace: /nowhere\.csv"):
        verb.run(missing)


def test_the_model_group_serves_the_licence_without_a_run() -> None:
    asked = request("tco=worked-example")
    model = ModelSpec(name="m", max_context_tokens=8,
                      licence=Licence(name="Closed", commercial=False))  # fmt: skip
    found = answer(replace(asked, model=model), (), asked.prices.rows, None, TODAY)
    assert "Closed does not allow commercial use" in found.licence[0]
