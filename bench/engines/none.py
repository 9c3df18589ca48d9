"""No engine: nothing is served or measured, quality alone is scored in-process.

For checkpoints whose kernel this machine lacks (4-bit weights on a CPU without AVX-512): there is
no speed that could be taken for that kernel's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from bench.models.weights import Weights, resolve_weights
from bench.values.errors import EngineError, InputError
from bench.values.server import ProgressCallback, Server
from bench.values.spec import RunSpec


class NoEngine:
    """Says where the checkpoint is; see `bench.values.server.Engine`."""

    def serve(
        self, spec: RunSpec, run_dir: Path, progress: ProgressCallback
    ) -> AbstractContextManager[Server]:
        return _serve(spec)


@contextlib.contextmanager
def _serve(spec: RunSpec) -> Iterator[Server]:
    if not spec.quality.tasks:
        raise InputError("engine=none measures no speed: choose what to score with quality=NAME.")
    weights = resolve_weights(spec.model, spec.quant)
    if weights.location is None:
        raise InputError("engine=none: dummy weights have no quality to score.")
    yield Server(
        engine="none",
        base_url="",
        served_model=spec.model.name,
        max_model_len=spec.model.max_context_tokens,
        model_path=_folder(weights),
    )


def _folder(weights: Weights) -> str:
    """Where the checkpoint's files are, fetched from the hub first if need be."""
    if weights.is_local:
        return str(weights.location)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return str(snapshot_download(str(weights.location), revision=weights.revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise EngineError(
            f"{weights.location}@{weights.revision} could not be fetched: "
            f"{str(error).splitlines()[0]} Check the repository and the network, or set "
            "model.weights to a local directory.",
            code="missing_weights",
        ) from error
