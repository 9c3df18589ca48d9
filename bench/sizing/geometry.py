"""The shape of a model as exact matrices: parameter counts and KV bytes follow by sums.

A Geometry is built from a Hugging Face config.json by `bench.sizing.architecture.from_config`;
nothing here guesses. Counts are exact integers, sizes are bytes.
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
    "recurrent",
    "dense_ffn",
    "shared_expert",
    "routed_expert",
    "router",
    "norm",
    "bias",
    "lookup",
    "mtp",
    "vision",
]
# The parts that a person asks about, each with the roles that it sums.
PARTS: dict[str, tuple[Role, ...]] = {
    "embedding": ("embedding", "lm_head", "lookup"),
    "attention": ("attention", "indexer", "recurrent"),
    "dense MLP": ("dense_ffn",),
    "experts": ("routed_expert", "shared_expert", "router"),
    "norms and biases": ("norm", "bias"),
    "vision": ("vision",),
    "MTP": ("mtp",),
}
# How tensor parallelism cuts a matrix: by output rows, by input columns, by KV heads (a rank keeps
# at least one head, so heads replicate when there are fewer than ranks), or not at all.
Split = Literal["out", "in", "kv", "none"]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """`count` equal matrices of `rows` outputs × `cols` inputs; a vector has cols=1.

    `name` is the module path in the checkpoint (expert and layer numbers stand for all alike), so
    that a checkpoint's list of unquantised modules can be matched. `active` is how many of them
    one token passes through. `heads` is the number of KV heads that a "kv" split goes by.
    `quantisable` says whether a weight quantisation may touch it at all. Tables of role "lookup"
    are read one row per token, never multiplied.
    """

    name: str
    role: Role
    rows: int
    cols: int = 1
    count: int = 1
    active: int = 1
    split: Split = "none"
    heads: int = 1
    quantisable: bool = False

    @property
    def params(self) -> int:
        return self.rows * self.cols * self.count

    @property
    def active_params(self) -> int:
        return self.rows * self.cols * self.active


@dataclass(frozen=True, kw_only=True)
class State:
    """A tensor that a recurrent layer keeps per sequence, however long the sequence is.

    `rows` are cut by tensor parallelism, `cols` are not. `groups` × `group_rows` of the rows
    belong to groups that heads share: where tp does not divide their number, vLLM pads it to tp
    (`MambaStateShapeCalculator`). `dtype` is what vLLM stores by default; "native" follows the
    model, and `--mamba-cache-dtype` (conv) or `--mamba-ssm-cache-dtype` (recurrent) replaces it.
    """

    role: Literal["conv", "recurrent"]
    rows: int
    cols: int
    groups: int = 0
    group_rows: int = 0
    dtype: Literal["native", "float32", "bfloat16", "float16"] = "native"

    def elements(self, tp: int = 1) -> int:
        """Numbers kept per sequence on one rank."""
        padded = tp - self.groups if self.groups and self.groups % tp else 0
        return -(-(self.rows + padded * self.group_rows) // tp) * self.cols

    def bytes(self, native_bytes: float = 2.0, tp: int = 1) -> float:
        """Bytes per sequence on one rank, in the default data type."""
        size = {"native": native_bytes, "float32": 4.0, "bfloat16": 2.0, "float16": 2.0}[self.dtype]
        return self.elements(tp) * size


@dataclass(frozen=True, kw_only=True)
class SideCache:
    """A cache that a layer keeps beside its main one: the last `window` tokens at `entry_bytes`
    each, in pages of `block` tokens. Without heads, hence whole on every tensor-parallel rank."""

    entry_bytes: int
    block: int
    window: int


@dataclass(frozen=True, kw_only=True)
class KvCache:
    """What one layer keeps: per token (keys and values) and per sequence (`states`).

    `kind`: full keeps every token; sliding and chunked the last `window` (the current chunk of
    that size); mla one latent of `head_dim` numbers (kv_lora_rank + rope) whose values are part of
    it (`value_dim` 0), without heads and hence on every tensor-parallel rank; none keeps nothing
    per token. A key has `head_dim` numbers and a value `value_dim`, for each of `heads`.
    `rope_dim` of the latent's numbers stay in 16 bits in DeepSeek's FP8 layout. `shared` layers
    attend to another layer's cache and store none. `tokens_per_entry` is above 1 where a layer
    stores one compressed entry for that many tokens. `index_bytes` per token is the
    sparse-attention indexer's cache, whose format does not follow the KV dtype; `selected` is how
    many tokens such an indexer lets attention read (None reads all). `entry_bytes` is the size of
    an entry in a layout of its own, whatever the KV dtype, and `side` what is kept beside it;
    `block` the tokens per block that the layer's kernels ask for (None: the engine's default),
    `alignment` the bytes that pages are rounded up to a multiple of.
    """

    kind: Literal["full", "mla", "sliding", "chunked", "none"]
    heads: int = 0
    head_dim: int = 0
    value_dim: int = 0
    rope_dim: int = 0
    window: int | None = None
    shared: bool = False
    tokens_per_entry: int = 1
    index_bytes: float = 0
    selected: int | None = None
    states: tuple[State, ...] = ()
    entry_bytes: int | None = None
    side: tuple[SideCache, ...] = ()
    block: int | None = None
    alignment: int = 1

    @property
    def elements(self) -> int:
        """Numbers of one entry over all heads, whether stored here or by the layer it shares."""
        return self.heads * (self.head_dim + self.value_dim)

    def bytes_per_token(self, dtype_bytes: float, tp: int = 1) -> float:
        """Bytes per token on one rank; with tp=1 those of the whole layer."""
        if self.shared or not self.heads:
            return self.index_bytes
        kept = -(-self.heads // tp) / self.heads
        entry = self.stored_bytes(dtype_bytes) * kept
        return entry / self.tokens_per_entry + self.index_bytes

    def stored_bytes(self, dtype_bytes: float) -> float:
        """Bytes of one entry over all heads; a layout of its own is not undercut by the dtype's."""
        plain = self.elements * dtype_bytes
        return plain if self.entry_bytes is None else min(plain, float(self.entry_bytes))

    def side_bytes(self, context_tokens: float) -> float:
        """Bytes that a sequence of `context_tokens` keeps in the caches beside the main one."""
        return sum(min(context_tokens, s.window) * s.entry_bytes for s in self.side)

    def state_bytes(self, native_bytes: float = 2.0, tp: int = 1) -> float:
        """Bytes per sequence on one rank that do not grow with its length."""
        return sum(state.bytes(native_bytes, tp) for state in self.states)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One kind of decoder layer: its matrices and its cache.

    `attention_dims` is how many numbers a prefill multiplies per query token and context token
    (scores plus values); `context_flop_dims` the same for a decode step, which MLA does in its
    latent space. Both are 0 where nothing attends.
    """

    matrices: tuple[Matrix, ...]
    kv: KvCache
    attention_dims: int = 0
    context_flop_dims: int = 0


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
        """Active parameters that are multiplied: without the tables that are only looked up."""
        return sum(m.active_params * n for m, n in self.text_matrices() if not self.looked_up(m))

    def looked_up(self, matrix: Matrix) -> bool:
        """Whether a step reads rows of this matrix rather than all of it."""
        return matrix.role == "lookup" or (matrix.role == "embedding" and not self.tied)

    def params_by_role(self) -> dict[str, int]:
        """Parameters per role over the whole model, MTP last."""
        sums: Counter[str] = Counter()
        for matrix, repeats in self.text_matrices():
            sums[matrix.role] += matrix.params * repeats
        for role, group in (("vision", self.vision), ("mtp", self.mtp)):
            if group:
                sums[role] += _params(group)
        return dict(sums)

    def params_by_part(self) -> dict[str, int]:
        """Parameters per part of `PARTS`; parts that the model lacks are left out."""
        roles = self.params_by_role()
        sums = {part: sum(roles.get(role, 0) for role in names) for part, names in PARTS.items()}
        return {part: params for part, params in sums.items() if params}

    @property
    def kv_heads(self) -> int:
        """Most KV heads of any layer; 1 for a latent, 0 where no layer attends."""
        return max((b.kv.heads for b in self.blocks), default=0)

    @property
    def attention_dims(self) -> int:
        """That of the layer which multiplies most."""
        return max((b.attention_dims for b in self.blocks), default=0)

    @property
    def context_flop_dims(self) -> int:
        """That of the layer which multiplies most."""
        return max((b.context_flop_dims for b in self.blocks), default=0)

    def state_bytes(self, native_bytes: float = 2.0, *, tp: int = 1) -> float:
        """Bytes that recurrent layers keep per sequence on one rank."""
        return sum(b.kv.state_bytes(native_bytes, tp) * n for b, n in self.layers())

    def kv_bytes_per_token(self, dtype_bytes: float = 2.0, *, index: bool = False) -> int:
        """KV bytes one token adds while every layer keeps it; `index` adds the indexer's cache."""
        per_layer = (
            (b.kv.bytes_per_token(dtype_bytes) - (0 if index else b.kv.index_bytes)) * n
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
            size = block.kv.bytes_per_token(dtype_bytes, tp) * kept
            total += (size + block.kv.side_bytes(context_tokens)) * repeats
        return total

    def kv_read_bytes(self, context_tokens: float, dtype_bytes: float = 2.0) -> float:
        """KV bytes that one decode step of one sequence must read, each exactly once."""
        total = 0.0
        for block, repeats in self.layers():
            kv = block.kv
            limits = [x for x in (kv.window, kv.selected) if x is not None]
            read = min([context_tokens / kv.tokens_per_entry, *limits])
            entries = kv.stored_bytes(dtype_bytes) * read
            total += (entries + kv.index_bytes * context_tokens) * repeats
        return total

    @property
    def has_windows(self) -> bool:
        return any(b.kv.window is not None for b in self.blocks)

    @property
    def is_mla(self) -> bool:
        return any(b.kv.kind == "mla" for b in self.blocks)


def _params(matrices: Iterable[Matrix]) -> int:
    return sum(m.params for m in matrices)
