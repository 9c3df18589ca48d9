"""How quantised weights lie in memory: bits, scales, zero points, and what stays unquantised.

`bench.sizing.quantisations` reads these from the `quantization_config` that a checkpoint carries,
whichever tool wrote it.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from bench.sizing.geometry import Block, Geometry, Matrix, Role
from bench.values.errors import InputError

# Sizes of scale entries as vLLM allocates them: group scales in the activations' data type,
# per-channel and per-block scales in float32.
GROUP_SCALE_BYTES = 2
CHANNEL_SCALE_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class WeightFormat:
    """`bits` None keeps the native data type. At most one of group_size, block and channel holds.

    `activation_bits` says what the matrix units multiply (16: weights are expanded first);
    `integer` tells INT8 from FP8. `ignore` lists modules left unquantised: a plain text matches
    whole parts of the module's dotted name, one with `*` the whole name, `re:` starts a regular
    expression. `only` names the roles that are quantised at all, None every one. `rules` are
    modules in another format than the main one; the first that matches holds. `pad` rounds the
    inner and the hidden size of experts up to multiples, as a kernel asks; `pad_scales` says
    whether the scales grow with it. Patterns that name
    single layers are followed where the geometry went through `by_layer`. `by_role` gives every
    matrix of a role its bits, embeddings and norms with them, and everything else is left out.
    """

    name: str
    bits: float | None = None
    activation_bits: int = 16
    integer: bool = True
    group_size: int | None = None
    scale_bytes: float = GROUP_SCALE_BYTES
    block: tuple[int, int] | None = None
    channel: bool = False
    zero_points: bool = False
    quantised_head: bool = False
    ignore: tuple[str, ...] = ()
    only: tuple[Role, ...] | None = None
    pad: tuple[int, int] = (1, 1)
    pad_scales: bool = True
    rules: tuple[tuple[tuple[str, ...], WeightFormat], ...] = ()
    by_role: Mapping[str, float] | None = None

    def scheme(self, matrix: Matrix) -> WeightFormat | None:
        """The format that a matrix is stored in; None for the native data type."""
        if not matrix.quantisable or (self.only is not None and matrix.role not in self.only):
            return None
        if matches(self.ignore, matrix.name):
            return None
        for targets, other in self.rules:
            if matches(targets, matrix.name):
                return other if other.bits is not None else None
        if self.bits is None or (matrix.role == "lm_head" and not self.quantised_head):
            return None
        return self

    def quantises(self, matrix: Matrix) -> bool:
        """Whether this matrix is stored in fewer bits rather than in the native data type."""
        return self.scheme(matrix) is not None

    def bytes(self, matrix: Matrix, rows: int, cols: int, native_bytes: float) -> float:
        """Bytes of one rows × cols part of `matrix`, scales and zero points included."""
        if self.by_role is not None:
            return rows * cols * self.by_role.get(matrix.role, self.bits or 16.0) / 8
        scheme = self.scheme(matrix)
        if scheme is None or scheme.bits is None:
            return rows * cols * native_bytes
        size = rows * cols * scheme.bits / 8
        if scheme.pad != (1, 1) and matrix.role == "routed_expert":
            wide_rows, wide_cols = _padded(scheme.pad, matrix, rows, cols)
            size = wide_rows * wide_cols * scheme.bits / 8
            rows, cols = (wide_rows, wide_cols) if scheme.pad_scales else (rows, cols)
        if scheme.group_size:
            groups = rows * -(-cols // scheme.group_size)
            zeros = scheme.bits / 8 if scheme.zero_points else 0
            return size + groups * (scheme.scale_bytes + zeros)
        if scheme.block:
            blocks = -(-rows // scheme.block[0]) * -(-cols // scheme.block[1])
            return size + blocks * CHANNEL_SCALE_BYTES
        return size + (rows * CHANNEL_SCALE_BYTES if scheme.channel else 0)


def _padded(pad: tuple[int, int], matrix: Matrix, rows: int, cols: int) -> tuple[int, int]:
    """The sides of an expert's matrix rounded up; by its split it is inner × hidden or turned."""
    inner, hidden = pad
    row, col = (inner, hidden) if matrix.split == "out" else (hidden, inner)
    return -(-rows // row) * row, -(-cols // col) * col


# Four-bit floating experts are padded to what the kernels of a GPU's generation need: vLLM 0.32.0,
# fused_moe/oracle/mxfp4.py, for Marlin below compute capability 9.0 and TensorRT-LLM's from 10.0.
# On Hopper vLLM asks for none and Triton pads the values itself: gpt-oss-120b took 64.38 GiB on an
# H100 (vLLM 0.14.1), 60.77 without padding, 64.33 with the hidden size at a multiple of 256.
_PADDING = ((10.0, (128, 256), True), (9.0, (1, 256), False), (0.0, (128, 256), True))


def for_gpu(
    fmt: WeightFormat, compute_capability: float | None, *, pads_marlin: bool = True
) -> WeightFormat:
    """The format as a GPU's kernels lay it out; as stored where the GPU is not known."""
    if compute_capability is None or fmt.bits != 4 or fmt.integer or fmt.group_size != 32:
        return fmt
    if compute_capability < 9.0 and not pads_marlin:
        return fmt
    pad, scales = next((p, s) for least, p, s in _PADDING if compute_capability >= least)
    return dataclasses.replace(fmt, pad=pad, pad_scales=scales)


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model in memory: geometry, weight format, and bytes per native weight and KV element."""

    geometry: Geometry
    fmt: WeightFormat
    native_bytes: float = 2.0
    kv_bytes: float = 2.0


# What checkpoints call a vision tower and the decoder beside it; names here say vision_tower and
# model. Published names may also join matrices that are held apart here.
_TOWER_NAMES = ("vision_tower", "vision_model", "visual", "vision_encoder", "model.visual")
_DECODER_NAMES = ("model.", "language_model.model.", "model.language_model.", "backbone.")
_JOINED = {
    "q_proj": "qkv_proj",
    "k_proj": "qkv_proj",
    "v_proj": "qkv_proj",
    "gate_proj": "gate_up_proj",
    "up_proj": "gate_up_proj",
}


@lru_cache(maxsize=8192)
def _spellings(name: str) -> tuple[str, ...]:
    """The names that checkpoints give one module, whatever wraps its decoder or tower."""
    head, _, rest = name.partition(".")
    prefixes: Sequence[str] = (f"{head}.",)
    if head == "vision_tower":
        prefixes = [f"{tower}." for tower in _TOWER_NAMES]
    elif head == "model":
        prefixes = _DECODER_NAMES
    elif not rest:
        return (name,)
    stem, _, last = rest.rpartition(".")
    rests = [rest, f"{stem}.{_JOINED[last]}"] if last in _JOINED and stem else [rest]
    return tuple(f"{prefix}{each}" for prefix in prefixes for each in rests)


def matches(patterns: Iterable[str], name: str) -> bool:
    """Whether a module's name, in any spelling, is among `patterns`."""
    names = _spellings(name)
    return any(_matches_one(pattern, spelling) for pattern in patterns for spelling in names)


def _matches_one(pattern: str, name: str) -> bool:
    if pattern.startswith("re:"):
        return re.match(pattern[3:], name) is not None
    if "*" in pattern:
        return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, f"*.{pattern}")
    return f".{pattern.strip('.')}." in f".{name}."


_LAYER = re.compile(r"\blayers\.(\d+)\b")


def by_layer(geometry: Geometry, fmt: WeightFormat) -> Geometry:
    """The geometry with a block of its own for each layer that `fmt` treats unlike its kind.

    Checkpoints list single layers (the first and last of Llama 405B, the attention of each layer
    of an NVFP4 model); without such a list the geometry stays as it is.
    """
    if fmt.bits is None and not fmt.rules:
        return geometry
    split = _split(geometry, fmt)
    if fmt.rules and not _follows_rules(split, fmt):
        raise InputError(
            f"quant: none of the modules that this quantization_config names "
            f"({fmt.rules[0][0][0]}, …) is among those of a {geometry.model_type} as counted here, "
            "so that its weights cannot be counted. Use fit.force=true to run without a fit."
        )
    return split


def _follows_rules(geometry: Geometry, fmt: WeightFormat) -> bool:
    """Whether any matrix is in another format than the main one."""
    inside = (m for b in geometry.blocks for m in b.matrices)
    every = (*inside, *geometry.stem, *geometry.head, *geometry.mtp, *geometry.vision)
    return any(fmt.scheme(m) not in (None, fmt) for m in every if m.quantisable)


def _split(geometry: Geometry, fmt: WeightFormat) -> Geometry:
    listed = (*fmt.ignore, *(target for targets, _ in fmt.rules for target in targets))
    if not any(_LAYER.search(p) or (p.startswith("re:") and re.search(r"\d", p)) for p in listed):
        return geometry
    made: dict[tuple[int, tuple[int, ...]], int] = {}
    blocks: list[Block] = []
    sequence: list[int] = []
    for index, kind in enumerate(geometry.sequence):
        here = _of_layer(fmt, index)
        named = tuple(_renamed(m, index) for m in geometry.blocks[kind].matrices)
        schemes = tuple(_key(here, m) for m in named)
        if (kind, schemes) not in made:
            made[kind, schemes] = len(blocks)
            blocks.append(dataclasses.replace(geometry.blocks[kind], matrices=named))
        sequence.append(made[kind, schemes])
    return dataclasses.replace(geometry, blocks=tuple(blocks), sequence=tuple(sequence))


def _of_layer(fmt: WeightFormat, index: int) -> WeightFormat:
    """The format with only those patterns that may concern layer `index`."""

    def kept(patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            p
            for p in patterns
            if p.startswith("re:")
            or (found := _LAYER.search(p)) is None
            or found.group(1) == str(index)
        )

    rules = tuple((kept(targets), other) for targets, other in fmt.rules)
    return dataclasses.replace(fmt, ignore=kept(fmt.ignore), rules=rules)


def _renamed(matrix: Matrix, index: int) -> Matrix:
    name = _LAYER.sub(f"layers.{index}", matrix.name, count=1)
    return dataclasses.replace(matrix, name=name)


def _key(fmt: WeightFormat, matrix: Matrix) -> int:
    """Which of the format's schemes a matrix has: 0 native, 1 the main one, then the rules."""
    scheme = fmt.scheme(matrix)
    if scheme is None:
        return 0
    return 1 if scheme is fmt else 2 + [other for _, other in fmt.rules].index(scheme)
