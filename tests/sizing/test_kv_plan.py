"""The cache's plan against vLLM's own functions, which need no GPU, and against sums by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bench.sizing.kv_plan import Demand, LayerCache, plan

GIB = 2**30
FULL = LayerCache(kind="full", block=16, page_bytes=16 * 8192)
SLIDING = LayerCache(kind="sliding", block=16, page_bytes=16 * 8192, window=1024)


def test_gemma_3_12b_as_logged() -> None:
    """48 layers, every sixth full: six groups of eight. 47.72 GiB on an H100 held 130,304 tokens
    and 15.88 requests of 8,192 (vLLM 0.19, tests/data/evidence, L09)."""
    layers = [(FULL,) if i % 6 == 5 else (SLIDING,) for i in range(48)]
    made = plan(layers, Demand(in_flight_tokens=8192))
    assert len(made.groups) == 6
    assert made.block_bytes(0, 48) == 8 * 16 * 8192
    blocks = int(47.72 * GIB) // made.block_bytes(0, 48)
    assert blocks // 6 * 16 == 130_304
    assert round(made.concurrency(blocks, 8192), 2) == 15.88
    # 512 blocks of the full group, and for each window 512 and one that it does not begin with
    assert made.request_blocks(8192) == 512 + 5 * 513


def test_a_window_holds_what_is_in_flight() -> None:
    made = plan([(FULL,), (SLIDING,)], Demand(in_flight_tokens=2 * 8192))
    assert made.request_blocks(131_072) == 8192 + (1023 + 16384 + 15) // 16 + 1


def test_the_longest_request_is_the_longest_that_is_held() -> None:
    made = plan([(FULL,)], Demand(in_flight_tokens=0))
    assert made.longest(100, 10_000) == 1600
    assert made.longest(100, 1000) == 1000
    assert made.longest(0, 1000) == 0


def test_without_the_hybrid_manager_windows_are_kept_in_full() -> None:
    made = plan([(FULL,), (SLIDING,)], Demand(in_flight_tokens=8192), hybrid=False)
    assert len(made.groups) == 1
    assert made.request_blocks(131_072) == 8192


MLA = LayerCache(kind="mla", block=64, page_bytes=64 * 656)
INDEXER = LayerCache(kind="mla", block=64, page_bytes=64 * 132, part="indexer")
STATE = LayerCache(kind="state", block=544, page_bytes=544 * 2048)
LONG = LayerCache(kind="full", block=544, page_bytes=544 * 2048)
WIDE = LayerCache(kind="sliding", block=16, page_bytes=16 * 16384, window=1024)
CASES: dict[str, list[tuple[LayerCache, ...]]] = {
    "plain": [(FULL,)] * 32,
    "gemma 2": [(FULL,) if i % 2 else (SLIDING,) for i in range(46)],
    "gemma 3": [(FULL,) if i % 6 == 5 else (SLIDING,) for i in range(62)],
    "gemma 4": [(FULL,) if i % 6 == 5 else (WIDE,) for i in range(60)],
    "gpt-oss with a draft": [(FULL,) if i % 2 else (SLIDING,) for i in range(25)],
    "windows alone": [(SLIDING,)] * 32,
    "latents and indexer": [(MLA, INDEXER)] * 61,
    "gated delta": [(LONG,) if i % 4 == 3 else (STATE,) for i in range(48)],
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("length", [8192, 100_000])
def test_vllm_plans_the_same(case: str, length: int) -> None:
    pytest.importorskip("vllm.v1.core.kv_cache_utils")
    from vllm.v1.core import kv_cache_utils as own

    layers, memory = CASES[case], int(47.72 * GIB)
    made = plan(layers, Demand(in_flight_tokens=16384, state_blocks=2))
    block = made.block_bytes(0, len(layers))
    config = _config(length)
    theirs = own.get_kv_cache_groups(config, _specs(layers))
    built = own.get_kv_cache_config_from_groups(config, theirs, memory)
    assert built.num_blocks == memory // block
    tokens, concurrency = own.get_kv_cache_capacity(config, built)
    assert made.concurrency(built.num_blocks, length) == pytest.approx(concurrency, rel=1e-12)
    assert int(made.concurrency(built.num_blocks, length) * length) == tokens
    needed = own._max_memory_usage_bytes_from_groups(config, theirs)
    assert made.request_blocks(length) * block == needed
    most = own._estimate_max_model_len_from_groups(config, theirs, needed - block)
    assert made.longest(needed // block - 1, length) == most


def _config(length: int) -> Any:
    """As much of a VllmConfig as its planner reads."""
    from vllm.v1.kv_cache_layout import KVCacheLayout

    return SimpleNamespace(
        scheduler_config=SimpleNamespace(disable_hybrid_kv_cache_manager=False),
        model_config=SimpleNamespace(max_model_len=length, original_max_model_len=length),
        parallel_config=SimpleNamespace(decode_context_parallel_size=1, tensor_parallel_size=1),
        cache_config=SimpleNamespace(
            get_resolved_kv_cache_layout=lambda: KVCacheLayout.LBNHC,
            num_gpu_blocks_override=None,
            mamba_cache_mode="align",
            prefix_cache_retention_interval=None,
        ),
        attention_config=SimpleNamespace(hisparse_config=None),
        speculative_config=None,
        max_in_flight_tokens=16384,
        num_prefill_lookahead_tokens=0,
    )


def _specs(layers: list[tuple[LayerCache, ...]]) -> dict[str, Any]:
    """The same layers as vLLM's specs: one head, as many one-byte numbers as a token has bytes."""
    import torch
    from vllm.v1 import kv_cache_interface as own

    def spec(cache: LayerCache) -> Any:
        size = cache.page_bytes // cache.block
        common = {"block_size": cache.block, "dtype": torch.int8, "num_kv_heads": 1}
        if cache.kind == "state":
            return own.MambaSpec(
                block_size=cache.block,
                shapes=((cache.page_bytes,),),
                dtypes=(torch.int8,),
                mamba_cache_mode="align",
            )
        if cache.kind == "mla":
            return own.MLAAttentionSpec(**common, head_size=size)
        halves = {**common, "head_size": size // 2}
        if cache.kind == "sliding":
            return own.SlidingWindowSpec(**halves, sliding_window=cache.window)
        return own.FullAttentionSpec(**halves)

    return {
        f"layer.{i}.{n}": spec(cache)
        for i, held in enumerate(layers)
        for n, cache in enumerate(held)
    }
