"""The answer to "does it fit?" as a value: memory per GPU, rates, reasons and what would fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bench.sizing.formats import WeightFormat
from bench.sizing.overheads import Overhead
from bench.sizing.roofline import Expectation
from bench.sizing.sharding import Layout
from bench.values.codec import encode


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """A change that would fit. `overrides` is what to type; `kind` says what it changes."""

    kind: Literal["quant", "gpus", "gpu", "context", "sibling"]
    text: str
    overrides: tuple[str, ...]
    model: str
    quant: str
    gpu: str
    gpus: int
    weights_gib_per_gpu: float
    max_context_tokens: int
    usd_per_h_low: float | None = None
    usd_per_h_high: float | None = None
    usd_per_h_reserved: float | None = None
    usd_per_h_spot: float | None = None


@dataclass(frozen=True, kw_only=True)
class FitReport:
    """What one model, quantisation and set of GPUs comes to. Sizes in GiB, rates in tokens/s.

    `kv_gib_per_gpu` is the space left for the cache (an engine fills it all);
    `kv_needed_gib_per_gpu` what one request of `context_needed_tokens` takes. With several
    pipeline stages the fullest one is shown. `kv_bytes_per_token` is for one token over all GPUs
    while every layer keeps it, and `kv_gb_if_no_layer_forgets` the needed context without windows.
    `kv_tokens` and `kv_concurrency` are what the engine logs ("GPU KV cache size", "Maximum
    concurrency"), of one replica, when started with `context_started_tokens`; `max_concurrency`
    counts requests of the needed context over all replicas. `…_low` and `…_high` follow from the
    spread of the logs that the overheads rest on; `fits_with_margin` holds at the low end, too.
    Plans are rates at the hardware's published limits (`bench.sizing.roofline`), also given for
    what does not fit; `bound_tokens_per_s` is what nothing can exceed (`bench.sizing.bound`), for
    the workload's lengths and any load, `bound_tokens_per_s_per_user` for one user. None means not
    known. `offload` is llama.cpp's own layout (`bench.sizing.offload`), where a run asks for one:
    then memory and the bound for one user are its. `usd_per_h_low` and `…_high` are the range of
    rents listed on demand, `…_reserved` and `…_spot` the least of theirs. `arose` is
    modelled: nothing here was measured.
    """

    model: str
    quant: str
    gpu: str
    gpus: int
    fits: bool
    reasons: tuple[str, ...]
    weights_gib_per_gpu: float
    kv_gib_per_gpu: float
    other_gib_per_gpu: float
    budget_gib_per_gpu: float | None
    kv_needed_gib_per_gpu: float
    context_needed_tokens: int
    max_context_tokens: int
    max_context_tokens_low: int
    max_context_tokens_if_no_layer_forgets: int
    max_concurrency: int
    kv_tokens: int
    plan_tokens_per_s_batch1: float | None
    plan_tokens_per_s: float | None
    plan_concurrency: int
    decode_batch1: Expectation | None
    decode: Expectation | None
    prefill: Expectation | None
    total_params: int
    active_params: int
    weights_gb: float
    kv_bytes_per_token: int
    kv_gb_needed: float
    kv_gb_if_no_layer_forgets: float
    layout: Layout
    weight_format: WeightFormat
    overheads: tuple[Overhead, ...]
    usd_per_h_low: float | None
    usd_per_h_high: float | None
    usd_per_h_reserved: float | None = None
    usd_per_h_spot: float | None = None
    bound_tokens_per_s: float | None = None
    bound_tokens_per_s_per_user: float | None = None
    notes: tuple[str, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    kv_gib_low_per_gpu: float | None = None
    kv_gib_high_per_gpu: float | None = None
    kv_tokens_low: int | None = None
    kv_tokens_high: int | None = None
    kv_concurrency: float | None = None
    context_started_tokens: int | None = None
    fits_with_margin: bool | None = None
    vllm_version: str | None = None
    offload: dict[str, Any] | None = None
    arose: Literal["modelled"] = "modelled"

    def to_json(self) -> dict[str, Any]:
        """Plain data with the keys that scripts rely on, this class's field names."""
        return dict(encode(self))
