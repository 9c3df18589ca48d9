"""From a Hugging Face config.json to a Geometry: which matrices a model is made of.

The family (`bench.sizing.families`) says which parts each layer has and which keys shape them. What
is not known is refused by name: a model type nobody listed, a nested config of unknown kind, a key
that describes layers and that the family does not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.sizing.families import FAMILIES
from bench.sizing.family import Family
from bench.sizing.geometry import Block, Geometry, Matrix
from bench.sizing.keys import Config, class_defaults
from bench.sizing.layers import (
    HEADS,
    HIDDEN,
    LAYERS,
    PER_TOKEN,
    VOCAB,
    matrix,
    vector,
)
from bench.sizing.vision import JOINTS, VISION_KEYS, towers
from bench.values.errors import InputError, nearest

KNOWN_TYPES = frozenset(FAMILIES)
TEXT_KEYS = ("text_config", "llm_config", "language_config")
# Decoders that vLLM chooses by `architectures` where the model type names something else.
_BY_ARCHITECTURE = {
    "DeepseekV3ForCausalLM": "deepseek_v3",
    "DeepseekV4ForCausalLM": "deepseek_v4",
    "MistralLarge3ForCausalLM": "deepseek_v3",
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
}
_WHAT_TO_DO = (
    "Declare its size (model.total_params_b=N, with experts model.active_params_b=N too), or use "
    "fit.force=true to run without a fit."
)


# Published with a tower only; copies that flatten them lose its layers and windowed heads.
_NEVER_ALONE = ("step3p7",)


def from_config(config: Mapping[str, Any]) -> Geometry:
    """The Geometry of a config.json, multimodal wrappers unpacked; InputError when it cannot be."""
    outer = str(config.get("model_type") or "unknown")
    own_type, text = _decoder(config, outer)
    model_type = _alias(own_type)
    family = FAMILIES.get(model_type)
    if family is None or (text is not config and outer not in (*JOINTS, "gemma3n")):
        raise InputError(_unknown(model_type if family is None else outer, outer))
    given = {k: v for k, v in config.items() if k in ("torch_dtype", "dtype")}
    # What a nested config leaves out is what its own class assumes, whatever family it is.
    assumed = own_type if own_type in class_defaults() else family.defaults
    c = Config({**text, **given}, model_type, defaults=assumed)
    if text is config:
        _need_own(c)
    try:
        geometry = _decoder_geometry(c, family, model_type)
    except (IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"model.config: this is not what a {model_type}'s config.json looks like "
            f"({type(error).__name__}: {error}). Give the model's own, or use fit.force=true to "
            "run without a fit."
        ) from error
    c.ignore(*family.ignored, *TEXT_KEYS, "vision_config", "audio_config")
    left = c.unread() if text is not config else _without_wrapper_keys(c.unread())
    if left:
        raise InputError(
            f"model.config.{left[0]}: a {model_type} with this key is not known here"
            f"{_others(left[1:])}: its layers may not be what would be counted. {_WHAT_TO_DO}"
        )
    # A decoder's own config at the top has no tower, whatever the wrapper's name is on it.
    alone = text is config and not any(key in config for key in VISION_KEYS)
    vision = () if alone else towers(config, outer, geometry.hidden)
    notes: tuple[str, ...] = ()
    if alone and outer in _NEVER_ALONE:
        raise InputError(
            f"model.config: a {outer} has a vision tower, and this config.json names none: it is "
            "not the model's own, and 1 % of the weights is left out. Give the model's own "
            "(model.path=DIR), or use fit.force=true to run without a fit."
        )
    if alone and outer in JOINTS:
        notes = (f"assumed: the decoder of a {outer} alone, as its config names no tower",)
    return replace(geometry, vision=vision, notes=notes)


def _decoder(config: Mapping[str, Any], outer: str) -> tuple[str, Mapping[str, Any]]:
    """The type and keys of the language model inside a config.json."""
    named = str((config.get("architectures") or [""])[0])
    for key in TEXT_KEYS:
        inner = config.get(key)
        if isinstance(inner, Mapping):
            nested = class_defaults().get(outer, {}).get("_nested", {})
            model_type = str(inner.get("model_type") or nested.get(key) or outer)
            # What the file says of the whole model holds; where it says nothing, vLLM asks the
            # decoder's class, not the wrapper's (Mistral Small 3.1: untied, 44.76 GiB in a log).
            tied = {k: v for k, v in config.items() if k == "tie_word_embeddings"}
            return model_type, {**inner, **tied}
    if outer not in FAMILIES and named in _BY_ARCHITECTURE:
        return _BY_ARCHITECTURE[named], config
    if outer not in FAMILIES:
        nested = class_defaults().get(outer, {}).get("_nested", {})
        inner_type = str(nested.get("text_config", ""))
        # Before transformers 5, Qwen2-VL and its kind kept the decoder's keys at the top.
        if _alias(inner_type) in FAMILIES and isinstance(config.get("hidden_size"), int):
            return inner_type, config
    return outer, config


# Decoders of multimodal models that are a known family under another name.
ALIASES = {
    "qwen2_vl_text": "qwen2",
    "qwen2_vl": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen2_5_vl": "qwen2",
    "qwen2_5_omni_text": "qwen2",
    "qwen3_vl_text": "qwen3",
    "qwen3_vl_moe_text": "qwen3_moe",
    "qwen3_omni_moe_text": "qwen3_moe",
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
    "llama4": "llama4_text",
    "glm4v_text": "glm4",
    "idefics3_text": "llama",
    "paddleocr_vl_text": "ernie4_5",
    "glm4v_moe_text": "glm4_moe",
    "glm46v_text": "glm4",
    "minimax_m3": "minimax_m3_vl_text",
    "minimax_m3_vl": "minimax_m3_vl_text",
}


def _alias(model_type: str) -> str:
    return model_type if model_type in FAMILIES else ALIASES.get(model_type, model_type)


def _unknown(model_type: str, outer: str) -> str:
    inside = "" if model_type == outer else f" (the decoder of {outer})"
    close = nearest(model_type, FAMILIES)
    return (
        f"model.config.model_type: the layers of a {model_type!r}{inside} are not known here, so "
        f"that its fit is unknown.{close if 'mean' in close else ''} {_WHAT_TO_DO}"
    )


def _others(keys: Sequence[str]) -> str:
    return f" (nor {', '.join(keys[:3])})" if keys else ""


def _without_wrapper_keys(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key for key in keys if not key.startswith(("vision", "image", "audio", "video")))


def _need_own(c: Config) -> None:
    """A config.json of one model names its size; only nested ones are left to class defaults."""
    for keys in (HIDDEN, LAYERS, VOCAB):
        if not c.given(keys) and not _lists_layers(c, keys):
            c.defaults = {k: v for k, v in c.defaults.items() if k not in keys}


def _lists_layers(c: Config, keys: Any) -> bool:
    return keys is LAYERS and any(
        isinstance(c.data.get(key), list | str)
        for key in ("layers_block_type", "hybrid_override_pattern")
    )


def _layer_count(c: Config) -> int:
    listed = c.data.get("layers_block_type") or c.data.get("hybrid_override_pattern")
    if listed and not c.given(LAYERS):
        return len(listed)
    return c.int(LAYERS)


def _decoder_geometry(c: Config, family: Family, model_type: str) -> Geometry:
    if family.derive is not None:
        c.data = {**c.data, **family.derive(c)}
    layers = _layer_count(c)
    kinds = family.layer_kinds(c, layers)
    made: dict[Block, int] = {}
    shapes: dict[tuple[Any, ...], int] = {}
    sequence: list[int] = []
    for index in range(layers):
        block = family.block(_of_layer(c, index), kinds[index], index)
        shape = (_shape(block), block.kv, block.attention_dims)
        if shape not in shapes:
            shapes[shape] = len(made)
            made[block] = len(made)
        sequence.append(shapes[shape])
    hidden, vocab = c.int(HIDDEN), c.int(VOCAB)
    tied = bool(c.get(("tie_word_embeddings", "tie_embedding"), False))
    blocks = tuple(made)
    experts = _experts(blocks)
    around = family.around(c) if family.around is not None else ()
    heads = c.get(HEADS)
    return Geometry(
        model_type=model_type,
        dtype=str(c.get(("dtype", "torch_dtype"), "bfloat16")),
        hidden=hidden,
        vocab=vocab,
        heads=heads if isinstance(heads, int) else 0,
        max_context_tokens=c.int(
            ("max_position_embeddings", "n_positions", "max_seq_len", "model_max_length"), 2048
        ),
        intermediate=_width(blocks, "dense_ffn"),
        experts=experts,
        experts_per_token=c.int(PER_TOKEN, 0) if experts else 0,
        moe_intermediate=_width(blocks, "routed_expert"),
        tied=tied,
        blocks=blocks,
        sequence=tuple(sequence),
        stem=(
            matrix("model.embed_tokens", "embedding", vocab, hidden, "out", quantisable=False),
            *around,
        ),
        head=_head(c, family, hidden, vocab, tied),
        mtp=_mtp(c, family, kinds, hidden, vocab) if family.mtp else (),
    )


def _of_layer(c: Config, index: int) -> Config:
    """The config as layer `index` sees it (`per_layer_config` of transformers 5)."""
    listed = c.get("per_layer_config")
    own = None
    if isinstance(listed, Mapping):
        own = next((v for k, v in listed.items() if k.isdigit() and int(k) == index), None)
    if not isinstance(own, Mapping):
        return c
    view = Config({**c.data, **own}, c.model_type, where=c.where)
    view.defaults, view.read, view._also = c.defaults, c.read, c._also
    return view


def _shape(block: Block) -> tuple[Any, ...]:
    return tuple(
        (m.role, m.rows, m.cols, m.count, m.active, m.split, m.heads) for m in block.matrices
    )


def _experts(blocks: Sequence[Block]) -> int:
    return max(
        (m.count for b in blocks for m in b.matrices if m.role == "routed_expert"), default=0
    )


def _width(blocks: Sequence[Block], role: str) -> int:
    """The inner width of the MLPs of one role, from their first matrix; 0 where there are none."""
    found = (m.rows for b in blocks for m in b.matrices if m.role == role and m.split == "out")
    return max(found, default=0)


def _head(c: Config, family: Family, hidden: int, vocab: int, tied: bool) -> tuple[Matrix, ...]:
    size = hidden * (2 if family.norm_bias else 1)
    found = [vector("model.norm", size)] if family.final_norm else []
    if not tied:
        found.append(matrix("lm_head", "lm_head", vocab, hidden, "out"))
    if c.flag(family.head_bias):
        found.append(vector("lm_head.bias", vocab, "bias"))
    return tuple(found)


def _mtp(
    c: Config, family: Family, kinds: Sequence[str], hidden: int, vocab: int
) -> tuple[Matrix, ...]:
    """Multi-token-prediction layers: a decoder layer, a joining matrix, three norms, and in most
    checkpoints copies of embedding and head of their own."""
    layers = c.int("num_nextn_predict_layers", 0)
    if not layers:
        return ()
    prefix = "model.mtp"
    last = len(kinds) - 1
    # Such a layer has an indexer of its own, whatever its neighbours share.
    alone = Config({**c.data, **_OWN_INDEXER}, c.model_type, where=c.where)
    alone.defaults, alone._also = c.defaults, c._also
    one = (
        *family.block(alone, kinds[last], last).matrices,
        matrix(f"{prefix}.eh_proj", "mtp", hidden, 2 * hidden, "out"),
        *(vector(f"{prefix}.{name}", hidden) for name in ("enorm", "hnorm", "shared_head.norm")),
    )
    copies = (
        matrix(f"{prefix}.embed_tokens", "embedding", vocab, hidden, "out", quantisable=False),
        matrix(f"{prefix}.shared_head.head", "lm_head", vocab, hidden, "out"),
    )
    return (*one, *(copies if family.mtp == "copies" else ())) * layers


_OWN_INDEXER = {"indexer_types": None, "index_topk_pattern": None, "index_topk_freq": 1}
