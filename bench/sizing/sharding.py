"""How a model is spread over GPUs: bytes per rank and stage, and what does not divide."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bench.sizing.formats import Served, WeightFormat
from bench.sizing.geometry import Geometry, Matrix
from bench.values.engine_flags import EngineFlags, flags_of
from bench.values.errors import InputError
from bench.values.spec import RunSpec

# vLLM pads the vocabulary to a multiple of this (VocabParallelEmbedding).
VOCAB_PADDING = 64
# One NVLink domain of the catalogue's servers; beyond it a pipeline stage per node is the default.
GPUS_PER_NODE = 8


@dataclass(frozen=True, kw_only=True)
class Layout:
    """tp × pp × dp GPUs; `ep` spreads whole experts over ranks instead of cutting each.

    `dp` replicas serve requests of their own. Routed experts are spread over all tp × dp ranks,
    with or without `ep` (FusedMoEParallelConfig, vLLM 0.32.0); everything else is in each replica.
    """

    tp: int = 1
    pp: int = 1
    dp: int = 1
    ep: bool = False

    @property
    def expert_ranks(self) -> int:
        """GPUs of one stage that share its routed experts."""
        return self.tp * self.dp


def layout_of(spec: RunSpec) -> Layout:
    """The layout of a run: over its GPUs or, on processors, a rank on each machine."""
    on_cpu = spec.gpus == 0 or spec.gpu.kind == "cpu"
    nodes = spec.nodes.serving
    if nodes > 1 and not on_cpu and spec.gpus % nodes:
        raise InputError(f"gpus={spec.gpus} do not divide over {nodes} nodes: as many on each.")
    if nodes == 1:
        return layout(0 if on_cpu else spec.gpus, flags_of(spec))
    return layout(
        nodes if on_cpu else spec.gpus, flags_of(spec), 1 if on_cpu else spec.gpus // nodes
    )


def layout(gpus: int, flags: EngineFlags, per_node: int = GPUS_PER_NODE) -> Layout:
    """The layout that the engine's settings ask for; InputError when they contradict `gpus`.

    Without settings: tensor parallel within a node, a pipeline stage per node beyond it.
    """
    dp = flags.data_parallel_size
    if gpus <= 1 and dp == 1:
        _check_product(max(gpus, 1), flags.tensor_parallel_size or 1, flags.pipeline_parallel_size)
        return Layout()
    per_replica = gpus // dp
    pp, tp = flags.pipeline_parallel_size, flags.tensor_parallel_size
    if tp is None and pp is None and per_replica % per_node == 0:
        pp = per_replica // per_node
    if tp is None:
        tp = max(1, per_replica // (pp or 1))
    _check_product(gpus, tp, pp, dp)
    return Layout(tp=tp, pp=pp or 1, dp=dp, ep=flags.expert_parallel)


def _check_product(gpus: int, tp: int, pp: int | None, dp: int = 1) -> None:
    whole = tp * (pp or 1) * dp
    if whole == gpus:
        return
    parts = [f"tensor parallel {tp}", f"pipeline parallel {pp or 1}"]
    parts += [f"data parallel {dp}"] if dp > 1 else []
    beside = (pp or 1) * dp
    remedy = f", or engine.tensor_parallel_size={gpus // beside}" if gpus % beside == 0 else ""
    one = "1 GPU is" if gpus == 1 else f"{gpus} GPUs are"
    raise InputError(f"gpus: {one} not {' × '.join(parts)}. Set gpus={whole}{remedy}.")


def rank_bytes(
    matrix: Matrix, fmt: WeightFormat, geometry: Geometry, where: Layout, native_bytes: float
) -> float:
    """Bytes of all `count` copies of a matrix on the fullest tensor-parallel rank."""
    rows, cols, count = matrix.rows, matrix.cols, matrix.count
    tp = where.tp
    if matrix.role in ("embedding", "lm_head"):
        rows = math.ceil(rows / VOCAB_PADDING) * VOCAB_PADDING
    if matrix.role == "routed_expert":
        tp = where.expert_ranks
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


def download_bytes(geometry: Geometry, fmt: WeightFormat) -> float:
    """Weights as a repository has them: every matrix once in its own format, 16 bits where it has
    none, MTP layers with them (an engine that does not draft leaves those out)."""
    mtp = sum(total_bytes(m, fmt, STORED_BYTES) for m in geometry.mtp)
    return checkpoint_bytes(geometry, fmt, STORED_BYTES) + mtp


STORED_BYTES = 2.0
"""An element of what is not quantised: every listed model is published in bfloat16 or float16."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One pipeline stage: layers [start, stop) and the weights of its fullest rank in bytes.

    `added_bytes` is what loading adds to the checkpoint's (`bench.sizing.loaded`), held in
    `weights_bytes`, too.
    """

    start: int
    stop: int
    weights_bytes: float
    added_bytes: float = 0.0


def stages(served: Served, where: Layout) -> Iterator[Stage]:
    """Every pipeline stage; the embedding (and vision tower) is on the first, the head on the last.

    The vision tower is cut like the rest, as vLLM does by default.
    """
    geometry, fmt, native_bytes = served.geometry, served.fmt, served.native_bytes
    layers = len(geometry.sequence)
    start = 0

    def sizes(matrices: Iterable[Matrix]) -> float:
        return sum(rank_bytes(m, fmt, geometry, where, native_bytes) for m in matrices)

    for index in range(where.pp):
        stop = start + layers // where.pp + (1 if index < layers % where.pp else 0)
        size = sum(sizes(b.matrices) * repeats for b, repeats in geometry.layers(start, stop))
        if index == 0:
            tower = sum(total_bytes(m, fmt, native_bytes) for m in geometry.vision)
            size += sizes(geometry.stem) + tower / where.tp
        if index == where.pp - 1:
            size += sizes(geometry.head)
            if geometry.tied and where.pp > 1:
                size += sizes(geometry.stem)
        yield Stage(start=start, stop=stop, weights_bytes=size)
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
        ranks = where.expert_ranks if label == "expert width" else tp
        found += _undivided_width(label, width, fmt, ranks)
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
