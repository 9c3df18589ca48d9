"""Layers that keep a state instead of a cache: Mamba, gated delta nets, Kimi delta, short conv.

Shapes of the states follow vLLM's `MambaStateShapeCalculator` (0.32.0): a window of the
convolution's inputs and the recurrence itself, both per sequence, however long it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from bench.sizing.geometry import Block, KvCache, Matrix, State
from bench.sizing.keys import Config, Flag, Keys
from bench.sizing.layers import HEADS, HIDDEN, Mixer, head_dim, matrix, mlp_matrices, vector
from bench.values.errors import InputError

Dtype = Literal["native", "float32", "bfloat16", "float16"]


def _state(*states: State) -> KvCache:
    return KvCache(kind="none", states=states)


def _dtype(value: Any, default: Dtype) -> Dtype:
    """The data type that a config.json asks for its recurrent state."""
    known: dict[str, Dtype] = {
        "float32": "float32",
        "bfloat16": "bfloat16",
        "float16": "float16",
    }
    return known.get(str(value), default)


def _conv(at: str, width: int, kernel: int, *, bias: bool) -> list[Matrix]:
    found = [Matrix(name=f"{at}.conv1d", role="recurrent", rows=width, cols=kernel, split="out")]
    return [*found, vector(f"{at}.conv1d.bias", width, "bias")] if bias else found


@dataclass(frozen=True, kw_only=True)
class Mamba2:
    """A Mamba-2 mixer: heads with scalar decay, B and C shared by groups.

    `inner` is heads × head size unless a key of its own gives it.
    """

    heads: Keys = ("mamba_num_heads", "mamba_n_heads", "n_mamba_heads", "num_heads")
    size: Keys = ("mamba_head_dim", "mamba_d_head", "mamba_headdim")
    groups: Keys = ("mamba_n_groups", "mamba_ngroups", "n_groups")
    state: Keys = ("mamba_d_state", "ssm_state_size", "state_size")
    kernel: Keys = ("mamba_d_conv", "conv_kernel")
    inner: Keys | None = None
    norm: Flag = True
    bias: Flag = "mamba_proj_bias"
    conv_bias: Flag = "mamba_conv_bias"
    recurrent: Dtype = "native"
    name: str = "mamba"

    def build(self, c: Config, prefix: str, kind: str, index: int) -> Block:
        c.ignore("mamba_expand", "expand", "time_step_rank", "mamba_dt_rank")
        c.get(self.size)
        hidden, at = c.int(HIDDEN), f"{prefix}.{self.name}"
        heads, groups, state = c.int(self.heads), c.int(self.groups), c.int(self.state)
        inner = self._inner(c, hidden, heads)
        size, kernel = inner // heads, c.int(self.kernel)
        width = inner + 2 * groups * state
        rows = inner + width + heads
        found = [
            matrix(f"{at}.in_proj", "recurrent", rows, hidden, "out"),
            *_conv(at, width, kernel, bias=c.flag(self.conv_bias)),
            vector(f"{at}.scalars", 3 * heads, "bias"),  # A_log, D, dt_bias
            matrix(f"{at}.out_proj", "recurrent", hidden, inner, "in"),
        ]
        if c.flag(self.norm):
            found.append(vector(f"{at}.norm", inner))
        if c.flag(self.bias):
            found.append(vector(f"{at}.bias", rows + hidden, "bias"))
        wanted = _dtype(c.get("mamba_ssm_cache_dtype"), self.recurrent)
        return Block(
            matrices=tuple(found),
            kv=_state(
                State(
                    role="conv",
                    rows=width,
                    cols=kernel - 1,
                    groups=groups,
                    group_rows=2 * state,
                ),
                State(role="recurrent", rows=heads, cols=size * state, dtype=wanted),
            ),
        )

    def _inner(self, c: Config, hidden: int, heads: int) -> int:
        if self.inner is not None and c.get(self.inner):
            return c.int(self.inner)
        if isinstance(c.get(self.size), int):
            return heads * c.int(self.size)
        return c.int(("mamba_expand", "expand"), 2) * hidden


@dataclass(frozen=True, kw_only=True)
class Mamba1:
    """The first Mamba mixer; Jamba's has norms of the step and of B and C (`norms`)."""

    state: Keys = ("state_size", "mamba_d_state")
    kernel: Keys = ("conv_kernel", "mamba_d_conv")
    rank: Keys = ("time_step_rank", "mamba_dt_rank")
    bias: Flag = "use_bias"
    conv_bias: Flag = "use_conv_bias"
    norms: bool = False
    name: str = "mixer"

    def build(self, c: Config, prefix: str, kind: str, index: int) -> Block:
        hidden, at = c.int(HIDDEN), f"{prefix}.{self.name}"
        expanded = c.int(("expand", "mamba_expand"), 2) * hidden
        inner = expanded if self.norms else c.int("intermediate_size", expanded)
        state, kernel = c.int(self.state), c.int(self.kernel)
        rank = c.get(self.rank)
        rank = rank if isinstance(rank, int) else -(-hidden // 16)
        found = [
            matrix(f"{at}.in_proj", "recurrent", 2 * inner, hidden, "out"),
            *_conv(at, inner, kernel, bias=c.flag(self.conv_bias)),
            matrix(f"{at}.x_proj", "recurrent", rank + 2 * state, inner, "in"),
            matrix(f"{at}.dt_proj", "recurrent", inner, rank, "out"),
            vector(f"{at}.dt_proj.bias", inner, "bias"),
            Matrix(name=f"{at}.A_log", role="recurrent", rows=inner, cols=state, split="out"),
            vector(f"{at}.D", inner, "bias"),
            matrix(f"{at}.out_proj", "recurrent", hidden, inner, "in"),
        ]
        if self.norms:
            found.append(vector(f"{at}.norms", rank + 2 * state))
        if c.flag(self.bias):
            found.append(vector(f"{at}.bias", 2 * inner + hidden, "bias"))
        return Block(
            matrices=tuple(found),
            kv=_state(
                State(role="conv", rows=inner, cols=kernel - 1),
                State(role="recurrent", rows=inner, cols=state),
            ),
        )


@dataclass(frozen=True, kw_only=True)
class GatedDelta:
    """A gated delta net (Qwen3-Next and later, OLMo hybrid): fewer key heads than value heads."""

    name: str = "linear_attn"

    def build(self, c: Config, prefix: str, kind: str, index: int) -> Block:
        hidden, at = c.int(HIDDEN), f"{prefix}.{self.name}"
        k_heads, v_heads = c.int("linear_num_key_heads"), c.int("linear_num_value_heads")
        k_dim, v_dim = c.int("linear_key_head_dim"), c.int("linear_value_head_dim")
        kernel = c.int("linear_conv_kernel_dim")
        keys, values = k_heads * k_dim, v_heads * v_dim
        width = 2 * keys + values
        wanted = _dtype(c.get(("mamba_ssm_dtype", "mamba_ssm_cache_dtype")), "native")
        return Block(
            matrices=(
                matrix(f"{at}.in_proj_qkv", "recurrent", width, hidden, "out"),
                matrix(f"{at}.in_proj_z", "recurrent", values, hidden, "out"),
                matrix(f"{at}.in_proj_b", "recurrent", v_heads, hidden, "out", quantisable=False),
                matrix(f"{at}.in_proj_a", "recurrent", v_heads, hidden, "out", quantisable=False),
                *_conv(at, width, kernel, bias=False),
                vector(f"{at}.scalars", 2 * v_heads, "bias"),  # A_log, dt_bias
                vector(f"{at}.norm", v_dim),
                matrix(f"{at}.out_proj", "recurrent", hidden, values, "in"),
            ),
            kv=_state(
                State(role="conv", rows=width, cols=kernel - 1),
                State(role="recurrent", rows=v_heads, cols=v_dim * k_dim, dtype=wanted),
            ),
        )


@dataclass(frozen=True, kw_only=True)
class KimiDelta:
    """Kimi Linear's delta attention; its keys stand in `linear_attn_config` where that is given."""

    name: str = "self_attn"

    def build(self, c: Config, prefix: str, kind: str, index: int) -> Block:
        hidden, at = c.int(HIDDEN), f"{prefix}.{self.name}"
        nested = c.get("linear_attn_config")
        own = nested if isinstance(nested, Mapping) else {}
        heads = int(own.get("num_heads") or c.int("linear_num_heads"))
        dim = int(own.get("head_dim") or c.int("linear_head_dim"))
        kernel = int(own.get("short_conv_kernel_size") or c.int("linear_conv_kernel_dim", 4))
        c.ignore("linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim")
        width, whole_gate = heads * dim, bool(own.get("use_full_rank_gate"))
        return Block(
            matrices=(
                *(
                    matrix(f"{at}.{n}_proj", "recurrent", width, hidden, "out")
                    for n in ("q", "k", "v", *(("g",) if whole_gate else ()))
                ),
                *_conv(at, 3 * width, kernel, bias=False),
                *(
                    part
                    for n in (("f",) if whole_gate else ("f", "g"))
                    for part in (
                        matrix(f"{at}.{n}_a_proj", "recurrent", dim, hidden),
                        matrix(f"{at}.{n}_b_proj", "recurrent", width, dim, "out"),
                    )
                ),
                matrix(f"{at}.b_proj", "recurrent", heads, hidden, "out"),
                vector(f"{at}.dt_bias", width, "bias"),
                vector(f"{at}.A_log", heads, "bias"),
                vector(f"{at}.o_norm", dim),
                matrix(f"{at}.o_proj", "recurrent", hidden, width, "in"),
            ),
            kv=_state(
                State(role="conv", rows=3 * width, cols=kernel - 1),
                State(role="recurrent", rows=heads, cols=dim * dim, dtype="float32"),
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Lightning:
    """MiniMax's lightning attention: a matrix of head size squared per head."""

    name: str = "self_attn"

    def build(self, c: Config, prefix: str, kind: str, index: int) -> Block:
        hidden, heads, dim = c.int(HIDDEN), c.int(HEADS), head_dim(c)
        at, width = f"{prefix}.{self.name}", heads * dim
        return Block(
            matrices=(
                matrix(f"{at}.qkv_proj", "recurrent", 3 * width, hidden, "out"),
                matrix(f"{at}.output_gate", "recurrent", width, hidden, "out"),
                matrix(f"{at}.out_proj", "recurrent", hidden, width, "in"),
                vector(f"{at}.norm", width),
            ),
            kv=_state(State(role="recurrent", rows=heads, cols=dim * dim)),
        )


@dataclass(frozen=True, kw_only=True)
class Both:
    """Attention and a recurrence side by side in one layer (Falcon-H1)."""

    attention: Mixer
    recurrence: Mixer

    def build(self, c: Config, prefix: str, kind: str, index: int) -> Block:
        one = self.attention.build(c, prefix, kind, index)
        two = self.recurrence.build(c, prefix, kind, index)
        return replace(
            one,
            matrices=(*one.matrices, *two.matrices),
            kv=replace(one.kv, states=two.kv.states),
        )


@dataclass(frozen=True, kw_only=True)
class ZambaHybrid:
    """Zamba 2's attention on the layer's input beside the model's, with an MLP, then a recurrence.

    Attention and MLP are stored where `owns`, and used again in the layers without; each use has
    its own low-rank additions.
    """

    recurrence: Mixer
    owns: bool

    def build(self, c: Config, prefix: str, kind: str, index: int) -> Block:
        two = self.recurrence.build(c, prefix, kind, index)
        if c.get("add_bias_linear"):
            raise InputError(
                f"{c.where}.add_bias_linear: biases of a Zamba 2 are not counted here."
            )
        hidden, heads = c.int(HIDDEN), c.int(HEADS)
        kv, rank = c.int("num_key_value_heads", heads), c.int("adapter_rank")
        wide, inner = 2 * hidden, c.int("intermediate_size", 4 * hidden)
        dim, at = wide // heads, f"{prefix}.shared_transformer"
        own = (
            matrix(f"{at}.self_attn.q_proj", "attention", heads * dim, wide, "out"),
            matrix(f"{at}.self_attn.k_proj", "attention", kv * dim, wide, "kv", heads=kv),
            matrix(f"{at}.self_attn.v_proj", "attention", kv * dim, wide, "kv", heads=kv),
            matrix(f"{at}.self_attn.o_proj", "attention", hidden, heads * dim, "in"),
            *mlp_matrices(f"{at}.feed_forward", "dense_ffn", hidden, inner),
            vector(f"{at}.norms", wide + hidden),
        )
        added = [
            matrix(f"{prefix}.linear", "dense_ffn", hidden, hidden),
            matrix(f"{at}.gate_up_adapter.0", "dense_ffn", rank, hidden),
            matrix(f"{at}.gate_up_adapter.1", "dense_ffn", 2 * inner, rank),
        ]
        if c.flag("use_shared_attention_adapter"):
            for name in ("q", "k", "v"):
                added.append(matrix(f"{at}.{name}_adapter.0", "attention", rank, wide))
                added.append(matrix(f"{at}.{name}_adapter.1", "attention", wide, rank))
        cache = KvCache(kind="full", heads=kv, head_dim=dim, value_dim=dim, states=two.kv.states)
        dims = 2 * heads * dim
        return Block(
            matrices=(*two.matrices, *(own if self.owns else ()), *added),
            kv=cache,
            attention_dims=dims,
            context_flop_dims=dims,
        )


@dataclass(frozen=True, kw_only=True)
class ShortConv:
    """LFM2's gated short convolution."""

    name: str = "conv"

    def build(self, c: Config, prefix: str, kind: str, index: int) -> Block:
        hidden, length = c.int(HIDDEN), c.int("conv_L_cache")
        at, bias = f"{prefix}.{self.name}", c.flag("conv_bias")
        found = [
            matrix(f"{at}.in_proj", "recurrent", 3 * hidden, hidden, "out"),
            *_conv(at, hidden, length, bias=bias),
            matrix(f"{at}.out_proj", "recurrent", hidden, hidden, "in"),
        ]
        if bias:
            found.append(vector(f"{at}.bias", 4 * hidden, "bias"))
        return Block(
            matrices=tuple(found),
            kv=_state(State(role="conv", rows=hidden, cols=length - 1)),
        )
