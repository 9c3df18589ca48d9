"""What single families have beside the usual parts: kinds of layers, extra matrices, odd widths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.sizing.family import Pattern, kinds_of
from bench.sizing.geometry import Matrix
from bench.sizing.keys import Config
from bench.sizing.layers import HEADS, HIDDEN, LAYERS, matrix, vector
from bench.values.errors import InputError

SHARED = "_shared"
"""The end of a kind's name where the layer attends to another layer's cache."""


def _lookup(name: str, rows: int, cols: int) -> Matrix:
    return Matrix(name=name, role="lookup", rows=rows, cols=cols)


def gpt_positions(c: Config) -> tuple[Matrix, ...]:
    return (_lookup("wpe", c.int(("n_positions", "max_position_embeddings")), c.int(HIDDEN)),)


def opt_positions(c: Config) -> tuple[Matrix, ...]:
    if c.get("word_embed_proj_dim", c.int(HIDDEN)) != c.int(HIDDEN):
        raise InputError("model.config.word_embed_proj_dim: projected embeddings are not counted.")
    positions = c.int("max_position_embeddings") + 2
    return (_lookup("embed_positions", positions, c.int(HIDDEN)),)


def bloom_around(c: Config) -> tuple[Matrix, ...]:
    return (vector("word_embeddings_layernorm", 2 * c.int(HIDDEN)),)


def lfm2_width(c: Config, inner: int, index: int) -> int:
    """Two thirds of the stated width, scaled and rounded up, unless that is switched off."""
    if not c.get("block_auto_adjust_ff_dim"):
        return inner
    width = int(2 * inner / 3)
    multiplier = c.get("block_ffn_dim_multiplier")
    if multiplier is not None:
        width = int(multiplier * width)
    multiple = c.int("block_multiple_of", 256)
    return multiple * -(-width // multiple)


def double_wide(c: Config, inner: int, index: int) -> int:
    """Gemma 4: layers that share a cache may have twice the width."""
    shared = c.int("num_kv_shared_layers", 0)
    first = c.int(LAYERS) - shared
    return 2 * inner if c.get("use_double_wide_mlp") and shared and index >= first else inner


def shared_tail(
    pattern: Pattern, *, last_full: bool = False
) -> Callable[[Config, int], Sequence[str]]:
    """Kinds where the last `num_kv_shared_layers` layers attend to an earlier layer's cache.

    `last_full`: the last layer attends to everything whatever the list says (Gemma 4's class).
    """

    def kinds(c: Config, layers: int) -> Sequence[str]:
        found = kinds_of(c, layers, pattern)
        if last_full:
            found[-1] = "full"
        first = layers - c.int("num_kv_shared_layers", 0)
        return [kind + SHARED if index >= first else kind for index, kind in enumerate(found)]

    return kinds


def gate_derived(c: Config) -> Mapping[str, Any]:
    """Qwen's hybrids gate what attention gives unless the config says otherwise."""
    return {"attn_output_gate": c.get("attn_output_gate", True)}


def falcon_norms(c: Config) -> int:
    """One norm where attention and MLP run side by side, two otherwise."""
    if c.get("new_decoder_architecture"):
        return c.int("num_ln_in_parallel_attn", 2)
    return 1 if c.get("parallel_attn") else 2


def falcon_derived(c: Config) -> Mapping[str, Any]:
    alone = bool(c.get("multi_query")) and not c.get("new_decoder_architecture")
    return {"_single_kv": alone}


def mpt_derived(c: Config) -> Mapping[str, Any]:
    """The width from a ratio; what the nested attention config says of KV heads."""
    nested = c.get("attn_config")
    heads = nested.get("kv_n_heads") if isinstance(nested, Mapping) else None
    found = {"_inner": 4 * c.int(HIDDEN)}
    if c.get("expansion_ratio", 4) != 4:
        raise InputError(f"{c.where}.expansion_ratio: only 4 is counted here, as its class builds.")
    if not c.get("no_bias", True) or (isinstance(nested, Mapping) and nested.get("qk_ln")):
        raise InputError("model.config: an MPT with biases or query norms is not counted.")
    return {**found, **({"num_key_value_heads": heads} if heads else {})}


def dbrx_derived(c: Config) -> Mapping[str, Any]:
    """DBRX keeps its experts and its KV heads in nested configs."""
    ffn, attention = c.get("ffn_config") or {}, c.get("attn_config") or {}
    found = {
        "num_experts": ffn.get("moe_num_experts"),
        "num_experts_per_tok": ffn.get("moe_top_k"),
        "moe_intermediate_size": ffn.get("ffn_hidden_size"),
        "num_key_value_heads": attention.get("kv_n_heads"),
    }
    return {key: value for key, value in found.items() if value is not None}


def mimo_derived(c: Config) -> Mapping[str, Any]:
    """Windowed layers have twice the KV heads and sinks unless the config says otherwise."""
    found = {
        "swa_num_attention_heads": c.int(HEADS),
        "swa_num_key_value_heads": 2 * c.int("num_key_value_heads"),
        "swa_head_dim": c.int("head_dim"),
        "swa_v_head_dim": c.int("v_head_dim"),
    }
    sinks = c.get("add_swa_attention_sink_bias", True)
    missing = {key: value for key, value in found.items() if not c.given(key)}
    c.ignore("sliding_window_size", "sliding_window")
    return {**missing, "_no_swa_sinks": not sinks}


def step_derived(c: Config) -> Mapping[str, Any]:
    """Windowed layers may have heads of their own; dense layers are the first three by default."""
    other = c.get("attention_other_setting")
    found: dict[str, Any] = {}
    if isinstance(other, Mapping):
        pairs = (
            ("num_attention_heads", "num_sliding_attention_heads"),
            ("num_attention_groups", "_swa_kv_heads"),
        )
        found = {mine: other[theirs] for theirs, mine in pairs if other.get(theirs)}
    if not any(c.given(key) for key in ("moe_layers_enum", "mlp_layer_types")):
        found["first_k_dense_replace"] = 3
    return found


def square_output(c: Config) -> Mapping[str, Any]:
    """Helium's output projection is as wide as the hidden size, whatever its heads come to."""
    heads = c.int(HEADS)
    if heads * c.int("head_dim", c.int(HIDDEN) // heads) != c.int(HIDDEN):
        raise InputError(f"{c.where}.head_dim: heads × head_dim is not the hidden size.")
    return {}


def laguna_derived(c: Config) -> Mapping[str, Any]:
    if c.get("gating", True) not in (True, "per-head"):
        raise InputError(f"{c.where}.gating: only a gate per head is counted here.")
    return {}


def hunyuan_derived(c: Config) -> Mapping[str, Any]:
    """Hunyuan's lists per layer: counted where every layer has what its class builds."""
    for key, size in (("num_shared_expert", 1), ("moe_intermediate_size", "intermediate_size")):
        given = c.get(key)
        listed = given if isinstance(given, list) else [given]
        expected = size if isinstance(size, int) else c.int(size)
        if given is not None and any(value != expected for value in listed):
            raise InputError(f"{c.where}.{key}: only {expected} in every layer is counted here.")
    return {}


def gemma3n_extras(c: Config, prefix: str, index: int) -> tuple[Matrix, ...]:
    """AltUp, LAuReL and the per-layer input of one layer."""
    hidden, n = c.int(HIDDEN), c.int("altup_num_inputs")
    rank, per_layer = c.int("laurel_rank"), c.int("hidden_size_per_layer_input")
    return (
        vector(f"{prefix}.altup.correct_output_scale", hidden),
        vector(f"{prefix}.altup.coefs", n * n + n * n * n),
        matrix(f"{prefix}.altup.modality_router", "router", n, hidden, quantisable=False),
        vector(f"{prefix}.altup.router_norm", hidden),
        matrix(f"{prefix}.laurel.linear_left", "dense_ffn", rank, hidden),
        matrix(f"{prefix}.laurel.linear_right", "dense_ffn", hidden, rank),
        vector(f"{prefix}.laurel.post_laurel_norm", hidden),
        *_per_layer_input(prefix, hidden, per_layer),
    )


def _per_layer_input(prefix: str, hidden: int, width: int) -> tuple[Matrix, ...]:
    return (
        matrix(f"{prefix}.per_layer_input_gate", "dense_ffn", width, hidden),
        matrix(f"{prefix}.per_layer_projection", "dense_ffn", hidden, width),
        vector(f"{prefix}.post_per_layer_input_norm", hidden),
    )


def _per_layer_tables(c: Config, width: int) -> tuple[Matrix, ...]:
    """The table that every layer looks its own input up in, and what projects it."""
    hidden, layers = c.int(HIDDEN), c.int(LAYERS)
    vocab = c.int("vocab_size_per_layer_input")
    return (
        _lookup("model.embed_tokens_per_layer", vocab, layers * width),
        matrix("model.per_layer_model_projection", "dense_ffn", layers * width, hidden),
        vector("model.per_layer_projection_norm", width),
    )


def gemma3n_around(c: Config) -> tuple[Matrix, ...]:
    hidden, n = c.int(HIDDEN), c.int("altup_num_inputs")
    return (
        *_per_layer_tables(c, c.int("hidden_size_per_layer_input")),
        *(
            matrix(f"model.{name}.{i}", "dense_ffn", hidden, hidden)
            for name in ("altup_projections", "altup_unembed_projections")
            for i in range(n - 1)
        ),
    )


def _gemma4_per_layer(c: Config) -> int:
    """Width of the per-layer input; 0 where the model has none.

    Its class assumes 256 where a config.json is silent, and the models without it (26B-A4B, 31B)
    differ from the small ones in nothing else that the file must say.
    """
    key = "hidden_size_per_layer_input"
    if key not in c.data and not c.get("num_kv_shared_layers"):
        raise InputError(
            f"{c.where}.{key} is not in this config.json. Gemma 4's class assumes 256 then, the "
            "published 26B-A4B and 31B have 0, and the difference is a tenth of the model: give "
            "it, as the model's own config.json does."
        )
    return int(c.get(key) or 0)


def gemma4_derived(c: Config) -> Mapping[str, Any]:
    """Global layers have heads of their own size, and their own number of KV heads."""
    if c.get("per_layer_config") is not None:
        return {}
    own = {"head_dim": c.int("global_head_dim", 512)}
    if c.get("attention_k_eq_v") and c.get("num_global_key_value_heads"):
        own["num_key_value_heads"] = c.int("num_global_key_value_heads")
    layers = c.int(LAYERS)
    kinds = kinds_of(c, layers, lambda _, index: "full" if index % 6 == 5 else "sliding")
    kinds[-1] = "full"
    return {"per_layer_config": {str(i): own for i, kind in enumerate(kinds) if kind == "full"}}


def gemma4_extras(c: Config, prefix: str, index: int) -> tuple[Matrix, ...]:
    hidden, width = c.int(HIDDEN), _gemma4_per_layer(c)
    found = _per_layer_input(prefix, hidden, width) if width else ()
    if c.get("enable_moe_block"):
        found = (*found, vector(f"{prefix}.moe_norms", 3 * hidden))
    return found


def gemma4_router(c: Config, at: str) -> tuple[Matrix, ...]:
    experts = c.int("num_experts")
    return (vector(f"{at}.router.scale", c.int(HIDDEN) + experts, "router"),)


def gemma4_around(c: Config) -> tuple[Matrix, ...]:
    width = _gemma4_per_layer(c)
    return _per_layer_tables(c, width) if width else ()


def hybrid_kinds(rule: str) -> Callable[[Config, int], Sequence[str]]:
    """Kinds of state models: all alike, by period, by listed indices, or by the list alone."""

    def pattern(c: Config, index: int) -> str:
        if rule == "period":
            period, offset = c.int("attn_layer_period"), c.int("attn_layer_offset")
            return "full" if index % period == offset else "linear"
        if rule == "indices":
            return "full" if index in (c.get("attn_layer_indices") or ()) else "linear"
        if rule == "conv":
            attends = c.get("full_attn_idxs")
            return "full" if attends is None or index in attends else "conv"
        return "linear"

    def kinds(c: Config, layers: int) -> Sequence[str]:
        c.ignore("full_attn_idxs", "attn_layer_indices", "layers_block_type")
        if rule == "linear":
            c.ignore("layer_types")
            return ["linear"] * layers
        return kinds_of(c, layers, pattern)

    return kinds


def nemotron_kinds(c: Config, layers: int) -> Sequence[str]:
    """Nemotron-H: one mixer, MLP or set of experts per layer, by letters or by a list."""
    listed = c.get(("layers_block_type", "layer_types"))
    if isinstance(listed, Sequence) and not isinstance(listed, str):
        names = {
            "linear_attention": "linear",
            "mamba": "linear",
            "full_attention": "full",
            "attention": "full",
        }
        return [names.get(str(kind), str(kind)) for kind in listed]
    letters = {"M": "linear", "*": "full", "E": "moe", "-": "mlp"}
    return [letters[letter] for letter in c.get("hybrid_override_pattern")]


def kimi_kinds(c: Config, layers: int) -> Sequence[str]:
    """Kimi Linear: which layers attend stands in a nested config, counted from 1."""
    nested = c.get("linear_attn_config")
    if isinstance(nested, Mapping) and nested.get("full_attn_layers"):
        attends = {int(i) - 1 for i in nested["full_attn_layers"]}
        return ["full" if index in attends else "linear" for index in range(layers)]
    return kinds_of(c, layers, lambda _, index: "linear" if index % 4 or not index else "full")


def minimax_kinds(c: Config, layers: int) -> Sequence[str]:
    """MiniMax 01 and M1: 1 attends, 0 keeps a state."""
    listed = c.get("attn_type_list")
    if listed is not None:
        return ["full" if kind else "linear" for kind in listed[:layers]]
    return kinds_of(c, layers, lambda _, index: "linear" if index % 2 else "full")


def mimo_kinds(c: Config, layers: int) -> Sequence[str]:
    """MiMo V2: 1 forgets, 0 attends to everything."""
    listed = c.get("hybrid_layer_pattern")
    if listed is not None:
        return ["sliding" if kind else "full" for kind in listed[:layers]]
    return kinds_of(
        c, layers, lambda _, index: "full" if not index or index % 6 == 5 else "sliding"
    )


def residual_extras(c: Config, prefix: str, index: int) -> tuple[Matrix, ...]:
    """Kimi K3 attends to sums of earlier layers: a norm and a query before each of two parts."""
    hidden = c.int(HIDDEN)
    named = ("self_attention_res", "mlp_res") if c.get("attn_res_block_size") else ()
    return tuple(vector(f"{prefix}.{name}", 2 * hidden) for name in named)


def residual_around(c: Config) -> tuple[Matrix, ...]:
    """The same once more behind the last layer."""
    hidden = c.int(HIDDEN)
    return (vector("model.output_attn_res", 2 * hidden),) if c.get("attn_res_block_size") else ()


def longcat_derived(c: Config) -> Mapping[str, Any]:
    """LongCat's layer is two of the usual: attention and MLP twice, experts beside the first.

    Of a token's experts a share is of the kind that computes nothing, in the mean as many as there
    are of them (arXiv:2509.01322 reports 27 B active parameters of 18.6 to 31.3).
    """
    real, idle = c.int("n_routed_experts"), c.int("zero_expert_num", 0)
    c.ignore("num_key_value_heads", "num_layers", "num_hidden_layers", "router_bias")
    return {
        "num_hidden_layers": 2 * c.int("num_layers"),
        "moe_layer_freq": 2,
        "_active_experts": round(c.int("moe_topk") * real / (real + idle)),
        "_idle_experts": idle,
    }


def longcat_router(c: Config, at: str) -> tuple[Matrix, ...]:
    """The router's rows for experts that compute nothing."""
    idle = c.int("_idle_experts")
    return (matrix(f"{at}.router.idle", "router", idle, c.int(HIDDEN), quantisable=False),)


def nas_derived(c: Config) -> Mapping[str, Any]:
    """Nemotron's searched Llamas: KV heads and width of each layer, or no attention, or no MLP."""
    listed = c.get("block_configs")
    if not isinstance(listed, Sequence) or len(listed) < c.int(LAYERS):
        raise InputError(f"{c.where}.block_configs must describe each layer; give the model's own.")
    return {"per_layer_config": {str(i): _nas_layer(c, one) for i, one in enumerate(listed)}}


def _nas_layer(c: Config, one: Mapping[str, Any]) -> Mapping[str, Any]:
    attention, ffn = one["attention"], one["ffn"]
    for part in (attention, ffn):
        odd = ("replace_with_linear", "window_length", "num_sink_tokens", "sparsify")
        if any(part.get(key) for key in odd):
            raise InputError(
                f"{c.where}.block_configs: linear, windowed and sparse layers of it "
                "are not counted here."
            )
    found: dict[str, Any] = {"_norms": bool(not attention["no_op"]) + bool(not ffn["no_op"])}
    if not attention["no_op"]:
        found["num_key_value_heads"] = c.int(HEADS) // int(attention["n_heads_in_group"])
    if ffn.get("ffn_mult"):
        wide = int(2 * ffn["ffn_mult"] * c.int(HIDDEN) / 3)
        found["intermediate_size"] = -(-wide // 256) * 256
    elif ffn.get("intermediate_size"):
        found["intermediate_size"] = int(ffn["intermediate_size"])
    return found


def nas_kinds(c: Config, layers: int) -> Sequence[str]:
    """`mlp` has no attention, `alone` no MLP, `nothing` neither."""

    def kind(one: Mapping[str, Any]) -> str:
        attends, feeds = not one["attention"]["no_op"], not one["ffn"]["no_op"]
        if attends:
            return "full" if feeds else "alone"
        return "mlp" if feeds else "nothing"

    return [kind(one) for one in c.get("block_configs")[:layers]]


def zamba_kinds(c: Config, layers: int) -> Sequence[str]:
    """Zamba 2: a state in every layer, and before some of them a block that they share in turn."""
    listed = c.get(("layers_block_type", "layer_types"))
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise InputError(f"{c.where}.layers_block_type must name each layer's kind.")
    found: list[str] = []
    for name in listed[:layers]:
        hybrids = sum(kind != "linear" for kind in found)
        first = hybrids < c.int("num_mem_blocks", 1)
        hybrid = "hybrid" if first else f"hybrid{SHARED}"
        found.append(hybrid if name == "hybrid" else "linear")
    return found
