"""The source document's claims come out as its audit says: verdict and key figure of each."""

from __future__ import annotations

import pytest
from claims_support import assessed, check, every_claim

COST = "source-document-cost"
HARDWARE = "source-document-hardware"
MODELS = "source-document-models"
TRAJECTORY = "source-document-trajectory"


@pytest.mark.parametrize(
    ("name", "kind", "number", "figure", "expected"),
    [
        # $14, $18 and $1.10 for what is stated as $14,000, $18,000 and $1,100
        ("api-gemini-1m", "arithmetic", 0, "computed", 14.0),
        ("api-sonnet-1m", "arithmetic", 0, "computed", 18.0),
        ("api-r1-1m", "arithmetic", 0, "computed", 1.10),
        ("enterprise-api", "arithmetic", 0, "computed", 40.0),
        ("power", "arithmetic", 0, "computed", 146.0),  # 2 kW x 730 h x 0.10
        ("power", "arithmetic", 1, "computed", 300 / 146),  # the PUE that $300 needs
        ("unlimited-usage", "arithmetic", 0, "computed", 131.4),  # 50 x 2.628e6 s
        ("unlimited-usage", "arithmetic", 1, "computed", 2467 / 131.4),
        ("savings-year", "arithmetic", 0, "computed", (60 - 6000) * 12),
        ("cheaper-than-deepseek", "arithmetic", 1, "computed", 2467 / 1100),
        ("cheaper-than-deepseek", "arithmetic", 2, "computed", 18.77),
        ("cheaper-than-premium", "cost", 0, "computed", 4.5 / 2467),
        ("break-even-premium", "cost", 0, "computed", 2467 / 6),
    ],
)
def test_refuted_costs(name: str, kind: str, number: int, figure: str, expected: float) -> None:
    assert assessed(f"{COST}/{name}").verdict == "refuted"
    found = check(f"{COST}/{name}", kind, number).figures[figure]
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["api-gemini-1m", "api-sonnet-1m", "api-r1-1m", "enterprise-api"])
def test_a_factor_of_a_thousand_is_named(name: str) -> None:
    own = check(f"{COST}/{name}", "arithmetic")
    assert own.figures["ratio"] == pytest.approx(1000)
    assert any("1,000 times too high" in line for line in own.evidence)


def test_input_and_output_prices_added_bill_twice_the_tokens() -> None:
    own = check(f"{COST}/api-gemini-1m", "arithmetic")
    assert any("which is 2M and not 1M" in line for line in own.evidence)
    assert check(f"{COST}/api-gemini-1m", "cost").figures["computed"] == pytest.approx(4.5)


def test_the_sum_is_right_and_what_it_omits_is_said() -> None:
    for name in ("hardware-upfront", "depreciation", "self-host-total", "enterprise-self-host"):
        assert assessed(f"{COST}/{name}").verdict == "confirmed", name
    total = check(f"{COST}/self-host-total", "arithmetic")
    assert any("omits chassis, CPU, network, colocation" in line for line in total.evidence)
    one_engineer = check(f"{COST}/self-host-total", "cost", 1)
    assert one_engineer.figures["computed"] == pytest.approx(2467 + 16667, abs=1)


def test_break_even_table() -> None:
    """$2,466.67 a month over each blended price; M tokens per month at 3:1."""
    expected = [411, 548, 1281, 4111, 4485, 2569, 2467, 7831, 16444]
    name = f"{COST}/break-even"
    assert assessed(name).verdict == "refuted"
    found = [check(name, "cost", i).figures["computed"] for i in range(9)]
    assert found == [pytest.approx(value, abs=0.6) for value in expected]
    capacity, with_engineer = (check(name, "cost", i).figures["computed"] for i in (9, 10))
    assert capacity == pytest.approx(525.6)
    assert with_engineer == pytest.approx((2466.67 + 16666.67) / 6, rel=1e-4)
    assert with_engineer is not None
    assert with_engineer > 525.6  # no break-even within reach of the box


def test_payback_never_comes() -> None:
    assert assessed(f"{COST}/payback").verdict == "refuted"
    assert check(f"{COST}/payback", "cost").figures["computed"] == float("inf")
    assert assessed(f"{COST}/payback").to_json()["checks"][0]["figures"]["computed"] is None
    # 60,000 over (525 x 6.00 - 800): even a full box takes two years
    full = check(f"{COST}/payback", "cost", 1).figures["computed"]
    assert full == pytest.approx(60000 / (525 * 6 - 800), rel=1e-3)


def test_r1_on_two_a100_is_not_impossible() -> None:
    """It was called so: in vLLM's formats it does not fit, but 1.58-bit weights of 140 GB are
    published, and their authors report 140 tokens/s on two H100 of the same size."""
    found = check(f"{HARDWARE}/r1-2xa100", "fit")
    assert found.verdict == "possible"
    assert assessed(f"{HARDWARE}/r1-2xa100").verdict == "not comparable"
    weights = found.figures["weights_gb_awq"]
    assert weights is not None
    assert 336 <= weights <= 364
    assert found.figures["memory_gb"] == pytest.approx(2 * 80 * 1.073741824)
    assert any("UD-IQ1_S" in e and "140.2 GB" in e and e.endswith("fits") for e in found.evidence)
    would_fit = found.evidence[-1]
    assert "awq on 8×a100-80gb-sxm" in would_fit
    assert "fp8 on 8×h200-sxm" in would_fit


def test_glm_on_two_a100_is_not_impossible() -> None:
    """Its 4-bit weights need four; a 2-bit file of 134 GB is published."""
    found = check(f"{HARDWARE}/glm-2xa100", "fit")
    assert found.verdict == "possible"
    assert assessed(f"{HARDWARE}/glm-2xa100").verdict == "not comparable"
    weights = found.figures["weights_gb_awq"]
    assert weights is not None
    assert 179 <= weights <= 190
    assert any("134.0 GB" in e and e.endswith("fits") for e in found.evidence)
    assert "awq on 4×a100-80gb-sxm" in found.evidence[-1]


def test_scout_with_ten_million_tokens_does_not_fit_with_a_16_bit_cache() -> None:
    """With a smaller one, of which the source says nothing, it does."""
    found = check(f"{HARDWARE}/scout-10m-4xh100", "fit")
    assert assessed(f"{HARDWARE}/scout-10m-4xh100").verdict == "not comparable"
    weights, memory = found.figures["weights_gb_none"], found.figures["memory_gb"]
    assert weights == pytest.approx(218, abs=1)
    assert memory is not None
    assert weights is not None
    assert weights < 320 < memory  # the weights alone would fit
    assert found.figures["kv_gb_if_no_layer_forgets"] == pytest.approx(1970, abs=5)
    assert found.figures["kv_gb"] == pytest.approx(493, abs=1)
    assert any("8-bit cache, which the source does not mention" in e for e in found.evidence)


def test_scout_on_a_single_gpu() -> None:
    """4-bit weights fit 80 GB and leave this little; 10M tokens need a cache of 2 bits beside the
    1.78-bit file on the largest GPU known."""
    found = check(f"{HARDWARE}/scout-one-gpu", "fit")
    assert assessed(f"{HARDWARE}/scout-one-gpu").verdict == "not comparable"
    # 217 GB of bf16 need a GPU of 256 GB, which has little left then
    assert found.figures["kv_left_gb_none"] == pytest.approx(4.1, abs=0.1)
    assert any(
        "fp8: the smallest that hold the weights are 1×h200-nvl" in e for e in found.evidence
    )
    weights, left = found.figures["weights_gb_gptq"], found.figures["kv_left_gb_gptq"]
    assert weights == pytest.approx(60.4, abs=0.1)  # 55 GB of 4-bit matrices and what stays 16-bit
    # vLLM 0.32.0 profiles its sampler without the copies that older versions sorted in
    assert left == pytest.approx(8.9, abs=0.1)
    assert any("gptq" in e and "1×h100-pcie, which leaves" in e for e in found.evidence)


def test_mistral_cannot_be_examined() -> None:
    found = assessed(f"{HARDWARE}/mistral-4xa100")
    assert found.verdict == "not comparable"
    assert "weights are not published" in found.checks[0].evidence[0]
    assert found.settle_with is None


def test_spot_rents_by_dated_prices_of_two_clouds() -> None:
    """February 2026 at Google Cloud: A100 40 GB from 1.28, H100 2.43 to 3.22; Azure's newest known
    ones are of July 2025: 5.9833 ÷ 8 = 0.75 for the same A100, 32.2195 ÷ 8 = 4.03 for an H100."""
    found = assessed(f"{HARDWARE}/spot-rents")
    assert found.verdict == "refuted"
    figures = found.checks[0].figures
    assert figures["lowest"] == pytest.approx(5.9833 / 8, abs=1e-4)
    assert figures["highest"] == pytest.approx(32.2195 / 8, abs=1e-4)
    assert figures["offers"] == 12


def test_mid_tier_price_did_not_move() -> None:
    name = f"{TRAJECTORY}/mid-tier-price"
    assert assessed(name).verdict == "refuted"
    assert check(name, "arithmetic").figures["computed"] == pytest.approx(-40)
    assert check(name, "cost").figures["computed"] == pytest.approx(0, abs=1e-9)


def test_1400_points_were_passed_before() -> None:
    found = check(f"{TRAJECTORY}/arena-1400", "lookup")
    assert found.verdict == "refuted"
    assert any("1,424 points" in e and "2025-07-01" in e for e in found.evidence)


def test_r1_counts() -> None:
    figures = check(f"{MODELS}/r1-size", "lookup").figures
    assert figures["total parameters, found 2"] == pytest.approx(671.03, abs=0.01)
    assert figures["active parameters, found"] == pytest.approx(37.55, abs=0.01)


def test_an_alias_nobody_sells_explains_itself() -> None:
    text = assessed(f"{MODELS}/gpt-5.1-mini-price").checks[0].evidence[0]
    assert "no API model of that name" in text
    assert "o3-mini" in text


@pytest.mark.parametrize("name", sorted(every_claim()))
def test_every_claim_has_a_verdict_with_evidence(name: str) -> None:
    found = assessed(name)
    assert found.checks
    for one in found.checks:
        assert all(line.strip() for line in one.evidence), one
    document = found.to_json()
    assert {"claim", "verdict", "checks", "settle_with"} <= set(document)


def test_no_claim_is_decided_by_what_only_informs() -> None:
    """A calculation with `fuller` inputs neither confirms nor refutes."""
    for name, claim in every_claim().items():
        for index, calculation in enumerate(getattr(claim.says, "calculations", ())):
            if calculation.basis == "fuller":
                assert assessed(name).checks[index].verdict == "possible", name
