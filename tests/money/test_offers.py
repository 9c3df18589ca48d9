"""Offers of GPUs by clouds: per GPU, by region, in the catalogue's names, and what they change.

The files of instances.vantage.sh are rows of tables that github.com/NexusGPU/tensor-fusion keeps of
it (internal/cloudprovider/pricing/pricing-data at 978546fe, 2025-07-29, Apache-2.0).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tco_support import cpu_run

from bench.cli.main import main
from bench.cli.price_effect import effect_of
from bench.config.compose import catalogue
from bench.money.prices.tables import Imported, is_price_table, read_prices
from bench.values.errors import InputError

DATA = Path(__file__).parents[1] / "data" / "prices"


def read(name: str, provider: str, region: str | None = None) -> Imported:
    gpus = [n for n in catalogue().gpus if n not in ("auto", "cpu")]
    text = (DATA / name).read_text(encoding="utf-8")
    return read_prices(text, name, as_of="2025-07-29", provider=provider, gpus=gpus, region=region)


def usd(found: Imported) -> dict[tuple[str, str], float]:
    return {(r.model, r.kind): r.usd for r in found.rows}


def test_a_table_of_aws_per_gpu() -> None:
    """63.2960 ÷ 8 = 7.912; 27.4471 ÷ 8; what has no price in a column is no price."""
    found = read("vantage_aws.csv", "aws")
    prices = usd(found)
    assert prices["a100-80gb-sxm", "rent_on_demand"] == pytest.approx(27.4471 / 8)
    assert prices["a100-80gb-sxm", "rent_reserved"] == pytest.approx(17.4014 / 8)
    assert prices["l4", "rent_on_demand"] == pytest.approx(13.3504 / 8)
    assert not [k for k in prices if k[1] == "rent_spot"]
    assert found.left_out["AWS Inferentia is no GPU of conf/gpu"] == 2
    assert "H200 may be h200-nvl or h200-sxm" in " ".join(found.left_out)
    (row,) = (r for r in found.rows if r.kind == "rent_on_demand" and r.model == "a100-80gb-sxm")
    assert "p4de.24xlarge (8 GPUs, 96 vCPUs, 1152 GiB), its host included" in row.source


def test_a_table_of_azure_counts_its_gpus_in_one_column() -> None:
    """`8x A100_SXM_80G` of a machine whose GPUs have 40 GB is the 40 GB board, whatever its name;
    32.2195 ÷ 8 = 4.027 spot."""
    prices = usd(read("vantage_azure.csv", "azure"))
    assert prices["h100-sxm", "rent_spot"] == pytest.approx(32.2195 / 8, abs=1e-6)
    assert prices["a100-80gb-sxm", "rent_spot"] == pytest.approx(8.5202 / 8, abs=1e-6)
    assert prices["a100-40gb-sxm", "rent_spot"] == pytest.approx(5.9833 / 8, abs=1e-6)
    assert prices["a100-40gb-sxm", "rent_on_demand"] == pytest.approx(27.1970 / 8, abs=1e-6)


@pytest.mark.parametrize(
    ("cell", "per_gpu"),
    [("$730.00 monthly", 0.5), ("$48 daily", 1.0), ("$1,752.0 annually", 0.1), ("$2", 1.0)],
)
def test_other_durations_become_hours(cell: str, per_gpu: float) -> None:
    text = f'API Name,GPUs,GPU model,On Demand\nx,2,L4,"{cell}"\n'
    found = read_prices(text, "f", as_of="2026", provider="p", gpus=["l4"])
    assert [r.usd for r in found.rows] == [pytest.approx(per_gpu)]


@pytest.mark.parametrize("cell", ["€2.0 hourly", "$2 per vCPU", "2 dollars"])
def test_another_currency_or_unit_is_refused_by_line(cell: str) -> None:
    text = f"API Name,GPUs,GPU model,On Demand\nx,2,L4,{cell}\n"
    with pytest.raises(InputError, match=r"line 2: On Demand: .*US dollars and hourly"):
        read_prices(text, "f", as_of="2026", provider="p", gpus=["l4"])


TIERED = {
    "dashscope/qwen-plus-latest": {
        "litellm_provider": "dashscope",
        "mode": "chat",
        "max_input_tokens": 997952,
        "tiered_pricing": [
            {"range": [0, 256000], "input_cost_per_token": 4e-07, "output_cost_per_token": 1.2e-06},
            {
                "range": [256000, 1000000],
                "input_cost_per_token": 1.2e-06,
                "output_cost_per_token": 3.6e-06,
            },
            {"range": [1000000, 2000000], "input_cost_per_token": 9e-06},
        ],
    },
    "claude-sonnet-4-20250514": {
        "cache_creation_input_token_cost": 3.75e-06,
        "cache_creation_input_token_cost_above_1hr": 6e-06,
        "cache_read_input_token_cost": 3e-07,
        "input_cost_per_token": 3e-06,
        "input_cost_per_token_above_200k_tokens": 6e-06,
        "output_cost_per_token_above_200k_tokens": 2.25e-05,
        "cache_read_input_token_cost_above_200k_tokens": 6e-07,
        "litellm_provider": "anthropic",
        "mode": "chat",
        "output_cost_per_token": 1.5e-05,
        "provider_specific_entry": {"us": 1.1},
        "supported_regions": ["global"],
    },
    "cloudflare/@cf/google/gemma-2b-it-lora": {
        "input_cost_per_token": 0.0,
        "litellm_provider": "cloudflare",
        "mode": "chat",
        "output_cost_per_token": 0.0,
    },
    "1024-x-1024/dall-e-2": {
        "input_cost_per_pixel": 1.9e-08,
        "litellm_provider": "openai",
        "mode": "image_generation",
        "output_cost_per_pixel": 0.0,
    },
}
"""Entries of model_prices_and_context_window.json, github.com/BerriAI/litellm at 00035b69 (MIT),
the tiers in its form (two of qwen's, the third made up)."""


def test_prices_by_prompt_length_keep_their_threshold() -> None:
    """A model that has tiers alone was counted as without a price."""
    found = read_prices(json.dumps(TIERED), "l", as_of="2026-08-20", provider=None)
    said = {(r.key, r.kind): (r.usd, r.source.partition("; ")[2]) for r in found.rows}
    qwen = "dashscope/qwen-plus-latest"
    assert said[qwen, "input"] == (0.4, "")
    assert said[qwen, "output"] == (1.2, "")
    assert said[qwen, "long_input"] == (1.2, "above 256k tokens")
    assert said[qwen, "long_output"] == (3.6, "above 256k tokens")
    claude = "anthropic/claude-sonnet-4-20250514"
    assert said[claude, "long_cached_input"] == (0.6, "above 200k tokens")
    assert said[claude, "cache_write"] == (3.75, "")  # not the price of an hour
    assert found.left_out == {
        "price steps by prompt length beyond the second": 1,
        "mode image_generation, which is not text for text": 1,
    }
    assert found.skipped == 1  # free


SKY = """InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,\
AvailabilityZone,Price,SpotPrice
g6.xlarge,4.0,16.0,L4,1.0,,us-east-1,us-east-1a,0.8048,0.33
g6.xlarge,4.0,16.0,L4,1.0,,eu-north-1,eu-north-1b,0.85,0.21
"""
"""The columns of catalogs/v8/aws/vms.csv, github.com/skypilot-org/skypilot-catalog."""


def test_one_region_alone_and_the_machine_is_told() -> None:
    """Of all regions the lowest; of one, that one; of none, the nearest name."""
    every = read_prices(SKY, "aws.csv", as_of="2026", provider="aws", gpus=["l4"])
    assert usd(every) == {("l4", "rent_on_demand"): 0.8048, ("l4", "rent_spot"): 0.21}
    spot = next(r for r in every.rows if r.kind == "rent_spot")
    assert "lowest of 2 offers: per GPU of g6.xlarge (1 GPU, 4 vCPUs, 16 GiB, eu-north-1b)" in (
        spot.source
    )
    one = read_prices(SKY, "a", as_of="2026", provider="aws", gpus=["l4"], region="us-east-1")
    assert usd(one) == {("l4", "rent_on_demand"): 0.8048, ("l4", "rent_spot"): 0.33}
    with pytest.raises(InputError, match=r"region=us-east-2: a has none there.*us-east-1a"):
        read_prices(SKY, "a", as_of="2026", provider="aws", gpus=["l4"], region="us-east-2")
    with pytest.raises(InputError, match="do not say their region"):
        read("vantage_aws.csv", "aws", region="us-east-1")


def code(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(str(ended.value.code or 0))


def test_an_import_shows_what_it_changes_in_a_cost_question(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """R1's output at a tenth: 0.75 × 0.55 + 0.25 × 0.219 = 0.46725 USD a million, of 30,000 million
    a month 14,017.5 USD instead of 0.96 × 30,000 = 28,800."""
    table, book = tmp_path / "new.json", tmp_path / "book.csv"
    table.write_text(
        json.dumps(
            {
                "deepseek/deepseek-r1": {
                    "litellm_provider": "deepseek",
                    "mode": "chat",
                    "output_cost_per_token": 0.219e-6,
                }
            }
        )
    )
    assert is_price_table(table.read_text())
    words = ["import", str(table), "as_of=2026-11-25", f"prices.book={book}", "--json"]
    assert code("prices", *words) == 0
    effect = json.loads(capsys.readouterr().out)["effect"]
    assert effect["question"] == "tco=worked-example"
    moved = {m["name"]: (m["before"], m["after"]) for m in effect["moved"]}
    before, after = moved["deepseek/deepseek-r1 bill, USD/month"]
    assert (before, after) == (pytest.approx(28_800), pytest.approx(14_017.5))
    assert not [name for name in moved if name.startswith("own")]
    book.unlink()
    assert code("snapshot", *words[:-1]) == 0  # the same through the verb of snapshots
    said = capsys.readouterr().out
    assert "deepseek/deepseek-r1 bill, USD/month 28,800 → 14,0" in said
    assert "prices.csv" not in said
    assert code("prices", *words[:-1]) == 0
    assert "no figure of the answer moved" in capsys.readouterr().out  # imported before


def test_an_import_asks_of_a_run_what_bench_tco_asks_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run on a host without GPU has one question; tco=default would refuse it."""
    monkeypatch.setattr(
        "bench.cli.verbs.tco.stored", lambda names, _: (cpu_run(),) if names else ()
    )
    assert effect_of(None, (), (), ("RUN",), "results").words == "RUN tco=cpu-host"
    assert effect_of("default", (), (), ("RUN",), "results").words == "RUN tco=default"
    assert effect_of(None, (), (), (), "results").words == "tco=worked-example"
