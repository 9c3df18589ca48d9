"""What `llama-quantize TYPE` makes of a model: the type of every tensor, summed by role.

Source of the rules: ggml-org/llama.cpp, src/llama-quant.cpp at 007dbbf (tensor_allows_quantization,
llama_tensor_get_type_impl, tensor_type_fallback), with an importance matrix up to IQ3, for most of
which the tool asks for it, and without one above (it makes IQ4 files 0.7 % smaller). Norms, biases
and routers are float32. Held against llama.cpp's own table of Llama 3.1 8B and against file sizes
that llama-bench printed (tests/sizing/test_gguf_mix.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from bench.sizing.geometry import Geometry, Matrix
from bench.values.errors import InputError, nearest
from bench.values.ggml import DYNAMIC, TYPES, is_dynamic

_SIZES: Mapping[str, tuple[int, int]] = {
    name: (block, size) for name, block, size in TYPES.values()
}
# Roles that every published conversion lays out alike; recurrent states, indexers and look-up
# tables are converted by rules of each architecture's own.
_ROLES = ("embedding", "lm_head", "attention", "dense_ffn", "shared_expert", "routed_expert")
_PLAIN = ("router", "norm", "bias")
_BESIDE = ("vision", "mtp")
# Rows that cannot be cut into blocks of 256 take a type with blocks of 32.
_FALLBACK = {
    **{"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"},
    **{f"IQ{name}": "IQ4_NL" for name in "1_S 1_M 2_XXS 2_XS 2_S 3_XXS 3_S 4_XS".split()},
}
_QKV = ("q_proj", "k_proj", "v_proj")
# Conversions with one attn_qkv tensor, whatever a geometry calls its parts.
_FUSED = ("phi3", "gpt2", "gpt_neox", "gpt_bigcode", "bloom", "mpt", "dbrx")
_DOWN = ("down_proj", "fc2", "dense_4h_to_h", "c_proj")
_GATE_UP = ("gate_proj", "up_proj", "gate_up_proj", "fc1", "dense_h_to_4h", "c_fc")
_OUTPUT = ("o_proj", "out_proj", "dense")


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a tensor stands: its layer of `layers`, how many down projections come before those of
    its layer, and what of the model the rules ask."""

    layer: int
    downs_before: int
    layers: int
    gqa: int
    experts: int
    is_70b: bool
    is_fused: bool

    @property
    def more(self) -> bool:
        """The first and last eighth, and every third layer between."""
        eighth = self.layers // 8
        late = self.layer >= 7 * self.layers // 8
        return self.layer < eighth or late or (self.layer - eighth) % 3 == 2

    @property
    def first_eighth(self) -> bool:
        return self.layer < self.layers // 8

    @property
    def between(self) -> bool:
        """Neither in the first nor in the last eighth."""
        return not self.first_eighth and self.layer < 7 * self.layers // 8


# The type that a projection takes there, None for the mixture's main type.
_Rule = Callable[[_Place], str | None]


@dataclass(frozen=True, kw_only=True)
class _Mix:
    """`main` for all that no rule names. `downs_counted` takes the first eighth of a down
    projection by its number among all of them, as the smallest types do."""

    main: str
    value: _Rule = lambda _: None
    fused: str | None = None
    fused_known: bool = True
    query_key: str | None = None
    gate_up: _Rule = lambda _: None
    down: _Rule = lambda _: None
    output: str | None = None
    output_8_experts: str | None = None
    key_8_experts: str = "Q8_0"
    value_8_experts: str | None = "Q8_0"
    downs_counted: str | None = None
    embedding: str | None = None
    head: str = "Q6_K"


def _q6_where_more(place: _Place) -> str | None:
    return "Q6_K" if place.more else None


def _shared(kind: str, else_kind: str | None = None) -> _Rule:
    """`kind` where four heads or more share a value projection."""
    return lambda place: kind if place.gqa >= 4 else else_kind


def _first_eighth(kind: str) -> _Rule:
    return lambda place: kind if place.first_eighth else None


def _iq_small(main: str, better: str, *, embedding: str, output: str | None) -> _Mix:
    """A mixture below three bits; `better` is what its more delicate tensors take."""
    return _Mix(
        main=main,
        value=lambda p: "Q4_K" if p.gqa >= 4 or p.experts >= 4 else better,
        value_8_experts=None,
        key_8_experts="Q4_K",
        fused_known=False,
        downs_counted=better,
        output=output,
        output_8_experts="Q5_K",
        embedding=embedding,
        head="Q5_K",
    )


_MIXES: Mapping[str, _Mix] = {
    "q8_0": _Mix(main="Q8_0"),
    "q6_k": _Mix(main="Q6_K"),
    "q5_k_m": _Mix(main="Q5_K", value=_q6_where_more, fused="Q6_K", down=_q6_where_more),
    "q5_k_s": _Mix(main="Q5_K"),
    "q5_1": _Mix(main="Q5_1"),
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
        down=_first_eighth("Q5_K"),
        output_8_experts="Q5_K",
    ),
    "q4_1": _Mix(main="Q4_1"),
    "q4_0": _Mix(main="Q4_0"),
    "iq4_nl": _Mix(
        main="IQ4_NL",
        value=_shared("Q5_K"),
        fused_known=False,
        down=_first_eighth("Q5_K"),
        output_8_experts="Q5_K",
    ),
    "iq4_xs": _Mix(
        main="IQ4_XS",
        value=_shared("Q5_K"),
        fused_known=False,
        down=_first_eighth("Q5_K"),
        output_8_experts="Q5_K",
    ),
    "q3_k_l": _Mix(
        main="Q3_K", value=lambda _: "Q5_K", fused="Q4_K", down=lambda _: "Q5_K", output="Q5_K"
    ),
    "q3_k_m": _Mix(
        main="Q3_K",
        value=lambda p: "Q5_K" if p.layer < 2 else "Q4_K",
        fused="Q4_K",
        down=lambda p: "Q5_K" if p.layer < p.layers // 16 else "Q4_K",
        output="Q4_K",
        output_8_experts="Q5_K",
    ),
    "q3_k_s": _Mix(main="Q3_K", output_8_experts="Q5_K"),
    "iq3_m": _Mix(
        main="IQ3_S",
        value=lambda _: "Q4_K",
        fused="Q4_K",
        down=lambda p: "Q4_K" if p.first_eighth or (p.experts == 8 and p.more) else None,
        output="Q4_K",
        output_8_experts="Q5_K",
    ),
    "iq3_s": _Mix(main="IQ3_S", value=_shared("Q4_K"), fused_known=False, output_8_experts="Q5_K"),
    "iq3_xs": _Mix(
        main="IQ3_S",
        value=_shared("Q4_K"),
        fused_known=False,
        query_key="IQ3_XXS",
        gate_up=lambda p: "IQ3_XXS" if p.between else None,
        output_8_experts="Q5_K",
    ),
    "iq3_xxs": _Mix(
        main="IQ3_XXS",
        value=_shared("Q4_K"),
        fused_known=False,
        query_key="IQ2_S",
        output="IQ3_S",
        output_8_experts="Q5_K",
        embedding="IQ3_S",
        head="Q5_K",
    ),
    "q2_k": _Mix(
        main="Q2_K",
        value=_shared("Q4_K", "Q3_K"),
        down=lambda _: "Q3_K",
        output="Q3_K",
        output_8_experts="Q5_K",
    ),
    "q2_k_s": _Mix(main="Q2_K", value=_shared("Q4_K"), down=_first_eighth("Q4_K")),
    "iq2_m": _iq_small("IQ2_S", "IQ3_S", embedding="IQ3_S", output="IQ3_S"),
    "iq2_s": _iq_small("IQ2_XS", "IQ3_S", embedding="IQ3_S", output="IQ3_S"),
    "iq2_xs": _iq_small("IQ2_XS", "Q2_K", embedding="Q2_K", output=None),
    "iq2_xxs": _iq_small("IQ2_XXS", "Q2_K", embedding="Q2_K", output=None),
    "iq1_m": _iq_small("IQ1_M", "Q2_K", embedding="Q2_K", output="IQ2_XXS"),
    "iq1_s": _iq_small("IQ1_S", "Q2_K", embedding="Q2_K", output="IQ2_XXS"),
}
FILE_TYPES: tuple[str, ...] = tuple(_MIXES)


INPUT = -1
"""Where `laid_out` puts what stands before layer 0; what follows the last has their number."""


def tensor_sums(geometry: Geometry, file_type: str) -> dict[str, dict[str, int]]:
    """Weights and bytes by role of `geometry` as a file of that type, in the form that
    `bench.models.gguf.quantisation_of` gives for a file that is there.

    InputError for a type that is not known, and for layers whose conversion is not.
    """
    sums: dict[str, list[int]] = {}
    matrices = [(m, k) for _, m, k in laid_out(geometry, file_type)]
    matrices += [(m, "F16") for m in geometry.vision]  # a file of its own, which is always F16
    for matrix, kind in matrices:
        one = sums.setdefault(matrix.role, [0, 0])
        one[0] += matrix.params
        one[1] += bytes_of(matrix, kind)
    return {role: {"weights": w, "bytes": b} for role, (w, b) in sums.items()}


def bytes_of(matrix: Matrix, kind: str) -> int:
    """A matrix as a tensor of that type."""
    block, size = _SIZES[kind]
    return matrix.params // block * size


def laid_out(geometry: Geometry, file_type: str) -> Iterator[tuple[int, Matrix, str]]:
    """Every matrix of the language model with its layer and the type that it takes; the errors of
    `tensor_sums`."""
    mix = _mix(geometry, file_type)
    for matrix in geometry.stem:
        yield INPUT, matrix, _outside(matrix, mix, geometry)
    downs = 0
    for layer, number in enumerate(geometry.sequence):
        block = geometry.blocks[number]
        place = _place(geometry, block.kv.heads, layer, downs)
        # A file has the routed experts of a layer as one tensor, before the shared ones.
        roles = {m.role for m in block.matrices if _last(m) in _DOWN}
        second = replace(place, downs_before=downs + ("routed_expert" in roles))
        for matrix in block.matrices:
            shared = matrix.role == "shared_expert"
            yield layer, matrix, _inside(matrix, mix, second if shared else place)
        downs += len(roles)
    for matrix in geometry.head:
        yield len(geometry.sequence), matrix, _outside(matrix, mix, geometry)


def _mix(geometry: Geometry, file_type: str) -> _Mix:
    mix = _MIXES.get(file_type)
    if is_dynamic(file_type):
        raise InputError(f"quant={file_type}:{DYNAMIC}")
    if mix is None:
        raise InputError(
            f"quant: what llama-quantize makes of {file_type!r} is not known here."
            f"{nearest(file_type, FILE_TYPES)} Give the file itself with model.weights=FILE.gguf."
        )
    strange = set(geometry.params_by_role()) - {*_ROLES, *_PLAIN, *_BESIDE}
    if geometry.model_type == "gpt_oss":
        strange = {"MXFP4 expert"}  # kept in MXFP4 whatever the file's name says
    if geometry.model_type == "falcon" or (geometry.model_type in _FUSED and not mix.fused_known):
        strange = {"fused attention"}  # versions of llama-quantize differ in it
    if strange or geometry.notes:
        what = ", ".join(sorted(strange)) or "declared, uncounted"
        raise InputError(
            f"quant={file_type}: how the {what} layers of a {geometry.model_type} become GGUF "
            "is not known here. Give the file itself with model.weights=FILE.gguf."
        )
    return mix


def _place(geometry: Geometry, kv_heads: int, layer: int, downs_before: int) -> _Place:
    layers = len(geometry.sequence)
    gqa = geometry.heads // max(kv_heads, 1)
    is_70b = geometry.model_type in ("llama", "qwen2") and layers == 80 and gqa > 1
    return _Place(
        layer=layer,
        downs_before=downs_before,
        layers=layers,
        gqa=gqa,
        experts=geometry.experts,
        is_70b=is_70b,
        is_fused=geometry.model_type in _FUSED,
    )


def _outside(matrix: Matrix, mix: _Mix, geometry: Geometry) -> str:
    if matrix.role in _PLAIN or matrix.cols == 1:
        return "F32"
    is_output = matrix.role == "lm_head" or (matrix.role == "embedding" and geometry.tied)
    if not is_output:
        return _fitting(mix.embedding or mix.main, matrix.cols)
    whole = matrix.cols % _SIZES[mix.main][0] == 0
    return _fitting(mix.head if whole and mix.main != "Q8_0" else "Q8_0", matrix.cols)


def _inside(matrix: Matrix, mix: _Mix, place: _Place) -> str:
    if matrix.role in _PLAIN or matrix.cols == 1:
        return "F32"
    return _fitting(_by_name(_last(matrix), mix, place) or mix.main, matrix.cols)


def _last(matrix: Matrix) -> str:
    return re.sub(r"\.weight$", "", matrix.name).rsplit(".", 1)[-1]


def _by_name(last: str, mix: _Mix, place: _Place) -> str | None:
    """The type of a projection by the last part of its published name."""
    eight = place.experts == 8  # Mixtral's, which the rules single out
    if place.is_fused and last in _QKV:
        return "Q8_0" if eight else mix.fused
    if last == "v_proj":
        kind = mix.value(place)
        if mix.value_8_experts is None:
            return kind
        if place.is_70b and (kind or mix.main) in ("Q3_K", "Q4_K"):
            kind = "Q5_K"
        return mix.value_8_experts if eight else kind
    if last == "k_proj":
        return mix.key_8_experts if eight else mix.query_key
    if last == "q_proj":
        return mix.query_key
    if last in _DOWN:
        if mix.downs_counted and place.downs_before < place.layers // 8:
            return mix.downs_counted
        return mix.down(place)
    if last in _GATE_UP:
        return mix.gate_up(place)
    if last in _OUTPUT:
        return mix.output_8_experts if eight else mix.output
    return None


def _fitting(kind: str, columns: int) -> str:
    """The type, or the one that llama.cpp takes for rows that do not divide into its blocks."""
    if columns % _SIZES[kind][0]:
        kind = _FALLBACK.get(kind, "F16")
    return "F16" if columns % _SIZES[kind][0] else kind
