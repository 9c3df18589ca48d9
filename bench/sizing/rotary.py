"""Tables of rotary positions, which vLLM keeps on every rank beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.sizing.geometry import Geometry

_TEXT_KEYS = ("text_config", "llm_config", "language_config")
# vLLM's classes of these keep one table for layers with a window and one for the others.
_TWO_TABLES = ("gemma3", "gemma4", "olmo3")
# Positions of videos outrun the tokens: vLLM's MRotaryEmbedding lengthens its table by this.
_MROPE_TIMES = 4


def rotary_bytes(geometry: Geometry, config: Mapping[str, Any], native_bytes: float) -> float:
    """Cosines and sines of every position, a table for each kind of layers.

    Source: vllm/model_executor/layers/rotary_embedding, 0.32.0. Llama-3.1-8B: 131,072 × 128 × 2
    bytes = 0.031 GiB, which are the 0.03 by which logs exceed its weights.
    """
    text = next((config[k] for k in _TEXT_KEYS if isinstance(config.get(k), Mapping)), config)
    local, whole = _parameters(text)
    kinds = [(whole, [b.kv for b in geometry.blocks])]
    windowed = [b.kv for b in geometry.blocks if b.kv.window is not None]
    split = local is not whole or geometry.model_type.startswith(_TWO_TABLES)
    split = split or bool(text.get("rope_local_base_freq") or text.get("swa_rope_theta"))
    if split and windowed and len(windowed) < len(geometry.blocks):
        rest = [b.kv for b in geometry.blocks if b.kv.window is None]
        kinds = [(local if local is not whole else {}, windowed), (whole, rest)]
    total = 0.0
    for parameters, caches in kinds:
        dims = max((kv.rope_dim or kv.head_dim for kv in caches), default=0)
        share = text.get("partial_rotary_factor") or parameters.get("partial_rotary_factor") or 1.0
        # Gemma 4's "proportional" table has the whole head, whatever share turns.
        share = 1.0 if _kind(parameters) == "proportional" else float(share)
        total += _positions(parameters, geometry.max_context_tokens) * dims * share * native_bytes
    return total


def _parameters(text: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The rotary settings of layers with a window and of the others; one object where alike."""
    for key in ("rope_parameters", "rope_scaling"):
        found = text.get(key)
        if not isinstance(found, Mapping) or not found:
            continue
        local, whole = found.get("sliding_attention"), found.get("full_attention")
        if isinstance(local, Mapping) and isinstance(whole, Mapping):
            return local, whole
        return found, found
    nothing: Mapping[str, Any] = {}
    return nothing, nothing


def _kind(parameters: Mapping[str, Any]) -> str:
    return str(parameters.get("rope_type") or parameters.get("type") or "default")


def _positions(parameters: Mapping[str, Any], longest: int) -> float:
    """Rows of one table for a model of `longest` tokens.

    Linear scaling multiplies what the config calls its context (gemma-3-12b's logged weights exceed
    its parameters by that table); YaRN starts at the original context; LongRoPE keeps the short
    table beside the long one.
    """
    kind, factor = _kind(parameters), float(parameters.get("factor") or 1.0)
    original = float(parameters.get("original_max_position_embeddings") or longest)
    if kind == "linear":
        return longest * factor
    if kind in ("yarn", "deepseek_yarn"):
        return (original if original < longest else longest / factor) * factor
    if kind in ("longrope", "su"):
        return longest + (original if original < longest else 0)
    if parameters.get("mrope_section"):
        return longest * _MROPE_TIMES
    return longest
