"""The decoder families that are counted, each as the parts that its layers are made of.

Held against the published implementations: `scripts/fit_oracle.py` instantiates every one that the
installed transformers has, without memory, and compares parameters. A model type that is not here
is refused; so is a key that describes layers and that none of these parts reads.
"""

from __future__ import annotations

from dataclasses import replace

from bench.sizing.compressed import (
    ChosenBlocks,
    Compressed,
    compressed_kinds,
    hyper_connections,
    hyper_head,
    m3_derived,
)
from bench.sizing.family import (
    Family,
    after_full,
    alternate,
    by_step,
    every,
    no_rope,
    windowed,
)
from bench.sizing.family_extras import (
    SHARED,
    bloom_around,
    dbrx_derived,
    double_wide,
    falcon_derived,
    falcon_norms,
    gate_derived,
    gemma3n_around,
    gemma3n_extras,
    gemma4_around,
    gemma4_derived,
    gemma4_extras,
    gemma4_router,
    gpt_positions,
    hunyuan_derived,
    hybrid_kinds,
    kimi_kinds,
    laguna_derived,
    lfm2_width,
    longcat_derived,
    longcat_router,
    mimo_derived,
    mimo_kinds,
    minimax_kinds,
    mpt_derived,
    nas_derived,
    nas_kinds,
    nemotron_kinds,
    opt_positions,
    residual_around,
    residual_extras,
    shared_tail,
    square_output,
    step_derived,
    zamba_kinds,
)
from bench.sizing.layers import Experts, Gqa, Mla, Mlp
from bench.sizing.recurrent import (
    Both,
    GatedDelta,
    KimiDelta,
    Lightning,
    Mamba1,
    Mamba2,
    ShortConv,
    ZambaHybrid,
)

_BIASED = Gqa(qkv_bias="attention_bias", o_bias="attention_bias")
_NORMED = replace(_BIASED, qk_norm="head")
_QWEN2 = Gqa(qkv_bias=True)
_ALL_BIASED = Gqa(qkv_bias=True, o_bias=True)
_GATED_NORMED = replace(_NORMED, gate="width")
_QWEN_GATED = replace(_GATED_NORMED, gate_if="attn_output_gate")
_PLAIN = Mlp(gated=False)
_PLAIN_BIASED = Mlp(gated=False, bias=True)
_LLAMA = Family(mixer=_BIASED, mlp=Mlp(bias="mlp_bias"), pattern=windowed)
_DEEPSEEK = Experts(correction=True)
_MLA = Family(mixer=Mla(), mlp=Mlp(bias="mlp_bias"), experts=_DEEPSEEK, mtp="copies")
_QWEN_EXPERTS = Experts(shared_name="shared_expert", shared_gate=True)
_GPT = Family(
    mixer=_ALL_BIASED,
    mlp=_PLAIN_BIASED,
    norm_bias=True,
    around=gpt_positions,
    ignored=("n_ctx",),
)
_GRANITE_MOE = Experts(
    name="block_sparse_moe",
    router="router",
    shared_count="",
    shared_width="shared_intermediate_size",
)
_GEMMA2 = Family(mixer=_BIASED, norms=4, pattern=alternate)
_DELTA = {"linear": GatedDelta()}
_MINIMAX = Experts(name="block_sparse_moe")
_M3 = Gqa(qk_norm="head")
_ZAMBA = Mamba2(heads="n_mamba_heads", size=(), bias="add_bias_linear", conv_bias=True)

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "codellama": replace(_LLAMA, defaults="llama"),
    "internlm3": replace(_LLAMA, defaults="llama"),
    "mistral": _LLAMA,
    "ministral3": _LLAMA,
    "ministral": _LLAMA,
    "arcee": replace(_LLAMA, mlp=Mlp(gated=False, bias="mlp_bias")),
    # Ternary weights are the checkpoint's affair; its class holds norms within both parts.
    "bitnet": Family(mixer=_BIASED, mlp=Mlp(inner_norm=True), norms=3),
    "helium": replace(_LLAMA, derive=square_output),
    "granite": _LLAMA,
    "granite_swa": replace(_LLAMA, mixer=replace(_BIASED, sinks=True)),
    "cwm": replace(_LLAMA, mixer=Gqa(), pattern=after_full),
    "smollm3": replace(_LLAMA, pattern=after_full),
    "seed_oss": replace(_LLAMA, mixer=Gqa(qkv_bias="attention_bias", o_bias="attention_out_bias")),
    "ernie4_5": Family(mixer=Gqa(qkv_bias="use_bias", o_bias="use_bias"), mlp=Mlp(bias="use_bias")),
    "hyperclovax": replace(_LLAMA, norms=4),
    "nanochat": Family(mixer=_BIASED, mlp=_PLAIN, norms=0, final_norm=False),
    "apertus": Family(mixer=replace(_BIASED, qk_norm="head"), mlp=_PLAIN),
    "phi3": Family(pattern=windowed),
    "nemotron-nas": replace(
        _LLAMA,
        mixers={"alone": _BIASED},
        kinds=nas_kinds,
        lone=frozenset({"alone"}),
        norms=lambda c: c.int("_norms"),
        derive=nas_derived,
        ignored=("block_configs", "per_layer_config"),
        defaults="llama",
    ),
    "glm": Family(mixer=Gqa(qkv_bias="attention_bias")),
    "glm4": Family(mixer=Gqa(qkv_bias="attention_bias"), norms=4),
    "olmo": Family(mixer=_BIASED, norms=0, final_norm=False),
    "olmo2": Family(mixer=replace(_BIASED, qk_norm="width")),
    "olmo3": Family(
        mixer=replace(_BIASED, qk_norm="width"),
        pattern=every("sliding_window_pattern", default=4),
    ),
    "exaone4": Family(
        mixer=Gqa(qk_norm="head"),
        pattern=every("sliding_window_pattern", default=4),
        ignored=("sliding_window_pattern",),
    ),
    "cohere": Family(mixer=replace(_BIASED, qk_norm="heads", qk_norm_if="use_qk_norm"), norms=1),
    "cohere2": Family(
        mixer=replace(_BIASED, window_extra=1),
        norms=1,
        pattern=every("sliding_window_pattern", default=4),
        ignored=("sliding_window_pattern", "order_of_interleaved_layers"),
    ),
    "hunyuan_v1_dense": Family(mixer=_NORMED, ignored=("attention_head_dim",)),
    "jais2": replace(_LLAMA, mlp=Mlp(gated=False, bias="mlp_bias"), norm_bias=True),
    # Two matrices in the feed-forward network.
    "starcoder2": Family(
        mixer=Gqa(qkv_bias="use_bias", o_bias="use_bias"),
        mlp=Mlp(gated=False, bias="use_bias"),
        norm_bias=True,
        pattern=windowed,
    ),
    "nemotron": Family(mixer=_BIASED, mlp=Mlp(gated=False, bias="mlp_bias"), norm_bias=True),
    "falcon": Family(
        mixer=Gqa(
            kv_heads="num_kv_heads", qkv_bias="bias", o_bias="bias", single_kv_if="_single_kv"
        ),
        mlp=Mlp(inner="ffn_hidden_size", gated=False, bias="bias"),
        norms=falcon_norms,
        norm_bias=True,
        derive=falcon_derived,
        ignored=(
            "num_kv_heads",
            "num_ln_in_parallel_attn",
            "parallel_attn",
            "new_decoder_architecture",
        ),
    ),
    "phi": Family(
        mixer=replace(_ALL_BIASED, qk_norm="head", qk_norm_if="qk_layernorm", qk_norm_bias=True),
        mlp=_PLAIN_BIASED,
        norms=1,
        norm_bias=True,
        head_bias=True,
    ),
    "persimmon": Family(
        mixer=replace(_ALL_BIASED, qk_norm="head", qk_norm_if="qk_layernorm", qk_norm_bias=True),
        mlp=_PLAIN_BIASED,
        norm_bias=True,
    ),
    "opt": Family(
        mixer=Gqa(qkv_bias="enable_bias", o_bias="enable_bias"),
        mlp=Mlp(inner="ffn_dim", gated=False, bias="enable_bias"),
        norm_bias=True,
        around=opt_positions,
    ),
    "gpt2": _GPT,
    "gpt_bigcode": replace(
        _GPT,
        mixer=replace(_ALL_BIASED, kv_heads=(), single_kv_if="multi_query"),
        ignored=("num_key_value_heads",),
    ),
    "gptj": Family(mlp=_PLAIN_BIASED, norms=1, norm_bias=True, head_bias=True),
    "codegen": Family(mlp=_PLAIN_BIASED, norms=1, norm_bias=True, head_bias=True),
    "gpt_neox": Family(mixer=_BIASED, mlp=_PLAIN_BIASED, norm_bias=True),
    "bloom": Family(mixer=_ALL_BIASED, mlp=_PLAIN_BIASED, norm_bias=True, around=bloom_around),
    "mpt": Family(mlp=Mlp(inner="_inner", gated=False), derive=mpt_derived),
    "stablelm": Family(
        mixer=Gqa(qkv_bias="use_qkv_bias", qk_norm="heads", qk_norm_if="qk_layernorm"),
        norms=2,
        norm_bias=True,
        ignored=("use_parallel_residual",),
    ),
    # Qwen.
    "qwen2": Family(mixer=_QWEN2, pattern=after_full),
    # The 7 B; its layers that predict further tokens are not counted.
    "mimo": Family(mixer=_QWEN2, pattern=after_full, defaults="qwen2"),
    "qwen2_moe": Family(mixer=Gqa(qkv_bias="qkv_bias"), experts=_QWEN_EXPERTS, pattern=after_full),
    "qwen3": Family(mixer=_NORMED, pattern=after_full),
    "qwen3_moe": Family(mixer=_NORMED, experts=Experts(), pattern=after_full),
    "qwen3_next": Family(
        mixer=_QWEN_GATED,
        mixers=_DELTA,
        derive=gate_derived,
        experts=_QWEN_EXPERTS,
        pattern=by_step("full_attention_interval", default=4),
    ),
    "qwen3_5_text": Family(
        mixer=_QWEN_GATED,
        mixers=_DELTA,
        derive=gate_derived,
        pattern=by_step("full_attention_interval", default=4),
    ),
    "qwen3_5_moe_text": Family(
        mixer=_QWEN_GATED,
        mixers=_DELTA,
        derive=gate_derived,
        experts=_QWEN_EXPERTS,
        pattern=by_step("full_attention_interval", default=4),
    ),
    # Gemma.
    "gemma": Family(mixer=_BIASED),
    "gemma2": _GEMMA2,
    "vaultgemma": replace(_GEMMA2, norms=2),
    "gemma3_text": replace(
        _GEMMA2,
        mixer=_NORMED,
        pattern=every("sliding_window_pattern", "_sliding_window_pattern", default=6),
        ignored=("sliding_window_pattern", "_sliding_window_pattern"),
    ),
    "gemma4_unified_text": Family(
        mixer=_NORMED,
        mixers={
            "full": replace(_NORMED, k_is_v="attention_k_eq_v"),
            f"sliding{SHARED}": replace(_NORMED, shared=True),
            f"full{SHARED}": replace(_NORMED, shared=True),
        },
        kinds=shared_tail(every(default=6), last_full=True),
        mlp=Mlp(width=double_wide),
        norms=4,
        derive=gemma4_derived,
        ignored=("global_head_dim", "num_global_key_value_heads"),
    ),
    "gemma3n_text": Family(
        mixer=replace(_NORMED),
        mixers={
            f"sliding{SHARED}": replace(_NORMED, shared=True),
            f"full{SHARED}": replace(_NORMED, shared=True),
        },
        kinds=shared_tail(every(default=5)),
        norms=4,
        extras=gemma3n_extras,
        around=gemma3n_around,
    ),
    "gemma4_text": Family(
        mixer=_NORMED,
        mixers={
            "full": replace(_NORMED, k_is_v="attention_k_eq_v"),
            f"sliding{SHARED}": replace(_NORMED, shared=True),
            f"full{SHARED}": replace(_NORMED, shared=True),
        },
        kinds=shared_tail(every(default=6), last_full=True),
        mlp=Mlp(width=double_wide),
        experts=Experts(shared_count="", name="", router="router.proj", extra=gemma4_router),
        beside=True,
        norms=4,
        extras=gemma4_extras,
        around=gemma4_around,
        derive=gemma4_derived,
        ignored=("global_head_dim", "num_global_key_value_heads"),
    ),
    # Experts.
    "mixtral": Family(experts=Experts(name="block_sparse_moe"), pattern=windowed),
    "phimoe": Family(
        mixer=_BIASED,
        experts=Experts(name="block_sparse_moe"),
        norm_bias=True,
        head_bias="lm_head_bias",
        pattern=windowed,
    ),
    "olmoe": Family(mixer=replace(_BIASED, qk_norm="width"), experts=Experts()),
    "flex_olmo": Family(mixer=replace(_BIASED, qk_norm="width"), experts=Experts()),
    "granitemoe": Family(mixer=_BIASED, experts=_GRANITE_MOE),
    "granitemoe_swa": Family(mixer=replace(_BIASED, sinks=True), experts=_GRANITE_MOE),
    "granitemoeshared": Family(mixer=_BIASED, experts=_GRANITE_MOE),
    "dbrx": Family(norms=2, experts=Experts(name="ffn", router="router"), derive=dbrx_derived),
    "ernie4_5_moe": Family(
        mixer=Gqa(qkv_bias="use_bias", o_bias="use_bias"),
        experts=_DEEPSEEK,
    ),
    "aria_text": replace(
        _LLAMA,
        experts=Experts(inner=("moe_intermediate_size", "intermediate_size"), router="router"),
    ),
    "gpt_oss": Family(
        mixer=replace(_ALL_BIASED, sinks=True),
        experts=Experts(bias=True, router="router", router_bias=True),
        pattern=alternate,
    ),
    "llama4_text": Family(
        mixer=Gqa(qkv_bias="attention_bias", o_bias="attention_bias"),
        mlp=Mlp(inner="intermediate_size_mlp", name="feed_forward"),
        experts=Experts(
            inner="intermediate_size",
            shared_count=1,
            shared_name="shared_expert",
            router="router",
            name="feed_forward",
        ),
        pattern=no_rope,
        ignored=("use_qk_norm",),
    ),
    "glm4_moe": Family(
        mixer=Gqa(qkv_bias="attention_bias", qk_norm="head", qk_norm_if="use_qk_norm"),
        experts=_DEEPSEEK,
        mtp="copies",
    ),
    "dots1": Family(mixer=_NORMED, experts=_DEEPSEEK, pattern=after_full),
    "solar_open": Family(mixer=_BIASED, experts=_DEEPSEEK),
    "exaone_moe": Family(
        mixer=Gqa(qk_norm="head"),
        experts=_DEEPSEEK,
        pattern=every("sliding_window_pattern", default=4),
        ignored=("sliding_window_pattern",),
    ),
    "afmoe": Family(
        mixer=replace(_NORMED, gate="width"),
        experts=replace(_DEEPSEEK, router="router.gate"),
        norms=4,
        pattern=every("global_attn_every_n_layers", default=4),
        ignored=("global_attn_every_n_layers",),
    ),
    "cohere2_moe": Family(
        mixer=replace(_BIASED, window_extra=1),
        experts=Experts(inner="intermediate_size"),
        norms=1,
        pattern=every("sliding_window_pattern", default=4),
        ignored=("sliding_window_pattern", "prefix_dense_sliding_window_pattern"),
    ),
    "hunyuan_v1_moe": Family(
        mixer=_NORMED,
        experts=Experts(
            inner="intermediate_size",
            shared_count=1,
            shared_name="shared_mlp",
            router="gate.wg",
        ),
        derive=hunyuan_derived,
        ignored=("attention_head_dim", "num_shared_expert", "moe_intermediate_size"),
    ),
    "hy_v3": Family(mixer=_NORMED, mlp=Mlp(bias="mlp_bias"), experts=_DEEPSEEK),
    "laguna": Family(
        mixer=replace(
            _NORMED,
            gate="head",
            gate_if="gating",
            heads=("num_attention_heads_per_layer", "num_attention_heads"),
        ),
        experts=replace(Experts(), correction=True),
        derive=laguna_derived,
        ignored=("num_attention_heads",),
    ),
    "mellum": Family(mixer=_NORMED, experts=Experts()),
    "minimax_m2": Family(
        mixer=Gqa(qk_norm="width"),
        experts=replace(_MINIMAX, correction=True),
        ignored=("attn_type_list", "use_qk_norm", "qk_norm_type"),
    ),
    "step3p5": Family(
        mixer=Gqa(qk_norm="head", gate="head"),
        mixers={
            "sliding": Gqa(
                heads=("num_sliding_attention_heads", "num_attention_heads"),
                kv_heads=("_swa_kv_heads", "num_attention_groups", "num_key_value_heads"),
                qk_norm="head",
                gate="head",
            )
        },
        derive=step_derived,
        ignored=(
            "attention_other_setting",
            "num_sliding_attention_heads",
            "use_head_wise_attn_gate",
        ),
        experts=Experts(
            inner="moe_intermediate_size",
            shared_width=("share_expert_dim", "share_expert_dims"),
            shared_name="share_expert",
            name="moe",
            correction="use_moe_router_bias",
        ),
    ),
    "mimo_v2_flash": Family(
        mixer=Gqa(
            value_dim="v_head_dim", qkv_bias="attention_bias", sinks="add_full_attention_sink_bias"
        ),
        mixers={
            "sliding": Gqa(
                heads="swa_num_attention_heads",
                kv_heads="swa_num_key_value_heads",
                head_dim="swa_head_dim",
                value_dim="swa_v_head_dim",
                qkv_bias="attention_bias",
                sinks="!_no_swa_sinks",
            )
        },
        kinds=mimo_kinds,
        derive=mimo_derived,
        experts=_DEEPSEEK,
        ignored=("attention_chunk_size",),
    ),
    # Latent attention.
    "deepseek_v2": replace(_MLA, experts=Experts()),
    "deepseek_v3": _MLA,
    "kimi_k2": replace(_MLA, defaults="deepseek_v3"),
    "deepseek_v32": _MLA,
    "glm_moe_dsa": replace(_MLA, mtp="bare"),
    "glm4_moe_lite": _MLA,
    "minicpm3": Family(mixer=Mla(), mlp=Mlp(bias="mlp_bias")),
    "youtu": Family(mixer=Mla(), mlp=Mlp(bias="mlp_bias")),
    "axk1": _MLA,
    "mistral4": _MLA,
    "kimi_linear": Family(
        mixer=Mla(),
        mixers={"linear": KimiDelta()},
        kinds=kimi_kinds,
        experts=_DEEPSEEK,
        extras=residual_extras,
        around=residual_around,
    ),
    "longcat_flash": Family(
        mixer=Mla(),
        experts=replace(
            _DEEPSEEK, shared_count="", router="router.classifier", extra=longcat_router
        ),
        beside=True,
        derive=longcat_derived,
    ),
    # Entries that stand for several tokens, or blocks that are chosen.
    "deepseek_v4": Family(
        mixers={kind: Compressed() for kind in ("sliding", "few", "many")},
        kinds=compressed_kinds,
        experts=replace(_DEEPSEEK, name="ffn"),
        extras=hyper_connections,
        around=hyper_head,
        ignored=(
            "hc_eps",
            "hc_sinkhorn_iters",
            "expert_dtype",
            "index_n_heads",
            "index_head_dim",
            "index_topk",
        ),
    ),
    "minimax_m3_vl_text": Family(
        mixer=_M3,
        mixers={"minimax_m3_sparse": ChosenBlocks(attention=_M3)},
        mlp=Mlp(inner="dense_intermediate_size"),
        experts=Experts(
            inner="intermediate_size",
            shared_width="shared_intermediate_size",
            name="block_sparse_moe",
            correction="use_routing_bias",
        ),
        derive=m3_derived,
        ignored=("sparse_attention_config", "moe_intermediate_size", "n_shared_experts"),
    ),
    # States instead of caches.
    "mamba": Family(
        mixers={"linear": Mamba1()},
        kinds=hybrid_kinds("linear"),
        lone=frozenset({"linear"}),
        norms=1,
    ),
    "falcon_mamba": Family(
        mixers={"linear": Mamba1()},
        kinds=hybrid_kinds("linear"),
        lone=frozenset({"linear"}),
        norms=1,
    ),
    "mamba2": Family(
        mixers={
            "linear": Mamba2(
                size="head_dim", name="mixer", bias="use_bias", conv_bias="use_conv_bias"
            )
        },
        kinds=hybrid_kinds("linear"),
        lone=frozenset({"linear"}),
        norms=1,
    ),
    "jamba": Family(
        mixers={
            "linear": Mamba1(
                norms=True, bias="mamba_proj_bias", conv_bias="mamba_conv_bias", name="mamba"
            )
        },
        kinds=hybrid_kinds("period"),
        mlp=Mlp(name="feed_forward"),
        experts=Experts(least=2, inner="intermediate_size", name="feed_forward", router="router"),
    ),
    "bamba": Family(
        mixer=_BIASED,
        mixers={"linear": Mamba2()},
        kinds=hybrid_kinds("indices"),
        mlp=Mlp(name="feed_forward", bias="mlp_bias"),
    ),
    "falcon_h1": Family(
        mixer=Both(
            attention=_BIASED,
            recurrence=Mamba2(inner="mamba_d_ssm", norm="mamba_rms_norm"),
        ),
        mlp=Mlp(name="feed_forward", bias="mlp_bias"),
    ),
    "granitemoehybrid": Family(
        mixer=_BIASED,
        mixers={"linear": Mamba2()},
        kinds=hybrid_kinds("listed"),
        mlp=Mlp(inner="shared_intermediate_size", name="shared_mlp"),
        experts=_GRANITE_MOE,
        ignored=("num_key_value_heads", "attention_bias"),
    ),
    "zamba2": Family(
        mixers={
            "linear": _ZAMBA,
            "hybrid": ZambaHybrid(recurrence=_ZAMBA, owns=True),
            f"hybrid{SHARED}": ZambaHybrid(recurrence=_ZAMBA, owns=False),
        },
        kinds=zamba_kinds,
        lone=frozenset({"linear", "hybrid", f"hybrid{SHARED}"}),
        norms=1,
        ignored=(
            "attention_hidden_size",
            "attention_head_dim",
            "hybrid_layer_ids",
            "kv_channels",
            "num_query_groups",
            "mamba_headdim",
            "use_conv_bias",
        ),
    ),
    "nemotron_h": Family(
        mixer=replace(_BIASED, name="mixer", head_dim=("head_dim", "attention_head_dim")),
        mixers={
            "linear": Mamba2(
                name="mixer", conv_bias="use_conv_bias", bias="use_bias", recurrent="float32"
            )
        },
        kinds=nemotron_kinds,
        mlp=Mlp(gated=False, bias="mlp_bias", name="mixer"),
        experts=Experts(
            gated=False,
            shared_width=("moe_shared_expert_intermediate_size",),
            name="mixer",
            correction=True,
        ),
        lone=frozenset({"linear", "full"}),
        norms=1,
        ignored=("hybrid_override_pattern", "mamba_hidden_act", "moe_shared_expert_overlap"),
    ),
    "olmo_hybrid": Family(
        mixer=replace(_BIASED, qk_norm="width"),
        mixers=_DELTA,
        pattern=by_step(default=4),
    ),
    "lfm2": Family(
        mixer=Gqa(qk_norm="head"),
        mixers={"conv": ShortConv()},
        kinds=hybrid_kinds("conv"),
        mlp=Mlp(inner=("block_ff_dim", "intermediate_size"), name="feed_forward", width=lfm2_width),
    ),
    "lfm2_moe": Family(
        mixer=Gqa(qk_norm="head"),
        mixers={"conv": ShortConv()},
        kinds=hybrid_kinds("conv"),
        mlp=Mlp(name="feed_forward"),
        experts=Experts(name="feed_forward", correction="use_expert_bias"),
    ),
    "minimax": Family(
        mixers={"linear": Lightning()},
        kinds=minimax_kinds,
        experts=replace(_MINIMAX, inner="intermediate_size"),
    ),
    "minimax_text_01": Family(
        mixers={"linear": Lightning()},
        kinds=minimax_kinds,
        experts=replace(
            _MINIMAX, inner="intermediate_size", shared_width=("shared_intermediate_size",)
        ),
        ignored=("shared_moe_mode",),
    ),
}
FAMILIES["minimax_m1"] = FAMILIES["minimax_text_01"]
