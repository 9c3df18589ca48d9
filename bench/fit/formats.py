"""How quantised weights lie in memory: bits, scales, zero points, and what stays unquantised.

Read from the `quantization_config` that a checkpoint carries, whichever tool wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.fit.geometry import Geometry, Matrix
from bench.values.errors import InputError
from bench.values.spec import ModelSpec, QuantSpec

# Sizes of scale entries as vLLM allocates them: group scales in the activations' data type,
# per-channel and per-block scales in float32.
GROUP_SCALE_BYTES = 2
CHANNEL_SCALE_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class WeightFormat:
    """`bits` None keeps the native data type. At most one of group_size, block and channel holds.

    `activation_bits` says what the matrix units multiply (16: weights are expanded first);
    `integer` tells INT8 from FP8. `ignore` lists modules left unquantised: a plain text matches
    whole parts of the module's dotted name, `re:` starts a regular expression. One layer stands
    for all of its kind, so a list that names single layers of many is not followed exactly.
    """

    name: str
    bits: float | None = None
    activation_bits: int = 16
    integer: bool = True
    group_size: int | None = None
    block: tuple[int, int] | None = None
    channel: bool = False
    zero_points: bool = False
    quantised_head: bool = False
    ignore: tuple[str, ...] = ()

    def quantises(self, matrix: Matrix) -> bool:
        """Whether this matrix is stored in `bits` rather than in the native data type."""
        if self.bits is None or not matrix.quantisable:
            return False
        if matrix.role == "lm_head":
            return self.quantised_head
        return not any(_matches(pattern, matrix.name) for pattern in self.ignore)

    def bytes(self, matrix: Matrix, rows: int, cols: int, native_bytes: float) -> float:
        """Bytes of one rows × cols part of `matrix`, scales and zero points included."""
        if self.bits is None or not self.quantises(matrix):
            return rows * cols * native_bytes
        size = rows * cols * self.bits / 8
        if self.group_size:
            groups = rows * -(-cols // self.group_size)
            return size + groups * (GROUP_SCALE_BYTES + (self.bits / 8 if self.zero_points else 0))
        if self.block:
            blocks = -(-rows // self.block[0]) * -(-cols // self.block[1])
            return size + blocks * CHANNEL_SCALE_BYTES
        return size + (rows * CHANNEL_SCALE_BYTES if self.channel else 0)


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model in memory: geometry, weight format, and bytes per native weight and KV element."""

    geometry: Geometry
    fmt: WeightFormat
    native_bytes: float = 2.0
    kv_bytes: float = 2.0


# What checkpoints call a vision tower and the decoder beside it; names here say vision_tower and
# model.
_TOWER_NAMES = ("vision_tower", "vision_model", "visual", "vision_encoder", "model.visual")
_DECODER_NAMES = ("model.", "language_model.model.", "model.language_model.")


def _spellings(name: str) -> tuple[str, ...]:
    """The names that checkpoints give one module, whatever wraps its decoder or tower."""
    head, _, rest = name.partition(".")
    if head == "vision_tower":
        return tuple(f"{tower}.{rest}" for tower in _TOWER_NAMES)
    if head == "model":
        return tuple(f"{prefix}{rest}" for prefix in _DECODER_NAMES)
    return (name,)


def _matches(pattern: str, name: str) -> bool:
    return any(_matches_one(pattern, spelling) for spelling in _spellings(name))


def _matches_one(pattern: str, name: str) -> bool:
    if pattern.startswith("re:"):
        return re.match(pattern[3:], name) is not None
    return f".{pattern.strip('.')}." in f".{name}."


def weight_format(model: ModelSpec, quant: QuantSpec) -> WeightFormat:
    """The format of `model` served as `quant`.

    The checkpoint's own `quantization_config` comes first where conf/model gives one; `none` and
    any quantisation published in the same repository are the model's native format; else the
    quantisation's own description stands for the checkpoint.
    """
    native = model.checkpoints.get("none")
    chosen = model.checkpoints.get(quant.name)
    own = chosen.quantization_config if chosen is not None else None
    is_native = native is not None and chosen is not None and native.repo == chosen.repo
    if own is not None:
        return from_hf(own, quant.name)
    if quant.hf_quantization_config is None or is_native:
        return from_hf(model.config.get("quantization_config") or {}, quant.name)
    return from_hf(quant.hf_quantization_config, quant.name)


def from_hf(config: Mapping[str, Any], name: str) -> WeightFormat:
    """Read a `quantization_config`; InputError for a method whose layout is not known here."""
    if not config:
        return WeightFormat(name=name)
    method = str(config.get("quant_method", "")).lower()
    if method == "compressed-tensors":
        return _compressed_tensors(config, name)
    ignore = tuple(config.get("modules_to_not_convert") or config.get("ignored_layers") or ())
    if method == "fp8":
        block = config.get("weight_block_size")
        return WeightFormat(
            name=name,
            bits=8,
            activation_bits=8,
            integer=False,
            block=(int(block[0]), int(block[1])) if block else None,
            ignore=ignore,
        )
    if method in ("awq", "gptq", "awq_marlin", "gptq_marlin"):
        group = int(config.get("group_size") or config.get("q_group_size") or 128)
        return WeightFormat(
            name=name,
            bits=float(config.get("bits") or config.get("w_bit") or 4),
            group_size=group if group > 0 else None,
            # GPTQ files hold zero points even where they are all alike (`sym: true`).
            zero_points=bool(config.get("zero_point", True)),
            quantised_head=bool(config.get("lm_head", False)),
            ignore=ignore,
        )
    raise InputError(
        f"quant: the memory layout of quant_method {method!r} is not known here; known are "
        "compressed-tensors, fp8, awq and gptq. Use fit.force=true to run without a fit."
    )


def _compressed_tensors(config: Mapping[str, Any], name: str) -> WeightFormat:
    """The first group's weights; checkpoints with several formats are described by the first."""
    groups = config.get("config_groups") or {}
    group: Mapping[str, Any] = next(iter(groups.values()), {})
    weights: Mapping[str, Any] = group.get("weights") or {}
    strategy = weights.get("strategy")
    block = weights.get("block_structure")
    activations = group.get("input_activations") or {}
    return WeightFormat(
        name=name,
        bits=float(weights.get("num_bits", 16)),
        activation_bits=int(activations.get("num_bits", 16)),
        integer=weights.get("type", "int") == "int",
        group_size=int(weights["group_size"]) if strategy == "group" else None,
        block=(int(block[0]), int(block[1])) if strategy == "block" and block else None,
        channel=strategy == "channel",
        zero_points=not weights.get("symmetric", True),
        ignore=tuple(config.get("ignore") or ()),
    )
