"""The engines by name: whatever can be asked to serve a model, loaded when it is chosen."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from bench.values.errors import InputError, nearest
from bench.values.server import Engine

ENGINES: dict[str, str] = {
    "vllm": "bench.engines.vllm:VllmEngine",
    "endpoint": "bench.engines.endpoint:EndpointEngine",
    "truth": "bench.engines.truth:TruthEngine",
    "none": "bench.engines.none:NoEngine",
}


def load_engine(kind: str) -> Engine:
    """The engine of that `kind`, imported now; InputError names the nearest valid name."""
    if kind not in ENGINES:
        raise InputError(f"engine.kind: {kind!r} is unknown.{nearest(kind, ENGINES)}")
    module, _, name = ENGINES[kind].partition(":")
    return cast(Engine, getattr(import_module(module), name)())
