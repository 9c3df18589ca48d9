"""What a model family is made of: which part each layer has, by the keys of its config.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bench.sizing.geometry import Block, KvCache, Matrix
from bench.sizing.keys import Config, Flag
from bench.sizing.layers import EXPERTS, HIDDEN, Experts, Gqa, Mixer, Mlp, vector
from bench.values.errors import InputError

# A layer's kind: full, sliding or chunked attention, "linear" for what keeps a state, or a name
# that a family gives to a mixer of its own.
Pattern = Callable[[Config, int], str]

EMPTY = KvCache(kind="none")

_KINDS = {
    "full_attention": "full",
    "attention": "full",
    "global_attention": "full",
    "indexed_attention": "full",
    "deepseek_sparse_attention": "full",
    "sliding_attention": "sliding",
    "local_attention": "sliding",
    "chunked_attention": "chunked",
    "linear_attention": "linear",
    "mamba": "linear",
    "conv": "conv",
}


def full(c: Config, index: int) -> str:
    """Every layer attends to everything."""
    return "full"


def windowed(c: Config, index: int) -> str:
    """Every layer forgets where the config names a window (vLLM without `layer_types`)."""
    return "full" if c.get("use_sliding_window") is False else "sliding"


def alternate(c: Config, index: int) -> str:
    """Even layers forget."""
    return "full" if index % 2 else "sliding"


def every(*keys: str, default: int) -> Pattern:
    """All layers but one in so many forget, the last of each group attending to everything."""

    def pattern(c: Config, index: int) -> str:
        return "sliding" if (index + 1) % c.int(keys, default) else "full"

    return pattern


def after_full(c: Config, index: int) -> str:
    """Qwen: layers from `max_window_layers` on forget, where the config switches that on."""
    c.ignore("sliding_window", "max_window_layers")
    if not c.get("use_sliding_window"):
        return "full"
    return "sliding" if index >= c.int("max_window_layers", 0) else "full"


def no_rope(c: Config, index: int) -> str:
    """Llama 4: layers with rotary positions attend within their chunk only."""
    listed = c.get("no_rope_layers") or ()
    step = c.int("no_rope_layer_interval", 4)
    local = bool(listed[index]) if listed else (index + 1) % step != 0
    return "chunked" if local else "full"


def by_step(*keys: str, default: int) -> Pattern:
    """One layer in so many attends, the last of each group; the others keep a state."""

    def pattern(c: Config, index: int) -> str:
        return "linear" if (index + 1) % c.int(keys, default) else "full"

    return pattern


def kinds_of(c: Config, layers: int, pattern: Pattern) -> list[str]:
    """The kind of each layer, from the config's own list where it has one."""
    listed = c.get("layer_types")
    if isinstance(listed, Sequence) and not isinstance(listed, str):
        if len(listed) < layers:
            raise InputError(
                f"{c.where}.layer_types names {len(listed)} layers of {layers}: give one per layer."
            )
        return [_KINDS.get(str(kind), str(kind)) for kind in listed[:layers]]
    return [pattern(c, index) for index in range(layers)]


def is_sparse(c: Config, index: int) -> bool:
    """Whether a layer has experts, by whichever of the usual keys the config has."""
    types = c.get("mlp_layer_types")
    if types:
        c.ignore("moe_layer_freq", "first_k_dense_replace")
        return bool(types[index] not in ("dense", "mlp"))
    for keys in ("moe_layers", "moe_layers_enum"):
        listed = c.get(keys)
        if listed is not None:
            names = listed.split(",") if isinstance(listed, str) else listed
            return index in {int(name) for name in names}
    return all(_conditions(c, index))


def _conditions(c: Config, index: int) -> Sequence[bool]:
    frequency = c.get("moe_layer_freq", 1)
    period = c.int("expert_layer_period", 1)
    step = c.int(("decoder_sparse_step", "interleave_moe_layer_step"), 1)
    last = c.get("moe_layer_end_index")
    return (
        index not in (c.get("mlp_only_layers") or ()),
        index >= c.int(("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"), 0),
        last is None or last < 0 or index <= last,
        (index + 1) % c.int("moe_layer_interval", 1) == 0,
        bool(frequency[index]) if isinstance(frequency, Sequence) else index % frequency == 0,
        step > 0 and (index + 1) % step == 0,
        index % period == c.int("expert_layer_offset", 0) % period,
    )


@dataclass(frozen=True, kw_only=True)
class Family:
    """Layers of a decoder: what mixes tokens in each kind, what follows, and what stands around.

    `mixers` replaces `mixer` for kinds that differ. A layer whose kind is in `lone` has nothing
    but its mixer. `beside` layers have an MLP and experts. `norms` counts vectors as long as the
    hidden size, `norm_bias` gives each a bias. `extras` adds what no part describes to a layer,
    `around` to the model, and `derive` gives keys that follow from others. `ignored` keys are
    known and change nothing counted here. `defaults` names another class whose defaults hold,
    `mtp` says that DeepSeek's multi-token-prediction layers follow, and whether checkpoints store
    copies of embedding and head with them.
    """

    mixer: Mixer = field(default_factory=Gqa)
    mixers: Mapping[str, Mixer] = field(default_factory=dict)
    kinds: Callable[[Config, int], Sequence[str]] | None = None
    pattern: Pattern = full
    mlp: Mlp | None = field(default_factory=Mlp)
    experts: Experts | None = None
    beside: bool = False
    lone: frozenset[str] = frozenset()
    norms: int | Callable[[Config], int] = 2
    norm_bias: bool = False
    final_norm: bool = True
    head_bias: Flag = False
    extras: Callable[[Config, str, int], tuple[Matrix, ...]] | None = None
    around: Callable[[Config], tuple[Matrix, ...]] | None = None
    derive: Callable[[Config], Mapping[str, Any]] | None = None
    ignored: tuple[str, ...] = ()
    defaults: str | None = None
    mtp: Literal["copies", "bare"] | None = None

    def layer_kinds(self, c: Config, layers: int) -> Sequence[str]:
        if self.kinds is not None:
            return self.kinds(c, layers)
        return kinds_of(c, layers, self.pattern)

    def block(self, c: Config, kind: str, index: int) -> Block:
        """Layer `index`: its matrices and what it caches."""
        prefix = f"model.layers.{index}"
        mixer = self.mixers.get(kind)
        if mixer is None and kind in ("full", "sliding", "chunked"):
            mixer = self.mixer
        if mixer is None and kind not in ("moe", "mlp"):
            raise InputError(
                f"{c.where}.layer_types: {kind!r} layers of a {c.model_type} are not known here."
            )
        mixed = None if mixer is None else mixer.build(c, prefix, kind, index)
        found: list[Matrix] = [] if mixed is None else list(mixed.matrices)
        if kind not in self.lone or mixed is None:
            found += self._feed_forward(c, kind, prefix, index)
        size = c.int(HIDDEN) * (2 if self.norm_bias else 1)
        norms = self.norms if isinstance(self.norms, int) else self.norms(c)
        found += [vector(f"{prefix}.norm{i}", size) for i in range(norms)]
        if self.extras is not None:
            found += self.extras(c, prefix, index)
        base = Block(matrices=(), kv=EMPTY) if mixed is None else mixed
        return replace(base, matrices=tuple(found))

    def _feed_forward(self, c: Config, kind: str, prefix: str, index: int) -> list[Matrix]:
        has = self.experts is not None and int(c.get(EXPERTS, 0) or 0) >= self.experts.least
        sparse = kind == "moe" or (kind != "mlp" and has and is_sparse(c, index))
        found: list[Matrix] = []
        if self.mlp is not None and (not sparse or self.beside):
            found += self.mlp.build(c, prefix, index)
        if sparse and self.experts is not None:
            found += self.experts.build(c, prefix, index)
        return found
