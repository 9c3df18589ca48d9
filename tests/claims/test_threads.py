"""Public threads: what is missing or differs is the answer until somebody measures."""

from __future__ import annotations

import pytest
from claims_support import assessed, check, every_claim

from bench.claims.spec import Serving

SPEEDS = [
    n
    for n, c in every_claim().items()
    if n.startswith("public-threads/") and isinstance(c.says, Serving)
]


@pytest.mark.parametrize("name", SPEEDS)
def test_not_comparable_until_measured(name: str) -> None:
    assert assessed(name).verdict in ("untested", "not comparable")
    assert every_claim()[name].url


def test_another_form_factor_is_another_gpu() -> None:
    """27,688 tokens/s on SXM beside 7,100 on PCIe."""
    found = check("public-threads/trtllm-6294", "reports")
    assert found.verdict == "not comparable"
    assert "gpu h100-sxm ≠ h100-pcie" in found.evidence[0]
    assert found.figures["reported"] == pytest.approx(7099.5, abs=0.1)


def test_the_bound_does_not_forbid_what_was_not_reproduced() -> None:
    """1,979 TFLOP/s over two operations per weight of 7.5 B, for the prompt's 128 tokens as well:
    69,300 tokens/s, where the first version let 131,800 pass."""
    found = check("public-threads/trtllm-6294", "bound")
    assert found.verdict == "possible"
    assert found.figures["bound"] == pytest.approx(1979e12 / (4 * 7.14e9), rel=0.03)


def test_r1_awq_is_far_below_its_bound() -> None:
    """8 x 2,039 GB/s over the active 4-bit weights: 832 tokens/s are published, for 37 B
    at 0.53 bytes; without scales, and 40 MB a chip kept in its cache, it is 920."""
    found = check("public-threads/r1-awq-8xa100", "bound")
    assert found.verdict == "possible"
    assert found.figures["bound"] == pytest.approx(920, rel=0.01)


def test_a_sum_of_input_and_output_was_taken_for_output() -> None:
    assert assessed("public-threads/vllm-llama31-total").verdict == "confirmed"
    computed = check("public-threads/vllm-llama31-total", "arithmetic").figures["computed"]
    assert computed == pytest.approx(3176.39)


def test_what_the_source_leaves_unsaid_is_listed() -> None:
    missing = check("public-threads/vllm-8244", "runs").evidence[0]
    for word in ("engine_version", "form_factor", "concurrency", "metric definition"):
        assert word in missing
