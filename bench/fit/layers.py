"""The matrices of one decoder layer, read from the keys of a Hugging Face config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.fit.geometry import Matrix, Role, Split
from bench.values.errors import InputError


class Config:
    """The keys of one config.json; a missing one becomes an InputError that names it."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data

    def get(self, *keys: str, default: Any = None) -> Any:
        """The first of the keys that is present and not null."""
        for key in keys:
            if self.data.get(key) is not None:
                return self.data[key]
        return default

    def int(self, *keys: str, default: int | None = None) -> int:
        value = self.get(*keys, default=default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise InputError(
                f"model.config.{keys[0]} is missing or not a whole number: give the keys of the "
                "model's own config.json, or its directory with model.path=DIR."
            )
        return value


def matrix(
    name: str,
    role: Role,
    rows: int,
    cols: int,
    split: Split,
    *,
    heads: int = 1,
    quantisable: bool = True,
) -> Matrix:
    return Matrix(
        name=name,
        role=role,
        rows=rows,
        cols=cols,
        split=split,
        heads=heads,
        quantisable=quantisable,
    )


def vector(name: str, size: int, role: Role = "norm") -> Matrix:
    return Matrix(name=name, role=role, rows=size)


def head_dim(c: Config) -> int:
    heads = c.int("num_attention_heads", "n_head")
    return c.int("head_dim", default=c.int("hidden_size", "n_embd") // heads)


def layer_matrices(c: Config, model_type: str, prefix: str, *, moe: bool) -> tuple[Matrix, ...]:
    attention = f"{prefix}.self_attn"
    mixing = _mla(c, attention) if is_mla(c) else _gqa(c, model_type, attention)
    ffn = _expert_ffn(c, model_type, prefix) if moe else _dense_ffn(c, model_type, f"{prefix}.mlp")
    # Gemma 2 and 3 normalise the outputs of attention and FFN as well.
    norms = 4 if model_type.startswith(("gemma2", "gemma3")) else 2
    hidden = c.int("hidden_size", "n_embd")
    return (*mixing, *ffn, *(vector(f"{prefix}.norm{i}", hidden) for i in range(norms)))


def _gqa(c: Config, model_type: str, prefix: str) -> tuple[Matrix, ...]:
    hidden, dim = c.int("hidden_size", "n_embd"), head_dim(c)
    q_rows = c.int("num_attention_heads", "n_head") * dim
    heads = c.int("num_key_value_heads", default=c.int("num_attention_heads", "n_head"))
    kv_rows = heads * dim
    found = [
        matrix(f"{prefix}.q_proj", "attention", q_rows, hidden, "out"),
        matrix(f"{prefix}.k_proj", "attention", kv_rows, hidden, "kv", heads=heads),
        matrix(f"{prefix}.v_proj", "attention", kv_rows, hidden, "kv", heads=heads),
        matrix(f"{prefix}.o_proj", "attention", hidden, q_rows, "in"),
    ]
    always = model_type in ("qwen2", "qwen2_moe")  # these have it in code, not in their config
    if always or c.get("attention_bias", default=False):
        found.append(vector(f"{prefix}.qkv_bias", q_rows + 2 * kv_rows, "bias"))
    if not always and model_type != "glm4_moe" and c.get("attention_bias", default=False):
        found.append(vector(f"{prefix}.o_bias", hidden, "bias"))
    normed = model_type in ("qwen3", "qwen3_moe", "gemma3_text")
    # Llama 4's use_qk_norm is an L2 norm without weights.
    if normed or (model_type == "glm4_moe" and c.get("use_qk_norm", default=False)):
        found += [vector(f"{prefix}.q_norm", dim), vector(f"{prefix}.k_norm", dim)]
    return tuple(found)


def is_mla(c: Config) -> bool:
    return c.get("kv_lora_rank") is not None


def _mla(c: Config, prefix: str) -> tuple[Matrix, ...]:
    hidden, heads = c.int("hidden_size"), c.int("num_attention_heads")
    rank, rope = c.int("kv_lora_rank"), c.int("qk_rope_head_dim")
    nope, v_dim = c.int("qk_nope_head_dim"), c.int("v_head_dim")
    q_rank = c.get("q_lora_rank")
    q_rows = heads * (nope + rope)
    query = (
        [matrix(f"{prefix}.q_proj", "attention", q_rows, hidden, "out")]
        if q_rank is None
        else [
            matrix(f"{prefix}.q_a_proj", "attention", q_rank, hidden, "none"),
            vector(f"{prefix}.q_a_layernorm", q_rank),
            matrix(f"{prefix}.q_b_proj", "attention", q_rows, q_rank, "out"),
        ]
    )
    return (
        *query,
        matrix(f"{prefix}.kv_a_proj_with_mqa", "attention", rank + rope, hidden, "none"),
        vector(f"{prefix}.kv_a_layernorm", rank),
        matrix(f"{prefix}.kv_b_proj", "attention", heads * (nope + v_dim), rank, "out"),
        matrix(f"{prefix}.o_proj", "attention", hidden, heads * v_dim, "in"),
        *_indexer(c, f"{prefix}.indexer"),
    )


def _indexer(c: Config, prefix: str) -> tuple[Matrix, ...]:
    """DeepSeek V3.2's selector of the top-k tokens; replicated on every rank, as in vLLM."""
    heads = c.get("index_n_heads")
    if heads is None:
        return ()
    hidden, dim = c.int("hidden_size"), c.int("index_head_dim")
    return (
        matrix(f"{prefix}.wq_b", "indexer", heads * dim, c.int("q_lora_rank"), "none"),
        # wk and weights_proj are held in the native data type (vLLM fuses them unquantised).
        matrix(f"{prefix}.wk", "indexer", dim, hidden, "none", quantisable=False),
        matrix(f"{prefix}.weights_proj", "indexer", heads, hidden, "none", quantisable=False),
        vector(f"{prefix}.k_norm", 2 * dim),
    )


def experts(c: Config) -> int:
    return c.int("n_routed_experts", "num_local_experts", "num_experts", default=0)


def expert_intermediate(c: Config) -> int:
    return c.int("moe_intermediate_size", "intermediate_size")


def dense_intermediate(c: Config, model_type: str) -> int:
    key = "intermediate_size_mlp" if model_type == "llama4_text" else "intermediate_size"
    return c.int(key, "intermediate_size", default=4 * c.int("hidden_size", "n_embd"))


def _swiglu(
    prefix: str, role: Role, hidden: int, inner: int, count: int, active: int
) -> list[Matrix]:
    shapes: tuple[tuple[str, int, int, Split], ...] = (
        ("gate_proj", inner, hidden, "out"),
        ("up_proj", inner, hidden, "out"),
        ("down_proj", hidden, inner, "in"),
    )
    return [
        Matrix(
            name=f"{prefix}.{name}",
            role=role,
            rows=rows,
            cols=cols,
            count=count,
            active=active,
            split=split,
            quantisable=True,
        )
        for name, rows, cols, split in shapes
    ]


def _dense_ffn(c: Config, model_type: str, prefix: str) -> tuple[Matrix, ...]:
    hidden, inner = c.int("hidden_size", "n_embd"), dense_intermediate(c, model_type)
    bias = c.get("mlp_bias", default=False)
    extra = [vector(f"{prefix}.bias", 2 * inner + hidden, "bias")] if bias else []
    return (*_swiglu(prefix, "dense_ffn", hidden, inner, 1, 1), *extra)


def _expert_ffn(c: Config, model_type: str, layer: str) -> tuple[Matrix, ...]:
    """Routed experts, shared experts and the router, under the names of the checkpoint."""
    llama4 = model_type == "llama4_text"
    prefix = f"{layer}.feed_forward" if llama4 else f"{layer}.mlp"
    hidden, inner, total = c.int("hidden_size"), expert_intermediate(c), experts(c)
    top_k = c.int("num_experts_per_tok")
    router = matrix(
        f"{prefix}.router" if llama4 else f"{prefix}.gate",
        "router",
        total,
        hidden,
        "none",
        quantisable=False,
    )
    found = [
        *_swiglu(f"{prefix}.experts.0", "routed_expert", hidden, inner, total, top_k),
        router,
    ]
    if c.get("topk_method") == "noaux_tc" or model_type == "glm4_moe":
        found.append(vector(f"{prefix}.gate.e_score_correction_bias", total, "router"))
    shared = inner if llama4 else c.int("n_shared_experts", default=0) * inner
    shared = c.int("shared_expert_intermediate_size", default=shared)
    if shared:
        name = (
            f"{prefix}.shared_experts" if c.get("n_shared_experts") else f"{prefix}.shared_expert"
        )
        found += _swiglu(name, "shared_expert", hidden, shared, 1, 1)
    if c.get("shared_expert_intermediate_size"):
        found.append(
            matrix(f"{prefix}.shared_expert_gate", "router", 1, hidden, "none", quantisable=False)
        )
    return tuple(found)
