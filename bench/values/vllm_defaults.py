"""Limits that vLLM takes where it is told none.

Source: vllm/engine/arg_utils.py, get_batch_defaults (0.32.0), for its API server.
"""

from __future__ import annotations


def batch_limits(memory_gib: float, gpu_name: str) -> tuple[int, int]:
    """vLLM's default (max_num_batched_tokens, max_num_seqs) on this GPU: the A100 keeps the small
    defaults even with 80 GB."""
    if memory_gib >= 160:
        return 16384, 1024
    if memory_gib >= 70 and not gpu_name.startswith("a100"):
        return 8192, 1024
    return 2048, 256


def cpu_batch_limits(ranks: int) -> tuple[int, int]:
    """The same on processors, with so many ranks."""
    return 2048 * ranks, 128 * ranks
