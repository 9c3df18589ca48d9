"""Which devices and how much memory this machine has: NVML's list, and the OS for a CPU host."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class GpuDevice:
    """One GPU as NVML describes it; memory in bytes, power limit in watts (None: not reported)."""

    index: int
    uuid: str
    name: str
    memory_total_bytes: int
    power_limit_w: float | None = None
    mig_enabled: bool = False


@dataclass(frozen=True, kw_only=True)
class GpuList:
    """The devices visible to this process; `reason` says why there are none."""

    devices: tuple[GpuDevice, ...]
    reason: str | None = None
    driver_version: str | None = None


def list_gpus(env: Mapping[str, str] | None = None, binding: Any = None) -> GpuList:
    """The GPUs that NVML lists and CUDA_VISIBLE_DEVICES (from `env`) leaves visible.

    `binding` is the pynvml module.
    """
    if binding is None:
        import pynvml  # loads no driver until nvmlInit

        binding = pynvml
    try:
        binding.nvmlInit()
    except (binding.NVMLError_LibraryNotFound, binding.NVMLError_DriverNotLoaded) as error:
        return GpuList(devices=(), reason=f"no NVIDIA driver on this machine ({error})")
    except binding.NVMLError as error:
        return GpuList(devices=(), reason=f"NVML does not start ({error})")
    try:
        found = tuple(_device(binding, i) for i in range(binding.nvmlDeviceGetCount()))
        driver = _text(binding.nvmlSystemGetDriverVersion())
    except (
        binding.NVMLError
    ) as error:  # one that fell off the bus, or one without memory of its own
        return GpuList(devices=(), reason=f"NVML does not list its GPUs ({error})")
    finally:
        binding.nvmlShutdown()
    chosen = visible(found, (os.environ if env is None else env).get("CUDA_VISIBLE_DEVICES"))
    reason = None if chosen else "NVML lists no GPU that CUDA_VISIBLE_DEVICES leaves visible"
    return GpuList(devices=chosen, reason=reason, driver_version=driver)


def visible(devices: tuple[GpuDevice, ...], setting: str | None) -> tuple[GpuDevice, ...]:
    """The devices that a CUDA_VISIBLE_DEVICES of indices or UUIDs leaves, in its order."""
    return tuple(devices[i] for i in visible_indices([d.uuid for d in devices], setting))


def visible_indices(uuids: Sequence[str], setting: str | None) -> list[int]:
    """Places in NVML's list that a CUDA_VISIBLE_DEVICES of indices or UUIDs leaves, in its order.

    Without the setting, all of them, in NVML's order.
    """
    if setting is None:
        return list(range(len(uuids)))
    chosen: list[int] = []
    for word in (w.strip() for w in setting.split(",")):
        match = [
            i
            for i, uuid in enumerate(uuids)
            if (word.isdigit() and i == int(word)) or (word and uuid.startswith(word))
        ]
        if not match:
            break  # CUDA ignores the first invalid entry and everything after it
        chosen.append(match[0])
    return chosen


def _device(nvml: Any, index: int) -> GpuDevice:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    return GpuDevice(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        memory_total_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        power_limit_w=_power_limit_w(nvml, handle),
        mig_enabled=_mig_enabled(nvml, handle),
    )


def _power_limit_w(nvml: Any, handle: object) -> float | None:
    try:
        return float(nvml.nvmlDeviceGetEnforcedPowerLimit(handle)) / 1000
    except nvml.NVMLError:
        return None  # not every board reports one


def _mig_enabled(nvml: Any, handle: object) -> bool:
    try:
        return int(nvml.nvmlDeviceGetMigMode(handle)[0]) == 1
    except nvml.NVMLError:
        return False  # boards without MIG answer NOT_SUPPORTED


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


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
