"""How a model is spread over GPUs: bytes per rank and stage, and what does not divide."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bench.fit.formats import Served, WeightFormat
from bench.fit.geometry import Geometry, Matrix
from bench.values.errors import InputError
from bench.values.spec import VllmSpec

# vLLM pads the vocabulary to a multiple of this (VocabParallelEmbedding).
VOCAB_PADDING = 64
# One NVLink domain of the catalogue's servers; beyond it a pipeline stage per node is the default.
GPUS_PER_NODE = 8


@dataclass(frozen=True, kw_only=True)
class Layout:
    """tp × pp GPUs; `ep` spreads whole experts over the tp ranks instead of cutting each."""

    tp: int = 1
    pp: int = 1
    ep: bool = False


def layout(gpus: int, engine: VllmSpec) -> Layout:
    """The layout that the engine's settings ask for; InputError when they contradict `gpus`.

    Without settings: tensor parallel within a node of 8, a pipeline stage per node beyond it.
    """
    if gpus <= 1:
        return Layout(ep=False)
    pp_typed = option(engine, "--pipeline-parallel-size", "-pp")
    ep = "--enable-expert-parallel" in engine.args
    pp = int(pp_typed) if pp_typed else 1
    tp = engine.tensor_parallel_size
    if tp is None and not pp_typed and gpus % GPUS_PER_NODE == 0:
        pp = gpus // GPUS_PER_NODE
    if tp is None:
        tp = gpus // pp
    if tp * pp != gpus:
        raise InputError(
            f"gpus: {gpus} GPUs are not tensor parallel {tp} × pipeline parallel {pp}. Set "
            f"gpus={tp * pp}, or engine.tensor_parallel_size={max(1, gpus // pp)}."
        )
    return Layout(tp=tp, pp=pp, ep=ep)


def option(engine: VllmSpec, *names: str) -> str | None:
    """The value of a vLLM command-line option among `engine.args`, in either spelling."""
    args = engine.args
    for index, arg in enumerate(args):
        for name in names:
            if arg == name and index + 1 < len(args):
                return args[index + 1]
            if arg.startswith(f"{name}="):
                return arg.partition("=")[2]
    return None


def rank_bytes(
    matrix: Matrix, fmt: WeightFormat, geometry: Geometry, where: Layout, native_bytes: float
) -> float:
    """Bytes of all `count` copies of a matrix on the fullest tensor-parallel rank."""
    rows, cols, count = matrix.rows, matrix.cols, matrix.count
    tp = where.tp
    if matrix.role in ("embedding", "lm_head"):
        rows = math.ceil(rows / VOCAB_PADDING) * VOCAB_PADDING
    if matrix.role == "routed_expert" and where.ep:
        count = math.ceil(count / tp)
    elif matrix.split == "out":
        rows = math.ceil(rows / tp)
    elif matrix.split == "in":
        cols = math.ceil(cols / tp)
    elif matrix.split == "kv":
        rows = rows * math.ceil(matrix.heads / tp) // matrix.heads
    return fmt.bytes(matrix, rows, cols, native_bytes) * count


def total_bytes(matrix: Matrix, fmt: WeightFormat, native_bytes: float) -> float:
    """Bytes of all copies of a matrix, stored once."""
    return fmt.bytes(matrix, matrix.rows, matrix.cols, native_bytes) * matrix.count


def checkpoint_bytes(geometry: Geometry, fmt: WeightFormat, native_bytes: float) -> float:
    """Weights as stored once: language model and vision tower, no MTP layers, no padding."""
    text = sum(total_bytes(m, fmt, native_bytes) * n for m, n in geometry.text_matrices())
    return text + sum(total_bytes(m, fmt, native_bytes) for m in geometry.vision)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One pipeline stage: layers [start, stop), the weights of its fullest rank in bytes, and the
    cache's bytes per token of each kind of layer with the window it keeps."""

    start: int
    stop: int
    weights_bytes: float
    kv_slopes: tuple[tuple[float, int | None], ...]

    def kv_bytes(self, tokens: int, *, windowed: bool = True) -> float:
        """Cache bytes of one sequence on one rank of this stage."""
        return sum(
            slope * (tokens if window is None or not windowed else min(tokens, window))
            for slope, window in self.kv_slopes
        )

    def longest(self, space_bytes: float, block: int, *, windowed: bool = True) -> int:
        """The longest single sequence, in whole blocks, whose cache fits in `space_bytes`."""
        low, high = 0, 2**40 // block
        while low < high:
            middle = (low + high + 1) // 2
            if self.kv_bytes(middle * block, windowed=windowed) <= space_bytes:
                low = middle
            else:
                high = middle - 1
        return low * block


def stages(served: Served, where: Layout) -> Iterator[Stage]:
    """Every pipeline stage; the embedding (and vision tower) is on the first, the head on the last.

    The vision tower is cut like the rest, as vLLM does by default.
    """
    geometry, fmt, native_bytes = served.geometry, served.fmt, served.native_bytes
    layers = len(geometry.sequence)
    start = 0
    for index in range(where.pp):
        stop = start + layers // where.pp + (1 if index < layers % where.pp else 0)
        size, slopes = 0.0, []
        for block, repeats in geometry.layers(start, stop):
            slope = block.kv.bytes_per_token(served.kv_bytes, where.tp) * repeats
            slopes.append((slope, block.kv.window))
            each = (rank_bytes(m, fmt, geometry, where, native_bytes) for m in block.matrices)
            size += sum(each) * repeats
        if index == 0:
            size += sum(rank_bytes(m, fmt, geometry, where, native_bytes) for m in geometry.stem)
            tower = sum(total_bytes(m, fmt, native_bytes) for m in geometry.vision)
            size += tower / where.tp
        if index == where.pp - 1:
            size += sum(rank_bytes(m, fmt, geometry, where, native_bytes) for m in geometry.head)
            if geometry.tied and where.pp > 1:
                size += sum(
                    rank_bytes(m, fmt, geometry, where, native_bytes) for m in geometry.stem
                )
        yield Stage(start=start, stop=stop, weights_bytes=size, kv_slopes=tuple(slopes))
        start = stop


def undivided(geometry: Geometry, fmt: WeightFormat, where: Layout) -> tuple[str, ...]:
    """Why an engine would refuse this layout; empty when everything divides."""
    tp, found = where.tp, []
    if where.pp > len(geometry.sequence):
        found.append(f"{where.pp} pipeline stages for {len(geometry.sequence)} layers")
    if geometry.heads % tp:
        found.append(f"{geometry.heads} attention heads do not divide over {tp} GPUs")
    kv = geometry.kv_heads
    if not geometry.is_mla and kv % tp and tp % kv:
        found.append(f"{kv} KV heads neither divide over nor replicate evenly on {tp} GPUs")
    widths = []
    if any(m.role == "dense_ffn" for b in geometry.blocks for m in b.matrices):
        widths.append(("FFN width", geometry.intermediate))
    if geometry.experts and not where.ep:
        widths.append(("expert width", geometry.moe_intermediate))
    for label, width in widths:
        found += _undivided_width(label, width, fmt, tp)
    return tuple(found)


def _undivided_width(label: str, width: int, fmt: WeightFormat, tp: int) -> Iterator[str]:
    if width % tp:
        yield f"the {label} {width} does not divide over {tp} GPUs"
        return
    part = width // tp
    if tp > 1 and fmt.block and part % fmt.block[0]:
        hint = (
            ", or spread whole experts with --enable-expert-parallel" if "expert" in label else ""
        )
        yield (
            f"the {label} per GPU, {width}/{tp} = {part}, is not a multiple of the FP8 block "
            f"{fmt.block[0]}: use fewer tensor-parallel GPUs{hint}"
        )
    # vLLM's expert kernels halve the group until it divides (down to 32); its dense ones refuse.
    smallest = 32 if "expert" in label else fmt.group_size
    if tp > 1 and fmt.group_size and smallest and part % min(fmt.group_size, smallest):
        yield (
            f"the {label} per GPU, {width}/{tp} = {part}, is not a multiple of the quantisation "
            f"group {fmt.group_size}: use fewer tensor-parallel GPUs"
        )
