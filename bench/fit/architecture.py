"""From a Hugging Face config.json to a Geometry: which matrices a model of this kind is made of.

Decoder families differ in few places (biases, norms, latent attention, which layers have experts,
which layers forget), so each place is one function that reads the config's own keys. A model type
nobody listed is counted as a Llama-like decoder and says so in `Geometry.notes`; layer kinds that
are not attention (state space, linear attention) are refused rather than miscounted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.fit.geometry import Block, Geometry, KvCache, Matrix
from bench.fit.layers import (
    Config,
    dense_intermediate,
    expert_intermediate,
    experts,
    head_dim,
    is_mla,
    layer_matrices,
    matrix,
    vector,
)
from bench.fit.vision import vision_matrices
from bench.values.errors import InputError

# Model types whose layers were compared with their published implementation.
KNOWN_TYPES = frozenset(
    "llama mistral mixtral qwen2 qwen2_moe qwen3 qwen3_moe deepseek_v2 deepseek_v3 deepseek_v32 "
    "kimi_k2 glm4_moe llama4_text gemma gemma2 gemma3_text phi3".split()
)
_REFUSED_KEYS = (
    "ssm_cfg",
    "mamba_d_state",
    "linear_num_value_heads",
    "state_size",
    "compress_ratios",
)
_MULTIMODAL_KEYS = ("text_config", "llm_config", "language_config")


def from_config(config: Mapping[str, Any]) -> Geometry:
    """The Geometry of a config.json, multimodal wrappers unpacked; InputError when it cannot be."""
    text = next((config[k] for k in _MULTIMODAL_KEYS if isinstance(config.get(k), Mapping)), config)
    c = Config({**text, **{k: config[k] for k in ("torch_dtype", "dtype") if k in config}})
    for key in _REFUSED_KEYS:
        if c.get(key) is not None:
            raise InputError(
                f"model.config.{key}: layers that are not plain attention are not counted here; "
                "the fit of this model is unknown. Use fit.force=true to run without one."
            )
    model_type = str(c.get("model_type", default="unknown"))
    layers = c.int("num_hidden_layers", "n_layer")
    made: dict[tuple[bool, KvCache], int] = {}
    blocks: list[Block] = []
    sequence: list[int] = []
    for index in range(layers):
        kv = _kv_cache(c, model_type, index)
        kind = (_has_experts(c, model_type, index), kv)
        if kind not in made:
            made[kind] = len(blocks)
            prefix = f"model.layers.{index}"
            blocks.append(
                Block(
                    matrices=layer_matrices(c, model_type, prefix, moe=kind[0]),
                    kv=kv,
                    attention_dims=_attention_dims(c),
                    context_flop_dims=_context_flop_dims(c),
                )
            )
        sequence.append(made[kind])
    hidden, vocab, tied = c.int("hidden_size", "n_embd"), c.int("vocab_size"), _tied(c, model_type)
    heads = c.int("num_attention_heads", "n_head")
    vision, vision_notes = vision_matrices(config, hidden)
    return Geometry(
        model_type=model_type,
        dtype=str(c.get("dtype", "torch_dtype", default="bfloat16")),
        hidden=hidden,
        vocab=vocab,
        heads=heads,
        max_context_tokens=c.int("max_position_embeddings", "n_positions", default=2048),
        intermediate=dense_intermediate(c, model_type),
        experts=experts(c),
        experts_per_token=c.int("num_experts_per_tok", default=0) if experts(c) else 0,
        moe_intermediate=expert_intermediate(c) if experts(c) else 0,
        tied=tied,
        blocks=tuple(blocks),
        sequence=tuple(sequence),
        stem=(matrix("model.embed_tokens", "embedding", vocab, hidden, "out", quantisable=False),),
        head=_head(hidden, vocab, tied),
        mtp=_mtp(c, model_type, hidden, vocab),
        vision=vision,
        notes=(*_type_notes(model_type), *vision_notes),
    )


def _type_notes(model_type: str) -> tuple[str, ...]:
    if model_type in KNOWN_TYPES:
        return ()
    return (f"model type {model_type!r} is not known here: counted as a Llama-like decoder",)


def _head(hidden: int, vocab: int, tied: bool) -> tuple[Matrix, ...]:
    norm = vector("model.norm", hidden)
    return (norm,) if tied else (norm, matrix("lm_head", "lm_head", vocab, hidden, "out"))


def _tied(c: Config, model_type: str) -> bool:
    # config.json leaves the key out where it equals the class default, which only Gemma has True.
    return bool(c.get("tie_word_embeddings", default=model_type.startswith("gemma")))


def _has_experts(c: Config, model_type: str, index: int) -> bool:
    if not experts(c):
        return False
    if model_type == "llama4_text":
        listed = c.get("moe_layers")
        step = c.int("interleave_moe_layer_step", default=1)
        return index in listed if listed is not None else (index + 1) % step == 0
    if index in c.get("mlp_only_layers", default=()):
        return False
    first = c.int("first_k_dense_replace", default=0)
    step = c.int("decoder_sparse_step", "moe_layer_freq", default=1)
    offset = 1 if c.get("decoder_sparse_step") is not None else 0
    return index >= first and (index + offset) % step == 0


def _mtp(c: Config, model_type: str, hidden: int, vocab: int) -> tuple[Matrix, ...]:
    """Multi-token-prediction layers: a decoder layer, a joining matrix, three norms, and their own
    copies of embedding and head as the checkpoints store them."""
    layers = c.int("num_nextn_predict_layers", default=0)
    if not layers:
        return ()
    prefix = "model.mtp"
    one = (
        *layer_matrices(c, model_type, prefix, moe=experts(c) > 0),
        matrix(f"{prefix}.eh_proj", "mtp", hidden, 2 * hidden, "out"),
        *(vector(f"{prefix}.{name}", hidden) for name in ("enorm", "hnorm", "shared_head.norm")),
        matrix(f"{prefix}.embed_tokens", "embedding", vocab, hidden, "out", quantisable=False),
        matrix(f"{prefix}.shared_head.head", "lm_head", vocab, hidden, "out"),
    )
    return one * layers


def _kv_cache(c: Config, model_type: str, index: int) -> KvCache:
    if is_mla(c):
        dim = c.get("index_head_dim")
        return KvCache(
            kind="mla",
            heads=1,
            head_dim=c.int("kv_lora_rank") + c.int("qk_rope_head_dim"),
            rope_dim=c.int("qk_rope_head_dim"),
            # The indexer keeps its keys in FP8 with one fp32 scale per 128 of them (vLLM).
            index_bytes=0 if dim is None else dim + 4 * -(-dim // 128),
            selected=None if dim is None else c.int("index_topk"),
        )
    heads = c.int("num_key_value_heads", default=c.int("num_attention_heads", "n_head"))
    kind, window = _window(c, model_type, index)
    dim = head_dim(c)
    return KvCache(kind=kind, heads=heads, head_dim=dim, value_dim=dim, window=window)


def _window(c: Config, model_type: str, index: int) -> tuple[Any, int | None]:
    """Whether layer `index` keeps everything, and if not, how many tokens."""
    kinds: Sequence[str] | None = c.get("layer_types")
    if kinds is not None:
        return _listed_window(c, kinds[index])
    if model_type == "llama4_text":
        no_rope = c.get("no_rope_layers") or ()
        every = c.int("no_rope_layer_interval", default=4)
        local = bool(no_rope[index]) if no_rope else (index + 1) % every != 0
        size = c.get("attention_chunk_size")
        return ("chunked", size) if local and size else ("full", None)
    size = c.get("sliding_window")
    if size is None or c.get("use_sliding_window") is False:
        return "full", None
    if model_type == "gemma2":
        return ("sliding", size) if index % 2 == 0 else ("full", None)
    if model_type == "gemma3_text":
        every = c.int("sliding_window_pattern", default=6)
        return ("sliding", size) if (index + 1) % every else ("full", None)
    if model_type.startswith("qwen"):
        return ("sliding", size) if index >= c.int("max_window_layers") else ("full", None)
    return "sliding", size


def _listed_window(c: Config, kind: str) -> tuple[Any, int | None]:
    if kind == "full_attention":
        return "full", None
    if kind == "sliding_attention":
        return "sliding", c.int("sliding_window")
    if kind == "chunked_attention":
        return "chunked", c.int("attention_chunk_size")
    raise InputError(
        f"model.config.layer_types: {kind!r} layers are not counted here; the fit of this model is "
        "unknown. Use fit.force=true to run without one."
    )


def _attention_dims(c: Config) -> int:
    """Numbers a prefill multiplies per query token, context token and layer: scores plus values."""
    heads = c.int("num_attention_heads", "n_head")
    if is_mla(c):
        return heads * (c.int("qk_nope_head_dim") + c.int("qk_rope_head_dim") + c.int("v_head_dim"))
    return 2 * heads * head_dim(c)


def _context_flop_dims(c: Config) -> int:
    """The same for a decode step; MLA decodes in its latent space (absorbed matrices)."""
    if not is_mla(c):
        return _attention_dims(c)
    rank = c.int("kv_lora_rank")
    return c.int("num_attention_heads") * (2 * rank + c.int("qk_rope_head_dim"))
