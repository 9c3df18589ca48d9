"""MBU, MFU and the ceiling of a load point, against a calculation by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from point_support import even, point

from bench.fit.utilised import against_hardware
from bench.metrics import Metric, measure_all, steady_parts, whole_parts
from bench.spec import RunSpec

CONF = Path(__file__).parents[2] / "conf"


def conf(group: str, name: str) -> Any:
    return OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"))


@pytest.fixture
def llama_8b(run_spec: Callable[..., RunSpec]) -> RunSpec:
    """The 8 B Llama in bfloat16 on one H100: 8.03 B parameters, 15.01 GB of them read per step."""
    model = conf("model", "deepseek-r1-distill-llama-8b")
    return run_spec(model=model, gpu=conf("gpu", "h100-sxm"), gpus=1)


def judged(spec: RunSpec, gap_ms: float) -> tuple[dict[str, Metric], Any]:
    """One stream of 100 tokens a request, one every `gap_ms`."""
    shots = even(8, ttft=gap_ms, gap=gap_ms, tokens=100, rest=0.001)
    parts = steady_parts([point(shots)], spec.workload.slo, 1)
    metrics = measure_all(parts, whole_parts([point(shots)], spec.workload.slo, 1))
    return against_hardware(spec, parts, metrics)


def test_a_hundred_tokens_per_second_of_one_stream(llama_8b: RunSpec) -> None:
    """15.01 GB of weights and 58 tokens' cache of 131 kB, 100 times a second, of 3,350 GB/s."""
    found, finding = judged(llama_8b, gap_ms=10)
    expected = 100 * (15.01e9 + 58 * 131_072) / 3350e9
    assert found["mbu"].value == pytest.approx(expected, rel=0.01)
    assert found["mbu"].arose == "modelled"
    assert found["ceiling_tokens_per_s"].value == pytest.approx(3350 / 15.01, rel=0.01)
    # Two operations per active weight and token, prompt tokens included, of 989 TFLOP/s.
    assert found["mfu"].value == pytest.approx(2 * 7.5e9 * 108 / 989e12, rel=0.05)
    assert finding.severity == "pass"


def test_faster_than_memory_can_be_read_is_no_record_but_a_fault(llama_8b: RunSpec) -> None:
    """500 tokens/s of one stream need 7,500 GB/s."""
    _, finding = judged(llama_8b, gap_ms=2)
    assert finding.severity == "fail"
    assert finding.figure == pytest.approx(500 / (3350 / 15.01), rel=0.02)
    assert "is not what was said" in finding.text


def test_hardware_without_published_limits_has_no_ceiling(run_spec: Callable[..., RunSpec]) -> None:
    found, finding = judged(run_spec(), gap_ms=10)
    assert {name: m.value for name, m in found.items()} == {
        "mbu": None, "mfu": None, "ceiling_tokens_per_s": None,
    }  # fmt: skip
    assert finding.severity == "info"
