"""Every quantitative sentence of the source document's sections 1 to 4 is a claim, and each claim
comes out as it should: its verdict, and the key figure or word of its evidence."""

from __future__ import annotations

import io

import pytest
from claims_support import assessed, every_claim
from rich.console import Console

from bench.report.claim_table import print_claims

COST, HARDWARE = "source-document-cost", "source-document-hardware"
MODELS, TRAJECTORY = "source-document-models", "source-document-trajectory"

NO_MODEL = ("not comparable", None, "no API model of that name")
# These four were "impossible" until published formats of 1.58 to 2 bits were found that fit: what
# the catalogue's formats need forbids nothing while precision and engine are unsaid.
NOT_SAID = ("not comparable", None, "the source does not say: quant, engine")
UNKNOWN = ("untested", None, "no dated reference")

# section and sentence -> claims: name, verdict, the key of a figure and its value, or a word
SENTENCES: dict[str, dict[str, tuple[str, str | None, float | str]]] = {
    "1.1 Mistral Medium 3.1 | Top 10 | ~90% of Sonnet | 0.40 / 1.20 | Proprietary | 200K": {
        f"{MODELS}/mistral-rank": UNKNOWN,
        f"{MODELS}/mistral-coding": UNKNOWN,
        f"{MODELS}/mistral-price": ("refuted", "output price, found", 2.00),
        f"{MODELS}/mistral-licence": ("confirmed", None, "Proprietary (API model"),
        f"{MODELS}/mistral-context": ("refuted", "context, found", 131_072),
    },
    "1.1 DeepSeek R1 | ~30 | 0.55 / 0.55 | Open (Apache 2.0) | 128K": {
        f"{MODELS}/r1-rank": UNKNOWN,
        f"{MODELS}/r1-price": ("refuted", "output price, found", 2.19),
        f"{MODELS}/r1-licence": ("refuted", None, "contradicted, it is MIT"),
        f"{MODELS}/r1-context": ("confirmed", "context, found", 128_000),
    },
    "1.1 GPT-5.1 Mini | ~14 | 1.10 / 4.40 | Proprietary | 200K": {
        f"{MODELS}/gpt-5.1-mini-rank": NO_MODEL,
        f"{MODELS}/gpt-5.1-mini-price": NO_MODEL,
        f"{MODELS}/gpt-5.1-mini-licence": NO_MODEL,
        f"{MODELS}/gpt-5.1-mini-context": NO_MODEL,
    },
    "1.1 Claude Sonnet 4.5 | Top 10 | 3.00 / 15.00 | Proprietary | 200K": {
        f"{MODELS}/sonnet-rank": UNKNOWN,
        f"{MODELS}/sonnet-price": ("confirmed", "output price, found", 15.00),
        f"{MODELS}/sonnet-licence": ("confirmed", None, "Proprietary (Anthropic"),
        f"{MODELS}/sonnet-context": ("confirmed", "context at the listed price, found", 200_000),
    },
    "1.1 Gemini 3 Pro | #1 | 2.00 / 12.00 | Proprietary | 1M": {
        f"{MODELS}/gemini-rank": ("confirmed", "LM Arena rank, found", 1),
        f"{MODELS}/gemini-price": ("confirmed", "output price, found", 12.00),
        f"{MODELS}/gemini-licence": ("confirmed", None, "Proprietary (Google"),
        f"{MODELS}/gemini-context": ("confirmed", "context, found", 1_048_576),
    },
    "1.1 GLM-4.7 | #19 | #6 | Free | MIT | 128K": {
        f"{MODELS}/glm-rank": UNKNOWN,
        f"{MODELS}/glm-coding": UNKNOWN,
        f"{MODELS}/glm-price": ("refuted", "output price, found", 2.20),
        f"{MODELS}/glm-licence": ("confirmed", None, "agrees"),
        f"{MODELS}/glm-context": ("refuted", "context the weights allow, found", 202_752),
    },
    "1.1 Llama 4 Scout | Free | Llama 3 | 10M": {
        f"{MODELS}/scout-price": ("refuted", "output price, found", 0.30),
        f"{MODELS}/scout-licence": ("refuted", None, "contradicted, it is Llama 4"),
        f"{MODELS}/scout-context": ("confirmed", "context the weights allow, found", 10_485_760),
    },
    "1.1 Qwen3-30B-A3B | Free | Open | 32K": {
        f"{MODELS}/qwen-price": UNKNOWN,
        f"{MODELS}/qwen-licence": ("confirmed", None, "Apache-2.0"),
        f"{MODELS}/qwen-context": ("confirmed", "context, found", 32_768),
    },
    "1.2 (1) Mistral at $0.40/M provides ~90% of Claude Sonnet's quality for 8x less cost": {
        f"{MODELS}/mistral-8x-cheaper": ("confirmed", "computed", 3 / 0.40),
    },
    "1.2 (3) Gemini 3 Pro offers 1M tokens for $2/M input": {
        f"{MODELS}/gemini-long-price": (
            "refuted",
            "input price of a prompt of 1M tokens, found",
            4.00,
        ),
    },
    "1.2 (4) DeepSeek R1 uses 685B total parameters but activates only 37B per token": {
        f"{MODELS}/r1-size": ("confirmed", "active parameters, found", 37.5523),
    },
    "summary: Scout enables entire codebase processing on single GPU": {
        f"{HARDWARE}/scout-one-gpu": (
            "not comparable",
            None,
            "the source does not say: quant, gpu",
        ),
    },
    "summary: open models could match frontier performance at 10x lower cost by Q4 2026": {
        f"{TRAJECTORY}/ten-times-cheaper": ("untested", "trend", 2.192),
    },
    "2.1 Frontier API | $10-30/M tokens | $2-75/M tokens | -50% to +150%": {
        f"{TRAJECTORY}/frontier-2025-range": (
            "refuted",
            "lowest price of a GPT-4 class API, early 2025, found",
            2.50,
        ),
        f"{TRAJECTORY}/frontier-2026-range": ("confirmed", "highest price, found", 75.0),
        f"{TRAJECTORY}/frontier-price-low": ("refuted", "computed", -80.0),
        f"{TRAJECTORY}/frontier-price-high": ("confirmed", "computed", 150.0),
    },
    "2.1 Mid-tier | $5-10/M | $3/M | -40%": {
        f"{TRAJECTORY}/mid-tier-2025-range": ("confirmed", "computed", 6.00),
        f"{TRAJECTORY}/mid-tier-2026-price": ("confirmed", "input price, found", 3.00),
        f"{TRAJECTORY}/mid-tier-price": ("refuted", "computed", 0.0),
    },
    "2.2 GLM-4.7 (2026-01) now #6 coding vs. closed models #1-5": {
        f"{TRAJECTORY}/glm-coding-rank": UNKNOWN,
    },
    "2.2 DeepSeek V3.2 (2025-12) LM Arena #31": {
        f"{TRAJECTORY}/v3.2-arena-rank": ("confirmed", "LM Arena rank, found", 31)
    },
    "2.2 Llama 4 (2025-11) introduced 10M context, previously only proprietary had >200K": {
        f"{TRAJECTORY}/llama4-date": ("refuted", None, "contradicted, it is 2025-04"),
        f"{TRAJECTORY}/open-context-before": (
            "refuted",
            "longest context of an open model before, found",
            1_048_576,
        ),
    },
    "2.2 gain ~3-5 points per month, 1400-point threshold (top 10) by late 2026": {
        f"{TRAJECTORY}/arena-rate": ("untested", "trend", 6.69),
        f"{TRAJECTORY}/arena-top-ten": ("refuted", "trend", 1438),
        f"{TRAJECTORY}/arena-1400": (
            "refuted",
            "best LM Arena score of an open model by the day of the document, found",
            1424.0,
        ),
    },
    "3.1 Gemini 3 Pro: $2 input + $12 output = ~$14/M tokens -> $14,000/month": {
        f"{COST}/gemini-per-mtok": ("refuted", "computed", (2 + 12) / 2),
        f"{COST}/api-gemini-1m": ("refuted", "computed", 14.0),
    },
    "3.1 Claude Sonnet 4.5: $3 + $15 = $18/M -> $18,000/month": {
        f"{COST}/sonnet-per-mtok": ("refuted", "computed", (3 + 15) / 2),
        f"{COST}/api-sonnet-1m": ("refuted", "computed", 18.0),
    },
    "3.1 DeepSeek R1 (API): $0.55 + $0.55 = $1.10/M -> $1,100/month": {
        f"{COST}/r1-per-mtok": ("refuted", "computed", 0.55),
        f"{COST}/api-r1-1m": ("refuted", "computed", 1.10),
    },
    "3.1 Hardware: 2x A100 80GB GPUs ($30,000 capex each) = $60k upfront": {
        f"{COST}/hardware-upfront": ("confirmed", "computed", 60_000.0),
    },
    "3.1 Depreciation over 3 years: $1,667/month": {
        f"{COST}/depreciation": ("confirmed", "computed", 60_000 / 36),
    },
    "3.1 Power/cooling: ~$300/month (assuming 2kW @ $0.10/kWh)": {
        f"{COST}/power": ("refuted", "computed", 2 * 730 * 0.10),
    },
    "3.1 Maintenance/IT: ~$500/month": {f"{COST}/maintenance": ("untested", "computed", 10.0)},
    "3.1 Total monthly: ~$2,467/month for unlimited usage": {
        f"{COST}/self-host-total": ("confirmed", "computed", 1667 + 300 + 500.0),
        f"{COST}/unlimited-usage": ("refuted", "computed", 50 * 2.628),
    },
    "3.1 Break-even: ~1-2M tokens/month for mid-tier APIs, or immediately for premium APIs": {
        f"{COST}/break-even": ("refuted", "computed", 2466.6667 / 6),
        f"{COST}/break-even-premium": ("refuted", "computed", 2466.6667 / 6),
    },
    "3.2 API (Mistral @ $0.40/M): $40,000/month": {
        f"{COST}/enterprise-api": ("refuted", "computed", 40.0),
    },
    "3.2 Self-host (2x H100): $5,000/month (fixed) + $1,000 ops = $6,000/month": {
        f"{COST}/enterprise-fixed": ("untested", "computed", 2 * 2.00 * 730),
        f"{COST}/enterprise-self-host": ("confirmed", "computed", 6_000.0),
    },
    "3.2 Savings: ~$34,000/month -> $408k/year": {
        f"{COST}/savings-month": ("refuted", "computed", 40 - 6_000.0),
        f"{COST}/savings-year": ("refuted", "computed", 12 * (60 - 6_000.0)),
    },
    "3.2 5-10x cheaper than premium APIs, 2-3x cheaper than budget APIs like DeepSeek": {
        f"{COST}/cheaper-than-premium": ("refuted", "computed", 4.5 / 2467),
        f"{COST}/cheaper-than-deepseek": ("refuted", "computed", 1100 / 2467),
    },
    "4.1 DeepSeek R1 | 2x A100 80GB | 160GB | ~50 tokens/sec": {
        f"{HARDWARE}/r1-2xa100": NOT_SAID,
        f"{HARDWARE}/ram-2xa100": ("confirmed", "computed", 160.0),
    },
    "4.1 Llama 4 Scout (10M context) | 4x H100 80GB | 320GB+ | ~30 tokens/sec": {
        f"{HARDWARE}/scout-10m-4xh100": NOT_SAID,
        f"{HARDWARE}/ram-4xh100": ("confirmed", "computed", 320.0),
    },
    "4.1 GLM-4.7 | 2x A100 80GB | ~40 tokens/sec": {
        f"{HARDWARE}/glm-2xa100": NOT_SAID,
    },
    "4.1 Mistral Medium 3.1 | 4x A100 80GB | 320GB | ~60 tokens/sec": {
        f"{HARDWARE}/mistral-4xa100": ("not comparable", None, "weights are not published"),
        f"{HARDWARE}/ram-4xa100": ("confirmed", "computed", 320.0),
    },
    "4.1 A100/H100 spot prices on cloud (AWS, GCP, Azure) range $2-4/hr per GPU": {
        f"{HARDWARE}/spot-rents": ("refuted", "lowest", 0.748),
    },
    "4.2 1-2 ML engineers + DevOps @ $200k/year each": {f"{HARDWARE}/staff": UNKNOWN},
    "7 The trajectory suggests open models will be near-parity by late 2026": {
        f"{TRAJECTORY}/near-parity": ("untested", "trend", 8.615),
    },
    "5.1 If you exceed 1M tokens/month [...] Capex payback often <12 months": {
        f"{COST}/payback": ("refuted", "computed", float("inf")),
    },
}

CASES = {name: case for claims in SENTENCES.values() for name, case in claims.items()}


@pytest.mark.parametrize("name", CASES)
def test_verdict_and_key_figure(name: str) -> None:
    verdict, key, expected = CASES[name]
    found = assessed(name)
    assert found.verdict == verdict
    check = next((c for c in found.checks if c.verdict == verdict), found.checks[0])
    if key is None:
        assert any(str(expected) in line for line in check.evidence)
    else:
        assert check.figures[key] == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_no_claim_of_the_document_is_without_its_sentence() -> None:
    claims = {n for n in every_claim() if n.startswith("source-document-")}
    assert set(CASES) == claims
    assert len({s.partition(" ")[0] for s in SENTENCES if s[0].isdigit()}) == 10


def test_a_figure_in_another_unit_has_no_ratio_to_the_stated_one() -> None:
    """$500 a month over $60,000 is 10 % a year: nothing to divide 500 dollars by."""
    assert set(assessed(f"{COST}/maintenance").checks[0].figures) == {"computed"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (f"{COST}/power", "stated ~300 USD/month, computed 146 USD/month: 2.055 times too high"),
        (
            f"{COST}/savings-year",
            "stated ~408,000 USD/year, computed -71,280 USD/year: the sign is the other one",
        ),
        (
            f"{COST}/break-even",
            "stated ~1–2 Mtok/month, computed 411.1 Mtok/month: 205.6 times too low",
        ),
        (f"{COST}/payback", "stated at most 12 months, computed ∞ months: it does not agree"),
        (f"{COST}/maintenance", "nothing at hand bears it out or contradicts it"),
        (
            f"{HARDWARE}/r1-2xa100",
            "the source does not say: quant, engine, engine_version, input_tokens, output_tokens, "
            "form_factor, concurrency, metric definition; nor speculative, so read either way",
        ),
        (
            f"{HARDWARE}/spot-rents",
            "spot rent of a100-40gb-sxm, a100-40gb-pcie, a100-80gb-sxm, a100-80gb-pcie, h100-sxm, "
            "h100-pcie, h100-nvl: stated 2–4 USD/GPU/h; offers go from 0.75 to 4.03",
        ),
        (
            f"{MODELS}/r1-price",
            "output price: stated 0.55 USD/Mtok: contradicted, it is 2.19 USD/Mtok",
        ),
        (f"{TRAJECTORY}/frontier-price-low", "stated ~-50 %, computed -80 %: it does not agree"),
        (
            f"{COST}/api-gemini-1m",
            "stated 14,000 USD/month, computed 14 USD/month: 1,000 times too high; a price per "
            "million tokens was multiplied as if per thousand tokens",
        ),
        ("tiny/no-concurrency", "the source does not say: concurrency"),
        ("tiny/above-bound", "stated 10,000,000 tokens/s: 2.759 times what the bound allows"),
    ],
)
def test_the_first_line_says_why(name: str, why: str) -> None:
    assert assessed(name).why == why
    assert assessed(name).to_json()["why"] == why


def test_many_claims_are_counted_and_listed_at_80_columns() -> None:
    screen = io.StringIO()
    found = [assessed(n) for n in (f"{COST}/power", f"{COST}/payback", "tiny/above-bound")]
    print_claims(found, in_full=False, out=Console(file=screen, width=80))
    lines = screen.getvalue().splitlines()
    assert lines[0] == "3 claims: 1 impossible, 2 refuted"
    assert max(map(len, lines)) <= 80
    assert "2.055 times too high" in " ".join(screen.getvalue().split())
