"""`bench quantize`: make a quantised checkpoint where none is published."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import __version__
from bench.cli.arguments import Arguments
from bench.cli.verb import Verb
from bench.config.compose import compose
from bench.values.errors import InputError, StoreError, nearest
from bench.values.json_text import json_text

if TYPE_CHECKING:
    from bench.models.quantize.spec import QuantizeSpec
    from bench.models.weights import Weights
    from bench.values.server import ProgressCallback


VERB = Verb(
    usage=(
        "bench quantize model=NAME quant=awq|gptq|int8|fp8 [calibration=NAME] [seed=N] "
        "[force=true] [--json]",
        "bench quantize model=NAME quant=q8_0|q4_k_m|… [force=true] [--json]",
        "bench quantize model=NAME gguf=f16|bf16|f32 [force=true] [--json]",
    ),
    keys=(
        ("model=NAME", "what is quantised"),
        ("quant=NAME", "the scheme, with its recipe"),
        ("calibration=NAME", "the texts that a scheme with calibration looks at"),
        ("gguf=FORMAT", "an unquantised file for llama.cpp: f16, bf16 or f32"),
        ("seed=N", "which of them, and in which order"),
        ("force=true|false", "make it again where it is there already"),
        ("checkpoints_dir=FOLDER", "where checkpoints of your own are"),
    ),
)


def call(arguments: Arguments) -> int:
    """Make the checkpoint that was typed."""
    from bench.models.quantize.spec import QuantizeSpec
    from bench.report.live import shown
    from bench.values.codec import decode

    data = compose(arguments.overrides, arguments.config_dirs, "quantize")
    spec = decode(QuantizeSpec, data)
    if spec.gguf is not None and "quant" in arguments.typed_keys and spec.quant.name != "none":
        raise InputError(
            f"gguf={spec.gguf} and quant={spec.quant.name} are two things to make: keep one."
        )
    if "calibration" in arguments.typed_keys and (spec.gguf is not None or spec.quant.is_gguf):
        raise InputError(
            "calibration would have no effect: a file for llama.cpp is made without texts; "
            "leave it out."
        )
    with shown() as progress:
        return run(spec, progress, as_json=arguments.as_json)


def run(spec: QuantizeSpec, progress: ProgressCallback, *, as_json: bool) -> int:
    """Make the checkpoint and print where it is; 0. An existing one is an InputError."""
    from bench.models.checkpoints import folder_of
    from bench.models.quantize import llm_compressor
    from bench.models.weights import resolve_weights

    if spec.gguf is not None or spec.quant.is_gguf:
        kind = (spec.quant.name if spec.gguf is None else spec.gguf).casefold()
        return gguf(spec, kind, progress, as_json=as_json)
    if spec.quant.name == "none":
        raise InputError("quant=none is the model itself: choose what to make, as quant=gptq.")
    folder = folder_of(spec.checkpoints_dir, spec.model.name, spec.quant.name)
    if folder.exists() and not spec.force:
        raise InputError(
            f"{folder} is there already: use it with quant={spec.quant.name}, or "
            "make it again with force=true."
        )
    source = resolve_weights(spec.model, replace(spec.quant, name="none"))
    check_possible(source, folder)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    result = llm_compressor.quantize(spec, source, part, progress)
    record = record_of(spec, source, part, result)
    _install(part, folder, record)
    if as_json:
        print(json_text({"checkpoint": str(folder), **record}))
    else:
        size = sum(p.stat().st_size for p in folder.iterdir())
        print(f"{folder}: {size / 1e6:.1f} MB in {result['seconds']:.0f} s")
        print(f"use it: bench model={spec.model.name} quant={spec.quant.name}")
    return 0


def gguf(spec: QuantizeSpec, kind: str, progress: ProgressCallback, *, as_json: bool) -> int:
    """Write the model's own weights as a GGUF file for llama.cpp, and print where it is."""
    from bench.models.gguf_file import FORMATS, checkpoint_folder, made, own_file
    from bench.models.llama_tools import ready

    if kind not in FORMATS:  # asked before the tools are installed
        raise InputError(f"gguf: {kind!r} is no format.{nearest(kind, FORMATS)}")
    file = own_file(spec.checkpoints_dir, spec.model.name, kind)
    use = f"quant={kind}" if spec.gguf is None else f"model.weights={file}"
    if file.exists() and not spec.force:
        raise InputError(
            f"{file} is there already: use it with {use}, or make it again with force=true."
        )
    source = checkpoint_folder(spec.model, replace(spec.quant, name="none"))
    made(source, file, kind, ready(progress), progress)
    if as_json:
        print(json_text({"checkpoint": str(file), "gguf": kind, "bytes": file.stat().st_size}))
        return 0
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    print(f"use it: bench engine=llamacpp model={spec.model.name} {use}")
    return 0


def check_possible(source: Weights, folder: Path) -> None:
    """InputError where weights cannot be read or the checkpoint not written: known in a second,
    while llm-compressor's environment takes minutes to install."""
    from bench.models.model_config import hub_config

    if source.source == "hub":
        hub_config(str(source.location), revision=source.revision or "main")
    elif source.location is not None and not Path(source.location).is_dir():
        raise InputError(f"model.weights: {source.location} is not a folder of weights.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"checkpoints_dir: {folder.parent}: {error.strerror}.") from error
    if not os.access(folder.parent, os.W_OK):
        raise InputError(f"checkpoints_dir: {folder.parent} cannot be written.")


def record_of(
    spec: QuantizeSpec, source: Weights, folder: Path, result: dict[str, Any]
) -> dict[str, Any]:
    """How the checkpoint came to be: source, recipe, calibration, versions, hashes."""
    from bench.host.provenance import file_hashes
    from bench.models.quantize import llm_compressor
    from bench.values.codec import encode

    recipe = json_text(encode(spec.quant.recipe), sort_keys=True)
    texts: str | None = None
    if spec.calibration.file is not None:
        file = llm_compressor.calibration_file(spec.calibration)
        texts = hashlib.sha256(file.read_bytes()).hexdigest()
    local = source.location if source.is_local else None
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "bench_version": __version__,
        "model": spec.model.name,
        "source": source.location if local is None else spec.model.weights,
        "source_revision": source.revision,
        "source_sha256": None if local is None else file_hashes(Path(local)),
        "quant": spec.quant.name,
        "recipe": encode(spec.quant.recipe),
        "recipe_sha256": hashlib.sha256(recipe.encode()).hexdigest(),
        "calibration": encode(spec.calibration),
        "calibration_sha256": texts,
        "seed": spec.seed,
        **result,
        "sha256": file_hashes(folder),
    }


def _install(part: Path, folder: Path, record: dict[str, Any]) -> None:
    """Put the finished checkpoint where it belongs; until then the old one stays."""
    from bench.models.checkpoints import RECORD

    try:
        (part / RECORD).write_text(json_text(record, indent=1) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
        for log in folder.parent.glob(f"{part.name}.log"):
            log.rename(folder.with_name(f"{folder.name}.log"))
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}.") from error
