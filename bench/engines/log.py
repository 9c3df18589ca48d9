"""What vLLM's log says about the engine that it started: memory, kernels, versions, times."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class EngineLogFacts:
    """Facts as the engine's log states them (quoted, not measured here); None: not found.

    With tensor parallelism every worker logs its own line; the first one is taken for a value
    per GPU. `kv_cache_blocks` is what versions before 0.8 say instead of tokens; how many tokens a
    block has follows from the concurrency that they print beside it, else it is not known. `device`
    is what the engine says it computes on (`cuda`, `cpu`). `lines` are the lines that the facts
    were read from, as they stood.
    """

    engine_version: str | None = None
    weights_gib: float | None = None
    weights_load_s: float | None = None
    kv_cache_tokens: int | None = None
    kv_cache_blocks: int | None = None
    kv_cache_gib: float | None = None
    max_concurrency: float | None = None
    max_concurrency_tokens: int | None = None
    attention_backend: str | None = None
    quantisation_kernels: tuple[str, ...] = ()
    compile_s: float | None = None
    graph_capture_s: float | None = None
    graph_capture_gib: float | None = None
    engine_init_s: float | None = None
    enforce_eager: bool | None = None
    prefix_caching: bool | None = None
    chunked_prefill: bool | None = None
    step_tokens: int | None = None
    threads: int | None = None
    device: str | None = None
    lines: tuple[str, ...] = ()


# Messages of vLLM 0.3 to 0.33; a CPU words its KV cache differently from a GPU. What 0.4 to 0.7
# call GB are bytes / 2**30.
_PATTERNS: dict[str, tuple[str, ...]] = {
    "version": (r"LLM engine \(v(?P<engine_version>[^)]+)\)",),
    "eager": (r"(?:^|[ ,])enforce_eager=(?P<enforce_eager>True|False)",),
    "prefix": (r"[ ,]enable_prefix_caching=(?P<prefix_caching>True|False)",),
    "chunked": (r"[ ,]enable_chunked_prefill=(?P<chunked_prefill>True|False)",),
    "step": (r"Chunked prefill is enabled with max_num_batched_tokens=(?P<step_tokens>\d+)",),
    "threads": (r"Worker.*Reducing Torch threads from (?P<threads>\d+) to 1 for serving",),
    "device": (r"device_config=(?:device\()?'?(?P<device>[a-z]+)",),
    # The size of the checkpoint on disk is no measure: weights may be upcast when they are loaded.
    "loading": (
        r"Model loading took (?P<weights_gib>[\d.]+) Gi?B",
        r"Loading model weights took (?P<weights_gib>[\d.]+) Gi?B",
        r"model weights take (?P<weights_gib>[\d.]+) ?Gi?B",
    ),
    "weights": (r"Loading weights took (?P<weights_load_s>[\d.]+) s",),
    "tokens": (r"KV cache size: (?P<kv_cache_tokens>[\d,]+) tokens",),
    "blocks": (r"# (?:GPU|CUDA|cuda) blocks: (?P<kv_cache_blocks>\d+)",),
    "concurrency": (
        r"Maximum concurrency for (?P<max_concurrency_tokens>[\d,]+) tokens per request: "
        r"(?P<max_concurrency>[\d.]+)x",
    ),
    "kv": (
        r"Available KV cache memory: (?P<kv_cache_gib>[\d.]+) GiB",
        r"memory reserved for KV Cache is (?P<kv_cache_gib>[\d.]+) ?GiB",
        r"\bkv_cache_size=(?P<kv_cache_gib>[\d.]+) ?GiB",
        r"Explicitly set \((?P<kv_cache_gib>[\d.]+)/[\d.]+\) GiB for KV cache",
    ),
    "attention": (
        r"Using (?:AttentionBackendEnum\.)?(?P<attention_backend>\w+) attention backend",
        r"Using (?:AttentionBackendEnum\.)?(?P<attention_backend>[A-Z][A-Z0-9_]+) backend",
        r"Using (?P<attention_backend>Flash Attention|FlashInfer|Triton MLA|FlashMLA) backend",
    ),
    "compile": (
        r"torch\.compile (?:and initial profiling/warmup run together )?(?:takes|took) "
        r"(?P<compile_s>[\d.]+) s",
    ),
    "graphs": (
        r"Graph capturing finished in (?P<graph_capture_s>[\d.]+) secs?"
        r"(?:, took (?P<graph_capture_gib>[\d.]+) GiB)?",
    ),
    "init": (r"init engine \([^)]*\) took (?P<engine_init_s>[\d.]+) s",),
}
# "Selected CPUInt8ScaledMMLinearKernel for CompressedTensorsW8A8Int8", "Using MarlinLinearKernel
# for …", "Using 'MARLIN' Mxfp4 MoE backend": the kernel that really runs.
_KERNEL = re.compile(
    r"(?:Using|Selected) (?:'?(?P<moe>\w+)'? (?:\w+ )?MoE backend"
    r"|(?P<linear>\w*(?:Kernel|Experts|MoEMethod)\w*)\b)"
)
_WHOLE = {
    "kv_cache_tokens",
    "kv_cache_blocks",
    "max_concurrency_tokens",
    "step_tokens",
    "threads",
}
_BLOCK_TOKENS = (8, 16, 32, 64, 128)
_BLOCK_ERROR = 0.05
"""The concurrency is printed to two digits after the point."""
_TEXT = {"engine_version", "attention_backend", "device"}


def parse_engine_log(log: str) -> EngineLogFacts:
    """The facts in a vLLM log; the first match of each pattern counts, all kernels are kept."""
    values: dict[str, str] = {}
    kernels: list[str] = []
    kept: dict[str, None] = {}
    for line in log.splitlines():
        for patterns in _PATTERNS.values():
            for pattern in patterns:
                match = re.search(pattern, line)
                found = {k: v for k, v in match.groupdict().items() if v} if match else {}
                if found and not found.keys() & values.keys():
                    values |= found
                    kept[line] = None
        for match in _KERNEL.finditer(line):
            kernels.append(match["moe"] or match["linear"])
            kept[line] = None
    facts = EngineLogFacts(
        quantisation_kernels=tuple(dict.fromkeys(kernels)),
        lines=tuple(kept),
        **{
            name: _value(name, text)
            for name, text in values.items()
            if name in _TEXT or len(text) <= _LONGEST
        },
    )
    if facts.kv_cache_tokens is None:
        return replace(facts, kv_cache_tokens=_tokens_of_blocks(facts))
    return facts


def _tokens_of_blocks(found: EngineLogFacts) -> int | None:
    """Tokens of a cache that is stated in blocks: a block holds a power of 2 of them, the one that
    the stated concurrency gives; None where that is not stated or gives none."""
    blocks, times, each = found.kv_cache_blocks, found.max_concurrency, found.max_concurrency_tokens
    if not blocks or not times or not each:
        return None
    size = times * each / blocks
    exact = next((s for s in _BLOCK_TOKENS if abs(size / s - 1) < _BLOCK_ERROR), None)
    return None if exact is None else blocks * exact


_LONGEST = 40
"""Characters of a number that an engine would write."""


def _value(name: str, text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    if name in _TEXT:
        return text
    number = text.replace(",", "")
    return int(number) if name in _WHOLE else float(number)
