"""Parameters and KV bytes against published counts and sums worked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fit_support import catalogue

from bench.fit.architecture import from_config
from bench.models.model_config import hub_config, read_config
from bench.values.errors import InputError

LLAMA = {
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 10,
}


@pytest.mark.parametrize(
    ("name", "total_b", "active_b", "digits"),
    [
        ("deepseek-r1", 671.03, 37.55, 2),
        ("glm-4.7", 352.8, 33.6, 1),
        ("qwen3-30b-a3b", 30.53, 3.35, 2),
        ("deepseek-r1-distill-llama-70b", 70.6, 70.6, 1),
        ("deepseek-r1-distill-llama-8b", 8.0, 8.0, 1),
        ("deepseek-r1-distill-qwen-32b", 32.8, 32.8, 1),
        ("deepseek-r1-distill-qwen-14b", 14.8, 14.8, 1),
        ("deepseek-r1-distill-qwen-7b", 7.6, 7.6, 1),
        ("deepseek-r1-distill-qwen-1.5b", 1.8, 1.8, 1),
    ],
)
def test_published_parameter_counts_to_their_digits(
    name: str, total_b: float, active_b: float, digits: int
) -> None:
    g = from_config(catalogue().models[name].config)
    assert round(g.total_params / 1e9, digits) == total_b
    assert round(g.active_params / 1e9, digits) == active_b
    assert g.notes == ()


@pytest.mark.parametrize(
    ("name", "count"),
    [
        # Parameter counts of the published safetensors files, exact.
        ("llama-4-scout", 108_641_793_536),
        ("qwen3-30b-a3b", 30_532_122_624),
        ("deepseek-r1-distill-llama-70b", 70_553_706_496),
        ("deepseek-r1-distill-llama-8b", 8_030_261_248),
        ("deepseek-r1-distill-qwen-1.5b", 1_777_088_000),
    ],
)
def test_exact_counts(name: str, count: int) -> None:
    assert from_config(catalogue().models[name].config).total_params == count


def test_scout_text_vision_and_active() -> None:
    g = from_config(catalogue().models["llama-4-scout"].config)
    # 48 × (62,914,560 attention + 81,920 router + 17 × 125,829,120 experts + 10,240 norms)
    # + 2 × 202,048 × 5,120 embeddings + 5,120
    assert g.text_params == 107_769_861_120
    assert g.vision_params == 871_932_416
    assert round(g.active_params / 1e9, 1) == 17.2


def test_mtp_layers_are_counted_apart() -> None:
    r1 = from_config(catalogue().models["deepseek-r1"].config)
    # 671.03 + 13.46 = 684.49; the published "+14" is the hub's 685 (which counts block scales)
    # minus 671.
    assert round(r1.mtp_params / 1e9, 2) == 13.46
    glm = from_config(catalogue().models["glm-4.7"].config)
    assert round((glm.total_params + glm.mtp_params) / 1e9) == 358


def test_v32_adds_an_indexer_to_r1() -> None:
    r1 = from_config(catalogue().models["deepseek-r1"].config)
    v32 = from_config(catalogue().models["deepseek-v3.2"].config)
    # per layer: 8,192 × 1,536 + 128 × 7,168 + 64 × 7,168 + 2 × 128
    assert v32.total_params - r1.total_params == 61 * (12_582_912 + 917_504 + 458_752 + 256)
    # 128 FP8 keys and one fp32 scale per layer
    assert v32.kv_bytes_per_token(index=True) - v32.kv_bytes_per_token() == 61 * 132


@pytest.mark.parametrize(
    ("name", "kv_bytes"),
    [
        ("deepseek-r1", 70_272),
        ("deepseek-v3.2", 70_272),
        ("glm-4.7", 376_832),
        ("llama-4-scout", 196_608),
        ("qwen3-30b-a3b", 98_304),
        ("deepseek-r1-distill-llama-70b", 327_680),
        ("deepseek-r1-distill-llama-8b", 131_072),
        ("deepseek-r1-distill-qwen-32b", 262_144),
        ("deepseek-r1-distill-qwen-14b", 196_608),
        ("deepseek-r1-distill-qwen-7b", 57_344),
        ("deepseek-r1-distill-qwen-1.5b", 28_672),
        ("tiny", 2_048),
    ],
)
def test_kv_bytes_per_token(name: str, kv_bytes: int) -> None:
    assert from_config(catalogue().models[name].config).kv_bytes_per_token() == kv_bytes


def test_scout_keeps_one_layer_in_four_past_its_chunk() -> None:
    g = from_config(catalogue().models["llama-4-scout"].config)
    ten_million = g.kv_bytes(10_000_000)
    # 12 global layers × 4,096 B × 10 M + 36 chunked × 4,096 B × 8,192
    assert ten_million == 12 * 4096 * 10_000_000 + 36 * 4096 * 8192
    assert round(ten_million / 1e9) == 493
    assert round(g.kv_bytes(10_000_000, windowed=False) / 1e12, 2) == 1.97


def test_kv_heads_replicate_and_a_latent_is_on_every_rank() -> None:
    llama = from_config(catalogue().models["deepseek-r1-distill-llama-70b"].config)
    assert llama.kv_bytes(1, tp=8) == 327_680 / 8
    assert llama.kv_bytes(1, tp=16) == 327_680 / 8  # one head each at least
    r1 = from_config(catalogue().models["deepseek-r1"].config)
    assert r1.kv_bytes(1, tp=8) == 70_272


def test_a_small_llama_by_hand() -> None:
    g = from_config(LLAMA)
    # layer: q 8×8, k and v 4×8, o 8×8, three 16×8, two norms of 8
    assert g.total_params == 2 * (64 + 32 + 32 + 64 + 384 + 16) + 2 * 80 + 8
    tied = from_config({**LLAMA, "tie_word_embeddings": True})
    assert g.total_params - tied.total_params == 80
    assert tied.matmul_params == tied.active_params
    assert g.matmul_params == g.active_params - 80


def test_biases_come_from_config_or_family() -> None:
    base = from_config(LLAMA).total_params
    assert from_config({**LLAMA, "attention_bias": True}).total_params == base + 2 * (16 + 8)
    assert from_config({**LLAMA, "model_type": "qwen2"}).total_params == base + 2 * 16
    assert from_config({**LLAMA, "mlp_bias": True}).total_params == base + 2 * (32 + 8)


def test_sliding_layers() -> None:
    kinds = ["sliding_attention", "full_attention"]
    g = from_config({**LLAMA, "layer_types": kinds, "sliding_window": 4})
    per_layer = 2 * 2 * 2 * 2.0  # k and v, 2 heads of 2, 2 bytes
    assert g.kv_bytes(100) == per_layer * (4 + 100)
    assert g.kv_read_bytes(100) == per_layer * (4 + 100)


def test_what_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"'nova' are not known here.*fit\.force"):
        from_config({**LLAMA, "model_type": "nova"})
    with pytest.raises(InputError, match="Did you mean 'mistral'"):
        from_config({**LLAMA, "model_type": "mistrall"})
    with pytest.raises(InputError, match="'linear' layers of a llama"):
        from_config({**LLAMA, "layer_types": ["linear_attention"] * 2})
    with pytest.raises(InputError, match="vocab_size"):
        from_config({k: v for k, v in LLAMA.items() if k != "vocab_size"})


@pytest.mark.parametrize(
    "extra",
    [
        {"mamba_d_state": 128},
        {"num_local_experts": 8},
        {"hybrid_override_pattern": "M*"},
        {"attn_type_list": [0, 1]},
        {"global_attn_every_n_layers": 4},
        {"kv_lora_rank": 512},
        {"layers_block_type": ["attention", "mamba"]},
    ],
)
def test_a_key_that_describes_layers_and_is_not_read_is_refused(extra: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"model\.config\.{next(iter(extra))}"):
        from_config({**LLAMA, **extra})
    # Switched off, it describes nothing.
    off = dict.fromkeys(extra)
    assert from_config({**LLAMA, **off}).total_params == from_config(LLAMA).total_params


def test_read_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    assert from_config(read_config(tmp_path)).hidden == 8
    with pytest.raises(InputError, match=r"model\.path"):
        read_config(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_config(tmp_path)


def test_hub_config_prefers_the_cache_and_respects_offline(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "1"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(LLAMA))
    env = {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    assert hub_config("a/b", env=env)["hidden_size"] == 8
    with pytest.raises(InputError, match="HF_HUB_OFFLINE"):
        hub_config("a/c", env=env)
