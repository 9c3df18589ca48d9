"""The shape of a model as exact matrices: parameter counts and KV bytes follow by sums.

A Geometry is built from a Hugging Face config.json by `bench.fit.architecture.from_config`; nothing
here guesses. Counts are exact integers, sizes are bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Role = Literal[
    "embedding",
    "lm_head",
    "attention",
    "indexer",
    "dense_ffn",
    "shared_expert",
    "routed_expert",
    "router",
    "norm",
    "bias",
    "mtp",
    "vision",
]
# How tensor parallelism cuts a matrix: by output rows, by input columns, by KV heads (a rank keeps
# at least one head, so heads replicate when there are fewer than ranks), or not at all.
Split = Literal["out", "in", "kv", "none"]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """`count` equal matrices of `rows` outputs × `cols` inputs; a vector has cols=1.

    `name` is the module path in the checkpoint (expert and layer numbers stand for all alike), so
    that a checkpoint's list of unquantised modules can be matched. `active` is how many of them
    one token passes through. `quantisable` says whether a weight
    quantisation may touch it at all.
    """

    name: str
    role: Role
    rows: int
    cols: int = 1
    count: int = 1
    active: int = 1
    split: Split = "none"
    quantisable: bool = False

    @property
    def params(self) -> int:
        return self.rows * self.cols * self.count

    @property
    def active_params(self) -> int:
        return self.rows * self.cols * self.active


@dataclass(frozen=True, kw_only=True)
class KvCache:
    """What one layer keeps per token.

    `elements` counts stored numbers over all KV heads (2 × heads × head_dim; kv_lora_rank + rope
    for MLA, whose latent has no heads and is replicated on every tensor-parallel rank, hence
    heads=1). `window` is how many tokens back it must keep; None keeps all. `index_bytes` is the
    sparse-attention indexer's cache, whose format does not follow the KV dtype; `selected` is how
    many tokens such an indexer lets attention read (None reads all).
    """

    kind: Literal["full", "mla", "sliding", "chunked"]
    elements: int
    heads: int
    window: int | None = None
    index_bytes: int = 0
    selected: int | None = None

    def bytes_per_token(self, dtype_bytes: float, tp: int = 1) -> float:
        """Bytes per token on one rank; with tp=1 those of the whole layer."""
        kept = -(-self.heads // tp) / self.heads
        return self.elements * dtype_bytes * kept + self.index_bytes


@dataclass(frozen=True, kw_only=True)
class Block:
    """One kind of decoder layer: its matrices and its cache."""

    matrices: tuple[Matrix, ...]
    kv: KvCache


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """A whole model. `sequence[i]` is the index into `blocks` of layer i.

    `notes` says where something was approximated rather than counted; empty means exact.
    """

    model_type: str
    dtype: str
    hidden: int
    vocab: int
    heads: int
    kv_heads: int
    attention_dims: int
    context_flop_dims: int
    max_context_tokens: int
    intermediate: int
    experts: int
    experts_per_token: int
    moe_intermediate: int
    tied: bool
    blocks: tuple[Block, ...]
    sequence: tuple[int, ...]
    stem: tuple[Matrix, ...]
    head: tuple[Matrix, ...]
    mtp: tuple[Matrix, ...] = ()
    vision: tuple[Matrix, ...] = ()
    notes: tuple[str, ...] = ()

    def layers(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[Block, int]]:
        """Each kind of layer within the range, with how many there are."""
        for index, repeats in Counter(self.sequence[start:stop]).items():
            yield self.blocks[index], repeats

    def text_matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Every matrix of the language model with its number of repeats; MTP layers left out."""
        for matrix in (*self.stem, *self.head):
            yield matrix, 1
        for block, repeats in self.layers():
            for matrix in block.matrices:
                yield matrix, repeats

    @cached_property
    def text_params(self) -> int:
        return sum(m.params * n for m, n in self.text_matrices())

    @cached_property
    def vision_params(self) -> int:
        return _params(self.vision)

    @cached_property
    def mtp_params(self) -> int:
        """Multi-token-prediction layers as stored, with their copies of embedding and head."""
        return _params(self.mtp)

    @property
    def total_params(self) -> int:
        """What an engine loads by default: language model and vision tower, no MTP layers."""
        return self.text_params + self.vision_params

    @cached_property
    def active_params(self) -> int:
        """Parameters one text token passes through, both embeddings counted (the usual claim)."""
        return sum(m.active_params * n for m, n in self.text_matrices())

    @cached_property
    def matmul_params(self) -> int:
        """Active parameters that are multiplied: without the looked-up embedding table."""
        return self.active_params - (0 if self.tied else _params(self.stem))

    def params_by_role(self) -> dict[str, int]:
        """Parameters per role over the whole model, MTP last."""
        sums: Counter[str] = Counter()
        for matrix, repeats in self.text_matrices():
            sums[matrix.role] += matrix.params * repeats
        for role, group in (("vision", self.vision), ("mtp", self.mtp)):
            if group:
                sums[role] += _params(group)
        return dict(sums)

    def kv_bytes_per_token(self, dtype_bytes: float = 2.0, *, index: bool = False) -> int:
        """KV bytes one token adds while every layer keeps it; `index` adds the indexer's cache."""
        per_layer = (
            (b.kv.elements * dtype_bytes + (b.kv.index_bytes if index else 0)) * n
            for b, n in self.layers()
        )
        return round(sum(per_layer))

    def kv_bytes(
        self,
        context_tokens: int,
        dtype_bytes: float = 2.0,
        *,
        tp: int = 1,
        windowed: bool = True,
        layers: tuple[int, int | None] = (0, None),
    ) -> float:
        """KV bytes of one sequence on one rank; `windowed` lets layers forget past their window."""
        total = 0.0
        for block, repeats in self.layers(*layers):
            window = block.kv.window if windowed else None
            kept = context_tokens if window is None else min(context_tokens, window)
            total += block.kv.bytes_per_token(dtype_bytes, tp) * kept * repeats
        return total

    def kv_read_bytes(self, context_tokens: float, dtype_bytes: float = 2.0) -> float:
        """KV bytes that one decode step of one sequence must read, each exactly once."""
        total = 0.0
        for block, repeats in self.layers():
            kv = block.kv
            limits = [x for x in (kv.window, kv.selected) if x is not None]
            read = min([context_tokens, *limits])
            total += (kv.elements * dtype_bytes * read + kv.index_bytes * context_tokens) * repeats
        return total

    @property
    def has_windows(self) -> bool:
        return any(b.kv.window is not None for b in self.blocks)

    @property
    def is_mla(self) -> bool:
        return any(b.kv.kind == "mla" for b in self.blocks)


def _params(matrices: Iterable[Matrix]) -> int:
    return sum(m.params for m in matrices)
