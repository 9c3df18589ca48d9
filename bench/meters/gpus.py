"""Which devices and how much memory this machine has: NVML's list, and the OS for a CPU host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.meters.nvml_library import Found, Library, NvmlUnavailableError
from bench.values.telemetry import Told


@dataclass(frozen=True, kw_only=True)
class GpuDevice:
    """One GPU as NVML describes it; memory in bytes (0: not told), power limit in watts (None: not
    reported). `slice_of` is the uuid of the board of a MIG slice."""

    index: int
    uuid: str
    name: str
    memory_total_bytes: int
    power_limit_w: float | None = None
    mig_enabled: bool = False
    slice_of: str | None = None


@dataclass(frozen=True, kw_only=True)
class GpuList:
    """The devices visible to this process. `told`: it is these, there are none, or nobody can tell;
    `reason` says why there are none. `silent` are boards that do not answer, one text each."""

    devices: tuple[GpuDevice, ...]
    reason: str | None = None
    driver_version: str | None = None
    told: Told = "these"
    silent: tuple[str, ...] = ()


def list_gpus(env: Mapping[str, str] | None = None, binding: Any = None) -> GpuList:
    """The GPUs that NVML lists and CUDA_VISIBLE_DEVICES (from `env`) leaves visible.

    `binding` is the pynvml module.
    """
    try:
        library = Library(binding)
    except NvmlUnavailableError as error:
        return GpuList(devices=(), told=error.told, reason=str(error))
    try:
        chosen = library.chosen((os.environ if env is None else env).get("CUDA_VISIBLE_DEVICES"))
        driver, _ = library.tried(lambda: library.text("nvmlSystemGetDriverVersion"))
        devices = tuple(_device(library, found) for found in chosen.found)
    finally:
        library.close()
    return GpuList(
        devices=devices,
        told=chosen.told,
        reason=chosen.reason,
        driver_version=driver,
        silent=tuple(f"GPU {b.place} does not answer ({b.why})" for b in chosen.silent),
    )


def _device(library: Library, found: Found) -> GpuDevice:
    handle = found.handle
    memory, _ = library.tried(lambda: int(library.call("nvmlDeviceGetMemoryInfo", handle).total))
    limit, _ = library.tried(
        lambda: float(library.call("nvmlDeviceGetEnforcedPowerLimit", handle)) / 1000
    )
    return GpuDevice(
        index=found.place,
        uuid=found.uuid,
        name=found.name,
        memory_total_bytes=memory or 0,
        power_limit_w=limit,
        mig_enabled=bool(found.split),
        slice_of=found.slice_of,
    )


@dataclass(frozen=True, kw_only=True)
class HostMemory:
    """Memory of the host in bytes, the smaller of what the OS and the control group allow."""

    total_bytes: int
    available_bytes: int


def host_memory(root: Path = Path("/")) -> HostMemory:
    """Read /proc/meminfo and the control group's limit (v2, then v1) under `root`."""
    lines = (root / "proc/meminfo").read_text().splitlines()
    kib = {key: int(rest.split()[0]) for key, _, rest in (line.partition(":") for line in lines)}
    total, available = kib["MemTotal"] * 1024, kib["MemAvailable"] * 1024
    group = root / "sys/fs/cgroup"
    for limit_name, usage_name in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        limit, used = _number(group / limit_name), _number(group / usage_name)
        if limit is not None and limit < total:
            total = limit
            if used is not None:
                available = min(available, max(0, limit - used))
    return HostMemory(total_bytes=total, available_bytes=available)


def host_memory_bytes() -> int:
    """Bytes that a new process may still take on this host."""
    return host_memory().available_bytes


def _number(path: Path) -> int | None:
    """The whole number in a file; None where there is no such file or it says `max`."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
