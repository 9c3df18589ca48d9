"""GGUF types by name, held against what llama.cpp's own tools print of public models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fit_support import catalogue, run_of

from bench.models.weights import resolve_weights
from bench.sizing.architecture import from_config
from bench.sizing.declared import geometry_of
from bench.sizing.fit import fit
from bench.sizing.gguf_mix import FILE_TYPES, tensor_sums
from bench.sizing.precision import precision
from bench.values.errors import InputError
from bench.values.ggml import is_dynamic

EVIDENCE = Path(__file__).parents[1] / "data" / "evidence"

# Bits per weight of Llama 3.1 8B: ggml-org/llama.cpp, tools/quantize/README.md (311c2c9).
LLAMA_8B = {
    "q8_0": 8.5008,
    "q6_k": 6.5633,
    "iq1_s": 2.0042,
    "iq1_m": 2.1460,
    "iq2_xxs": 2.3824,
    "iq2_xs": 2.5882,
    "iq2_s": 2.7403,
    "iq2_m": 2.9294,
    "iq3_xxs": 3.2548,
    "iq3_xs": 3.4977,
    "iq3_s": 3.6606,
    "iq3_m": 3.7628,
    "iq4_xs": 4.4597,
    "iq4_nl": 4.6818,
    "q2_k_s": 2.9697,
    "q3_k_s": 3.6429,
    "q3_k_l": 4.2979,
    "q5_k_m": 5.7036,
    "q5_k_s": 5.5704,
    "q4_k_m": 4.8944,
    "q4_k_s": 4.6672,
    "q2_k": 3.1593,
}
# The `size` column of llama-bench in public logs, GiB, of Q4_K_M.
LLAMA_BENCH_GIB = {
    ("llama-3.1-70b", "q4_k_m"): 39.59,  # 70B: its value projections take 5 bits
    ("qwen3-32b", "q4_k_m"): 18.40,
    ("mixtral-8x7b", "q4_k_m"): 26.49,  # eight experts: rules of their own
    ("qwen3-30b-a3b", "q4_k_m"): 17.28,
    ("deepseek-r1", "q4_k_m"): 376.65,  # latent attention, three dense layers
    ("phi-4", "q4_k_m"): 8.43,  # one tensor of queries, keys and values
    ("llama-3.1-405b", "iq2_xxs"): 99.90,
}
# llama.cpp's own print of Gemma 2 9B (ggml-org/llama.cpp, pull request 8836, MASTER): tied, two
# heads to a value projection.
GEMMA_2_9B_GIB = {"iq1_s": 2.21, "iq1_m": 2.37}


def totals(model: str, file_type: str) -> tuple[int, int]:
    sums = tensor_sums(geometry_of(catalogue().models[model]), file_type)
    parts = [one for role, one in sums.items() if role != "vision"]
    return sum(p["weights"] for p in parts), sum(p["bytes"] for p in parts)


@pytest.mark.parametrize("file_type", LLAMA_8B)
def test_llama_8b_takes_what_llama_cpp_says(file_type: str) -> None:
    weights, size = totals("llama-3.1-8b", file_type)
    assert 8 * size / weights == pytest.approx(LLAMA_8B[file_type], abs=5e-5)


@pytest.mark.parametrize(("model", "file_type"), LLAMA_BENCH_GIB)
def test_sizes_are_those_that_llama_bench_prints(model: str, file_type: str) -> None:
    _, size = totals(model, file_type)
    assert size / 2**30 == pytest.approx(LLAMA_BENCH_GIB[model, file_type], abs=0.0051)


@pytest.mark.parametrize("file_type", GEMMA_2_9B_GIB)
def test_the_smallest_types_of_a_tied_model(file_type: str) -> None:
    config = json.loads((EVIDENCE / "configs" / "gemma2-9b.json").read_text(encoding="utf-8"))
    sums = tensor_sums(from_config(config), file_type)
    size = sum(one["bytes"] for one in sums.values())
    assert size / 2**30 == pytest.approx(GEMMA_2_9B_GIB[file_type], abs=0.0051)


def test_rows_that_no_block_divides_take_smaller_blocks() -> None:
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": 10,
    }
    sums = tensor_sums(from_config(config), "q4_k_m")
    # 64 columns: Q4_K becomes Q5_0, 22 bytes for 32; the one layer's value and down projections
    # and the output ask for Q6_K, which becomes Q8_0, 34 bytes for 32.
    assert sums["attention"]["bytes"] == 3 * 64 * 64 // 32 * 22 + 64 * 64 // 32 * 34
    assert sums["dense_ffn"]["bytes"] == 2 * 64 * 96 // 32 * 22 + 64 * 96 // 32 * 34
    assert sums["lm_head"]["bytes"] == 10 * 64 // 32 * 34
    assert sums["embedding"]["bytes"] == 10 * 64 // 32 * 22
    assert sums["norm"]["bytes"] == 4 * 3 * 64


def test_a_fit_counts_a_type_by_its_name() -> None:
    report = fit(run_of("llama-3.1-8b", "q4_k_m", "l40s", 1))
    _, size = totals("llama-3.1-8b", "q4_k_m")
    rotary = 131_072 * 128 * 2  # what vLLM keeps beside the weights
    assert report.weights_gib_per_gpu * 2**30 == pytest.approx(size + rotary, rel=1e-9)
    assert any("llama.cpp" in note for note in report.notes)


@pytest.mark.parametrize(
    ("model", "file_type", "word"),
    [
        ("llama-3.1-8b", "q4_k_x", "q4_k_"),
        ("qwen3-next-80b", "q8_0", "recurrent"),
        ("gpt-oss-20b", "q4_k_m", "MXFP4"),
        ("phi-4", "iq2_xs", "fused attention"),
        ("llama-3.1-8b", "ud-q4_k_xl", "dynamic GGUF"),
    ],
)
def test_what_is_not_known_says_so(model: str, file_type: str, word: str) -> None:
    with pytest.raises(InputError, match=word):
        totals(model, file_type)


def test_every_named_type_is_known_and_none_is_a_folder() -> None:
    c = catalogue()
    named = {name for name, quant in c.quants.items() if quant.is_gguf}
    assert named
    assert named == set(FILE_TYPES)
    assert not named & {q.name for q in c.folder_quants()}


def test_no_random_weights_stand_for_a_file() -> None:
    spec = run_of("llama-3.1-8b", "q8_0", "l40s", 1)
    with pytest.raises(InputError, match=r"FILE\.gguf"):
        resolve_weights(replace(spec.model, weights="dummy"), spec.quant)


@pytest.mark.parametrize("name", ["UD-Q4_K_XL", "ud-iq1_s", "q3_k_xl", "q2_k_l", "UD-TQ1_0"])
def test_a_dynamic_name_is_known_for_what_it_is(name: str) -> None:
    assert is_dynamic(name)
    assert not any(map(is_dynamic, FILE_TYPES))


def test_claims_know_every_type() -> None:
    assert [t for t in FILE_TYPES if precision(t) is None] == []
    assert precision("UD-IQ2_M") == precision("iq2_m")
