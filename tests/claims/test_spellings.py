"""Claims as people spell them: every shape in five ways, and none gets a verdict for its words.

What is said is the same in each row, so the verdict must be, too; a number far above what any
hardware does is impossible in every spelling, one that was measured in none.
"""

from __future__ import annotations

from typing import Any

import pytest
from claims_support import HEAD, conf_sources

from bench.claims.assess import assess
from bench.claims.gpu_words import read_gpu
from bench.claims.load import claims_of
from bench.claims.metrics import in_metric_unit
from bench.claims.scenarios import BENCHMARKS
from bench.claims.verdict import Assessment
from bench.values.errors import InputError

R1: dict[str, Any] = {
    **{"model": "deepseek-r1", "quant": "fp8", "gpu": "h200", "form_factor": "sxm", "gpus": 8},
    **{"engine": "sglang", "engine_version": None, "input_tokens": 1024, "output_tokens": 1024},
    "concurrency": None,
}


def assessed(says: dict[str, Any]) -> Assessment:
    return assess(claims_of("t", {**HEAD, "says": says}, "t.yaml")[0], conf_sources())


def bound(metric: str, value: float, unit: str, definition: str | None = "x", **more: Any) -> str:
    says: dict[str, Any] = {"kind": "serving", "conditions": {**R1, **more}, "metric": metric}
    says |= {"definition": definition, "stated": {"value": value, "unit": unit}}
    return next(c.verdict for c in assessed(says).checks if c.kind == "bound")


def speedup(unit: str, value: float, new: float, old: float, metric: str) -> str:
    side = {**R1, "engine_version": "1", "concurrency": 64}
    says = {"kind": "speedup", "conditions": side, "baseline": {**side, "quant": "none"}}
    says |= {"metric": metric, "definition": "x", "stated": {"value": value, "unit": unit}}
    found = assessed({**says, "value": new, "baseline_value": old})
    return next(c.verdict for c in found.checks if c.kind == "arithmetic")


# ------------------------------------------------------------------------------- units

UNITS: dict[tuple[str, float], tuple[tuple[float, str], ...]] = {
    ("output_tokens_per_s", 1500): (
        *((1500, "t/s"), (1500, "tokens per second"), (1.5, "k tokens/s"), (1500, "TPS")),
        *((1500, "toks/sec"), (129.6e6, "tokens/day"), (90_000, "Tokens/min")),
    ),
    ("output_tokens_per_s_per_gpu", 2200): (
        *((2200, "tok/s/gpu"), (2200, "TPS/GPU"), (2200, "tokens per second per GPU")),
        *((2200, "tps/gpu"), (2.2, "ktok/s/GPU")),
    ),
    ("output_tokens_per_s_per_user", 50): (
        *((50, "tok/s/user"), (50, "TPS/user"), (50, "tokens per second per user")),
        *((50, "t/s/User"), (50, "tok/s")),
    ),
    ("output_tokens_per_s_per_mw", 2.8e6): (
        *((2.8e6, "TPS/MW"), (2.8e6, "tokens/s per megawatt"), (2800, "tok/s/kW")),
        *((2.8, "M tokens/s/MW"), (2.8, "tok/s/W")),
    ),
    ("output_tokens_per_s_per_w", 2.8): (
        *((2.8, "tokens/watt"), (2.8, "tokens per joule"), (2.8, "tok/J"), (2.8, "TPS/W")),
        (2.8e6, "tokens/s/MW"),
    ),
    ("energy_per_output_token_j", 0.36): (
        *((0.36, "joules/token"), (360, "mJ/tok"), (0.1, "kWh/Mtok"), (0.1, "Wh/1k tokens")),
        (0.1, "kWh per million tokens"),
    ),
    ("usd_per_mtok_output", 0.2): (
        *((0.2, "$/1M tokens"), (0.2, "USD per million tokens"), (20, "cents/Mtok")),
        *((0.2, "$/M tokens"), (0.0002, "$/1k tokens")),
    ),
    ("requests_per_s", 12): (
        *((12, "RPS"), (12, "QPS"), (12, "req/s"), (720, "requests/min"), (12, "queries/second")),
    ),
    ("tpot_p50_ms", 25): (
        *((25, "ms"), (25, "ms/token"), (0.025, "s/token"), (25, "ms per token"), (0.025, "sec")),
    ),
    ("power_mean_w", 132_000): (
        *((132, "kW"), (132, "kilowatts"), (0.132, "MW"), (132_000, "watts"), (132_000, "W")),
    ),
}


@pytest.mark.parametrize(
    ("metric", "expected", "value", "unit"),
    [(*key, *written) for key, ways in UNITS.items() for written in ways],
)
def test_one_amount_in_every_spelling(
    metric: str, expected: float, value: float, unit: str
) -> None:
    assert in_metric_unit(value, unit, metric) == pytest.approx(expected)


def test_what_may_mean_two_things_is_not_guessed() -> None:
    """mw is a milliwatt or a megawatt: nine orders of magnitude."""
    with pytest.raises(ValueError, match="'mw' of 'tok/s/mw' is unknown"):
        in_metric_unit(1, "tok/s/mw", "output_tokens_per_s_per_mw")


# ------------------------------------------------------------- hardware and precision


@pytest.mark.parametrize(
    ("written", "form", "gpu", "found_form", "memory", "together"),
    [
        ("NVIDIA H100 SXM5", None, "h100", "sxm", None, None),
        ("H100-SXM5-80GB", None, "h100", "sxm", 80, None),
        ("h100", "SXM", "h100", "sxm", None, None),
        ("NVIDIA A100-SXM4-80GB", None, "a100-80gb", "sxm", None, None),
        ("A100 80 GB", "PCIe", "a100-80gb", "pcie", None, None),
        ("GB200 NVL72", None, "gb200", None, None, 72),
        ("gb200nvl72", None, "gb200", None, None, 72),
        ("GB300", "NVL72", "gb300", None, None, 72),
        ("GB200-NVL4", None, "gb200", None, None, 4),
        ("H100 NVL", None, "h100", "nvl", None, None),
        ("GeForce RTX 4090", None, "rtx-4090", None, None, None),
        ("rtx4090", None, "rtx-4090", None, None, None),
        ("AMD Instinct MI300X", None, "mi300x", None, None, None),
    ],
)
def test_gpus_as_sources_write_them(
    written: str,
    form: str | None,
    gpu: str,
    found_form: str | None,
    memory: float | None,
    together: int | None,
) -> None:
    found = read_gpu(written, form)
    assert (found.gpu, found.form_factor, found.memory_gb, found.together) == (
        *(gpu, found_form, memory, together),
    )


@pytest.mark.parametrize(
    "words",
    [
        {"gpu": "gb200", "form_factor": "nvl72", "gpus": None},
        {"gpu": "GB200 NVL72", "form_factor": None, "gpus": None},
        {"gpu": "NVIDIA GB200", "form_factor": "NVL72", "gpus": 72},
        {"gpu": "gb200-nvl72", "form_factor": None, "gpus": None, "racks": 1},
        {"gpu": "GB200", "form_factor": None, "gpus": None, "nodes": 18, "gpus_per_node": 4},
    ],
)
def test_a_rack_in_five_spellings(words: dict[str, Any]) -> None:
    """72 boards at 5 PFLOP/s (FP8, dense) do at most 2.4 M tokens/s of 1k/1k."""
    assert bound("output_tokens_per_s", 5e5, "tok/s", **words) == "possible"
    assert bound("output_tokens_per_s", 1e7, "tok/s", **words) == "impossible"


@pytest.mark.parametrize("quant", ["FP4", "nvfp4", "NVFP4", "MXFP4", "4-bit"])
def test_four_bits_in_five_spellings(quant: str) -> None:
    """No 4-bit peak of a B200 is above 18 PFLOP/s: ÷ (2 × 37 B) ÷ 2 is 9.7 k tokens/s a board."""
    b200 = {"gpu": "b200", "quant": quant}
    assert bound("output_tokens_per_s_per_gpu", 9_000, "TPS/GPU", **b200) == "possible"
    assert bound("output_tokens_per_s_per_gpu", 2e5, "TPS/GPU", **b200) == "impossible"


def test_an_unknown_gpu_or_precision_is_named() -> None:
    for words, expected in (
        ({"gpu": "mi355x", "form_factor": None}, "gpu mi355x is not in the catalogue"),
        ({"quant": "int5-magic"}, "precision int5-magic is not known"),
    ):
        says = {"kind": "serving", "conditions": {**R1, **words}, "metric": "output_tokens_per_s"}
        says |= {"definition": "x", "stated": {"value": 1, "unit": "tok/s"}}
        lines = next(c for c in assessed(says).checks if c.kind == "bound").evidence
        assert expected in lines[0]


# -------------------------------------------------- what a bare number may mean as well


def test_a_rate_whose_definition_is_unsaid_may_count_the_prompts() -> None:
    """1k/1k: 150,000 output tokens/s would need 8 × 1,979 TFLOP/s × 1.5, with prompts counted in
    they are 75,000 of each."""
    for definition, expected in ((None, "not comparable"), ("output tokens only", "impossible")):
        assert bound("output_tokens_per_s", 150_000, "tok/s", definition) == expected
    assert bound("output_tokens_per_s", 1e6, "tok/s", None) == "impossible"


@pytest.mark.parametrize(
    ("metric", "unit", "value"),
    [
        ("output_tokens_per_s_per_node", "tokens/s/node", 22_300),
        ("output_tokens_per_s_per_node", "tok/s per node", 22_300),
        ("output_tokens_per_s_per_gpu", "tok/s/GPU", 2_787.5),
        ("input_tokens_per_s_per_node", "tokens/s/node", 52_300),
        ("input_tokens_per_s_per_gpu", "TPS/GPU", 6_537.5),
    ],
)
def test_sglang_on_96_h100_is_not_impossible(metric: str, unit: str, value: float) -> None:
    """LMSYS, 2025-05-05: 52.3k input and 22.3k output tokens/s per node of 12, prompts of 2,000
    tokens, reproduced by others. Nodes that decode compute no prompt; it was forbidden as if they
    did while `phase` was unsaid."""
    where: dict[str, Any] = {"gpu": "H100", "gpus": None, "nodes": 12, "gpus_per_node": 8}
    where |= {"input_tokens": 2000, "output_tokens": 100}
    assert bound(metric, value, unit, **where) != "impossible"
    if metric.startswith("output"):
        assert bound(metric, value, unit, **where, phase="decode") == "possible"
        assert bound(metric, value, unit, **where, phase="both") == "impossible"
        assert bound(metric, 100 * value, unit, **where) == "impossible"


# ------------------------------------------------------------------- speed-ups, percent


@pytest.mark.parametrize(
    ("metric", "unit", "value", "new", "old"),
    [
        ("output_tokens_per_s", "x", 2.7, 2700, 1000),
        ("output_tokens_per_s", "×", 2.7, 2700, 1000),
        ("output_tokens_per_s", "times", 2.7, 2700, 1000),
        ("output_tokens_per_s", "%", 170, 2700, 1000),
        ("output_tokens_per_s", "Percent", 170, 2700, 1000),
        ("ttft_p50_ms", "x", 2.7, 370, 1000),
        ("ttft_p50_ms", "%", 63, 370, 1000),
        ("ttft_p50_ms", "%", -63, 370, 1000),
        ("energy_per_output_token_j", "%", -30, 0.7, 1.0),
        ("usd_per_mtok_output", "%", 30, 0.7, 1.0),
    ],
)
def test_a_ratio_in_ten_spellings(
    metric: str, unit: str, value: float, new: float, old: float
) -> None:
    assert speedup(unit, value, new, old, metric) == "possible"
    assert speedup(unit, value, old, new, metric) == "refuted"


def test_percent_of_is_not_percent_more() -> None:
    """2,700 ÷ 1,000: "270 % of it" is right and "270 % more" is not; the source may mean either."""
    assert speedup("%", 270, 2700, 1000, "output_tokens_per_s") == "not comparable"
    assert speedup("%", 300, 2700, 1000, "output_tokens_per_s") == "refuted"
    with pytest.raises(InputError, match="must be x or %"):
        speedup("furlongs", 2.7, 2700, 1000, "output_tokens_per_s")


# ------------------------------------------------------- SLOs of MLPerf, total, power


MLPERF = """
llama2-70b.Server.ttft_latency = 2000
llama2-70b.Server.tpot_latency = 200
llama2-70b-interactive.Server.ttft_latency = 450
llama2-70b-interactive.Server.tpot_latency = 40
mixtral-8x7b.Server.ttft_latency = 2000
mixtral-8x7b.Server.tpot_latency = 200
llama3_1-405b.Server.ttft_latency = 6000
llama3_1-405b.Server.tpot_latency = 175
llama3_1-405b-interactive.Server.ttft_latency = 4500
llama3_1-405b-interactive.Server.tpot_latency = 80
llama3_1-8b.Server.ttft_latency = 2000
llama3_1-8b.Server.tpot_latency = 100
llama3_1-8b-interactive.Server.ttft_latency = 500
llama3_1-8b-interactive.Server.tpot_latency = 30
deepseek-r1.Server.ttft_latency = 2000
deepseek-r1.Server.tpot_latency = 80
deepseek-r1-interactive.Server.ttft_latency = 1500
deepseek-r1-interactive.Server.tpot_latency = 15
"""
"""Of loadgen/mlperf.conf, github.com/mlcommons/inference at commit
001712e9daf80386e0dda43f97b8f36981d792c4."""
THEIRS = {
    "llama2-70b": "llama-2-70b",
    "llama3_1-405b": "llama-3.1-405b",
    "llama3_1-8b": "llama-3.1-8b",
}


def test_mlperfs_limits_are_those_of_its_load_generator() -> None:
    said: dict[str, dict[str, dict[str, float]]] = {}
    for line in MLPERF.split("\n"):
        key, _, value = line.partition(" = ")
        if value:
            name, _, what = key.split(".")
            bare = name.removesuffix("-interactive")
            scenario = "server" if bare == name else "interactive"
            of = said.setdefault(THEIRS.get(bare, bare), {}).setdefault(scenario, {})
            of[what] = float(value)
    ours = {
        name: {k: {"ttft_latency": t, "tpot_latency": p} for k, (t, p) in b.limits.items()}
        for name, b in BENCHMARKS.items()
    }
    assert ours == said


@pytest.mark.parametrize("scope", ["gpu", "node", "facility", None])
def test_energy_has_a_floor_whatever_it_covers(scope: str | None) -> None:
    """More than the GPUs can only cost more: 0.4 × 700 W × 8 over 103,000 tokens/s are 22 mJ."""
    for unit, value in (("J/token", 0.01), ("mJ/tok", 10), ("Wh/1k tokens", 0.01 / 3.6)):
        assert bound("energy_per_output_token_j", value, unit, power_scope=scope) == "impossible"
    assert bound("energy_per_output_token_j", 0.5, "J/token", power_scope=scope) == "possible"
