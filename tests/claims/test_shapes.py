"""The shapes in which people publish numbers, each held against its bound and its own parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from claims_support import HEAD, conf_sources, serving

from bench.claims.assess import assess
from bench.claims.limits import ENERGY_FLOOR, POWER_SLACK, limits
from bench.claims.load import claims_of
from bench.claims.metrics import CLAIM_METRICS, in_metric_unit
from bench.claims.scenarios import BENCHMARKS, with_scenario
from bench.claims.spec import Conditions, Serving, Stated, half_unit
from bench.claims.verdict import Assessment, Check
from bench.values.errors import InputError

EVIDENCE = Path(__file__).parents[1] / "data" / "evidence" / "published-throughput.jsonl"
H100: dict[str, Any] = {
    "model": "deepseek-r1-distill-llama-8b",
    "quant": "fp8",
    "gpu": "h100",
    "form_factor": "sxm",
    "gpus": 1,
    "host_cpu": None,
    "host_cpu_count": None,
    "engine": "vllm",
    "input_tokens": 2048,
    "output_tokens": 128,
    "concurrency": None,
    "speculative": False,
    "kv_bits": 8,
}
UNSAID: dict[str, Any] = {"engine_version": None}
EVERYTHING: dict[str, Any] = {
    "power_scope": "gpu",
    "usd_per_gpu_h": 2.0,
    "gpus": 16,
    "nodes": 2,
    "offload": False,
    "phase": "both",
}


def judged(metric: str, value: float, unit: str, also: Any = (), **conditions: Any) -> Assessment:
    """The assessment of one number with others of the same run, on an H100 unless said."""
    data: dict[str, Any] = {
        **HEAD,
        "says": {
            "kind": "serving",
            "conditions": {**H100, **UNSAID, **conditions},
            "metric": metric,
            "definition": "as published",
            "stated": {"value": value, "unit": unit},
            "also": [{"metric": m, "stated": {"value": v, "unit": u}} for m, v, u in also],
        },
    }
    return assess(claims_of("test", data, "test.yaml")[0], conf_sources())


def check(found: Assessment, kind: str) -> Check:
    return next(c for c in found.checks if c.kind == kind)


# ------------------------------------------------------------- every metric of the list


@pytest.mark.parametrize("name", [n for n, m in CLAIM_METRICS.items() if m.bounded is not None])
def test_every_bounded_metric_forbids_beyond_its_bound_and_not_within(name: str) -> None:
    """Rates, inputs, requests, goodput, floors of TTFT, ITL and E2E, joules, watts and USD."""
    c = serving(metric=name, **{**H100, **EVERYTHING})
    assert isinstance(c.says, Serving)
    (limit,) = limits(name, c.says.conditions, conf_sources().catalogue)
    edge = limit.tightest
    assert edge is not None
    assert edge > 0
    unit = CLAIM_METRICS[name].unit
    inside, beyond = (2 * edge, edge / 2) if limit.floor else (edge / 2, 2 * edge)
    assert check(judged(name, inside, unit, **EVERYTHING), "bound").verdict == "possible"
    assert check(judged(name, beyond, unit, **EVERYTHING), "bound").verdict == "impossible"


def test_what_has_no_bound_says_so() -> None:
    free = next(n for n, m in CLAIM_METRICS.items() if m.bounded is None)
    line = check(judged(free, 1, CLAIM_METRICS[free].unit), "bound").evidence[0]
    assert line == f"no bound is known for {free}"


# -------------------------------------------------------- numbers that belong together


def test_energy_times_rate_is_power() -> None:
    """0.5 J a token at 3,000 tokens/s are 1,500 W, more than 1.1 times the 700 W of an H100, though
    each alone is possible: 0.12 J (the floor is 0.4 × 700 ÷ the bound) and 3,000 of 7,300."""
    rate = ("output_tokens_per_s", 3_000, "tok/s")
    found = judged("energy_per_output_token_j", 0.5, "J/token", [rate], power_scope="gpu")
    assert check(found, "bound").verdict == "possible"
    assert check(found, "joint").verdict == "impossible"
    assert check(found, "joint").figures["power_limit_w"] == pytest.approx(POWER_SLACK * 700)
    assert found.verdict == "impossible"
    unsaid = judged("energy_per_output_token_j", 0.5, "J/token", [rate])
    assert check(unsaid, "joint").verdict == "not comparable"
    honest = judged("energy_per_output_token_j", 0.2, "J/token", [rate], power_scope="gpu")
    assert check(honest, "joint").verdict == "possible"


def test_a_stated_power_is_what_energy_and_rate_make_it() -> None:
    """0.2 J × 3,000 tokens/s are 600 W."""
    more = [("output_tokens_per_s", 3_000, "tok/s"), ("power_mean_w", 600, "W")]
    assert check(judged("energy_per_output_token_j", 0.2, "J/token", more), "joint").verdict == (
        "possible"
    )
    more[1] = ("power_mean_w", 300, "W")
    assert check(judged("energy_per_output_token_j", 0.2, "J/token", more), "joint").verdict == (
        "refuted"
    )


def test_honest_measurements_keep_the_limit_of_their_boards() -> None:
    """All rows of ML.ENERGY: joules times rate against 1.1 times the boards' limits."""
    gpus = conf_sources().catalogue.gpus
    shares = []
    for line in EVIDENCE.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        joules = row.get("joules_per_output_token")
        if joules is None:
            continue
        power = gpus[f"{row['gpu']}-{row['form_factor']}"].power_w
        assert power is not None
        shares.append(joules * row["value"] / (power * row["gpus"]))
    assert len(shares) > 300
    assert max(shares) < 1.0 < POWER_SLACK
    assert min(shares) > 0.1
    assert ENERGY_FLOOR < 0.5


def test_users_together_get_the_rate() -> None:
    """64 users at 40 tokens/s are 2,560 tokens/s, a quarter more at most."""
    each = [("output_tokens_per_s_per_user", 40, "tok/s")]
    found = judged("output_tokens_per_s", 3_000, "tok/s", each, concurrency=64)
    assert check(found, "joint").verdict == "possible"
    found = judged("output_tokens_per_s", 4_000, "tok/s", each, concurrency=64)
    assert check(found, "joint").verdict == "refuted"
    by_time = [("tpot_mean_ms", 25, "ms")]  # the same as 40 tokens/s
    found = judged("output_tokens_per_s", 4_000, "tok/s", by_time, concurrency=64)
    assert check(found, "joint").verdict == "refuted"


def test_requests_of_fixed_length_are_tokens() -> None:
    """10 requests/s of 128 tokens are 1,280 tokens/s."""
    for rate, expected in ((1_280, "possible"), (2_560, "refuted")):
        found = judged("output_tokens_per_s", rate, "tok/s", [("requests_per_s", 10, "rps")])
        assert check(found, "joint").verdict == expected


def test_a_cost_is_tied_to_its_rate() -> None:
    """2 USD an hour over 3,000 tokens/s are 0.185 USD a million tokens."""
    for cost, expected in ((0.19, "possible"), (0.1, "refuted"), (1.0, "refuted")):
        more = [("usd_per_mtok_output", cost, "$/Mtok")]
        found = judged("output_tokens_per_s", 3_000, "TPS", more, usd_per_gpu_h=2)
        assert check(found, "joint").verdict == expected, cost


# --------------------------------------------------------------- racks, nodes, phases


def deployed(**more: Any) -> Conditions:
    claim = serving(**{**H100, **more})
    assert isinstance(claim.says, Serving)
    return claim.says.conditions


def test_a_rack_is_72_gpus() -> None:
    for words in ({"gpu": "gb200", "form_factor": "nvl72"}, {"gpu": "gb200-nvl72"}):
        c = deployed(**{**words, "gpus": None, "form_factor": words.get("form_factor")})
        assert (c.gpu, c.form_factor, c.gpus) == ("gb200", None, 72)
    assert deployed(gpu="gb300", form_factor="nvl72", gpus=None, racks=2).gpus == 144
    assert deployed(gpu="gb300", form_factor="nvl72", gpus=36).gpus == 36


def test_several_nodes_are_their_gpus() -> None:
    assert deployed(gpus=None, nodes=4, gpus_per_node=8).gpus == 32
    with pytest.raises(InputError, match="gpus is 16, but nodes or racks come to 32"):
        deployed(gpus=16, nodes=4, gpus_per_node=8)


def test_a_rack_has_the_bound_of_its_gpus() -> None:
    """72 boards of 10 PFLOP/s (FP4, dense) over 2 × 37 B: 9.7 M tokens/s of R1 bound it."""
    rack = {
        **{"model": "deepseek-r1", "quant": "nvfp4", "gpu": "gb200", "form_factor": "nvl72"},
        **{"gpus": None, "input_tokens": 1024, "output_tokens": 1024, "tokens_per_pass": 2.5},
    }
    assert check(judged("output_tokens_per_s", 500_000, "tok/s", **rack), "bound").verdict == (
        "possible"
    )
    assert check(judged("output_tokens_per_s", 2e7, "tok/s", **rack), "bound").verdict == (
        "impossible"
    )
    assert check(
        judged("output_tokens_per_s_per_gpu", 3e5, "tok/s/GPU", **rack), "bound"
    ).verdict == ("impossible")


def test_disaggregated_phases_have_rates_per_node() -> None:
    """DeepSeek's own: 73.7k input and 14.8k output tokens/s per node of eight (2025-02)."""
    node = {
        **{"model": "deepseek-r1", "gpu": "h100", "gpus": None, "nodes": 4, "gpus_per_node": 8},
        **{"quant": "fp8", "concurrency": None, "output_tokens": None, "input_tokens": None},
    }
    rates = (
        ("input_tokens_per_s_per_node", "prefill", 73_700, 1e6),
        ("output_tokens_per_s_per_node", "decode", 14_800, 2e6),
    )
    for metric, phase, honest, beyond in rates:
        for value, expected in ((honest, "possible"), (beyond, "impossible")):
            found = judged(metric, value, "tokens/s/node", **node, phase=phase)
            assert check(found, "bound").verdict == expected, (metric, value)


# ------------------------------------------------------------- SLOs and MLPerf


def test_an_slo_bounds_the_batch() -> None:
    """At 5 ms a token a step reads no more than 16.75 GB: 8 GB of weights and 133 sequences."""
    long = {"input_tokens": 1000, "output_tokens": 1000}
    loose = {"slo": {"ttft_ms": 2000, "tpot_ms": 200}}
    tight = {"slo": {"ttft_ms": 2000, "tpot_ms": 5}}
    never = {"slo": {"ttft_ms": 1, "tpot_ms": 200}}
    alone = {"slo": {"ttft_ms": 2000, "tpot_ms": 1}}
    free = check(judged("output_tokens_per_s", 100, "tok/s", **long), "bound").figures["bound"]
    assert free is not None
    found = {
        key: check(judged("output_tokens_per_s", 100, "tok/s", **long, **slo), "bound")
        for key, slo in (("loose", loose), ("tight", tight), ("never", never), ("alone", alone))
    }
    assert found["loose"].figures["bound"] == pytest.approx(free)
    assert (found["tight"].figures["bound"] or 0) < 0.9 * free
    assert found["never"].verdict == "impossible"  # no prompt of 1,000 tokens in a millisecond
    assert found["alone"].verdict == "impossible"  # the weights alone take 2.4 ms
    half = {"slo": {"ttft_ms": 2000, "tpot_ms": 5, "percentile": 50}}
    median = check(judged("output_tokens_per_s", 100, "tok/s", **long, **half), "bound")
    assert median.figures["bound"] == pytest.approx(
        min(free, (found["tight"].figures["bound"] or 0) * 99 / 50)
    )


def test_a_scenario_implies_lengths_and_limits() -> None:
    bare = {"model": "llama-3.1-405b", "input_tokens": None, "output_tokens": None}
    c = with_scenario(deployed(**bare, scenario="server"))
    assert (c.input_tokens, c.output_tokens) == (9428, 684)
    assert c.slo is not None
    assert (c.slo.ttft_ms, c.slo.tpot_ms, c.slo.percentile) == (6000, 175, 99)
    assert with_scenario(deployed(**bare, scenario="offline")).slo is None
    assert with_scenario(deployed(**bare)) == deployed(**bare)
    said = with_scenario(deployed(**{**bare, "output_tokens": 500}, scenario="server"))
    assert said.output_tokens == 500  # what the source says itself stays
    found = judged("output_tokens_per_s", 5_000, "tok/s", **bare, gpus=8, scenario="offline")
    assert "9428 tokens in, 684 out in the mean" in check(found, "bound").evidence[0]


def test_the_lengths_agree_with_published_results() -> None:
    """MLPerf allows answers of 90 to 110 % of the reference's mean length."""
    seen = set()
    for line in EVIDENCE.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        known = BENCHMARKS.get(row["model"]) if row["family"] == "mlperf" else None
        if known is not None:
            assert 0.9 <= row["output_tokens"] / known.output_tokens <= 1.1, row["id"]
            assert row.get("assumed_input_tokens") == known.input_tokens
            seen.add(row["model"])
    assert seen == set(BENCHMARKS)


# -------------------------------------------------------------- words, units, rounding


@pytest.mark.parametrize(
    ("text", "metric", "expected"),
    [
        ("tok/s", "output_tokens_per_s", 7.0),
        ("tokens/sec", "output_tokens_per_s", 7.0),
        ("TPS", "output_tokens_per_s", 7.0),
        ("tokens/s/user", "output_tokens_per_s_per_user", 7.0),
        ("tokens/s/MW", "output_tokens_per_s_per_mw", 7.0),
        ("tokens/J", "output_tokens_per_s_per_w", 7.0),
        ("kW", "power_mean_w", 7_000.0),
        ("QPS", "requests_per_s", 7.0),
        ("$/Mtok", "usd_per_mtok_output", 7.0),
        ("s", "ttft_p50_ms", 7_000.0),
    ],
)
def test_units_as_people_write_them(text: str, metric: str, expected: float) -> None:
    assert in_metric_unit(7, text, metric) == pytest.approx(expected)


def test_an_unknown_unit_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unit: 'tokns' of 'tokns/s' is unknown\. Did you mean"):
        judged("output_tokens_per_s", 1, "tokns/s")


def test_a_number_stands_for_its_rounding() -> None:
    assert [half_unit(x) for x in (2.7, 0.55, 33.0, 3.0, 1e30)] == pytest.approx(
        [0.05, 0.005, 0.5, 0.0, 0.0]
    )
    assert Stated(value=2.7, unit="x").band == pytest.approx((2.65, 2.75))
    assert Stated(value=2467, unit="USD").band == (2466.5, 2467.5)
    assert Stated(value=2.7, unit="x", relation="at_least").band == (2.7, 2.7)
    assert Stated(value=100, unit="x", tolerance=0.1).band == pytest.approx((90, 110))


def test_an_input_of_about_has_its_slack() -> None:
    """~300 USD and ~150 USD may be 2.2 times each other, exactly they are 2.0."""

    def verdict(tolerance: float) -> str:
        terms = {
            "a": {"value": 300, "unit": "USD", "tolerance": tolerance},
            "b": {"value": 150, "unit": "USD", "tolerance": tolerance},
        }
        calculation = {"what": "x", "formula": "a / b", "terms": terms}
        says = {
            "kind": "arithmetic",
            "stated": {"value": 2.2, "unit": "x"},
            "calculations": [calculation],
        }
        return assess(claims_of("t", {**HEAD, "says": says}, "t.yaml")[0], conf_sources()).verdict

    assert (verdict(0.0), verdict(0.05)) == ("refuted", "confirmed")
