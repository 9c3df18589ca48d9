"""The parts of one decoder layer as values: attention, latent attention, MLP, experts.

A part is a frozen description in terms of config.json keys; `build` reads the keys and gives the
matrices, under the names that checkpoints use, and what the layer caches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from bench.sizing.geometry import Block, KvCache, Matrix, Role, Split
from bench.sizing.keys import Config, Flag, Keys

HIDDEN: Keys = ("hidden_size", "n_embd", "n_embed", "d_model")
LAYERS: Keys = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS: Keys = ("num_attention_heads", "n_head", "n_heads", "attention_heads")
KV_HEADS: Keys = ("num_key_value_heads", "num_kv_heads", "num_attention_groups")
VOCAB: Keys = ("vocab_size", "padded_vocab_size")
PER_TOKEN: Keys = (
    "_active_experts",  # where a family works it out
    "num_experts_per_tok",
    "num_experts_per_token",
    "moe_topk",
    "moe_top_k",
    "moe_k",
    "top_k_experts",
    "experts_per_token",
)
EXPERTS: Keys = (
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "moe_num_experts",
    "num_routed_experts",
)
# The window of a layer of each kind, from the key that holds it.
WINDOW_KEYS: dict[str, Keys] = {
    "sliding": ("sliding_window", "sliding_window_size", "attention_window_size"),
    "chunked": "attention_chunk_size",
}


def matrix(
    name: str,
    role: Role,
    rows: int,
    cols: int,
    split: Split = "none",
    *,
    count: int = 1,
    active: int = 1,
    heads: int = 1,
    quantisable: bool = True,
) -> Matrix:
    return Matrix(
        name=name,
        role=role,
        rows=rows,
        cols=cols,
        count=count,
        active=active,
        split=split,
        heads=heads,
        quantisable=quantisable,
    )


def vector(name: str, size: int, role: Role = "norm") -> Matrix:
    return Matrix(name=name, role=role, rows=size)


class Mixer(Protocol):
    """What mixes tokens in a layer: attention or a recurrence."""

    def build(self, c: Config, prefix: str, kind: str, index: int) -> Block: ...


def head_dim(c: Config, keys: Keys = "head_dim", heads: Keys = HEADS) -> int:
    if c.get(keys) is not None:
        return c.int(keys)
    return c.int(HIDDEN) // c.int(heads)


def window_of(c: Config, kind: str) -> int | None:
    """Tokens that a layer of this kind keeps; None where the config.json names no window."""
    keys = WINDOW_KEYS.get(kind.partition("_")[0])
    if keys is None:
        return None
    value = c.get(keys)
    return value if isinstance(value, int) and value > 0 else None


@dataclass(frozen=True, kw_only=True)
class Gqa:
    """Attention with query heads over as many or fewer KV heads.

    `qk_norm`: one weight per number of a head, of the whole width, of each head of its own
    ("heads", Cohere), or none. `gate`: an output gate as wide as the queries, or one number per
    head. `window_extra` is added to the window (Cohere attends to one token more). `k_is_v`: the
    values are the keys, and have no projection.
    """

    heads: Keys = HEADS
    kv_heads: Keys = KV_HEADS
    head_dim: Keys = "head_dim"
    value_dim: Keys | None = None
    qkv_bias: Flag = False
    o_bias: Flag = False
    qk_norm: Literal["head", "width", "heads"] | None = None
    qk_norm_if: Flag = True
    qk_norm_bias: bool = False
    gate: Literal["width", "head"] | None = None
    gate_if: Flag = True
    sinks: Flag = False
    k_is_v: Flag = False
    window_extra: int = 0
    single_kv_if: Flag = False
    shared: bool = False
    name: str = "self_attn"

    def build(self, c: Config, prefix: str, kind: str, index: int) -> Block:
        hidden = c.int(HIDDEN)
        heads = c.at(self.heads, index)
        kv = 1 if c.flag(self.single_kv_if) else c.at(self.kv_heads, index, heads)
        dim = self._dim(c, heads)
        v_dim = dim if self.value_dim is None else c.int(self.value_dim, dim)
        at = f"{prefix}.{self.name}"
        k_is_v = c.flag(self.k_is_v)
        found = [matrix(f"{at}.q_proj", "attention", heads * dim, hidden, "out")]
        if not self.shared:
            found.append(matrix(f"{at}.k_proj", "attention", kv * dim, hidden, "kv", heads=kv))
        if not self.shared and not k_is_v:
            found.append(matrix(f"{at}.v_proj", "attention", kv * v_dim, hidden, "kv", heads=kv))
        found.append(matrix(f"{at}.o_proj", "attention", hidden, heads * v_dim, "in"))
        found += self._vectors(c, at, heads, dim, heads * dim, kv * dim, kv * v_dim)
        if c.flag(self.gate_if) and self.gate is not None:
            rows = heads * v_dim if self.gate == "width" else heads
            found.append(matrix(f"{at}.gate_proj", "attention", rows, hidden, "out"))
        window = window_of(c, kind)
        return Block(
            matrices=tuple(found),
            kv=KvCache(
                kind="full" if window is None else _WINDOWED[kind.partition("_")[0]],
                heads=kv,
                head_dim=dim,
                value_dim=v_dim,
                window=None if window is None else window + self.window_extra,
                shared=self.shared,
            ),
            attention_dims=heads * (dim + v_dim),
            context_flop_dims=heads * (dim + v_dim),
        )

    def _dim(self, c: Config, heads: int) -> int:
        if c.get(self.head_dim) is not None:
            return c.int(self.head_dim)
        return c.int(HIDDEN) // heads

    def _vectors(
        self, c: Config, at: str, heads: int, dim: int, q: int, k: int, v: int
    ) -> list[Matrix]:
        """Biases, norms of queries and keys, sinks."""
        hidden, found = c.int(HIDDEN), []
        if c.flag(self.qkv_bias):
            found.append(vector(f"{at}.qkv_bias", q if self.shared else q + k + v, "bias"))
        if c.flag(self.o_bias):
            found.append(vector(f"{at}.o_bias", hidden, "bias"))
        if self.qk_norm and c.flag(self.qk_norm_if):
            sizes = (dim, dim) if self.qk_norm == "head" else (q, k)
            times = 2 if self.qk_norm_bias else 1
            found.append(vector(f"{at}.q_norm", times * sizes[0]))
            if not self.shared:
                found.append(vector(f"{at}.k_norm", times * sizes[1]))
        if c.flag(self.sinks):
            found.append(vector(f"{at}.sinks", heads, "bias"))
        return found


_WINDOWED: dict[str, Literal["sliding", "chunked"]] = {"sliding": "sliding", "chunked": "chunked"}


@dataclass(frozen=True, kw_only=True)
class Mla:
    """Multi-head latent attention, with DeepSeek V3.2's indexer where the config has one.

    `index_if` names a list that says which layers have an indexer of their own.
    """

    bias: Flag = "attention_bias"
    gate: Flag = "mla_use_output_gate"
    index_types: str = "indexer_types"
    name: str = "self_attn"

    def build(self, c: Config, prefix: str, kind: str, index: int) -> Block:
        hidden, heads = c.int(HIDDEN), c.int(HEADS)
        c.ignore("num_key_value_heads", "head_dim", "qk_head_dim")
        rank, rope = c.int("kv_lora_rank"), c.int("qk_rope_head_dim")
        nope, v_dim = c.int("qk_nope_head_dim"), c.int("v_head_dim")
        at, q_rows = f"{prefix}.{self.name}", heads * (nope + rope)
        q_rank = c.get("q_lora_rank")
        query = (
            [matrix(f"{at}.q_proj", "attention", q_rows, hidden, "out")]
            if not q_rank
            else [
                matrix(f"{at}.q_a_proj", "attention", q_rank, hidden),
                vector(f"{at}.q_a_layernorm", q_rank),
                matrix(f"{at}.q_b_proj", "attention", q_rows, q_rank, "out"),
            ]
        )
        found = [
            *query,
            matrix(f"{at}.kv_a_proj_with_mqa", "attention", rank + rope, hidden),
            vector(f"{at}.kv_a_layernorm", rank),
            matrix(f"{at}.kv_b_proj", "attention", heads * (nope + v_dim), rank, "out"),
            matrix(f"{at}.o_proj", "attention", hidden, heads * v_dim, "in"),
        ]
        if c.flag(self.gate):
            found.append(matrix(f"{at}.g_proj", "attention", heads * v_dim, hidden, "out"))
        if c.flag(self.bias):
            down = (q_rank or 0) + rank + rope
            found.append(vector(f"{at}.bias", down + hidden, "bias"))
        dim = c.get("index_head_dim")
        if dim and self._has_indexer(c, index):
            found += self._indexer(c, f"{at}.indexer", hidden, dim)
        owns = bool(dim) and self._has_indexer(c, index)
        return Block(
            matrices=tuple(found),
            kv=KvCache(
                kind="mla",
                heads=1,
                head_dim=rank + rope,
                rope_dim=rope,
                # The indexer keeps its keys in FP8 with one fp32 scale per 128 of them (vLLM).
                index_bytes=dim + 4 * -(-dim // 128) if owns else 0,
                selected=c.int("index_topk") if dim else None,
            ),
            attention_dims=heads * (nope + rope + v_dim),
            context_flop_dims=heads * (2 * rank + rope),
        )

    def _has_indexer(self, c: Config, index: int) -> bool:
        """By a list of layers, else by a pattern of letters, else by every so many-th layer."""
        types = c.get(self.index_types)
        letters = c.get("index_topk_pattern")
        if types is None and letters is None:
            step, skipped = c.int("index_topk_freq", 1), c.int("index_skip_topk_offset", 2)
            return max(index - skipped + 1, 0) % max(step, 1) == 0
        return (types or letters)[index] in ("full", "F")

    def _indexer(self, c: Config, at: str, hidden: int, dim: int) -> list[Matrix]:
        """The selector of the top-k tokens; replicated on every rank, as in vLLM."""
        heads = c.int("index_n_heads")
        return [
            matrix(f"{at}.wq_b", "indexer", heads * dim, c.int("q_lora_rank")),
            # wk and weights_proj are held in the native data type (vLLM fuses them unquantised).
            matrix(f"{at}.wk", "indexer", dim, hidden, quantisable=False),
            matrix(f"{at}.weights_proj", "indexer", heads, hidden, quantisable=False),
            vector(f"{at}.k_norm", 2 * dim),
        ]


def mlp_matrices(
    at: str,
    role: Role,
    hidden: int,
    inner: int,
    *,
    gated: bool = True,
    count: int = 1,
    active: int = 1,
) -> list[Matrix]:
    """Two matrices, or three with a gate, of `count` equal MLPs."""
    shapes: list[tuple[str, int, int, Split]] = [
        ("up_proj", inner, hidden, "out"),
        ("down_proj", hidden, inner, "in"),
    ]
    if gated:
        shapes.insert(0, ("gate_proj", inner, hidden, "out"))
    return [
        matrix(f"{at}.{name}", role, rows, cols, split, count=count, active=active)
        for name, rows, cols, split in shapes
    ]


@dataclass(frozen=True, kw_only=True)
class Mlp:
    """A dense feed-forward network; `inner` falls back to `times` the hidden size.

    `gated` False leaves two matrices (GPT, OPT, Falcon, Nemotron); a bias has one number per
    output. `extra` are vectors as long as the inner width or the hidden size.
    """

    inner: Keys = ("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim")
    times: int = 4
    gated: Flag = True
    bias: Flag = False
    name: str = "mlp"
    width: Callable[[Config, int, int], int] | None = None
    inner_norm: bool = False

    def inner_of(self, c: Config, index: int) -> int:
        inner = c.at(self.inner, index, self.times * c.int(HIDDEN))
        return inner if self.width is None else self.width(c, inner, index)

    def build(self, c: Config, prefix: str, index: int) -> tuple[Matrix, ...]:
        hidden, inner, gated = c.int(HIDDEN), self.inner_of(c, index), c.flag(self.gated)
        found = mlp_matrices(f"{prefix}.{self.name}", "dense_ffn", hidden, inner, gated=gated)
        if c.flag(self.bias):
            rows = (2 if gated else 1) * inner + hidden
            found.append(vector(f"{prefix}.{self.name}.bias", rows, "bias"))
        if self.inner_norm:
            found.append(vector(f"{prefix}.{self.name}.ffn_sub_norm", inner))
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Experts:
    """Routed experts, shared experts and the router.

    The shared width is `shared_width` where that key is set, else `shared_count` times the expert
    width (`shared_count` "" has none, an int a fixed number). `correction` is a router bias that
    checkpoints hold beside the router: it is no parameter of transformers' classes. Below `least`
    experts the layer is a dense one. With a width under `latent` the routed experts work in that
    width, between two projections, the second behind a norm where `latent_norm` says so.
    """

    least: int = 1
    total: Keys = EXPERTS
    per_token: Keys = PER_TOKEN
    inner: Keys = ("moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size")
    shared_width: Keys = ("shared_expert_intermediate_size",)
    shared_count: Keys | int = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts")
    shared_gate: bool = False
    shared_name: str = "shared_experts"
    gated: bool = True
    bias: bool = False
    correction: Flag = False
    router_bias: bool = False
    router: str = "gate"
    name: str = "mlp"
    latent: Keys = ("moe_latent_size", "routed_expert_hidden_size")
    latent_norm: Flag = "latent_moe_use_norm"
    extra: Callable[[Config, str], tuple[Matrix, ...]] | None = None

    def build(self, c: Config, prefix: str, index: int) -> tuple[Matrix, ...]:
        hidden, total = c.int(HIDDEN), c.int(self.total)
        inner, top_k = c.at(self.inner, index), c.at(self.per_token, index)
        at = f"{prefix}.{self.name}" if self.name else prefix
        latent = c.int(self.latent) if c.get(self.latent) else None
        found = mlp_matrices(
            f"{at}.experts.0",
            "routed_expert",
            latent or hidden,
            inner,
            gated=self.gated,
            count=total,
            active=top_k,
        )
        found.append(matrix(f"{at}.{self.router}", "router", total, hidden, quantisable=False))
        if self.bias:
            rows = (2 if self.gated else 1) * inner + hidden
            found.append(
                Matrix(name=f"{at}.experts.bias", role="bias", rows=rows, count=total, active=top_k)
            )
        if self.router_bias or c.flag(self.correction):
            found.append(vector(f"{at}.{self.router}.bias", total, "router"))
        if latent is not None:
            found.append(matrix(f"{at}.fc1_latent_proj", "shared_expert", latent, hidden))
            found.append(matrix(f"{at}.fc2_latent_proj", "shared_expert", hidden, latent))
        if latent is not None and c.flag(self.latent_norm):
            found.append(vector(f"{at}.latent_norm", latent))
        shared = self._shared_width(c, inner)
        if shared:
            name = f"{at}.{self.shared_name}"
            found += mlp_matrices(name, "shared_expert", hidden, shared, gated=self.gated)
            if self.shared_gate:
                found.append(
                    matrix(f"{at}.shared_expert_gate", "router", 1, hidden, quantisable=False)
                )
        return (*found, *(self.extra(c, at) if self.extra else ()))

    def _shared_width(self, c: Config, inner: int) -> int:
        width = c.get(self.shared_width)
        count = self.shared_count
        times = count if isinstance(count, int) else c.int(count, 0) if count else 0
        return width if isinstance(width, int) and width else times * inner
