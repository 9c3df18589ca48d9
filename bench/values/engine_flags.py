"""`engine.args` read once, under vLLM's own names, into one value that all who count share.

Only flags that bear on memory, layout or speed are read; every other word is the engine's own to
judge. A flag that contradicts a key, a value that vLLM does not know and a flag whose effect is not
counted here are refused by name: a wrong count costs more than a question.

Names, aliases and value forms: vllm/engine/arg_utils.py, 0.32.0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from bench.values.errors import InputError, nearest
from bench.values.spec import EndpointSpec, RunSpec, VllmSpec

KV_DTYPES = (
    "auto float16 bfloat16 fp8 fp8_e4m3 fp8_e5m2 fp8_inc fp8_ds_mla nvfp4_ds_mla turboquant_k8v4 "
    "turboquant_4bit_nc turboquant_k3v4_nc turboquant_3bit_nc ultraquant_4bit int4_per_token_head "
    "int8_per_token_head fp8_per_token_head nvfp4 nvfp4_4over6"
).split()
"""vLLM 0.32.0's CacheDType (vllm/config/cache.py)."""

DTYPES = ("auto", "half", "float16", "bfloat16", "float", "float32")

# Whole numbers, texts, and switches with their negation; each under the name of its field.
_COUNTS = {
    "--tensor-parallel-size": "tensor_parallel_size",
    "--pipeline-parallel-size": "pipeline_parallel_size",
    "--data-parallel-size": "data_parallel_size",
    "--decode-context-parallel-size": "decode_context_parallel_size",
    "--prefill-context-parallel-size": "prefill_context_parallel_size",
    "--max-model-len": "max_model_len",
    "--max-num-seqs": "max_num_seqs",
    "--max-num-batched-tokens": "max_num_batched_tokens",
    "--block-size": "block_size",
    "--kv-cache-memory-bytes": "kv_cache_memory_bytes",
    "--spec-tokens": "speculative_tokens",
}
_TEXTS = {
    "--dtype": "dtype",
    "--kv-cache-dtype": "kv_cache_dtype",
    "--quantization": "quantization",
    "--mamba-cache-dtype": "mamba_cache_dtype",
    "--mamba-ssm-cache-dtype": "mamba_ssm_cache_dtype",
    "--performance-mode": "performance_mode",
    "--spec-method": "speculative_method",
    "--spec-model": "speculative_model",
}
_SWITCHES = {
    "--enable-expert-parallel": "expert_parallel",
    "--enforce-eager": "enforce_eager",
    "--enable-prefix-caching": "prefix_caching",
    "--async-scheduling": "async_scheduling",
    "--disable-hybrid-kv-cache-manager": "hybrid_manager_off",
    "--language-model-only": "language_model_only",
    "--enable-chunked-prefill": "chunked_prefill",
    "--disable-custom-all-reduce": "custom_all_reduce_off",
}
_FRACTIONS = {"--gpu-memory-utilization": "gpu_memory_utilization"}
_JSON = {"--speculative-config": "speculative_config", "--compilation-config": "compilation_config"}
_SHORT = {
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-dp": "--data-parallel-size",
    "-dcp": "--decode-context-parallel-size",
    "-pcp": "--prefill-context-parallel-size",
    "-ep": "--enable-expert-parallel",
    "-q": "--quantization",
    "-sc": "--speculative-config",
    "-cc": "--compilation-config",
    "--device-memory-utilization": "--gpu-memory-utilization",
}
# They move memory or the model in ways that are not counted here.
_NOT_COUNTED = (
    "--config --cpu-offload-gb --offload-backend --offload-group-size --enable-lora --hf-overrides "
    "--num-gpu-blocks-override --kv-cache-dtype-skip-layers --enable-dbo --disable-sliding-window "
    "--enable-elastic-ep --enable-sleep-mode --mm-encoder-only --model --hf-config-path "
    "--engram-config"
).split()
_SPECULATIVE = ("--speculative-config", "--spec-tokens", "--spec-method", "--spec-model")
_KNOWN = (*_COUNTS, *_TEXTS, *_SWITCHES, *_FRACTIONS, *_JSON)


@dataclass(frozen=True, kw_only=True)
class EngineFlags:
    """What keys and flags together ask of the engine; None and False leave it to vLLM.

    `max_model_len` -1 lets vLLM take the longest context that fits. `graphs` False captures no
    CUDA graphs. `speculative` holds the keys of --speculative-config.
    """

    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    data_parallel_size: int = 1
    expert_parallel: bool = False
    gpu_memory_utilization: float = 0.9
    dtype: str | None = None
    kv_cache_dtype: str = "auto"
    quantization: str | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    block_size: int | None = None
    kv_cache_memory_bytes: int | None = None
    mamba_cache_dtype: str = "auto"
    mamba_ssm_cache_dtype: str = "auto"
    performance_mode: str | None = None
    enforce_eager: bool | None = None
    graphs: bool = True
    prefix_caching: bool | None = None
    async_scheduling: bool | None = None
    hybrid_manager_off: bool = False
    language_model_only: bool = False
    custom_all_reduce_off: bool = False
    speculative: Mapping[str, Any] | None = None

    @property
    def speculative_tokens(self) -> int:
        """Tokens that a draft proposes per step; 0 without speculative decoding."""
        return int((self.speculative or {}).get("num_speculative_tokens") or 0)


def flags_of(spec: RunSpec) -> EngineFlags:
    """The flags of a run; those of vLLM's defaults for an engine of another kind."""
    if isinstance(spec.engine, EndpointSpec):
        return EngineFlags(kv_cache_dtype=_KV_WORDS.get(spec.engine.kv_cache_dtype or "", "auto"))
    return parse(spec.engine) if isinstance(spec.engine, VllmSpec) else EngineFlags()


_KV_WORDS = {
    **dict.fromkeys(("fp8", "e4m3"), "fp8"),
    **dict.fromkeys(("bf16", "bfloat16"), "bfloat16"),
    **dict.fromkeys(("fp16", "float16", "half"), "float16"),
}
"""What of the words for an endpoint's cache has one of vLLM's names."""


def why_unread(spec: RunSpec) -> str | None:
    """Why the flags of a stored run cannot be read; None where they can.

    A run outlives the rules it was started under: it is shown with this as a note, not refused.
    """
    try:
        flags_of(spec)
    except InputError as error:
        return str(error)
    return None


def parse(engine: VllmSpec) -> EngineFlags:
    """Keys and flags as one value; InputError names the word that is wrong or contradicts a key."""
    typed = dict(_read(engine.args))
    _check_values(typed)
    for key in ("tensor_parallel_size", "max_model_len", "dtype", "enforce_eager"):
        _merge(typed, key, getattr(engine, key))
    # The key's own default cannot be told from a typed 0.9: then the flag decides, as in vLLM.
    if engine.gpu_memory_utilization != VllmSpec.gpu_memory_utilization:
        _merge(typed, "gpu_memory_utilization", engine.gpu_memory_utilization)
    speculative = _speculative(typed)
    compilation = typed.pop("compilation_config", {})
    off = compilation.get("cudagraph_mode") in ("NONE", "none") or compilation.get("level") == 0
    names = {f.name for f in fields(EngineFlags)}
    return EngineFlags(
        **{k: v for k, v in typed.items() if k in names},
        graphs=not off and not typed.get("enforce_eager"),
        speculative=speculative,
    )


def _read(words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Each flag that counts, with its value read; the rest is passed over."""
    dotted: dict[str, dict[str, Any]] = {}
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if not word.startswith("-"):
            continue
        name, equals, value = word.partition("=")
        name, _, path = _full_name(name).partition(".")
        _refuse_unclear(name, word)
        if name in _SWITCHES or name.replace("--no-", "--", 1) in _SWITCHES:
            on = not name.startswith("--no-")
            yield _SWITCHES[name if on else name.replace("--no-", "--", 1)], on
            continue
        if name not in _KNOWN:
            continue
        if not equals:
            if index >= len(words):
                raise InputError(f"engine.args: {word} has no value after it.")
            value, index = words[index], index + 1
        if path:
            dotted.setdefault(name, {})[path] = _loosely(value)
            continue
        yield _typed(name, value)
    for name, values in dotted.items():
        yield _JSON.get(name, name), values


def without_speculation(words: Sequence[str]) -> tuple[str, ...]:
    """The words without the flags of speculative decoding and their values."""
    return without(words, _SPECULATIVE)


def without(words: Sequence[str], flags: Sequence[str]) -> tuple[str, ...]:
    """The words without these flags and their values, whether one word each or two."""
    kept: list[str] = []
    value_follows = False
    for word in words:
        name, equals, _ = word.partition("=")
        meant = _full_name(name).partition(".")[0] in flags
        if not meant and not value_follows:
            kept.append(word)
        value_follows = meant and not equals
    return tuple(kept)


def _full_name(name: str) -> str:
    """vLLM takes underscores for hyphens, and short forms."""
    head, dot, tail = name.partition(".")
    if head.startswith("--"):
        head = head.replace("_", "-")
    return _SHORT.get(head, head) + dot + tail


def _refuse_unclear(name: str, word: str) -> None:
    if name in _NOT_COUNTED:
        raise InputError(
            f"engine.args: what {name} does to memory is not counted here; leave it out, or use "
            "fit.force=true to run without a fit."
        )
    # vLLM completes unambiguous beginnings; which they are depends on its version.
    whole = [k for k in _KNOWN if k.startswith(name)] if len(name) > 5 else []
    if whole and name not in _KNOWN:
        raise InputError(f"engine.args: {word} is not written out.{nearest(name, whole)}")


def _typed(name: str, value: str) -> tuple[str, Any]:
    if name in _COUNTS:
        return _COUNTS[name], _whole_number(name, value)
    if name in _FRACTIONS:
        try:
            share = float(value)
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            raise InputError(f"engine.args: {name} {value!r} is no share in (0, 1].")
        return _FRACTIONS[name], share
    if name in _JSON:
        try:
            data = json.loads(value)
        except json.JSONDecodeError as error:
            raise InputError(f"engine.args: {name} is not JSON ({error.msg}).") from error
        if not isinstance(data, dict):
            raise InputError(f"engine.args: {name} is not a JSON object.")
        return _JSON[name], data
    return _TEXTS[name], value


_SUFFIXES = {"k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BINARY = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def _whole_number(name: str, value: str) -> int:
    """A count, also as vLLM's `8k` (8,000) or `8K` (8,192); `auto` and -1 as a context length."""
    if name == "--max-model-len" and value in ("auto", "-1"):
        return -1
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgGtT]?)", value.strip())
    size = float(found[1]) * {**_SUFFIXES, **_BINARY, "": 1}[found[2]] if found else 0.0
    if size < 1 or size != int(size):
        raise InputError(f"engine.args: {name} {value!r} is no whole number from 1 on.")
    return int(size)


def _loosely(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _check_values(typed: Mapping[str, Any]) -> None:
    known = {"kv_cache_dtype": KV_DTYPES, "dtype": DTYPES, "mamba_cache_dtype": DTYPES}
    for key, valid in {**known, "mamba_ssm_cache_dtype": DTYPES}.items():
        value = typed.get(key)
        if value is not None and value not in valid:
            flag = next(name for name, field in _TEXTS.items() if field == key)
            raise InputError(f"engine.args: {flag} {value!r} is unknown.{nearest(value, valid)}")
    for key in ("decode_context_parallel_size", "prefill_context_parallel_size"):
        if typed.get(key, 1) != 1:
            flag = next(name for name, field in _COUNTS.items() if field == key)
            raise InputError(f"engine.args: {flag} above 1 is not counted here; leave it out.")


def _merge(typed: dict[str, Any], key: str, value: Any) -> None:
    """A key beside its flag: either may be left out, and they must not contradict each other."""
    if value is None:
        return
    if key in typed and typed[key] != value:
        flag = "--" + key.replace("_", "-")
        raise InputError(
            f"engine.{key}={value} and {flag} {typed[key]} in engine.args contradict each other: "
            "leave one out."
        )
    typed[key] = value


def _speculative(typed: dict[str, Any]) -> Mapping[str, Any] | None:
    """--speculative-config and its short forms as one mapping."""
    short = {
        "method": typed.pop("speculative_method", None),
        "model": typed.pop("speculative_model", None),
        "num_speculative_tokens": typed.pop("speculative_tokens", None),
    }
    config = {**typed.pop("speculative_config", {}), **{k: v for k, v in short.items() if v}}
    return config or None
