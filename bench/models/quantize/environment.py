"""The environment that llm-compressor runs in, apart from the engine's: made once, on first use.

llm-compressor and vLLM pin different compressed-tensors and transformers, so one environment cannot
hold both; vLLM loads what the newer one wrote.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from bench.values.errors import BenchError
from bench.values.server import Progress, ProgressCallback

TORCH = "2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_READY = ".bench-ready"


def lock_path() -> Path:
    """The hash-pinned list of packages, inside an installed package or beside it in a checkout."""
    inside = Path(__file__).parents[2] / "constraints" / "quantize.txt"
    return inside if inside.is_file() else Path(__file__).parents[3] / "constraints/quantize.txt"


def folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the environment is: BENCH_QUANTIZE_VENV, else in the user's cache, one per lock."""
    chosen = environ.get("BENCH_QUANTIZE_VENV")
    if chosen:
        return Path(chosen).expanduser().absolute()
    cache = Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "selfhost-bench" / f"quantize-{_digest()}"


def ready(progress: ProgressCallback) -> Path:
    """The environment's Python, made first where it is missing; BenchError when that fails."""
    where = folder()
    python = where / "bin" / "python"
    marker = where / _READY
    if marker.is_file() and marker.read_text() == _digest():
        return python
    began_s = time.monotonic()
    # Beside the folder, not in it: it has to outlive a failed attempt.
    log_path = where.with_name(where.name + ".log")
    where.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(where, ignore_errors=True)
    log_path.write_text("")
    for words in commands(where, gpu=has_gpu()):
        text = f"once, some minutes: {Path(words[-1]).name}"
        elapsed_s = time.monotonic() - began_s
        progress(Progress(phase="setting up llm-compressor", elapsed_s=elapsed_s, detail=text))
        if not _succeeds(words, log_path):
            said = [line for line in log_path.read_text().splitlines() if "ERROR" in line]
            cause = said[-1] if said else "see the log"
            raise BenchError(
                f"llm-compressor's environment could not be made: {cause}. Log: {log_path}"
            )
    marker.write_text(_digest())
    return python


def commands(where: Path, *, gpu: bool) -> list[list[str]]:
    """What makes the environment, in order."""
    pip = [str(where / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install"]
    steps = [[sys.executable, "-m", "venv", str(where)]]
    if gpu:
        steps.append([*pip, f"torch=={TORCH}"])
    else:
        # Under its local version, which no CUDA build has; the usual index first, torch's beside.
        cpu = f"torch=={TORCH}+cpu"
        steps.append([*pip, "--no-deps", "--extra-index-url", TORCH_CPU_INDEX, cpu])
    steps.append([*pip, "--no-deps", "--require-hashes", "-r", str(lock_path())])
    return steps


def has_gpu() -> bool:
    """Whether an NVIDIA driver is loaded."""
    return Path("/proc/driver/nvidia/version").exists()


def _succeeds(command: list[str], log_path: Path) -> bool:
    with log_path.open("ab") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    return done.returncode == 0


def _digest() -> str:
    return hashlib.sha256(lock_path().read_bytes()).hexdigest()[:12]
