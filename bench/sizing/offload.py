"""llama.cpp's own layout: what of a model lies on the GPUs, what on the host, and what that allows.

Rules: ggml-org/llama.cpp, src/llama-model.cpp (get_layer_buft_list) of 2026: the last
`-ngl` of the layers, the output counted as one behind them, lie on the GPUs with their cache; the
table of embeddings stays on the host, and is copied where it is the output, too. `--n-cpu-moe N`
keeps the routed experts of the first N layers on the host. Buffers for computing are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.sizing.bound import HOST_GB_PER_S
from bench.sizing.geometry import Geometry
from bench.sizing.gguf_mix import INPUT, bytes_of, laid_out
from bench.sizing.overheads import GIB
from bench.values.ggml import TYPES
from bench.values.spec import LlamacppSpec, RunSpec

_ROUTED = "routed_expert"
_SIZES = {name: (block, size) for name, block, size in TYPES.values()}


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A tensor's bytes, and those of them that one token's step reads. `layer` is INPUT for what
    stands before the first, their number for what follows the last."""

    layer: int
    role: str
    bytes: int
    read: float


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Bytes of the weights on all GPUs together and on the host, and those read for one token."""

    gpu_bytes: int
    host_bytes: int
    gpu_read: float
    host_read: float
    first_on_gpu: int

    def user_bound(self, gpu_bytes_per_s: float, host_bytes_per_s: float) -> float:
        """Tokens/s that one request cannot exceed: its layers follow each other, so that no memory
        is read while the other is."""
        return 1 / (self.gpu_read / gpu_bytes_per_s + self.host_read / host_bytes_per_s)


def pieces_of(geometry: Geometry, file_type: str) -> tuple[Piece, ...]:
    """A model as a file of that type; InputError where its layout is not known."""
    found = []
    for layer, matrix, kind in laid_out(geometry, file_type):
        size = bytes_of(matrix, kind)
        share = 0.0 if layer == INPUT else matrix.active_params / matrix.params
        found.append(Piece(layer=layer, role=matrix.role, bytes=size, read=size * share))
    return (*found, *_tied(found, geometry))


def pieces_of_file(
    geometry: Geometry, layers: Mapping[str, Mapping[str, int]]
) -> tuple[Piece, ...]:
    """The tensors of a file, by layer and role as `bench.models.gguf.quantisation_of` has them."""
    routed = geometry.experts_per_token / geometry.experts if geometry.experts else 1.0
    found = []
    for number, roles in layers.items():
        for role, size in roles.items():
            share = 0.0 if int(number) == INPUT else routed if role == _ROUTED else 1.0
            found.append(Piece(layer=int(number), role=role, bytes=size, read=size * share))
    return (*found, *_tied(found, geometry))


def _tied(found: Sequence[Piece], geometry: Geometry) -> tuple[Piece, ...]:
    """A table that is the output, too: a second use of the same bytes."""
    if not geometry.tied:
        return ()
    table = sum(p.bytes for p in found if p.role == "embedding")
    return (Piece(layer=len(geometry.sequence), role="embedding", bytes=table, read=table),)


def layers_of_file(spec: RunSpec) -> Mapping[str, Mapping[str, int]] | None:
    """What a GGUF file that the run names holds in each layer; None for a type by its name."""
    held = spec.model.config.get("quantization_config")
    if not isinstance(held, Mapping) or held.get("quant_method") != "gguf":
        return None
    found = held.get("layers")
    return found if isinstance(found, Mapping) else None


def placed(
    pieces: Sequence[Piece], layers: int, gpu_layers: int, cpu_moe_layers: int = 0
) -> Placement:
    """Where each lies. A tied output on the host is the table that is there already."""
    first = max(layers + 1 - gpu_layers, 0)
    sizes, read = {True: 0, False: 0}, {True: 0.0, False: 0.0}
    for piece in pieces:
        on_gpu = piece.layer >= first and piece.layer != INPUT
        on_gpu = on_gpu and not (piece.role == _ROUTED and piece.layer < cpu_moe_layers)
        same = piece.role == "embedding" and piece.layer == layers and not on_gpu
        sizes[on_gpu] += 0 if same else piece.bytes
        read[on_gpu] += piece.read
    return Placement(
        gpu_bytes=sizes[True],
        host_bytes=sizes[False],
        gpu_read=read[True],
        host_read=read[False],
        first_on_gpu=first,
    )


@dataclass(frozen=True, kw_only=True)
class Offload:
    """A run's layout in GiB, what the GPUs have, and one request's bound in tokens/s (None: the
    GPU's bandwidth is not published). `most_layers` fit with the same experts on the host."""

    gpu_layers: int
    of_layers: int
    cpu_moe_layers: int
    gpu_weights_gib: float
    host_weights_gib: float
    gpu_cache_gib: float
    host_cache_gib: float
    cache_tokens: int
    gpu_gib: float
    host_gb_per_s: float
    bound_tokens_per_s_per_user: float | None
    most_layers: int

    @property
    def fits(self) -> bool:
        return self.gpu_weights_gib + self.gpu_cache_gib <= self.gpu_gib

    @property
    def room_tokens(self) -> int | None:
        """Tokens of cache that the GPUs' share has room for; None where no cache lies on them."""
        if not self.gpu_cache_gib:
            return None
        left = max(0.0, self.gpu_gib - self.gpu_weights_gib)
        return int(left / self.gpu_cache_gib * self.cache_tokens)


def asked(spec: RunSpec) -> bool:
    """Whether a run says what llama.cpp is to keep on the host, of a GGUF type or file."""
    e = spec.engine
    chosen = isinstance(e, LlamacppSpec) and (e.gpu_layers is not None or e.cpu_moe_layers)
    known = spec.quant.is_gguf or layers_of_file(spec) is not None
    return bool(chosen) and known and spec.gpus > 0


def offload(spec: RunSpec, geometry: Geometry, *, gpu_gib: float, cache_tokens: int) -> Offload:
    """The layout that a run asks for, with `cache_tokens` of cache in the format that it has on
    GPUs: as set, else f16."""
    engine = spec.engine
    assert isinstance(engine, LlamacppSpec)
    layers, file = len(geometry.sequence), layers_of_file(spec)
    named = file is None
    pieces = pieces_of(geometry, spec.quant.name) if named else pieces_of_file(geometry, file or {})
    wanted = layers + 1 if engine.gpu_layers is None else min(engine.gpu_layers, layers + 1)
    moe = min(engine.cpu_moe_layers or 0, layers)
    block, size = _SIZES[(engine.kv_type or "f16").upper()]
    element = size / block

    def cache(first: int) -> tuple[float, float]:
        """GiB on the GPUs and on the host."""
        at = min(first, layers)
        sizes = [
            geometry.kv_bytes(cache_tokens, element, windowed=False, layers=part) / GIB
            for part in ((at, None), (0, at))
        ]
        return (0.0 if at == layers else sizes[0], 0.0 if at == 0 else sizes[1])

    def taken(count: int) -> float:
        put = placed(pieces, layers, count, moe)
        return put.gpu_bytes / GIB + cache(put.first_on_gpu)[0]

    put = placed(pieces, layers, wanted, moe)
    on_gpu, on_host = cache(put.first_on_gpu)
    gpu = spec.gpu.bandwidth_most_gb_s or spec.gpu.bandwidth_gb_s
    host = spec.fit.host_gb_per_s or HOST_GB_PER_S
    return Offload(
        gpu_layers=wanted,
        of_layers=layers + 1,
        cpu_moe_layers=moe,
        gpu_weights_gib=put.gpu_bytes / GIB,
        host_weights_gib=put.host_bytes / GIB,
        gpu_cache_gib=on_gpu,
        host_cache_gib=on_host,
        cache_tokens=cache_tokens,
        gpu_gib=gpu_gib,
        host_gb_per_s=host,
        # The layers on several GPUs follow each other as well: one is read at a time.
        bound_tokens_per_s_per_user=None if not gpu else put.user_bound(gpu * 1e9, host * 1e9),
        most_layers=max((n for n in range(layers + 2) if taken(n) <= gpu_gib), default=0),
    )


def notes_of(found: Offload, *, host_is_given: bool) -> tuple[str, ...]:
    """The layout in words."""
    experts = f", experts of the first {found.cpu_moe_layers} on the host" * bool(
        found.cpu_moe_layers
    )
    whose = "given" if host_is_given else "the fastest there is; set fit.host_gb_per_s to yours"
    bound = found.bound_tokens_per_s_per_user
    return (
        f"llama.cpp's layout, {found.gpu_layers} of {found.of_layers} layers on the GPUs{experts}: "
        f"weights {found.gpu_weights_gib:.4g} GiB there and {found.host_weights_gib:.4g} on the "
        f"host, cache {found.gpu_cache_gib:.4g} and {found.host_cache_gib:.4g}; buffers for "
        "computing come on top",
        f"up to {found.most_layers} layers would fit the {found.gpu_gib:.1f} GiB of the GPUs",
        *(
            ()
            if bound is None
            else (
                f"without speculation one request cannot exceed {bound:,.1f} tokens/s in "
                "llama.cpp, whose layers run one after the other, where the host reads "
                f"{found.host_gb_per_s:,.0f} GB/s ({whose})",
            )
        ),
    )
