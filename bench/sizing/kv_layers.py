"""What each layer of a model stores on one rank, in the pages that vLLM makes of it.

A page is one block of tokens of one layer. Where a model has recurrent layers, vLLM lengthens the
attention's blocks until their page holds a state, and pads the state to it
(vllm/platforms/interface.py, `_align_hybrid_block_size`, 0.32.0).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bench.sizing.geometry import Geometry, KvCache, State
from bench.sizing.kv_plan import LayerCache
from bench.values.engine_flags import EngineFlags
from bench.values.errors import InputError
from bench.values.spec import ModelSpec, QuantSpec

# Tokens per block: vLLM's default on GPUs; its sparse attention's kernels; a hybrid with latents;
# on a CPU, and there with latents.
GPU_BLOCK, SPARSE_BLOCK, HYBRID_MLA_BLOCK, CPU_BLOCK, CPU_MLA_BLOCK = 16, 64, 128, 128, 16
# One token of DeepSeek's packed latent: 512 in FP8, four scales, 64 rotary numbers in 16 bits; and
# the same in NVFP4 (vllm/model_executor/layers/attention/mla_attention.py, 0.32.0).
PACKED_LATENT_BYTES = {"fp8_ds_mla": 656, "nvfp4_ds_mla": 352}
_ELEMENT_BYTES = {"float16": 2.0, "bfloat16": 2.0, "fp8": 1.0}
_STATE_BYTES = {"float32": 4.0, "float": 4.0, "float16": 2.0, "half": 2.0, "bfloat16": 2.0}


def kv_dtype(flags: EngineFlags, model: ModelSpec, quant: QuantSpec) -> str:
    """The cache's data type: as typed, else FP8 where the checkpoint brings its scales, else auto.

    InputError for types whose layout is not counted here.
    """
    typed = flags.kv_cache_dtype
    if typed == "auto" and _brings_fp8_scales(model, quant):
        return "fp8"
    name = "fp8" if typed in ("fp8_e4m3", "fp8_e5m2", "fp8_inc") else typed
    if name not in ("auto", *_ELEMENT_BYTES, *PACKED_LATENT_BYTES):
        raise InputError(
            f"engine.args: the layout of --kv-cache-dtype {typed} is not counted here; counted are "
            "auto, bfloat16, float16, fp8 and fp8_ds_mla. Use fit.force=true to run without a fit."
        )
    return name


def _brings_fp8_scales(model: ModelSpec, quant: QuantSpec) -> bool:
    """Whether vLLM takes FP8 from the checkpoint's own quantization_config."""
    chosen, native = model.checkpoints.get(quant.name), model.checkpoints.get("none")
    config: Mapping[str, Any] | None = chosen.quantization_config if chosen else None
    if config is None:
        same = quant.hf_quantization_config is None or (
            chosen is not None and native is not None and chosen.repo == native.repo
        )
        own = model.config.get("quantization_config")
        config = own if same else quant.hf_quantization_config
    config = config or {}
    inner = config.get("quantization")
    config = inner if isinstance(inner, Mapping) else config
    scheme = config.get("kv_cache_scheme")
    if isinstance(scheme, Mapping) and scheme.get("num_bits") == 8:
        return True
    return str(config.get("kv_cache_quant_algo", "")).upper() == "FP8"


def element_bytes(dtype: str, native: float) -> float:
    """Bytes per stored number of keys and values."""
    return _ELEMENT_BYTES.get(dtype, native)


def block_tokens(geometry: Geometry, flags: EngineFlags, *, on_cpu: bool) -> int:
    """Tokens per block before hybrids lengthen it."""
    if flags.block_size is not None:
        return flags.block_size
    if on_cpu:
        return CPU_MLA_BLOCK if geometry.is_mla else CPU_BLOCK
    asked = [b.kv.block for b in geometry.blocks if b.kv.block is not None]
    sparse = any(b.kv.selected is not None for b in geometry.blocks)
    return max(asked, default=SPARSE_BLOCK if sparse else GPU_BLOCK)


def layer_caches(
    geometry: Geometry, flags: EngineFlags, dtype: str, *, tp: int, native: float, block: int
) -> tuple[tuple[LayerCache, ...], ...]:
    """Per layer, what it stores on one tensor-parallel rank."""
    state = max((_state_bytes(b.kv, flags, native, tp) for b in geometry.blocks), default=0)
    block, state_page = _aligned(geometry, dtype, tp=tp, native=native, block=block, state=state)
    made = []
    for kind in geometry.blocks:
        kv, own = kind.kv, []
        per_token = _token_bytes(kv, dtype, native, tp)
        if per_token:
            page = _page(block * per_token / kv.tokens_per_entry, kv.alignment)
            kept = "full" if kv.kind == "none" else kv.kind
            own.append(LayerCache(kind=kept, block=block, page_bytes=page, window=kv.window))
        if kv.index_bytes:
            page = _page(block * kv.index_bytes, kv.alignment)
            own.append(LayerCache(kind="mla", block=block, page_bytes=page, part="indexer"))
        for side in kv.side:
            page = _page(side.block * side.entry_bytes, kv.alignment)
            own.append(
                LayerCache(kind="sliding", block=side.block, page_bytes=page, window=side.window)
            )
        if kv.states:
            page = state_page or _state_bytes(kv, flags, native, tp)
            own.append(LayerCache(kind="state", block=block, page_bytes=page))
        made.append(tuple(own))
    return tuple(made[index] for index in geometry.sequence)


def _page(size: float, alignment: int) -> int:
    """Bytes of a page, rounded up to the multiple that its kernels ask for."""
    return -(-round(size) // alignment) * alignment


def _token_bytes(kv: KvCache, dtype: str, native: float, tp: int) -> float:
    """Bytes of one entry on one rank, the indexer's apart."""
    if kv.shared or not kv.heads:
        return 0.0
    if kv.entry_bytes is not None:
        if dtype not in ("auto", "fp8", "fp8_ds_mla"):
            raise InputError(
                f"engine.args: the layout of --kv-cache-dtype {dtype} is not counted for this "
                "model; it keeps its own in FP8. Use fit.force=true to run without a fit."
            )
        return kv.entry_bytes
    if kv.kind == "mla":
        # Sparse attention knows FP8 in DeepSeek's packed layout only.
        packed = "fp8_ds_mla" if dtype == "fp8" and kv.selected is not None else dtype
        if packed in PACKED_LATENT_BYTES:
            return PACKED_LATENT_BYTES[packed]
        return kv.elements * element_bytes(dtype, native)
    if dtype in PACKED_LATENT_BYTES:
        raise InputError(f"engine.args: --kv-cache-dtype {dtype} is for latent attention only.")
    return math.ceil(kv.heads / tp) * (kv.head_dim + kv.value_dim) * element_bytes(dtype, native)


def _aligned(
    geometry: Geometry, dtype: str, *, tp: int, native: float, block: int, state: int
) -> tuple[int, int]:
    """The block length, and the page that states are padded to (0: their own size)."""
    attending = [b.kv for b in geometry.blocks if _token_bytes(b.kv, dtype, native, tp)]
    if not state or not attending:
        return block, 0
    least = max(block, HYBRID_MLA_BLOCK) if geometry.is_mla else block
    per_token = _token_bytes(attending[0], dtype, native, tp)
    longer = least * math.ceil(state / (least * per_token))
    block = max(block, longer)
    return block, round(block * per_token)


def _state_bytes(kv: KvCache, flags: EngineFlags, native: float, tp: int) -> int:
    return round(sum(_one_state(s, flags, native, tp) for s in kv.states))


def _one_state(state: State, flags: EngineFlags, native: float, tp: int) -> float:
    """Bytes of one state on one rank; --mamba-ssm-cache-dtype goes before --mamba-cache-dtype."""
    typed = flags.mamba_cache_dtype
    if state.role == "recurrent" and flags.mamba_ssm_cache_dtype != "auto":
        typed = flags.mamba_ssm_cache_dtype
    if typed in _STATE_BYTES:
        return state.elements(tp) * _STATE_BYTES[typed]
    return state.bytes(native, tp)
