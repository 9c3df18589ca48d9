"""Attention to a part of the context: DeepSeek V4's compressed entries, MiniMax M3's chosen blocks.

Shapes follow transformers' classes; what is cached follows vLLM 0.32.0 (models/deepseek_v4 and
models/minimax_m3): entries in DeepSeek's FP8 layout, one for 4 or for 128 tokens, a window beside
them, and the windows of tokens that wait to be compressed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.sizing.family import kinds_of
from bench.sizing.geometry import Block, KvCache, Matrix, SideCache
from bench.sizing.keys import Config
from bench.sizing.layers import HEADS, HIDDEN, Gqa, matrix, vector
from bench.values.errors import InputError

# Kinds of V4's layers by how many tokens an entry stands for: few with an indexer, many without.
_BY_RATIO = {0: "sliding", 1: "sliding", 4: "few", 128: "many"}
_NAMES = {
    "sliding": "sliding",
    "compressed_sparse_attention": "few",
    "heavily_compressed_attention": "many",
}
_RATES = {
    "few": ("compressed_sparse_attention", "compress_rate_csa", 4),
    "many": ("heavily_compressed_attention", "compress_rate_hca", 128),
}
# One entry: 448 numbers in FP8, 64 rotary ones in 16 bits, 8 bytes of scales. Pages of entries and
# of float32 rows that wait are multiples of what FlashMLA's kernels stride by.
_ENTRY_BYTES, _PAGE_MULTIPLE, _LATENT = 584, 576, 512
_TOKENS_PER_BLOCK, _WINDOW_BLOCK = 256, 64
_WAITING_BLOCK = {"few": 4, "many": 8}
_INDEX_SCALE_BYTES = 4  # per 128 numbers of the indexer's key


def compressed_kinds(c: Config, layers: int) -> Sequence[str]:
    """V4: which layers have a window alone, entries of few tokens, or of many."""
    ratios = c.get("compress_ratios")
    if not c.given("layer_types") and isinstance(ratios, Sequence):
        unknown = sorted({r for r in ratios[:layers] if r not in _BY_RATIO})
        if unknown:
            raise InputError(f"{c.where}.compress_ratios: {unknown[0]} is not counted here.")
        return [_BY_RATIO[r] for r in ratios[:layers]]
    found = kinds_of(c, layers, lambda _, i: "few" if i > 1 and i % 2 else "many")
    return [_NAMES.get(kind, kind) for kind in found]


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """DeepSeek V4: one latent that all heads share as key and value, queries and outputs of low
    rank, and entries that stand for several tokens in layers of the kinds few and many."""

    name: str = "attn"

    def build(self, c: Config, prefix: str, kind: str, index: int) -> Block:
        c.ignore("num_key_value_heads", "qk_rope_head_dim", "num_hash_layers", "compress_rates")
        hidden, heads, dim = c.int(HIDDEN), c.int(HEADS), c.int("head_dim")
        rank, groups = c.int("q_lora_rank"), c.int("o_groups")
        at, out = f"{prefix}.{self.name}", groups * c.int("o_lora_rank")
        found = [
            matrix(f"{at}.wq_a", "attention", rank, hidden),
            vector(f"{at}.q_norm", rank),
            matrix(f"{at}.wq_b", "attention", heads * dim, rank, "out"),
            matrix(f"{at}.wkv", "attention", dim, hidden),
            vector(f"{at}.kv_norm", dim),
            matrix(f"{at}.wo_a", "attention", out, heads * dim // groups, "out"),
            matrix(f"{at}.wo_b", "attention", hidden, out, "in"),
            vector(f"{at}.attn_sink", heads, "bias"),
        ]
        window = SideCache(
            entry_bytes=_entry_bytes(c, dim), block=_WINDOW_BLOCK, window=c.int("sliding_window")
        )
        if kind == "sliding":
            kv = KvCache(
                kind="none",
                window=window.window,
                side=(window,),
                block=_TOKENS_PER_BLOCK,
                alignment=_PAGE_MULTIPLE,
            )
            return _block(found, kv, heads, dim)
        rate = _rate(c, kind)
        found += _compressor(f"{at}.compressor", hidden, dim, rate, kind)
        side = [window, _waiting(dim, rate, kind)]
        index_dim = c.int("index_head_dim")
        if kind == "few":
            found += self._indexer(c, f"{at}.indexer", hidden, rank, rate)
            side.append(_waiting(index_dim, rate, kind))
        stored = index_dim + _INDEX_SCALE_BYTES * -(-index_dim // 128)
        kv = KvCache(
            kind="mla",
            heads=1,
            head_dim=dim,
            rope_dim=c.int("qk_rope_head_dim", 64),
            tokens_per_entry=rate,
            index_bytes=stored / rate if kind == "few" else 0,
            selected=c.int("index_topk") if kind == "few" else None,
            entry_bytes=_entry_bytes(c, dim),
            side=tuple(side),
            block=_TOKENS_PER_BLOCK,
            alignment=_PAGE_MULTIPLE,
        )
        return _block(found, kv, heads, dim)

    def _indexer(self, c: Config, at: str, hidden: int, rank: int, rate: int) -> list[Matrix]:
        """What chooses the entries; replicated on every rank, as in vLLM."""
        heads, dim = c.int("index_n_heads"), c.int("index_head_dim")
        return [
            *_compressor(f"{at}.compressor", hidden, dim, rate, "few"),
            matrix(f"{at}.wq_b", "indexer", heads * dim, rank),
            matrix(f"{at}.weights_proj", "indexer", heads, hidden, quantisable=False),
        ]


def _entry_bytes(c: Config, dim: int) -> int:
    if dim != _LATENT:
        raise InputError(f"{c.where}.head_dim: the cache of {dim} numbers is not counted here.")
    return _ENTRY_BYTES


def _rate(c: Config, kind: str) -> int:
    """Tokens per entry, from wherever the config.json says it."""
    name, legacy, default = _RATES[kind]
    rates = c.get("compress_rates")
    given = rates.get(name) if isinstance(rates, Mapping) else None
    return int(given) if given else c.int(legacy, default)


def _compressor(at: str, hidden: int, dim: int, rate: int, kind: str) -> list[Matrix]:
    """Values and gates of what an entry sums; entries of few tokens overlap, and have two each."""
    width = dim * (2 if kind == "few" else 1)
    return [
        matrix(f"{at}.wkv", "indexer", width, hidden, quantisable=False),
        matrix(f"{at}.wgate", "indexer", width, hidden, quantisable=False),
        Matrix(name=f"{at}.ape", role="bias", rows=rate, cols=width),
        vector(f"{at}.norm", dim),
    ]


def _waiting(dim: int, rate: int, kind: str) -> SideCache:
    """Values and gates in float32 of the tokens that the next entry will be made of."""
    times = 2 if kind == "few" else 1
    return SideCache(
        entry_bytes=2 * times * dim * 4, block=_WAITING_BLOCK[kind], window=times * rate
    )


def _block(matrices: Sequence[Matrix], kv: KvCache, heads: int, dim: int) -> Block:
    dims = 2 * heads * dim
    return Block(matrices=tuple(matrices), kv=kv, attention_dims=dims, context_flop_dims=dims)


def hyper_connections(c: Config, prefix: str, index: int) -> tuple[Matrix, ...]:
    """V4's several residual streams: what mixes them before attention and before the experts."""
    streams, hidden = c.int("hc_mult"), c.int(HIDDEN)
    rows = (2 + streams) * streams
    return tuple(
        part
        for name in ("hc_attn", "hc_ffn")
        for part in (
            Matrix(name=f"{prefix}.{name}_fn", role="norm", rows=rows, cols=streams * hidden),
            vector(f"{prefix}.{name}_base", rows + 3),
        )
    )


def hyper_head(c: Config) -> tuple[Matrix, ...]:
    """What joins the streams before the output head."""
    streams, hidden = c.int("hc_mult"), c.int(HIDDEN)
    return (
        Matrix(name="model.hc_head_fn", role="norm", rows=streams, cols=streams * hidden),
        vector("model.hc_head_base", streams + 1),
    )


# ---------------------------------------------------------------------------- chosen blocks


def m3_derived(c: Config) -> Mapping[str, Any]:
    """MiniMax M3's nested settings under the names that its class gives them."""
    nested = c.get("sparse_attention_config")
    pairs = {
        "sparse_num_index_heads": "index_n_heads",
        "sparse_index_dim": "index_head_dim",
        "sparse_block_size": "index_block_size",
        "sparse_topk_blocks": "index_topk_blocks",
    }
    own = nested if isinstance(nested, Mapping) else {}
    found: dict[str, Any] = {mine: own[key] for key, mine in pairs.items() if own.get(key)}
    listed = own.get("sparse_attention_freq")
    if listed and not c.given("layer_types"):
        found["layer_types"] = ["minimax_m3_sparse" if f else "full_attention" for f in listed]
    if c.get("attention_output_gate"):
        raise InputError(f"{c.where}.attention_output_gate is not counted here.")
    c.ignore("index_local_blocks", "rotary_dim")
    return found


@dataclass(frozen=True, kw_only=True)
class ChosenBlocks:
    """Attention to the blocks of tokens that an indexer chooses; its keys are cached in 16 bits."""

    attention: Gqa

    def build(self, c: Config, prefix: str, kind: str, index: int) -> Block:
        one = self.attention.build(c, prefix, kind, index)
        heads, dim = c.int("index_n_heads"), c.int("index_head_dim")
        tokens, at = c.int("index_block_size"), f"{prefix}.{self.attention.name}"
        more = (
            matrix(f"{at}.index_q_proj", "indexer", heads * dim, c.int(HIDDEN), "out"),
            matrix(f"{at}.index_k_proj", "indexer", dim, c.int(HIDDEN)),
            vector(f"{at}.index_norms", 2 * dim),
        )
        kv = KvCache(
            kind="full",
            heads=one.kv.heads,
            head_dim=one.kv.head_dim,
            value_dim=one.kv.value_dim,
            index_bytes=2 * dim,
            selected=tokens * c.int("index_topk_blocks"),
            block=tokens,
        )
        return Block(
            matrices=(*one.matrices, *more),
            kv=kv,
            attention_dims=one.attention_dims,
            context_flop_dims=one.context_flop_dims,
        )
