"""What `llama-quantize TYPE` makes of a model: the type of every tensor, summed by role.

Source of the rules: ggml-org/llama.cpp, src/llama-quant.cpp at 007dbbf (tensor_allows_quantization,
llama_tensor_get_type_impl, tensor_type_fallback), without an importance matrix where that changes a
type. Norms, biases and routers are float32. Held against llama.cpp's own table of Llama 3.1 8B and
against file sizes that llama-bench printed (tests/fit/test_gguf_mix.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.fit.geometry import Geometry, Matrix
from bench.values.errors import InputError, nearest
from bench.values.ggml import TYPES

_SIZES: Mapping[str, tuple[int, int]] = {
    name: (block, size) for name, block, size in TYPES.values()
}
# Roles that every published conversion lays out alike; recurrent states, indexers and look-up
# tables are converted by rules of each architecture's own.
_ROLES = ("embedding", "lm_head", "attention", "dense_ffn", "shared_expert", "routed_expert")
_PLAIN = ("router", "norm", "bias")
_BESIDE = ("vision", "mtp")
# Rows that cannot be cut into blocks of 256 take a type with blocks of 32.
_FALLBACK = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
_FUSED_SHARE = ("qkv_proj", "query_key_value", "c_attn", "Wqkv")


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a tensor stands: its layer of `layers`, and what of the model the rules ask."""

    layer: int
    layers: int
    gqa: int
    experts: int
    is_70b: bool

    @property
    def more(self) -> bool:
        """The first and last eighth, and every third layer between."""
        eighth = self.layers // 8
        late = self.layer >= 7 * self.layers // 8
        return self.layer < eighth or late or (self.layer - eighth) % 3 == 2


# The type of a value projection, of a down projection and of an output projection, None for the
# mixture's main type.
_Rule = Callable[[_Place], str | None]


@dataclass(frozen=True, kw_only=True)
class _Mix:
    main: str
    value: _Rule = lambda _: None
    fused: str | None = None
    down: _Rule = lambda _: None
    output: str | None = None
    output_8_experts: str | None = None


def _q6_where_more(place: _Place) -> str | None:
    return "Q6_K" if place.more else None


_MIXES: Mapping[str, _Mix] = {
    "q8_0": _Mix(main="Q8_0"),
    "q6_k": _Mix(main="Q6_K"),
    "q5_k_m": _Mix(main="Q5_K", value=_q6_where_more, fused="Q6_K", down=_q6_where_more),
    "q5_k_s": _Mix(main="Q5_K"),
    "q5_0": _Mix(main="Q5_0"),
    "q4_k_m": _Mix(
        main="Q4_K",
        value=_q6_where_more,
        fused="Q5_K",
        down=_q6_where_more,
        output_8_experts="Q5_K",
    ),
    "q4_k_s": _Mix(
        main="Q4_K",
        value=lambda p: "Q5_K" if p.layer < 4 else None,
        down=lambda p: "Q5_K" if p.layer < p.layers // 8 else None,
        output_8_experts="Q5_K",
    ),
    "q4_0": _Mix(main="Q4_0"),
    "q3_k_m": _Mix(
        main="Q3_K",
        value=lambda p: "Q5_K" if p.layer < 2 else "Q4_K",
        fused="Q4_K",
        down=lambda p: "Q5_K" if p.layer < p.layers // 16 else "Q4_K",
        output="Q4_K",
        output_8_experts="Q5_K",
    ),
    "q2_k": _Mix(
        main="Q2_K",
        value=lambda p: "Q4_K" if p.gqa >= 4 else "Q3_K",
        down=lambda _: "Q3_K",
        output="Q3_K",
        output_8_experts="Q5_K",
    ),
}
FILE_TYPES: tuple[str, ...] = tuple(_MIXES)


def tensor_sums(geometry: Geometry, file_type: str) -> dict[str, dict[str, int]]:
    """Weights and bytes by role of `geometry` as a file of that type, in the form that
    `bench.models.gguf.quantisation_of` gives for a file that is there.

    InputError for a type that is not known, and for layers whose conversion is not.
    """
    mix = _MIXES.get(file_type)
    if mix is None:
        raise InputError(
            f"quant: what llama-quantize makes of {file_type!r} is not known here."
            f"{nearest(file_type, FILE_TYPES)} Give the file itself with model.weights=FILE.gguf."
        )
    strange = set(geometry.params_by_role()) - {*_ROLES, *_PLAIN, *_BESIDE}
    if geometry.model_type == "gpt_oss":
        strange = {"MXFP4 expert"}  # kept in MXFP4 whatever the file's name says
    if strange or geometry.notes:
        what = ", ".join(sorted(strange)) or "declared, uncounted"
        raise InputError(
            f"quant={file_type}: how the {what} layers of a {geometry.model_type} become GGUF "
            "is not known here. Give the file itself with model.weights=FILE.gguf."
        )
    sums: dict[str, list[int]] = {}

    def add(matrix: Matrix, kind: str) -> None:
        one = sums.setdefault(matrix.role, [0, 0])
        block, size = _SIZES[kind]
        one[0] += matrix.params
        one[1] += matrix.params // block * size

    for matrix in (*geometry.stem, *geometry.head):
        add(matrix, _outside(matrix, mix, geometry))
    for layer, kind in enumerate(geometry.sequence):
        block = geometry.blocks[kind]
        place = _place(geometry, block.kv.heads, layer)
        for matrix in block.matrices:
            add(matrix, _inside(matrix, mix, place))
    for matrix in geometry.vision:
        add(matrix, "F16")  # a file of its own (mmproj), which is published as F16
    return {role: {"weights": w, "bytes": b} for role, (w, b) in sums.items()}


def _place(geometry: Geometry, kv_heads: int, layer: int) -> _Place:
    layers = len(geometry.sequence)
    gqa = geometry.heads // max(kv_heads, 1)
    is_70b = geometry.model_type in ("llama", "qwen2") and layers == 80 and gqa > 1
    return _Place(layer=layer, layers=layers, gqa=gqa, experts=geometry.experts, is_70b=is_70b)


def _outside(matrix: Matrix, mix: _Mix, geometry: Geometry) -> str:
    if matrix.role in _PLAIN or matrix.cols == 1:
        return "F32"
    is_output = matrix.role == "lm_head" or (matrix.role == "embedding" and geometry.tied)
    if not is_output:
        return _fitting(mix.main, matrix.cols)
    whole = matrix.cols % _SIZES[mix.main][0] == 0
    return _fitting("Q6_K" if whole and mix.main != "Q8_0" else "Q8_0", matrix.cols)


def _inside(matrix: Matrix, mix: _Mix, place: _Place) -> str:
    if matrix.role in _PLAIN or matrix.cols == 1:
        return "F32"
    last = re.sub(r"\.weight$", "", matrix.name).rsplit(".", 1)[-1]
    return _fitting(_by_name(last, mix, place) or mix.main, matrix.cols)


def _by_name(last: str, mix: _Mix, place: _Place) -> str | None:
    """The type of a projection by the last part of its published name."""
    if last in _FUSED_SHARE:
        kind = mix.fused or mix.value(place)
        return "Q8_0" if place.experts == 8 else kind
    if last == "v_proj":
        kind = mix.value(place)
        if place.is_70b and (kind or mix.main) in ("Q3_K", "Q4_K"):
            kind = "Q5_K"
        return "Q8_0" if place.experts == 8 else kind
    if last == "k_proj":
        return "Q8_0" if place.experts == 8 else None
    if last in ("down_proj", "fc2", "dense_4h_to_h", "c_proj"):
        return mix.down(place)
    if last in ("o_proj", "out_proj", "dense"):
        return mix.output_8_experts if place.experts == 8 else mix.output
    return None


def _fitting(kind: str, columns: int) -> str:
    """The type, or the one that llama.cpp takes for rows that do not divide into its blocks."""
    if columns % _SIZES[kind][0]:
        kind = _FALLBACK.get(kind, "F16")
    return "F16" if columns % _SIZES[kind][0] else kind
