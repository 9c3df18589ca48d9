"""The engines by name: whatever can be asked to serve a model, loaded when it is chosen."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from bench.values.errors import InputError, nearest

if TYPE_CHECKING:
    from bench.engines.log import EngineLogFacts
    from bench.values.server import Engine

ENGINES: dict[str, str] = {
    "vllm": "bench.engines.vllm:VllmEngine",
    "transformers": "bench.engines.transformers:TransformersEngine",
    "llamacpp": "bench.engines.llamacpp:LlamacppEngine",
    "sglang": "bench.engines.sglang:SglangEngine",
    "trtllm": "bench.engines.trtllm:TrtllmEngine",
    "endpoint": "bench.engines.endpoint:EndpointEngine",
    "truth": "bench.engines.truth:TruthEngine",
    "none": "bench.engines.none:NoEngine",
}


FACTS: dict[str, str] = {
    "vllm": "bench.engines.log:parse_engine_log",
    "llamacpp": "bench.engines.other_logs:llamacpp_facts",
    "sglang": "bench.engines.other_logs:sglang_facts",
    "trtllm": "bench.engines.other_logs:trtllm_facts",
}
"""Who reads an engine's log; the others' say nothing."""


def log_facts(kind: str, log: str) -> EngineLogFacts | None:
    """What the log of an engine of that `kind` states; None where nobody reads it."""
    if kind not in FACTS:
        return None
    module, _, name = FACTS[kind].partition(":")
    return cast("EngineLogFacts", getattr(import_module(module), name)(log))


def load_engine(kind: str) -> Engine:
    """The engine of that `kind`, imported now; InputError names the nearest valid name."""
    if kind not in ENGINES:
        raise InputError(f"engine.kind: {kind!r} is unknown.{nearest(kind, ENGINES)}")
    module, _, name = ENGINES[kind].partition(":")
    return cast("Engine", getattr(import_module(module), name)())
