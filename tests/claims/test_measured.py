"""Claims beside runs: an interval decides, a point does not, and null never equals a value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from claims_support import conf_sources, point, serving, with_points

from bench.claims.assess import assess
from bench.claims.measured import differences, missing
from bench.claims.settle import run_overrides
from bench.claims.spec import Claim, Serving, Stated
from bench.claims.verdict import agrees, from_interval


def runs_check(claim: Claim, *points: Any) -> Any:
    found = assess(claim, with_points(*points))
    return found, next(c for c in found.checks if c.kind == "runs")


@pytest.mark.parametrize(
    ("relation", "low", "high", "verdict"),
    [
        ("about", 95, 105, "confirmed"),
        ("about", 101, 110, "refuted"),  # the interval excludes 100
        ("about", 80, 99, "refuted"),
        ("about", 40, 160, "untested"),  # contains 100, and much else
        ("at_least", 100, 120, "confirmed"),
        ("at_least", 99, 120, "untested"),
        ("at_least", 50, 99, "refuted"),
        ("at_least", 9, 51, "untested"),  # 30 ± 70 %: the machine did something else
        ("at_most", 80, 100, "confirmed"),
        ("at_most", 80, 101, "untested"),
        ("at_most", 101, 120, "refuted"),
    ],
)
def test_an_interval_against_100(relation: Any, low: float, high: float, verdict: str) -> None:
    stated = Stated(value=100, unit="tokens/s", relation=relation)
    assert from_interval(stated, low, high) == verdict


def test_tolerance_is_slack_of_the_source() -> None:
    stated = Stated(value=100, unit="tokens/s", tolerance=0.1)
    assert from_interval(stated, 109, 115) == "confirmed"  # 90 to 110 counts as about 100
    assert from_interval(stated, 111, 115) == "refuted"


def test_exact_numbers() -> None:
    assert agrees(Stated(value=1, high=2, unit="x"), 1.5)
    assert agrees(Stated(value=1, high=2, unit="x"), 2.5) is False
    assert agrees(Stated(value=None, unit="x"), 2.5) is None
    assert agrees(Stated(value=1400, unit="points", relation="below"), 1400) is False
    assert agrees(Stated(value=float("inf"), unit="x"), 1e9) is False
    assert agrees(Stated(value=12, unit="months", relation="at_most"), float("inf")) is False


def test_a_matching_run_confirms_or_refutes() -> None:
    found, runs = runs_check(serving(), point(95, 105))
    assert (found.verdict, runs.figures["runs"]) == ("confirmed", 1)
    assert found.settle_with is None
    assert "95 % interval 95 to 105" in runs.evidence[0]
    found, _ = runs_check(serving(stated={"value": 300, "unit": "tokens/s"}), point(95, 105))
    assert found.verdict == "refuted"


def test_the_unit_of_the_claim_is_converted() -> None:
    per_minute = serving(stated={"value": 6, "unit": "ktok/min"})
    assert runs_check(per_minute, point(95, 105))[0].verdict == "confirmed"
    wrong = assess(serving(stated={"value": 6, "unit": "USD"}), conf_sources())
    assert (wrong.verdict, wrong.checks[0].kind) == ("not comparable", "units")


def test_a_point_without_interval_decides_nothing() -> None:
    found, runs = runs_check(serving(), point(None, None, value=100))
    assert found.verdict == "untested"
    assert "without an interval: no verdict from one number" in runs.evidence[0]


def test_an_invalid_run_decides_nothing() -> None:
    found, runs = runs_check(serving(), point(95, 105, valid=False))
    assert found.verdict == "untested"
    assert "failed its certificate" in runs.evidence[0]


def test_runs_that_contradict_each_other_decide_nothing() -> None:
    assert runs_check(serving(), point(95, 105), point(195, 205))[0].verdict == "untested"


@pytest.mark.parametrize(
    "changed",
    [
        {"concurrency": 16},
        {"input_tokens": 128},
        {"output_tokens": 65},
        {"quant": "awq"},
        {"gpu": "h100-sxm"},
        {"gpus": 1},
        {"engine_version": "1.1"},
        {"engine": "truth"},
        {"host_cpu": "another CPU"},
        {"host_cpu_count": 4},
        {"model": "glm-4.7"},
        {"engine_cores": 1},
        {"engine_version": None},
        {"concurrency": None, "rate_per_s": 8.0},
    ],
)
def test_one_differing_condition_is_enough(changed: dict[str, Any]) -> None:
    found, runs = runs_check(serving(), point(95, 105, **changed))
    assert found.verdict == "untested"
    assert runs.evidence[0] == "no stored run under these conditions"


def test_a_claim_about_a_part_of_the_cores_is_measured_on_as_many() -> None:
    """One of two for the engine: the other is the client's, in the run and in the command."""
    said = serving(engine_cores=1)
    assert isinstance(said.says, Serving)
    assert runs_check(said, point(95, 105, engine_cores=1))[0].verdict == "confirmed"
    assert runs_check(said, point(95, 105))[0].verdict == "untested"
    assert "load.own_cores=1" in run_overrides(said.says.conditions, conf_sources())
    with pytest.raises(ValueError, match="engine_cores must be between 1 and host_cpu_count"):
        replace(said.says.conditions, engine_cores=3)


def test_the_nearest_run_and_its_differences_are_shown() -> None:
    _, runs = runs_check(serving(), point(95, 105, concurrency=16, output_tokens=65))
    assert runs.evidence[1] == (
        "nearest stored run run-1 c8: output_tokens 64 ≠ 65; concurrency 8 ≠ 16"
    )


@pytest.mark.parametrize(
    "unsaid",
    [
        "model",
        "quant",
        "gpu",
        "gpus",
        "engine",
        "engine_version",
        "input_tokens",
        "output_tokens",
        "concurrency",
        "host_cpu",
        "host_cpu_count",
    ],
)
def test_what_is_unsaid_never_matches(unsaid: str) -> None:
    """Not even a run that does not know the condition either."""
    nothing: dict[str, Any] = {unsaid: None}
    found, runs = runs_check(serving(**nothing), point(95, 105), point(95, 105, **nothing))
    assert found.verdict == "not comparable"
    if unsaid != "gpu":  # without it the host's own conditions are not asked for
        assert unsaid in runs.evidence[0]


def test_without_a_definition_nothing_is_comparable() -> None:
    found, runs = runs_check(serving(definition=None), point(95, 105))
    assert found.verdict == "not comparable"
    assert "metric definition" in runs.evidence[0]


def test_null_differs_from_null() -> None:
    found = differences({"concurrency": None}, {"concurrency": None})
    assert [str(d) for d in found] == ["concurrency said by neither"]


def test_form_factor_is_missing_only_where_there_are_several() -> None:
    def lacking(**conditions: Any) -> tuple[str, ...]:
        says = serving(**{"host_cpu": None, "gpus": 1, **conditions}).says
        assert isinstance(says, Serving)
        return missing(says, conf_sources().catalogue.gpus)

    assert lacking(gpu="h100") == ("form_factor",)
    assert lacking(gpu="h100", form_factor="pcie") == ()
    assert lacking(gpu="l40s") == ()


def test_impossible_needs_no_run() -> None:
    """2 cores x 6.5 GHz x 2,048 operations over 2 x 3.67 M weights: 3.6 M tokens/s."""
    found = assess(serving(stated={"value": 1e7, "unit": "tokens/s"}), with_points(point(95, 105)))
    assert found.verdict == "impossible"
    assert [c.kind for c in found.checks] == ["fit", "bound"]
    matrices = 4 * (256 * 256 * 2 + 2 * 256 * 128 + 3 * 256 * 768) + 256 * 2048
    weights = matrices + 9 * 256  # and the norms
    bound = 2 * 6.5e9 * 2048 / (2 * weights)
    assert found.checks[1].figures["bound"] == pytest.approx(bound, rel=1e-6)


def test_above_the_bandwidth_bound_only_speculation_could() -> None:
    """One H100 SXM, 8 B weights in 16 bits, one request: 3,350 GB/s over 15.0 GB a token."""
    stated = {"value": 400, "unit": "tokens/s"}
    fast: dict[str, Any] = {
        "model": "deepseek-r1-distill-llama-8b",
        "gpu": "h100",
        "form_factor": "sxm",
        "gpus": 1,
        "concurrency": 1,
    }
    unsaid = assess(serving(stated=stated, **fast), conf_sources())
    assert unsaid.verdict == "not comparable"
    assert "speculative decoding" in unsaid.checks[1].evidence[-1]
    plain = assess(serving(stated=stated, speculative=False, **fast), conf_sources())
    assert plain.verdict == "impossible"
    assert plain.checks[1].figures["bound"] == pytest.approx(
        (3350e9 + 64e9) / (15.01e9 - 50e6), rel=0.01
    )
    slow = serving(
        metric="tpot_p50_ms", stated={"value": 2, "unit": "ms"}, speculative=False, **fast
    )
    assert assess(slow, conf_sources()).verdict == "impossible"  # 2 ms per token are 500 tokens/s
