"""Parameters and KV bytes against published counts and sums worked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fit_support import catalogue

from bench.models.model_config import hub_config, read_config
from bench.sizing.architecture import from_config
from bench.values.errors import InputError

LONGCAT = {
    "model_type": "longcat_flash",
    "hidden_size": 6144,
    "num_layers": 28,
    "num_attention_heads": 64,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "ffn_hidden_size": 12288,
    "expert_ffn_hidden_size": 2048,
    "n_routed_experts": 512,
    "zero_expert_num": 256,
    "moe_topk": 12,
    "vocab_size": 131072,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}


def test_longcat_as_published() -> None:
    """560 B, 27 B of them active in the mean (arXiv:2509.01322); each layer attends twice."""
    g = from_config(LONGCAT)
    assert round(g.total_params / 1e9) in (560, 561)
    # The table that a token is looked up in is not among those that are called activated.
    assert round((g.active_params - g.vocab * g.hidden) / 1e9) == 27
    assert g.kv_bytes_per_token(2.0) == 2 * 28 * (512 + 64) * 2


# Whole files: parameters, two bytes each, as the indices of public copies have them.
PUBLISHED_BYTES: dict[str, tuple[dict[str, object], int]] = {
    "Yi-1.5-6B": (
        {
            "model_type": "llama",
            "hidden_size": 4096,
            "intermediate_size": 11008,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 4,
            "vocab_size": 64000,
            "tie_word_embeddings": False,
        },
        12_122_071_040,
    ),
    "Phi-3 mini": (
        {
            "model_type": "phi3",
            "hidden_size": 3072,
            "intermediate_size": 8192,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
            "vocab_size": 32064,
            "tie_word_embeddings": False,
        },
        7_642_159_104,
    ),
    "Devstral Small 2507": (
        {
            "model_type": "mistral",
            "hidden_size": 5120,
            "intermediate_size": 32768,
            "num_hidden_layers": 40,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 131072,
            "tie_word_embeddings": False,
        },
        47_144_806_400,
    ),
    "WizardLM-2 8x22B": (
        {
            "model_type": "mixtral",
            "hidden_size": 6144,
            "intermediate_size": 16384,
            "num_hidden_layers": 56,
            "num_attention_heads": 48,
            "num_key_value_heads": 8,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
            "vocab_size": 32000,
            "tie_word_embeddings": False,
        },
        281_241_268_224,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED_BYTES)
def test_files_to_the_byte(name: str) -> None:
    config, size = PUBLISHED_BYTES[name]
    assert 2 * from_config(config).total_params == size


def test_glm_5_2_to_the_byte() -> None:
    """1,506,659,919,872 bytes: indexers in every fourth layer, and a layer that predicts further
    with an indexer of its own, without copies of embedding and head; biases of 76 routers are
    stored in float32, two bytes more for each of 256 experts."""
    config = {
        "model_type": "glm_moe_dsa",
        "hidden_size": 6144,
        "intermediate_size": 12288,
        "moe_intermediate_size": 2048,
        "num_hidden_layers": 78,
        "num_attention_heads": 64,
        "q_lora_rank": 2048,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 192,
        "qk_rope_head_dim": 64,
        "v_head_dim": 256,
        "index_head_dim": 128,
        "index_n_heads": 32,
        "index_topk": 2048,
        "index_topk_freq": 4,
        "index_skip_topk_offset": 3,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "first_k_dense_replace": 3,
        "num_nextn_predict_layers": 1,
        "vocab_size": 154880,
        "tie_word_embeddings": False,
    }
    g = from_config(config)
    assert 2 * (g.total_params + g.mtp_params) + 2 * 76 * 256 == 1_506_659_919_872


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


EVIDENCE = Path(__file__).parents[1] / "data" / "evidence" / "configs"


def test_a_flattened_copy_that_lost_its_tower_is_refused() -> None:
    config = json.loads((EVIDENCE / "step35-flash.json").read_text(encoding="utf-8"))
    with pytest.raises(InputError, match="has a vision tower, and this"):
        from_config({**config, "model_type": "step3p7", "architectures": ["Step3p7ForCausalLM"]})
