"""Engines as sources write them: vLLM, llama.cpp, TensorRT-LLM and TRT-LLM are names of bench's."""

from __future__ import annotations

import re
from typing import Any

_OTHER_WORDS = {
    "tensorrtllm": "trtllm",
    "llamaserver": "llamacpp",
    "hftransformers": "transformers",
}
_OWN_FORMATS = frozenset({"vllm", "sglang", "trtllm", "transformers", "lmdeploy", "tgi"})


def engine_name(word: str | None) -> str | None:
    """One word for every spelling of an engine; None stays None."""
    if word is None:
        return None
    plain = re.sub(r"[^a-z0-9]", "", word.casefold())
    return _OTHER_WORDS.get(plain, plain)


def same_engine(one: str | None, other: str | None) -> bool:
    """Whether two words are spellings of one engine."""
    return engine_name(one) == engine_name(other)


def same_version(one: str, other: str) -> bool:
    """Whether two words are one version: with or without its v, and what it was built for."""
    plain, against = (v.strip().casefold().removeprefix("v") for v in (one, other))
    if "+" in plain and "+" in against:
        return plain == against
    return plain.partition("+")[0] == against.partition("+")[0]


def same_condition(key: str, one: Any, other: Any) -> bool:
    """Whether two sources' words for a condition are the same: engines in any spelling, versions
    with or without their v."""
    if key == "engine":
        return same_engine(one, other)
    if key == "engine_version" and None not in (one, other):
        return same_version(str(one), str(other))
    return bool(one == other)


def may_serve(claimed: str | None, made_for: str) -> bool:
    """Whether a file made for one engine may be what a claim is about: not where it names an
    engine that has formats of its own."""
    name = engine_name(claimed)
    return name not in _OWN_FORMATS or name == engine_name(made_for)
