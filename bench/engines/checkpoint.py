"""The checkpoint that an engine is to be started on, as far as this machine can check it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.engines import dummy
from bench.models.weights import Weights, resolve_weights
from bench.values.errors import InputError
from bench.values.spec import RunSpec


def checkpoint(spec: RunSpec, run_dir: Path, *, dummies: bool) -> Weights:
    """Repository or absolute folder of the weights; a dummy's folder is written where the engine
    loads such (`dummies`). InputError where the folder holds no checkpoint."""
    weights = resolve_weights(spec.model, spec.quant)
    if weights.source == "dummy":
        if not dummies:
            raise InputError(
                f"model.weights: engine={spec.engine.kind} loads no dummy weights; give hub or "
                "the directory of a checkpoint."
            )
        dummy.write_model(spec.model, spec.quant, run_dir / "model")
        return replace(weights, location=str(run_dir / "model"))
    if weights.is_local:
        directory = Path(str(weights.location)).absolute()
        if not (directory / "config.json").is_file():
            raise InputError(
                f"model.weights: {directory} holds no config.json; give hub, dummy or the "
                "directory of a checkpoint."
            )
        return replace(weights, location=str(directory))
    return weights


def needs_gpu(spec: RunSpec, name: str, command: tuple[str, ...]) -> None:
    """InputError where an engine that knows GPUs alone would be started without one; words of the
    user's own may start it elsewhere."""
    if spec.gpus == 0 and not command:
        raise InputError(
            f"gpus=0, but {name} serves on GPUs alone: gpus=1, or engine=vllm, transformers or "
            "llamacpp on the processor."
        )
