"""A model whose layers are not known, by the parameters that somebody declares for it.

The weights are then a number that a person gave, and the cache is that of plain attention in every
layer: more than windows and recurrent states take, so that what fits by it does fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.sizing.architecture import TEXT_KEYS, from_config
from bench.sizing.geometry import Block, Geometry, KvCache, Matrix
from bench.sizing.keys import Config
from bench.sizing.layers import HEADS, HIDDEN, KV_HEADS, LAYERS, VOCAB, head_dim, matrix
from bench.values.errors import InputError
from bench.values.spec import ModelSpec


def geometry_of(model: ModelSpec) -> Geometry:
    """The Geometry of a model: counted, else as declared; InputError where neither can be."""
    try:
        return from_config(model.config)
    except InputError:
        if model.total_params_b is None or not model.config:
            raise
        return _declared(model, model.total_params_b * 1e9)


def _declared(model: ModelSpec, total: float) -> Geometry:
    text = _text(model.config)
    c = Config(text, str(text.get("model_type") or model.config.get("model_type") or "model"))
    hidden, vocab, layers, heads = c.int(HIDDEN), c.int(VOCAB), c.int(LAYERS), c.int(HEADS)
    tied = bool(c.get("tie_word_embeddings", False))
    active = total if model.active_params_b is None else model.active_params_b * 1e9
    tables = vocab * hidden * (1 if tied else 2)
    if not tables < active <= total:
        raise InputError(
            f"model.total_params_b={total / 1e9:g} with {active / 1e9:g} active cannot be: the "
            f"embeddings alone have {tables / 1e9:.3f} B, and no more can be active than there are."
        )
    return Geometry(
        model_type=c.model_type,
        dtype="bfloat16",
        hidden=hidden,
        vocab=vocab,
        heads=heads,
        max_context_tokens=model.max_context_tokens,
        intermediate=0,
        experts=0,
        experts_per_token=0,
        moe_intermediate=0,
        tied=tied,
        blocks=(_block(c, (active - tables) / layers, (total - active) / layers, hidden),),
        sequence=(0,) * layers,
        stem=(matrix("model.embed_tokens", "embedding", vocab, hidden, "out", quantisable=False),),
        head=() if tied else (matrix("lm_head", "lm_head", vocab, hidden, "out"),),
        notes=(
            f"assumed: {total / 1e9:g} B parameters as declared, the layers of a {c.model_type} "
            "are not known; every layer's cache as that of full attention",
        ),
    )


def _block(c: Config, active: float, idle: float, hidden: int) -> Block:
    """One layer: what every token passes through, and what lies beside it in other experts."""
    at = "model.layers.0.mlp"
    found = [matrix(f"{at}.declared", "dense_ffn", round(active / hidden), hidden, "out")]
    if idle >= hidden:
        found.append(
            Matrix(
                name=f"{at}.experts.0.declared",
                role="routed_expert",
                rows=round(idle / hidden),
                cols=hidden,
                active=0,
                split="out",
                quantisable=True,
            )
        )
    rank = c.get("kv_lora_rank")
    if isinstance(rank, int) and rank:
        latent = rank + c.int("qk_rope_head_dim", 0)
        kv = KvCache(kind="mla", heads=1, head_dim=latent, rope_dim=c.int("qk_rope_head_dim", 0))
        return Block(matrices=tuple(found), kv=kv)
    heads, dim = c.int(HEADS), head_dim(c)
    kv = KvCache(kind="full", heads=c.int(KV_HEADS, heads), head_dim=dim, value_dim=dim)
    dims = 2 * heads * dim
    return Block(matrices=tuple(found), kv=kv, attention_dims=dims, context_flop_dims=dims)


def longest_context(config: Mapping[str, Any]) -> int | None:
    """The context that a config.json names, if it does."""
    text = _text(config)
    names = ("max_position_embeddings", "n_positions", "max_seq_len", "model_max_length")
    found = [text[name] for name in names if isinstance(text.get(name), int)]
    return next((value for value in found if value > 0), None)


def _text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = (config[key] for key in TEXT_KEYS if isinstance(config.get(key), Mapping))
    return next(inner, config)
