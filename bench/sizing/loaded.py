"""Weights as an engine logs them: the checkpoint's, and what loading adds to each rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from bench.sizing.formats import Served
from bench.sizing.geometry import Geometry
from bench.sizing.rotary import rotary_bytes
from bench.sizing.sharding import Layout, Stage, rank_bytes, stages


def loaded_stages(
    served: Served,
    where: Layout,
    config: Mapping[str, Any],
    *,
    drafts: bool = False,
    layer_twice: bool = False,
) -> Iterator[Stage]:
    """Every pipeline stage with all that its ranks hold after loading.

    That is beside the weights: tables of rotary positions, the halves of a latent attention's
    up-projection that vLLM keeps in 16 bits beside the whole, and with `drafts` the layers that
    predict further tokens (on the last stage; embedding and head are the target's own).
    `layer_twice`: see `EngineRules`.
    """
    rotary = rotary_bytes(served.geometry, config, served.native_bytes)
    for stage in stages(served, where):
        more = rotary + absorbed_bytes(served.geometry, where.tp, stage.start, stage.stop)
        if drafts and stage.stop == len(served.geometry.sequence):
            own = (m for m in served.geometry.mtp if m.role not in ("embedding", "lm_head"))
            native = served.native_bytes
            more += sum(rank_bytes(m, served.fmt, served.geometry, where, native) for m in own)
        if layer_twice:
            more += _stored_experts(served, where, stage)
        yield replace(stage, weights_bytes=stage.weights_bytes + more, added_bytes=more)


def _stored_experts(served: Served, where: Layout, stage: Stage) -> float:
    """Bytes of one layer's experts in MXFP4 as stored, beside the copy that Hopper's kernels take.

    0 for other formats and GPUs.
    """
    fmt = served.fmt
    if fmt.pad == (1, 1) or fmt.pad_scales:
        return 0.0
    stored = replace(fmt, pad=(1, 1))
    layers = (
        sum(
            rank_bytes(m, stored, served.geometry, where, served.native_bytes)
            for m in block.matrices
            if m.role == "routed_expert"
        )
        for block, _ in served.geometry.layers(stage.start, stage.stop)
    )
    return max(layers, default=0.0)


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
