"""Bounds: what no honest measurement can exceed, whatever engine, kernels or tuning it used.

All GPUs count with their largest published bandwidth, dense peak and memory; reading and
multiplying overlap perfectly; a token reads the weights of one token's experts, which all tokens of
a step share; recurrent states cost nothing; what a source leaves unsaid is read in the way that
lets the hardware do most. An `Expectation` (`bench.sizing.roofline`) is a plan instead, and may be
exceeded. Nothing here was fitted to measurements. Rates in tokens/s over all GPUs, times in s.

Outside of it, and named by whoever uses them: weights pruned 2:4, layers or experts skipped,
attention to a part of the context, and answers from a cache of answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from bench.sizing.geometry import Geometry, KvCache
from bench.sizing.overheads import GIB
from bench.sizing.precision import ATTENTION, SMALLEST_KV_BITS, Precision, peak
from bench.values.spec import GpuSpec

Host = Literal["none", "link", "computes"]
HOST_GB_PER_S = 1_690.0
"""Memory bandwidth of the fastest two-socket host: 2 × 12 channels of DDR5-8800, 8 bytes each."""
HOST_OPS_PER_S = 1.1e15
"""8-bit operations per second of the fastest two-socket host (2 × 128 cores × 2,048 operations per
cycle (AMX) at 2.1 GHz)."""
GPUS_PER_HOST = 8
PCIE_GB_PER_S = 64.0
"""One direction of PCIe 5.0 × 16, where a GPU's own link is not given."""
CACHE_MB = 256.0
"""On-chip cache, which need not be read from memory, where a GPU's own is not given: the largest
(Infinity Cache of the MI300X)."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """All GPUs together at one precision: bytes/s, operations/s on weights and in attention (None:
    not published), bytes of memory and of on-chip cache, and the bytes/s and operations/s that the
    host can add."""

    bandwidth: float
    peak: float | None
    attention_peak: float | None
    memory: float
    cache: float = 0.0
    host_bandwidth: float = 0.0
    host_peak: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Held:
    """A model at its smallest reading: bytes of all weights, of those that one token passes
    through, and of one cache element."""

    geometry: Geometry
    weights: float
    read: float
    kv_element: float


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is asked. None is unsaid and bounds nothing. `fresh_prompt` is the share of the prompt
    that must be computed (0 where prefixes may be reused); `tokens_per_pass` how many tokens a
    sequence may gain from one pass over the weights (None: any number, by speculation); `phase`
    tells the nodes of a disaggregated deployment apart. `kept_tokens_per_s` is the rate that
    every user gets at least, and so the longest that a step may take.
    """

    input_tokens: float | None = None
    output_tokens: float | None = None
    concurrency: float | None = None
    fresh_prompt: float = 1.0
    tokens_per_pass: float | None = 1.0
    phase: str = "both"
    kept_tokens_per_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The most tokens/s: by multiplying, and by reading memory. None is not known or not bounded.

    `batch` is the largest that the memory or the load allows, None where neither limits it.
    """

    compute: float | None
    reading: float | None
    batch: float | None = None

    @property
    def lowest(self) -> float | None:
        return min((b for b in (self.compute, self.reading) if b is not None), default=None)

    def scaled(self, factor: float) -> Bound:
        """Both rates times a factor."""
        return replace(
            self,
            compute=None if self.compute is None else self.compute * factor,
            reading=None if self.reading is None else self.reading * factor,
        )


def machine(gpu: GpuSpec, gpus: int, wanted: Precision, host: Host = "none") -> Machine | None:
    """The GPUs of a deployment; None where bandwidth or memory is not published.

    `host` says what its memory may be used for: nothing, what GPUs read over their link, or also
    what the processor itself works on.
    """
    bandwidth = gpu.bandwidth_most_gb_s or gpu.bandwidth_gb_s
    memory = max((gpu.memory_gib or 0.0) * GIB, (gpu.memory_gb or 0.0) * 1e9)
    if bandwidth is None or not memory or gpus < 1:
        return None
    top, attention = peak(gpu, wanted), peak(gpu, ATTENTION)
    hosts = math.ceil(gpus / GPUS_PER_HOST)
    link = (gpu.host_link_gb_s or PCIE_GB_PER_S) * gpus
    computes = host == "computes"
    beside = 0.0 if host == "none" else max(HOST_GB_PER_S * hosts, link) if computes else link
    return Machine(
        bandwidth=bandwidth * 1e9 * gpus,
        peak=None if top is None else top * gpus,
        attention_peak=None if attention is None else attention * gpus,
        memory=memory * gpus,
        cache=(gpu.cache_mb or CACHE_MB) * 1e6 * gpus,
        host_bandwidth=beside * 1e9,
        host_peak=HOST_OPS_PER_S * hosts if computes else 0.0,
    )


def held(geometry: Geometry, wanted: Precision, kv_bits: float | None = None) -> Held:
    """A model with every weight at the precision's fewest bits, scales left out."""
    size = wanted.weight_bits / 8
    matmul = sum(
        m.active_params * n for m, n in geometry.text_matrices() if not geometry.looked_up(m)
    )
    return Held(
        geometry=geometry,
        weights=geometry.text_params * size,
        read=matmul * size,
        kv_element=(SMALLEST_KV_BITS if kv_bits is None else kv_bits) / 8,
    )


# ------------------------------------------------------------------- what a request costs


@dataclass(frozen=True, kw_only=True)
class Flops:
    """Operations on weights and in attention, which need not run at the same precision."""

    weights: float
    attention: float

    def __add__(self, other: Flops) -> Flops:
        return Flops(
            weights=self.weights + other.weights, attention=self.attention + other.attention
        )

    def seconds(self, m: Machine) -> float:
        """The least time that all of a machine's units take; 0 where no peak is published."""
        if m.peak is None:
            return 0.0
        attention = self.attention / (max(m.peak, m.attention_peak or 0.0) + m.host_peak)
        return self.weights / (m.peak + m.host_peak) + attention


def prompt_flops(g: Geometry, tokens: float, fresh: float = 1.0) -> Flops:
    """Operations of a prompt: two per active weight and token, plus attention.

    The output head runs once. Of the last layer only the last token's output is needed, so that
    for the others it is left out. `fresh` is the share that no reused prefix covers, at the end.
    """
    start = tokens * (1 - fresh)
    body = _body_params(g) * (1 - 1 / max(len(g.sequence), 1))
    weights = 2.0 * body * max(tokens - start, 1.0) + 2.0 * _head_params(g)
    return Flops(weights=weights, attention=_attention_flops(g, start, tokens))


def answer_flops(g: Geometry, context: float, tokens: float) -> Flops:
    """Operations of `tokens` generated one after another behind `context` tokens."""
    weights = 2.0 * (_body_params(g) + _head_params(g)) * tokens
    return Flops(weights=weights, attention=_attention_flops(g, context, context + tokens))


def _head_params(g: Geometry) -> float:
    return float(g.hidden * g.vocab)


def _body_params(g: Geometry) -> float:
    return max(0.0, float(g.matmul_params) - _head_params(g))


def _attention_flops(g: Geometry, start: float, stop: float) -> float:
    """Scores and values of the tokens from position `start` to `stop`, causal."""
    total = 0.0
    for block, repeats in g.layers():
        dims = min(block.attention_dims, block.context_flop_dims)
        total += dims * repeats * _attended(block.kv, start, stop)
    return 2.0 * total


def _attended(kv: KvCache, start: float, stop: float) -> float:
    """Context tokens that the tokens from `start` to `stop` look at in one layer, all together."""
    entries = kv.tokens_per_entry
    limits = [x for x in (kv.window, kv.selected) if x is not None]
    if kv.kind == "chunked" and kv.window:
        return _sawtooth(stop, kv.window) - _sawtooth(start, kv.window)
    least = float(min(limits, default=math.inf))
    return _ramp(stop / entries, least) * entries - _ramp(start / entries, least) * entries


def _ramp(x: float, limit: float) -> float:
    """The integral of min(c, limit) from 0 to x."""
    return x * x / 2 if x <= limit else limit * limit / 2 + limit * (x - limit)


def _sawtooth(x: float, period: float) -> float:
    """The integral of (c modulo period) from 0 to x."""
    whole, rest = divmod(x, period)
    return whole * period * period / 2 + rest * rest / 2


def kv_bytes_read(h: Held, context: float, tokens: float) -> float:
    """Cache bytes that one generated token reads, in the mean over `tokens` behind `context`."""
    total = 0.0
    for block, repeats in h.geometry.layers():
        kv = block.kv
        seen = _attended(kv, context, context + tokens) / tokens
        index = kv.index_bytes * (context + tokens / 2)
        total += repeats * (kv.elements * h.kv_element * seen + index)
    return total


def kv_bytes_kept(h: Held, context: float) -> float:
    """Cache bytes that a sequence of `context` tokens must keep, where layers forget what they
    may."""
    total = 0.0
    for block, repeats in h.geometry.layers():
        kv = block.kv
        kept = context if kv.window is None else min(context, float(kv.window))
        if kv.kind == "chunked" and kv.window:
            kept = context % kv.window
        total += repeats * kv.bytes_per_token(h.kv_element) * kept
    return total


# ------------------------------------------------------------------------------- rates


def output_bound(m: Machine, h: Held, w: Work) -> Bound:
    """The most output tokens/s over all GPUs."""
    answer = max(w.output_tokens or 1.0, 1.0)
    prompt = max(w.input_tokens or 1.0, 1.0)
    decoded = answer if w.phase == "decode" else answer - 1
    work = answer_flops(h.geometry, prompt, decoded)
    if w.phase != "decode":
        work += prompt_flops(h.geometry, prompt, w.fresh_prompt)
    seconds = work.seconds(m)
    top = answer / seconds if seconds else None
    fits = 1.0 if w.fresh_prompt >= 1 else 0.0  # a prefix that all share is read once
    context = prompt * fits
    per_token = kv_bytes_read(h, context, answer) * decoded / answer
    rate, batch = _reading(m, h, w, per_token)
    return Bound(compute=top, reading=rate, batch=batch)


def _reading(m: Machine, h: Held, w: Work, per_token: float) -> tuple[float | None, float | None]:
    """Tokens/s by reading weights once per step and `per_token` bytes of cache per sequence.

    A step of B sequences takes at least (W + B·q) ÷ (all bandwidth), and what the GPUs' memory
    does not hold comes from the host. B is as large as load and memory allow; with a host behind
    it, up to where the host's share of a step takes as long as the GPUs'. Weights that a step does
    not read take room all the same.
    """
    if w.tokens_per_pass is None:
        return None, w.concurrency
    room = m.memory - (h.weights - h.read) if h.weights <= m.memory else m.memory
    most = room * (1 + m.host_bandwidth / m.bandwidth)
    batch = math.inf if w.concurrency is None else w.concurrency
    if per_token > 0 and h.read < most:
        batch = min(batch, max(1.0, (most - h.read) / per_token))
    if w.kept_tokens_per_s and per_token > 0:
        in_time = m.bandwidth + m.host_bandwidth
        in_time *= w.tokens_per_pass / w.kept_tokens_per_s
        batch = min(batch, max(0.0, (in_time - h.read) / per_token))
    if batch == 0.0:
        return 0.0, 0.0
    # Weights that the on-chip cache holds cost nothing: then the fewer at once, the faster.
    few = min(1.0, batch)
    fastest = few / _step_s(m, room, h.read + few * per_token)
    if math.isinf(batch):
        rate = None if per_token == 0 else max(fastest, _endless(m, h, per_token))
        return None if rate is None else rate * w.tokens_per_pass, None
    step = _step_s(m, room, h.read + batch * per_token)
    return max(fastest, batch / step) * w.tokens_per_pass, batch


def _step_s(m: Machine, room: float, read: float) -> float:
    """The least seconds in which `read` different bytes can be read, `room` of them from GPUs and
    what the cache kept from nowhere; never 0."""
    moved = max(read - m.cache, 1.0)
    both = moved / (m.bandwidth + m.host_bandwidth)
    beyond = max(0.0, moved - room)
    return max(both, beyond / m.host_bandwidth) if m.host_bandwidth else moved / m.bandwidth


def _endless(m: Machine, h: Held, per_token: float) -> float:
    """Tokens/s of an endless batch: the weights cost nothing, the cache still must be read."""
    where = m.host_bandwidth if h.read >= m.memory else m.bandwidth + m.host_bandwidth
    return where / per_token


def user_bound(m: Machine, h: Held, w: Work) -> Bound:
    """The most tokens/s that one user can get after the first: as if alone on all GPUs."""
    context = (w.input_tokens or 1.0) if w.fresh_prompt >= 1 else 1.0
    answer = max(w.output_tokens or 1.0, 1.0)
    seconds = answer_flops(h.geometry, context, answer).seconds(m)
    rate, _ = _reading(m, h, replace(w, concurrency=1.0), kv_bytes_read(h, context, answer))
    return Bound(compute=answer / seconds if seconds else None, reading=rate, batch=1)


def request_bound(m: Machine, h: Held, w: Work) -> Bound:
    """The most requests/s: the output bound over the answer's length (one token where unsaid)."""
    if w.phase == "prefill":
        work = prompt_flops(h.geometry, max(w.input_tokens or 1.0, 1.0), w.fresh_prompt)
        seconds = work.seconds(m)
        return Bound(compute=1 / seconds if seconds else None, reading=None)
    return output_bound(m, h, w).scaled(1 / max(w.output_tokens or 1.0, 1.0))


def input_bound(m: Machine, h: Held, w: Work) -> Bound:
    """The most prompt tokens/s. Without a stated length a token costs its share of the weights
    alone; whose prefixes may be reused has no bound by multiplying prompts."""
    if w.input_tokens is not None:
        return request_bound(m, h, w).scaled(w.input_tokens)
    if m.peak is None or w.fresh_prompt <= 0:
        return Bound(compute=None, reading=None)
    body = _body_params(h.geometry) * (1 - 1 / max(len(h.geometry.sequence), 1))
    return Bound(compute=(m.peak + m.host_peak) / (2 * body * w.fresh_prompt), reading=None)


# ------------------------------------------------------------------------------- times


def ttft_floor_s(m: Machine, h: Held, w: Work) -> float:
    """The least seconds until the first token: one prompt on all GPUs, the weights read once."""
    work = prompt_flops(h.geometry, max(w.input_tokens or 1.0, 1.0), w.fresh_prompt)
    room = m.memory - (h.weights - h.read) if h.weights <= m.memory else m.memory
    return max(work.seconds(m), _step_s(m, room, h.read))


def e2e_floor_s(m: Machine, h: Held, w: Work) -> float:
    """The least seconds of a whole request: its first token, then the rest one by one."""
    rest = max((w.output_tokens or 1.0) - 1, 0.0)
    rate = user_bound(m, h, w).lowest
    return ttft_floor_s(m, h, w) + (rest / rate if rate else 0.0)
