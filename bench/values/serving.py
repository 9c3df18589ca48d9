"""What an engine serves under: the conditions that make two engines' speeds comparable, or not."""

from __future__ import annotations

CONDITIONS: dict[str, str] = {
    "weights": "format of the weights",
    "kv_type": "format of the KV cache",
    "kv_tokens": "tokens that the KV cache holds",
    "batch_limit": "most requests in one step",
    "step_tokens": "most tokens in one step",
    "context": "longest request, tokens",
    "prefix_cache": "prefix cache",
    "chunked_prefill": "chunked prefill",
    "graphs": "graphs or compilation",
    "speculation": "speculative decoding",
    "temperature": "temperature",
    "sampling": "sampling besides temperature",
    "threads": "threads",
}
"""Key and words of each. A key that an adapter leaves out, or None, is not known: never equal."""

ON_HOST = ("vllm", "transformers", "llamacpp")
"""Engines that compute on this host's processor where there are no GPUs."""
ON_GPUS = ("sglang", "trtllm")
"""Engines that are started here and compute on GPUs alone."""
