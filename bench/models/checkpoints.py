"""Checkpoints that `bench quantize` made here: found by folder, offered like published ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from bench.values.outside import regular
from bench.values.spec import Checkpoint, RunSpec

LOCAL = "local"
"""The revision of a checkpoint whose `repo` is a folder on this machine."""

RECORD = "bench_quantize.json"
"""The file beside the weights that says how they were made."""


def folder_of(checkpoints_dir: str, model: str, quant: str) -> Path:
    """Where the checkpoint of a pair lies, or would."""
    return Path(checkpoints_dir).expanduser().absolute() / model / quant


def in_hub_cache(repo: str, revision: str | None) -> str | None:
    """The folder of a repository's files in the Hugging Face cache; None when it is not there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, "config.json", revision=revision)
    return str(Path(found).parent) if isinstance(found, str) else None


def with_local_checkpoints(spec: RunSpec) -> RunSpec:
    """The same run, its model's own checkpoint of the chosen quantisation added if there is one.

    A checkpoint made here goes before a published one: whoever made it means to use it.
    """
    folder = folder_of(spec.checkpoints_dir, spec.model.name, spec.quant.name)
    try:
        record = json.loads(regular(folder / RECORD).read_text())
    except (OSError, ValueError):
        return spec
    checkpoint = Checkpoint(
        repo=str(folder),
        revision=LOCAL,
        source=f"bench quantize, {record.get('made_at', 'at an unknown time')}",
        verified=True,
        note=f"recipe {record.get('recipe_sha256', '?')[:12]}",
    )
    checkpoints = {**spec.model.checkpoints, spec.quant.name: checkpoint}
    return replace(spec, model=replace(spec.model, checkpoints=checkpoints))
