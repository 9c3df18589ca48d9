"""Where a model's weights come from for a given quantisation: a value, decided without any IO."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import bench.assets
from bench.values.errors import InputError
from bench.values.spec import ModelSpec, QuantSpec


@dataclass(frozen=True, kw_only=True)
class Weights:
    """`location` is a repository on the Hugging Face hub (with `revision`) or a local directory.

    For `dummy` it is None: a directory with configuration and tokenizer has yet to be written.
    """

    source: Literal["hub", "bundled", "local", "dummy"]
    location: str | None
    revision: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether nothing needs to be downloaded."""
        return self.source != "hub"


def resolve_weights(model: ModelSpec, quant: QuantSpec) -> Weights:
    """Where the weights of this pair are; InputError names the pairs that exist."""
    if model.weights == "dummy":
        _check_dummy(model, quant)
        return Weights(source="dummy", location=None)
    if model.weights == "bundled" and quant.name == "none":
        root = Path(bench.assets.__file__).parent
        return Weights(
            source="bundled", location=str(root / (model.path or f"models/{model.name}"))
        )
    if model.weights not in ("hub", "bundled"):
        return Weights(source="local", location=str(Path(model.weights).expanduser()))
    checkpoint = model.checkpoints.get(quant.name)
    if checkpoint is None:
        raise InputError(_no_checkpoint(model, quant.name))
    if checkpoint.revision == "local":  # made here, see bench/models/checkpoints.py
        return Weights(source="local", location=checkpoint.repo)
    return Weights(source="hub", location=checkpoint.repo, revision=checkpoint.revision)


def _no_checkpoint(model: ModelSpec, quant: str) -> str:
    names = sorted({*model.checkpoints, *(["none"] if model.weights == "bundled" else [])})
    pairs = ", ".join(f"model={model.name} quant={name}" for name in names) or "none"
    return (
        f"quant: no checkpoint of {model.name} is listed for {quant!r}; pairs that exist: {pairs}. "
        "Choose one, make it with bench quantize, or set model.weights to a local directory or to "
        "dummy."
    )


def _check_dummy(model: ModelSpec, quant: QuantSpec) -> None:
    for key in ("architectures", "model_type"):
        if not model.config.get(key):
            raise InputError(
                f"model.config.{key} is missing: dummy weights of {model.name} are built from "
                "model.config; add the fields of its config.json."
            )
    if quant.is_gguf:
        raise InputError(
            f"quant={quant.name} is a file for llama.cpp, and there are no random weights of one: "
            "set model.weights=FILE.gguf, or use quant=none."
        )
    checkpoint = model.checkpoints.get(quant.name)
    if quant.name != "none" and quant.hf_quantization_config is None and checkpoint is None:
        raise InputError(
            f"quant.hf_quantization_config of {quant.name!r} is missing: dummy weights cannot be "
            "quantised without it; use quant=none or add it."
        )
