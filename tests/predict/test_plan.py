"""Plans: the odds of an SLO, fleets and bills by tco's own rules, and what would decide."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from bench.cli.main import main
from bench.config.compose import conf_dir
from bench.predict.plan import Option, decide, p_holds, worth_listing
from bench.values.prediction import Band, Prediction
from bench.values.spec import SloSpec

DEMAND = ("tco.demand.mtok_per_month=30000", "tco.demand.peak_to_mean=2")


def one(ttft: Band, tpot: Band) -> Prediction:
    figures = {"ttft_p50_ms": ttft, "tpot_p50_ms": tpot}
    return Prediction(load="c1", figures=figures, novelty="same", rows=1)


def test_odds_of_an_slo_by_hand() -> None:
    fast = Band(value=1, low=0.9, high=1.1)
    # At the end of an 80 % band nine in ten are below; in its middle one in two.
    at_end = one(fast, Band(value=30, low=20, high=50))
    assert p_holds(SloSpec(ttft_ms=1e6, tpot_ms=50), at_end) == pytest.approx(0.9, abs=1e-3)
    assert p_holds(SloSpec(ttft_ms=1e6, tpot_ms=30), at_end) == pytest.approx(0.5, abs=1e-3)
    assert p_holds(SloSpec(ttft_ms=1e6, tpot_ms=20), at_end) == pytest.approx(0.1, abs=1e-3)
    # Both limits at the middle: a quarter.
    both = one(Band(value=100, low=50, high=200), Band(value=30, low=20, high=50))
    assert p_holds(SloSpec(ttft_ms=100, tpot_ms=30), both) == pytest.approx(0.25, abs=1e-3)


def option(name: str, usd: float, spread: float) -> Option:
    band = Band(value=usd, low=usd * math.exp(-spread), high=usd * math.exp(spread))
    return Option(way="rent", name=name, usd_per_month=band, overrides=(f"model={name}",), p_slo=1)


def test_what_decides_between_the_first_two() -> None:
    # Far apart: nothing to measure. P = Φ(ln 2 / (0.1 / 1.2816 × √2)) = Φ(6.3).
    odds, needed = decide([option("a", 100, 0.1), option("b", 200, 0.1)])
    assert (round(odds or 0, 4), needed) == (1.0, ())
    # Close, one of them known well: the other alone decides. ln 1.2 = 0.18 against 0.39 before,
    # 0.05 after.
    odds, needed = decide([option("a", 100, 0.05), option("b", 120, 0.5)])
    assert odds is not None
    assert 0.6 < odds < 0.9
    assert needed == ("bench model=b",)
    # Both wide: both are needed, the wider first.
    _, needed = decide([option("a", 100, 0.4), option("b", 101, 0.5)])
    assert needed == ("bench model=b", "bench model=a")
    assert decide([option("a", 1, 0.1)]) == (None, ())
    # The same whole GPUs wherever in their bands the rates lie: no speed decides.
    assert decide([option("a", 100, 0.0), option("b", 100, 0.0)]) == (0.5, ())


def offer(name: str, usd: float, p_slo: float, way: Literal["rent", "own"] = "rent") -> Option:
    return Option(way=way, name=name, usd_per_month=Band(value=usd, low=usd, high=usd), p_slo=p_slo)


def test_what_nobody_would_buy_is_counted_and_not_listed() -> None:
    """The least bill that holds the SLO is 100, so of that model nothing above 300 is listed; what
    misses it for sure, or may miss it at more than 300, is not listed either."""
    fine, dear = offer("a none on 1×x", 100, 0.9), offer("a none on 8×x", 301, 0.95)
    own, more = offer("a none on 1×x", 900, 0.9, "own"), offer("a none on 2×x", 901, 0.9, "own")
    surest = offer("a none on 4×x", 5000, 0.99)
    odd, sure_miss = offer("a none on 1×y", 299, 0.5), offer("a none on 1×z", 50, 0.2)
    other, gone = offer("b none on 1×x", 250, 0.8), offer("c none on 4×x", 9000, 0.4)
    every = (fine, other, dear, own, more, surest, odd, sure_miss, gone)
    found = worth_listing(every)
    assert found.options == (fine, other, own, surest, odd)
    assert (found.dear, found.missing, found.gone) == (2, 2, ("c none",))
    assert len(found.options) + found.dear + found.missing == len(every)


def test_the_only_deployment_is_listed_however_dear() -> None:
    only = offer("a none on 8×x", 9e6, 0.85)
    assert worth_listing((only, offer("b none on 1×x", 10, 0.1))).options == (only,)
    # none holds: the cheapest of each way and the one that most probably does
    cheap, likely = offer("a none on 1×x", 10, 0.0), offer("a none on 8×x", 9e6, 0.4)
    between = offer("a none on 2×x", 31, 0.1)
    found = worth_listing((cheap, between, likely))
    assert (found.options, found.dear, found.missing) == ((cheap, likely), 1, 0)
    assert worth_listing(()).options == ()


def test_the_table_says_how_many_are_not_listed_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("model=llama-3.1-70b,llama-3.1-8b", "gpu=h100-sxm", "gpus=2,4,8", *DEMAND)
    slo = ("workload.slo.ttft_ms=150", "workload.slo.tpot_ms=10")
    with pytest.raises(SystemExit):
        main(["plan", *words, *slo])
    shown = capsys.readouterr().out
    rows = [line for line in shown.splitlines() if line.strip().startswith(("rent", "own"))]
    assert not any("70b" in row for row in rows)
    assert "that holds it, with that every one of llama-3.1-70b none (--json has all)" in shown
    everything = planned(capsys, *words[:-2], *slo)["options"]
    assert any("70b" in o["name"] for o in everything)


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    with pytest.raises(SystemExit) as left:
        main(["plan", *words, *DEMAND, "--json"])
    assert left.value.code == 0
    return json.loads(capsys.readouterr().out)


def test_the_bill_is_servers_times_rent(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, "model=llama-3.1-8b", "quant=none,fp8", "gpu=h100-sxm", "gpus=1")
    rent = next(o for o in found["options"] if o["way"] == "rent")
    rate = rent["prediction"]["figures"]["output_tokens_per_s"]["value"]
    # 30,000 M a month, half of them answers, peak twice the mean, 85 % used, one spare.
    peak = 30e9 / (730 * 3600) / 2 * 2 / 0.85
    assert rent["replicas"] == math.ceil(peak / rate) + 1
    assert rent["gpus"] == rent["replicas"]
    # The cheapest H100 of the book is 2 $/h; staff is 0.5 and 0.02 a server × 200,000 × 1.3 / 12.
    assert rent["usd_per_month"]["value"] == pytest.approx(
        rent["replicas"] * 2.0 * 730 + (0.5 + 0.02 * rent["replicas"]) * 200_000 * 1.3 / 12
    )
    assert rent["usd_per_month"]["low"] <= rent["usd_per_month"]["value"]
    assert {o["way"] for o in found["options"]} == {"rent", "own", "api"}
    holding = [o for o in found["options"] if (o["p_slo"] or 0) >= 0.8]
    costs = [o["usd_per_month"]["value"] for o in holding]
    assert costs == sorted(costs)
    # deepseek-v3.2 at 0.28 and 0.42 $/M, half each: 0.35 × 30,000.
    api = next(o for o in found["options"] if o["name"] == "deepseek/deepseek-v3.2")
    assert api["usd_per_month"]["value"] == pytest.approx(10_500)


def test_every_table_says_predicted(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "model=llama-3.1-8b,llama-3.1-70b", "gpu=h100-sxm", *DEMAND])
    shown = capsys.readouterr().out
    assert shown.startswith("predicted")
    assert "$/month, predicted" in shown
    assert "P(SLO), predicted" in shown
    assert "output tokens/s each, predicted" in " ".join(shown.split())  # half of the demand
    assert "left out: model=llama-3.1-70b" in shown  # one H100 does not hold it


def test_a_plan_feeds_the_question_of_cost(capsys: pytest.CaptureFixture[str]) -> None:
    """The command that it prints gives the same bill, every title says predicted, and so does the
    figure among the inputs."""
    with pytest.raises(SystemExit):
        main(["plan", "model=llama-3.1-8b", "gpu=h100-sxm", *DEMAND])
    out = capsys.readouterr().out
    [line] = [line for line in out.splitlines() if "part by part: " in line]
    [row] = [row for row in out.splitlines() if row.strip().startswith("own")]
    words = shlex.split(line.partition("part by part: ")[2])
    assert words[:2] == ["bench", "tco"]
    with pytest.raises(SystemExit):
        main([*words[1:], "--json"])
    document = json.loads(capsys.readouterr().out)
    own = document["monthly_usd"]
    assert f"{own:,.0f}" in row
    assert document["words"] == ["predicted"]
    with pytest.raises(SystemExit):
        main(words[1:])
    shown = capsys.readouterr().out
    assert shown.count("[PREDICTED]") >= 6
    assert "(predicted, " in shown


def test_the_command_that_is_printed_names_ones_own_folders(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    own = tmp_path / "tco"
    own.mkdir()
    shipped = conf_dir() / "tco" / "default.yaml"
    (own / "mine.yaml").write_text(shipped.read_text().replace("name: default", "name: mine"))
    words = ["model=llama-3.1-8b", "gpu=h100-sxm", "tco=mine", "--config-dir", str(tmp_path)]
    with pytest.raises(SystemExit):
        main(["plan", *words, *DEMAND])
    [line] = [line for line in capsys.readouterr().out.splitlines() if "part by part: " in line]
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(line.partition("part by part: ")[2])[1:])
    assert ended.value.code == 0
    assert "[PREDICTED]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model=llama-3.1-8", "gpu=h100-sxm"), "llama-3.1-8b"),
        (("model=llama-3.1-8b,qwen3-8", "gpu=h100-sxm"), "model=qwen3-8: there is no such model"),
        (("model=llama-3.1-8b", "gpu=h100-sxm,h1000"), "gpu=h1000"),
        (("model=llama-3.1-70b", "gpu=h100-sxm", "gpus=1"), "no candidate fits"),
        (("model=llama-3.1-8b", "gpu=h100-sxm", "gpus=1,x"), "gpus=x"),
    ],
)
def test_wrong_candidates_are_one_line(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["plan", *words])
    shown = capsys.readouterr()
    assert left.value.code == 2
    assert said in shown.err
    assert len(shown.err.strip().splitlines()) == 1


def test_a_band_turned_round() -> None:
    assert Band(value=2, low=1, high=4).inverse(8) == Band(value=4, low=2, high=8)
    assert replace(Band(value=2, low=1, high=4).times(3), low=0) == Band(value=6, low=0, high=12)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tco.basis=spot",), "leave tco.basis out"),
        (("tco.basis=api",), "leave tco.basis out"),
        (("tco=default", "tco.throughput.relative_ci=0.1"), "leave tco.throughput.relative_ci out"),
        (("tco=default", "tco.throughput={points:[]}"), "leave tco.throughput out"),
    ],
)
def test_what_a_plan_would_drop_is_refused(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan took each of these and answered as if it had not been typed."""
    with pytest.raises(SystemExit) as left:
        main(["plan", "model=llama-3.1-8b", "gpu=h100-sxm", *words])
    assert left.value.code == 2
    assert said in capsys.readouterr().err


def test_a_mix_that_is_not_the_workload_s_is_refused_with_lengths_of_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Three of four tokens are prompts: 1,536 of 2,048. What is said to type is taken; it used to
    speak of a mix that was measured, and of nulling what a trace says."""
    words = ["plan", "model=llama-3.1-8b", "gpu=h100-sxm"]
    week = tmp_path / "week.csv"
    rows = [f"{hour},30000000,10000000" for hour in range(168)]
    week.write_text("\n".join(("hour,input_tokens,output_tokens", *rows)))
    nulls = ("mtok_per_month", "peak_to_mean")
    traced = (f"tco.demand.trace={week}", *(f"tco.demand.{key}=null" for key in nulls))
    lengths = "workload.input_tokens=1536 workload.output_tokens=512"
    for demand in (("tco.demand.input_share=0.75",), traced):
        with pytest.raises(SystemExit) as left:
            main([*words, *demand])
        assert left.value.code == 2
        said = capsys.readouterr().err
        assert lengths in said
        assert ("input_share=null" in said) == (demand != traced)
        with pytest.raises(SystemExit) as left:
            main([*words, *demand, *lengths.split()])
        assert left.value.code == 0
        assert "(1,536 in, 512 out)" in capsys.readouterr().out
