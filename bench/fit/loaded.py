"""Weights as an engine logs them: the checkpoint's, and what loading adds to each rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from bench.fit.formats import Served
from bench.fit.geometry import Geometry
from bench.fit.sharding import Layout, Stage, rank_bytes, stages

_TEXT_KEYS = ("text_config", "llm_config", "language_config")


def loaded_stages(
    served: Served, where: Layout, config: Mapping[str, Any], *, drafts: bool = False
) -> Iterator[Stage]:
    """Every pipeline stage with all that its ranks hold after loading.

    That is beside the weights: tables of rotary positions, the halves of a latent attention's
    up-projection that vLLM keeps in 16 bits beside the whole, and with `drafts` the layers that
    predict further tokens (on the last stage; embedding and head are the target's own).
    """
    rotary = rotary_bytes(served.geometry, config, served.native_bytes)
    for stage in stages(served, where):
        more = rotary + absorbed_bytes(served.geometry, where.tp, stage.start, stage.stop)
        if drafts and stage.stop == len(served.geometry.sequence):
            own = (m for m in served.geometry.mtp if m.role not in ("embedding", "lm_head"))
            native = served.native_bytes
            more += sum(rank_bytes(m, served.fmt, served.geometry, where, native) for m in own)
        yield replace(stage, weights_bytes=stage.weights_bytes + more, added_bytes=more)


def rotary_bytes(geometry: Geometry, config: Mapping[str, Any], native_bytes: float) -> float:
    """Cosines and sines of every position, on every rank; twice where local layers have their own.

    Source: vllm/model_executor/layers/rotary_embedding/base.py, 0.32.0. Llama-3.1-8B: 131,072 ×
    128 × 2 bytes = 0.031 GiB, which are the 0.03 by which logs exceed its weights.
    """
    text = next((config[k] for k in _TEXT_KEYS if isinstance(config.get(k), Mapping)), config)
    dims = max((b.kv.rope_dim or b.kv.head_dim for b in geometry.blocks), default=0)
    share = text.get("partial_rotary_factor") or 1.0
    kinds = 2 if text.get("rope_local_base_freq") or text.get("swa_rope_theta") else 1
    return geometry.max_context_tokens * dims * float(share) * native_bytes * kinds


def absorbed_bytes(geometry: Geometry, tp: int, start: int, stop: int) -> float:
    """vLLM keeps kv_b_proj and, beside it, its two halves in bfloat16 for absorbed decoding.

    Source: vllm/model_executor/layers/attention/mla_attention.py, 0.32.0.
    """
    halves = sum(
        m.params * repeats
        for block, repeats in geometry.layers(start, stop)
        for m in block.matrices
        if "kv_b_proj" in m.name
    )
    return 2 * halves / tp
