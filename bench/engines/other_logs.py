"""What the logs of llama.cpp, SGLang and TensorRT-LLM say of the engine: memory, cache, limits.

Patterns of llama.cpp b11434 and b11549 (seen), SGLang 0.5.23 and TensorRT-LLM 1.2.1 (read in their
sources). What SGLang calls GB and llama.cpp MiB are powers of two.
"""

from __future__ import annotations

import re
from dataclasses import replace

from bench.engines.log import EngineLogFacts

_MODEL = re.compile(r"load_tensors:\s+(\S+) model buffer size =\s+([\d.]+) MiB")
_CACHE = re.compile(
    r"llama_kv_cache: size =\s*([\d.]+) MiB \(\s*(\d+) cells,\s*\d+ layers,\s*(\d+)/(\d+) seqs\)"
)
_UNIFIED = re.compile(r"kv_unified = '(\w+)'")
_DEVICE = re.compile(r"load_tensors:\s+(CUDA|CPU|Vulkan|ROCm|Metal)")


def llamacpp_facts(log: str) -> EngineLogFacts:
    """Weights and cache of llama.cpp at -lv 4; every device's buffer counts.

    Cells are per sequence where the cache is not unified.
    """
    lines = [
        line for line in log.splitlines() if _MODEL.search(line) or _CACHE.search(line) is not None
    ]
    weights = [float(m[2]) for m in map(_MODEL.search, lines) if m]
    caches = [m for m in map(_CACHE.search, lines) if m]
    unified = _UNIFIED.search(log)
    tokens = None
    if caches and unified:
        # Layers of a model may have caches of two sizes (full and sliding): the first is the full.
        tokens = int(caches[0][2]) * (1 if unified[1] == "true" else int(caches[0][4]))
    devices = {m[1] for m in map(_DEVICE.search, lines) if m}
    return EngineLogFacts(
        weights_gib=sum(weights) / 1024 if weights else None,
        kv_cache_tokens=tokens,
        kv_cache_gib=sum(float(m[1]) for m in caches) / 1024 if caches else None,
        device="cpu" if devices == {"CPU"} else "cuda" if "CUDA" in devices else None,
        lines=tuple(lines),
    )


_SGLANG = {
    "weights": re.compile(
        r"Load weight end\. elapsed=(?P<weights_load_s>[\d.]+) s, .*"
        r"mem usage=(?P<weights_gib>[\d.]+) GB"
    ),
    "cache": re.compile(
        r"(?:KV Cache is allocated|KV cache allocated)\. dtype: \S+, #tokens: "
        r"(?P<kv_cache_tokens>\d+), (?:K size: (?P<k>[\d.]+) GB, V size: (?P<v>[\d.]+) GB|"
        r"KV size: (?P<kv>[\d.]+) GB)"
    ),
}


def sglang_facts(log: str) -> EngineLogFacts:
    """Weights and cache of SGLang; the upper bound that it prints before its graphs is none."""
    facts = EngineLogFacts()
    kept = []
    for line in log.splitlines():
        if (m := _SGLANG["weights"].search(line)) and facts.weights_gib is None:
            facts = replace(
                facts,
                weights_gib=float(m["weights_gib"]),
                weights_load_s=float(m["weights_load_s"]),
            )
            kept.append(line)
        elif (m := _SGLANG["cache"].search(line)) and facts.kv_cache_tokens is None:
            size = float(m["kv"]) if m["kv"] else float(m["k"]) + float(m["v"])
            facts = replace(facts, kv_cache_tokens=int(m["kv_cache_tokens"]), kv_cache_gib=size)
            kept.append(line)
    return replace(facts, lines=tuple(kept))


_TRTLLM_CACHE = re.compile(
    r"\[MemUsageChange\] Allocated ([\d.]+) GiB for max tokens in paged KV cache \((\d+)\)"
)
_TRTLLM_WEIGHTS = re.compile(
    r"Memory used after loading model weights \(inside torch\) in memory usage profiling: "
    r"([\d.]+) GiB"
)


def trtllm_facts(log: str) -> EngineLogFacts:
    """Weights and cache of TensorRT-LLM; its first cache is one for profiling, the last counts."""
    lines = log.splitlines()
    caches = [(line, m) for line in lines if (m := _TRTLLM_CACHE.search(line))]
    weights = [(line, m) for line in lines if (m := _TRTLLM_WEIGHTS.search(line))]
    found = EngineLogFacts(lines=tuple(line for line, _ in (*weights[-1:], *caches[-1:])))
    if weights:
        found = replace(found, weights_gib=float(weights[-1][1][1]))
    if caches:
        gib, tokens = caches[-1][1].groups()
        found = replace(found, kv_cache_gib=float(gib), kv_cache_tokens=int(tokens))
    return found
