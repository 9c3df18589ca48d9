"""Bytes of quantised matrices by hand, and what each tool's lists leave out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fit_support import catalogue, run_of

from bench.models.model_config import read_config
from bench.sizing.architecture import from_config
from bench.sizing.fit import fit
from bench.sizing.formats import WeightFormat, by_layer, for_gpu
from bench.sizing.geometry import Matrix, Role
from bench.sizing.quantisations import (
    from_hf,
    method_of,
    online,
    own_quantisation,
    quantisation_config,
    weight_format,
)
from bench.sizing.sharding import checkpoint_bytes
from bench.values.errors import InputError
from bench.values.spec import ModelSpec

LLAMA = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 100,
}
NVFP4_CT = {
    "quant_method": "compressed-tensors",
    "format": "nvfp4-pack-quantized",
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {
                "num_bits": 4,
                "type": "float",
                "strategy": "tensor_group",
                "group_size": 16,
            },
            "input_activations": {"num_bits": 4, "type": "float"},
        }
    },
}


def linear(name: str = "model.layers.1.mlp.up_proj", role: Role = "dense_ffn") -> Matrix:
    return Matrix(name=name, role=role, rows=512, cols=256, split="out", quantisable=True)


N = 512 * 256


@pytest.mark.parametrize(
    ("config", "size"),
    [
        # Four bits and one scale byte per 16, both tools alike.
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, N / 2 + N / 16),
        ({"quantization": {"quant_algo": "NVFP4", "group_size": 16}}, N / 2 + N / 16),
        (NVFP4_CT, N / 2 + N / 16),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, N),
        ({"quant_method": "modelopt", "quant_algo": "MXFP8"}, N + N / 32),
        # One float32 scale per output row.
        ({"quant_method": "fbgemm_fp8"}, N + 512 * 4),
        # NF4 with a float32 scale per 64; INT8 with one per row.
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, N / 2 + N / 64 * 4),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, N + 512 * 4),
        # Four bits, a 16-bit scale and four bits of zero point per 128.
        ({"quant_method": "auto-round", "bits": 4, "group_size": 128}, N / 2 + N / 128 * 2.5),
        # HQQ: scale and zero point in 16 bits each per 64.
        (
            {
                "quant_method": "hqq",
                "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}},
            },
            N / 2 + N / 64 * 4,
        ),
    ],
)
def test_bytes_of_one_matrix(config: dict[str, Any], size: float) -> None:
    assert from_hf(config, "x").bytes(linear(), 512, 256, 2) == size


def test_mxfp4_holds_for_experts_alone_and_is_padded_as_kernels_ask() -> None:
    fmt = from_hf({"quant_method": "mxfp4"}, "x")
    assert fmt.bytes(linear(), 512, 256, 2) == 2 * N
    expert = linear("model.layers.0.mlp.experts.0.up_proj", "routed_expert")
    assert fmt.bytes(expert, 512, 256, 2) == N / 2 + N / 32
    # gpt-oss on an A100: 2,880 × 2,880 becomes 2,944 × 3,072.
    marlin = for_gpu(fmt, 8.0)
    square = replace(expert, rows=2880, cols=2880)
    assert marlin.bytes(square, 2880, 2880, 2) == 2944 * 3072 * (4 + 8 / 32) / 8
    assert for_gpu(fmt, None) == fmt
    assert for_gpu(fmt, 8.0, pads_marlin=False) == fmt
    assert for_gpu(from_hf(NVFP4_CT, "x"), 8.0).pad == (1, 1)


def test_online_fp8_halves_what_is_linear() -> None:
    g = from_config(LLAMA)
    fmt = online("fp8", "x")
    native = checkpoint_bytes(g, WeightFormat(name="none"), 2.0)
    # Embedding, head and norms keep 16 bits; the rest has one byte a number.
    kept = 2 * (2 * 100 * 256 + 256 + 4 * 2 * 256)
    assert checkpoint_bytes(g, fmt, 2.0) == kept + (native - kept) / 2
    with pytest.raises(InputError, match="'exl3'"):
        online("exl3", "x")


@pytest.mark.parametrize(
    ("method", "size"),
    [
        ("fp8", N),
        ("fp8_per_channel", N + 512 * 4),
        ("fp8_per_block", N + 4 * 2 * 4),
        ("int8_per_channel_weight_only", N + 512 * 4),
        ("mxfp8", N + N / 32),
    ],
)
def test_online_formats_by_hand(method: str, size: float) -> None:
    assert online(method, "x").bytes(linear(), 512, 256, 2) == size


def test_the_engines_quantization_is_counted_or_contradicts() -> None:
    """L17: Llama-3.1-8B with --quantization fp8 took 8.49 GiB."""
    run = run_of("llama-3.1-8b", "none", "h100-sxm", 1, args=("--quantization", "fp8"))
    assert fit(run).weights_gib_per_gpu == pytest.approx(8.49, abs=0.01)
    # Its bound is that of eight bits.
    eight = fit(run_of("llama-3.1-8b", "fp8", "h100-sxm", 1))
    assert fit(run).bound_tokens_per_s == pytest.approx(eight.bound_tokens_per_s, rel=0.1)
    with pytest.raises(InputError, match="fp8 contradicts quant=awq: its weights"):
        fit(run_of("llama-3.1-8b", "awq", "h100-sxm", 1, args=("-q", "fp8")))
    named = run_of("llama-3.1-8b", "gptq", "h100-sxm", 1, args=("-q", "compressed-tensors"))
    assert method_of(quantisation_config(named.model, named.quant)) == "compressed-tensors"
    assert fit(named).fits
    with pytest.raises(InputError, match="'fp9' makes of unquantised weights"):
        fit(run_of("llama-3.1-8b", "none", "h100-sxm", 1, args=("-q", "fp9")))


def test_a_quantisation_is_found_wherever_the_tool_put_it() -> None:
    own = {"quant_method": "fp8"}
    assert own_quantisation({"quantization_config": own}) == own
    assert own_quantisation({"text_config": {"quantization_config": own}}) == own
    assert own_quantisation({"compression_config": own}) == own
    assert own_quantisation({"text_config": {}}) == {}


def test_mixed_groups_and_ignored_modules_by_name() -> None:
    eight = {"num_bits": 8, "type": "float", "strategy": "channel"}
    config = {
        **NVFP4_CT,
        "config_groups": {
            **NVFP4_CT["config_groups"],  # type: ignore[dict-item]
            "group_1": {"targets": ["re:.*self_attn.*"], "weights": eight},
        },
        "ignore": ["lm_head", "re:.*down_proj"],
    }
    fmt = from_hf(config, "x")
    assert fmt.bytes(linear(), 512, 256, 2) == N / 2 + N / 16
    attention = linear("model.layers.1.self_attn.q_proj", "attention")
    assert fmt.bytes(attention, 512, 256, 2) == N + 512 * 4
    assert fmt.bytes(linear("model.layers.1.mlp.down_proj"), 512, 256, 2) == 2 * N


def test_single_layers_by_name() -> None:
    g = from_config(LLAMA)
    config = {
        "quant_method": "fbgemm_fp8",
        "modules_to_not_convert": ["model.layers.0.mlp.up_proj", "model.layers.3.self_attn.q_proj"],
    }
    fmt = from_hf(config, "x")
    apart = by_layer(g, fmt)
    assert len(apart.blocks) == 3
    assert apart.total_params == g.total_params
    everything = checkpoint_bytes(g, from_hf({"quant_method": "fbgemm_fp8"}, "x"), 2.0)
    # A byte more for each number of the two, and their scales less.
    added = (N - 512 * 4) + (256 * 256 - 256 * 4)
    assert checkpoint_bytes(apart, fmt, 2.0) == everything + added


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("model.layers.1.mlp.gate_up_proj", "model.layers.1.mlp.up_proj"),
        ("language_model.model.layers.1.mlp.up_proj", "model.layers.1.mlp.up_proj"),
        ("*vision_model*", "vision_tower.layers.0.mlp.fc1"),
        ("re:.*visual.*", "vision_tower.layers.0.mlp.fc1"),
        ("model.layers.1*", "model.layers.1.mlp.up_proj"),
    ],
)
def test_spellings_of_one_module(pattern: str, name: str) -> None:
    fmt = WeightFormat(name="x", bits=8, ignore=(pattern,))
    assert not fmt.quantises(linear(name))
    assert fmt.quantises(linear("model.layers.2.self_attn.o_proj"))


def test_gptq_and_autoround_exceptions() -> None:
    gptq = from_hf(
        {
            "quant_method": "gptq",
            "bits": 4,
            "group_size": 128,
            "dynamic": {"-:.*up_proj": {}, "+:.*down_proj": {"bits": 8}},
        },
        "x",
    )
    assert gptq.bytes(linear(), 512, 256, 2) == 2 * N
    assert gptq.bytes(linear("model.layers.0.mlp.down_proj"), 512, 256, 2) == N + N / 128 * 3
    rounded = from_hf(
        {"quant_method": "auto-round", "bits": 4, "extra_config": {"mlp.up_proj": {"bits": 16}}},
        "x",
    )
    assert rounded.bytes(linear(), 512, 256, 2) == 2 * N


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"quant_method": "hqq"}, "HQQ"),
        ({"quant_method": "gguf"}, "GGUF"),
        ({"quant_method": "modelopt", "quant_algo": "W3"}, "'W3'"),
        ({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}, "MIXED_PRECISION"),
        ({"quant_method": "compressed-tensors", "config_groups": {}}, "config_groups"),
        ({"quant_method": "auto-round", "data_type": "mx_fp"}, "mx_fp"),
    ],
)
def test_what_cannot_be_counted_says_so(config: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        from_hf(config, "x")


def test_modelopt_beside_a_config_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    beside = {"quantization": {"quant_algo": "NVFP4", "exclude_modules": ["lm_head"]}}
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(beside))
    config = read_config(tmp_path)
    assert from_hf(own_quantisation(config), "x").bits == 4


R1_FP8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}


def in_a_folder(quantisation: Mapping[str, object]) -> ModelSpec:
    listed = catalogue().models["deepseek-r1"]
    config = {**listed.config, "quantization_config": quantisation}
    return replace(listed, weights="/models/r1", config=config)


@pytest.mark.parametrize("quant", ["awq", "int8", "q4_k_m"])
def test_a_folder_that_holds_another_format_contradicts_the_name(quant: str) -> None:
    """It was counted as the repository that is listed under the name: 356 GB for 681."""
    with pytest.raises(
        InputError, match=r"contradicts model\.weights=/models/r1, which holds 8-bit"
    ):
        weight_format(in_a_folder(R1_FP8), catalogue().quants[quant])


def test_a_folder_is_counted_as_what_it_holds() -> None:
    awq = {"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": True}
    quants = catalogue().quants
    assert weight_format(in_a_folder(awq), quants["awq"]).group_size == 64
    assert weight_format(in_a_folder(awq), quants["none"]).bits == 4
    assert weight_format(in_a_folder(R1_FP8), quants["fp8"]).bits == 8
