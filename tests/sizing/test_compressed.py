"""DeepSeek V4 and MiniMax M3: parameters as published, caches as vLLM's own functions plan them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bench.sizing.architecture import from_config
from bench.sizing.formats import by_layer
from bench.sizing.kv_layers import block_tokens, layer_caches
from bench.sizing.kv_plan import Demand, plan
from bench.sizing.quantisations import from_hf
from bench.sizing.sharding import download_bytes
from bench.values.engine_flags import EngineFlags
from bench.values.errors import InputError

GIB = 2**30
# Sizes of the published config.json (ai-dynamo/aiconfigurator, model_configs, 2026-08-21).
V4_FLASH: dict[str, Any] = {
    "model_type": "deepseek_v4",
    "hidden_size": 4096,
    "num_hidden_layers": 43,
    "num_attention_heads": 64,
    "num_key_value_heads": 1,
    "head_dim": 512,
    "qk_rope_head_dim": 64,
    "q_lora_rank": 1024,
    "o_lora_rank": 1024,
    "o_groups": 8,
    "index_head_dim": 128,
    "index_n_heads": 64,
    "index_topk": 512,
    "hc_mult": 4,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 6,
    "num_hash_layers": 3,
    "sliding_window": 128,
    "vocab_size": 129280,
    "max_position_embeddings": 1048576,
    "tie_word_embeddings": False,
    "compress_ratios": [0, 0, *[4, 128] * 20, 4, 0],
    "expert_dtype": "fp4",
}
V4_PRO: dict[str, Any] = {
    **V4_FLASH,
    "hidden_size": 7168,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "q_lora_rank": 1536,
    "o_groups": 16,
    "index_topk": 1024,
    "moe_intermediate_size": 3072,
    "n_routed_experts": 384,
    "compress_ratios": [128, 128, *[4, 128] * 29, 4, 0],
}
FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}


@pytest.mark.parametrize(
    ("config", "total_b", "active_b"), [(V4_FLASH, 284, 13), (V4_PRO, 1600, 49)]
)
def test_parameters_as_the_model_cards_have_them(
    config: dict[str, Any], total_b: float, active_b: float
) -> None:
    g = from_config(config)
    assert g.total_params / 1e9 == pytest.approx(total_b, rel=0.02)
    # The table that a token is looked up in is not among those that the cards call activated.
    assert round((g.active_params - g.vocab * g.hidden) / 1e9) == active_b


def caches(config: dict[str, Any]) -> tuple[Any, ...]:
    g, flags = from_config(config), EngineFlags()
    block = block_tokens(g, flags, on_cpu=False)
    return layer_caches(g, flags, "auto", tp=1, native=2.0, block=block)


def own_specs(config: dict[str, Any]) -> dict[str, Any]:
    """What vLLM's layers ask for, with the arguments that its source gives (models/deepseek_v4)."""
    import torch
    from vllm.v1 import kv_cache_interface as own

    common = {"num_kv_heads": 1, "max_tp_shards": 1, "alignment": 576}
    packed = {"dtype": torch.uint8, "state_content_bytes": 584, "model_version": "deepseek_v4"}
    found: dict[str, Any] = {}

    def waiting(name: str, dim: int, ratio: int) -> None:
        times = 1 + (ratio == 4)
        found[name] = own.SlidingWindowMLASpec(
            block_size=4 if ratio == 4 else 8,
            head_size=2 * times * dim,
            dtype=torch.float32,
            sliding_window=times * ratio,
            **common,
        )

    for layer in range(config["num_hidden_layers"]):
        ratio = config["compress_ratios"][layer]
        if ratio > 1:
            found[f"{layer}.attn"] = own.MLAAttentionSpec(
                block_size=256, head_size=512, tokens_per_state=ratio, **packed, **common
            )
        if ratio == 4:
            found[f"{layer}.index"] = own.MLAAttentionSpec(
                block_size=256, head_size=132, dtype=torch.uint8, tokens_per_state=4, **common
            )
        found[f"{layer}.window"] = own.SlidingWindowMLASpec(
            block_size=64, head_size=512, sliding_window=128, **packed, **common
        )
        if ratio > 1:
            waiting(f"{layer}.state", 512, ratio)
        if ratio == 4:
            waiting(f"{layer}.index.state", 128, ratio)
    return found


@pytest.mark.parametrize("config", [V4_FLASH, V4_PRO], ids=["flash", "pro"])
@pytest.mark.parametrize("length", [8192, 131_072, 912_128])
def test_vllm_packs_the_same(config: dict[str, Any], length: int) -> None:
    pytest.importorskip("vllm.v1.core.kv_cache_utils")
    from vllm.v1.core import kv_cache_utils as own
    from vllm.v1.kv_cache_layout import KVCacheLayout

    vllm = SimpleNamespace(
        scheduler_config=SimpleNamespace(disable_hybrid_kv_cache_manager=False),
        model_config=SimpleNamespace(max_model_len=length, original_max_model_len=length),
        parallel_config=SimpleNamespace(decode_context_parallel_size=1, tensor_parallel_size=1),
        cache_config=SimpleNamespace(
            get_resolved_kv_cache_layout=lambda: KVCacheLayout.BLHNC,
            num_gpu_blocks_override=None,
            mamba_cache_mode="align",
            prefix_cache_retention_interval=None,
        ),
        attention_config=SimpleNamespace(hisparse_config=None),
        speculative_config=None,
        max_in_flight_tokens=16384,
        num_prefill_lookahead_tokens=0,
    )
    layers = caches(config)
    made = plan(layers, Demand(in_flight_tokens=16384), packed=True)
    theirs = own.get_kv_cache_groups(vllm, own_specs(config))
    assert len(made.groups) == len(theirs)
    memory = 7 * GIB
    built = own.get_kv_cache_config_from_groups(vllm, theirs, memory)
    block = made.block_bytes(0, len(layers))
    assert built.num_blocks == memory // block
    assert made.request_blocks(length) * block == own._max_memory_usage_bytes_from_groups(
        vllm, theirs
    )


def test_two_requests_of_a_log_stand_in_the_logged_ratio() -> None:
    """Two GH200, 16,384 tokens in flight (vllm-project/vllm#44376): a request of 30,000 tokens
    needs 6.66 GiB, and 5.44 GiB hold one of 13,528. The block's bytes drop out of the ratio."""
    made = plan(caches(V4_FLASH), Demand(in_flight_tokens=16384), packed=True)
    assert len(made.groups) == 5  # as the comments on vllm-project/vllm#51041 count them
    ratio = made.request_blocks(30_000) / made.request_blocks(13_528)
    assert ratio == pytest.approx(6.66 / 5.44, rel=0.002)


def test_experts_are_counted_in_the_bits_that_the_config_names() -> None:
    """FP4 where it says so: 0.53 bytes a weight with a scale per 32; 8 bits with "fp8", as the
    294,673,469,000 bytes of the FP8 files have them (with the layer that predicts further)."""
    g = from_config(V4_FLASH)
    sizes = {}
    for kind in ("fp4", "fp8"):
        fmt = from_hf({**FP8, "expert_dtype": kind}, "fp8")
        sizes[kind] = download_bytes(by_layer(g, fmt), fmt)
    assert sizes["fp8"] == pytest.approx(294_673_469_000, rel=0.03)
    experts = 43 * 256 * 3 * 4096 * 2048
    assert sizes["fp8"] - sizes["fp4"] == pytest.approx(experts * (1 - 17 / 32), rel=1e-3)
    with pytest.raises(InputError, match="expert_dtype: 'int3' is not known here"):
        from_hf({**FP8, "expert_dtype": "int3"}, "fp8")


def test_what_v4_caches_for_a_token_by_hand() -> None:
    """An entry of 584 bytes for four tokens with an indexer's 132, or for 128 tokens; windows of
    128 entries in every layer, and what waits in float32."""
    g = from_config(V4_FLASH)
    per_token = 21 * (584 + 132) / 4 + 20 * 584 / 128
    assert g.kv_bytes_per_token(2.0, index=True) == round(per_token)
    window = 43 * 128 * 584
    waiting = 21 * 8 * 4 * 4 * (512 + 128) + 20 * 128 * 4 * 2 * 512
    assert g.kv_bytes(100_000, 2.0) == pytest.approx(100_000 * per_token + window + waiting)


M3: dict[str, Any] = {
    "model_type": "minimax_m3",
    "hidden_size": 6144,
    "num_hidden_layers": 60,
    "num_attention_heads": 64,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "intermediate_size": 3072,
    "dense_intermediate_size": 12288,
    "shared_intermediate_size": 3072,
    "num_local_experts": 128,
    "num_experts_per_tok": 4,
    "n_shared_experts": 1,
    "moe_layer_freq": [0] * 3 + [1] * 57,
    "vocab_size": 200064,
    "max_position_embeddings": 1048576,
    "tie_word_embeddings": False,
    "sparse_attention_config": {
        "sparse_num_index_heads": 4,
        "sparse_index_dim": 128,
        "sparse_block_size": 128,
        "sparse_topk_blocks": 16,
        "sparse_attention_freq": [0] * 3 + [1] * 57,
    },
}


def test_minimax_m3_keeps_every_token_and_reads_what_is_chosen() -> None:
    g = from_config(M3)
    keys_and_values, keys = 2 * 4 * 128 * 2, 128 * 2
    assert g.kv_bytes_per_token(2.0) == 60 * keys_and_values
    assert g.kv_bytes_per_token(2.0, index=True) == 60 * keys_and_values + 57 * keys
    # Three layers read all, the others 16 blocks of 128 tokens and every indexer key.
    read = 3 * 100_000 * keys_and_values + 57 * (2048 * keys_and_values + 100_000 * keys)
    assert g.kv_read_bytes(100_000) == read
