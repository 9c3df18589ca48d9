"""NVIDIA boards through NVML: every value with its return code, none of them ever a made-up 0."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.meters.gpus import visible_indices
from bench.meters.source import Clock, MeterUnavailableError, MonotonicClock, stamped
from bench.values.telemetry import Device, Header, Process, Reading, SourceKind

_POWER_INSTANT, _POWER_AVERAGE, _ENERGY, _MEMORY_TEMPERATURE = 186, 185, 83, 82
_SCOPE_MEMORY = 2
# The struct call, not the field ids of the newer clock-event counters: those were numbered 251 to
# 253 in the R570 headers and 269 to 271 in later ones, so the same id means different things.
_VIOLATIONS = {
    "violation_power_ns": 0,
    "violation_thermal_ns": 1,
    "violation_board_ns": 3,
    "violation_reliability_ns": 5,
}

Values = dict[str, float | int | None]
Whys = dict[str, str]


class NvmlSource:
    """The boards that CUDA_VISIBLE_DEVICES leaves visible. See `bench.meters.source.Source`.

    MeterUnavailableError when NVML does not start or lists none. `binding` is the pynvml module.
    """

    kind: SourceKind = "nvml"
    poll_s: float | None = None

    def __init__(
        self,
        clock: Clock | None = None,
        env: Mapping[str, str] | None = None,
        binding: Any = None,
        proc: Path = Path("/proc"),
    ) -> None:
        if binding is None:
            import pynvml  # loads no driver until nvmlInit

            binding = pynvml
        self._nvml = binding
        self._clock = clock or MonotonicClock()
        self._proc = proc
        self._parents: dict[int, dict[int, tuple[int, ...] | None]] = {}
        try:
            binding.nvmlInit()
        except binding.NVMLError_LibraryNotFound as error:
            raise MeterUnavailableError("NVML library not found") from error
        except binding.NVMLError_DriverNotLoaded as error:
            raise MeterUnavailableError("NVIDIA driver not loaded") from error
        except binding.NVMLError as error:
            raise MeterUnavailableError(f"NVML does not start ({error})") from error
        try:
            self._handles, self._devices = self._open(os.environ if env is None else env)
        except binding.NVMLError as error:
            self.close()
            raise MeterUnavailableError(f"NVML does not list its GPUs ({error})") from error
        if not self._devices:
            self.close()
            raise MeterUnavailableError(
                "NVML lists no GPU that CUDA_VISIBLE_DEVICES leaves visible"
            )

    def _open(self, env: Mapping[str, str]) -> tuple[list[Any], tuple[Device, ...]]:
        nvml = self._nvml
        handles = [
            nvml.nvmlDeviceGetHandleByIndex(i) for i in range(int(nvml.nvmlDeviceGetCount()))
        ]
        uuids = [_text(nvml.nvmlDeviceGetUUID(h)) for h in handles]
        chosen = visible_indices(uuids, env.get("CUDA_VISIBLE_DEVICES"))
        kept = [handles[i] for i in chosen]
        return kept, tuple(
            replace(self._device(i, uuids[n], handles[n]), nvml_index=n)
            for i, n in enumerate(chosen)
        )

    def _device(self, index: int, uuid: str, handle: Any) -> Device:
        nvml = self._nvml
        values, why = self._tried(
            {
                "power_limit_w": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
                "power_limit_default_w": lambda: (
                    nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle) / 1000
                ),
                "mig": lambda: int(nvml.nvmlDeviceGetMigMode(handle)[0]),
                "persistence": lambda: int(nvml.nvmlDeviceGetPersistenceMode(handle)),
                "memory_total_bytes": lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
                "pci_bus_id": lambda: _text(nvml.nvmlDeviceGetPciInfo(handle).busId),
            }
        )
        mig, persistence, memory = (values[k] for k in ("mig", "persistence", "memory_total_bytes"))
        # A board without MIG answers "not supported", which is as good as a no.
        off = "mig" in why and why["mig"] == "Not Supported"
        return Device(
            index=index,
            uuid=uuid,
            name=_text(nvml.nvmlDeviceGetName(handle)),
            power_limit_w=values["power_limit_w"],
            power_limit_default_w=values["power_limit_default_w"],
            mig=False if off else None if mig is None else bool(mig),
            persistence=None if persistence is None else bool(persistence),
            memory_total_bytes=None if memory is None else int(memory),
            pci_bus_id=values["pci_bus_id"],
            why=why,
        )

    def header(self) -> Header:
        """Driver and CUDA versions, and the devices."""
        nvml = self._nvml
        values, _ = self._tried(
            {
                "driver": lambda: _text(nvml.nvmlSystemGetDriverVersion()),
                "cuda": lambda: _cuda(int(nvml.nvmlSystemGetCudaDriverVersion_v2())),
            }
        )
        return Header(
            source="nvml", devices=self._devices, driver=values["driver"], cuda=values["cuda"]
        )

    def devices(self) -> tuple[Device, ...]:
        """The boards, in CUDA_VISIBLE_DEVICES' order, else NVML's."""
        return self._devices

    def power(self, device: int) -> Reading | None:
        """Field 186 of the board and, where there is one, of its memory."""
        fields = {
            "instant_mw": _POWER_INSTANT,
            "memory_mw": (_POWER_INSTANT, _SCOPE_MEMORY),
        }
        return stamped(self._clock, lambda: self._fields(device, fields))

    def energy(self, device: int) -> Reading | None:
        """Field 83, mJ since the driver was loaded."""
        return stamped(self._clock, lambda: self._fields(device, {"energy_mj": _ENERGY}))

    def average(self, device: int) -> Reading | None:
        """Field 185 alone: the self-check times each field by itself."""
        return stamped(self._clock, lambda: self._fields(device, {"average_mw": _POWER_AVERAGE}))

    def memory_v1(self, device: int) -> dict[str, int] | None:
        """Bytes as version 1 of the memory call has them: what is reserved counts as used."""
        try:
            info = self._nvml.nvmlDeviceGetMemoryInfo(self._handles[device])
        except self._nvml.NVMLError:
            return None
        return {"total": int(info.total), "used": int(info.used), "free": int(info.free)}

    def state(self, device: int) -> Reading | None:
        """Everything slow but the counter, each value tried on its own."""
        nvml, handle = self._nvml, self._handles[device]

        def read() -> tuple[Values, Whys]:
            values, why = self._fields(
                device, {"average_mw": _POWER_AVERAGE, "memory_temperature_c": _MEMORY_TEMPERATURE}
            )
            more, whys = self._tried(
                {
                    "sm_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
                    "memory_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
                    "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(
                        handle, nvml.NVML_TEMPERATURE_GPU
                    ),
                    "limit_mw": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle),
                    "event_reasons": lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
                    "utilisation_pct": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
                    **{
                        name: self._violation(handle, policy)
                        for name, policy in _VIOLATIONS.items()
                    },
                }
            )
            return values | more, why | whys

        return stamped(self._clock, read)

    def memory(self, device: int) -> Reading | None:
        """Version 2 of the memory call, which tells what is reserved from what is used."""
        nvml, handle = self._nvml, self._handles[device]

        def read() -> tuple[Values, Whys]:
            try:
                info = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
            except nvml.NVMLError as error:
                names = ("total_bytes", "reserved_bytes", "used_bytes", "free_bytes")
                return dict.fromkeys(names), dict.fromkeys(names, str(error))
            return {
                "total_bytes": int(info.total),
                "reserved_bytes": int(info.reserved),
                "used_bytes": int(info.used),
                "free_bytes": int(info.free),
            }, {}

        return stamped(self._clock, read)

    def processes(self, device: int) -> tuple[Process, ...] | str | None:
        """The compute processes on the board, with the ancestors that /proc shows."""
        nvml, handle = self._nvml, self._handles[device]
        try:
            found = {int(p.pid): p for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle)}
        except nvml.NVMLError as error:
            return str(error)
        with suppress(nvml.NVMLError):  # a driver without this call has no such list
            # Clients that share a board through an MPS server are listed apart.
            for process in nvml.nvmlDeviceGetMPSComputeRunningProcesses(handle):
                found.setdefault(int(process.pid), process)
        # Ancestors are looked up once, when a process appears: ids are used again later.
        known = self._parents.get(device, {})
        now = {pid: known[pid] if pid in known else ancestors(pid, self._proc) for pid in found}
        self._parents[device] = now
        return tuple(
            Process(pid=pid, used_bytes=p.usedGpuMemory, parents=now[pid])
            for pid, p in found.items()
        )

    def close(self) -> None:
        """Release NVML."""
        self._nvml.nvmlShutdown()

    def _violation(self, handle: Any, policy: int) -> Callable[[], Any]:
        return lambda: self._nvml.nvmlDeviceGetViolationStatus(handle, policy).violationTime

    def _fields(self, device: int, wanted: Mapping[str, Any]) -> tuple[Values, Whys]:
        """Several field values in one call, each with its own return code."""
        values: Values = dict.fromkeys(wanted)
        why: Whys = {}
        try:
            got = self._nvml.nvmlDeviceGetFieldValues(self._handles[device], list(wanted.values()))
        except self._nvml.NVMLError as error:
            return values, dict.fromkeys(wanted, str(error))
        for name, field in zip(wanted, got, strict=True):
            values[name], reason = decode_field(self._nvml, field)
            if reason is not None:
                why[name] = reason
        return values, why

    def _tried(self, calls: Mapping[str, Callable[[], Any]]) -> tuple[dict[str, Any], Whys]:
        values: dict[str, Any] = {}
        why: Whys = {}
        for name, call in calls.items():
            try:
                values[name] = call()
            except self._nvml.NVMLError as error:
                values[name], why[name] = None, str(error)
        return values, why


def decode_field(nvml: Any, field: Any) -> tuple[float | int | None, str | None]:
    """The value of an nvmlFieldValue by its type, or None with the reason its return code gives."""
    if field.nvmlReturn != nvml.NVML_SUCCESS:
        return None, str(nvml.NVMLError(field.nvmlReturn))
    members = {
        nvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
        nvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
        nvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
        nvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
        nvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
        nvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
        nvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
    }
    member = members.get(field.valueType)
    if member is None:
        return None, f"unknown value type {field.valueType}"
    value: float | int = getattr(field.value, member)
    return value, None


def ancestors(pid: int, proc: Path = Path("/proc")) -> tuple[int, ...] | None:
    """The parents of a process up to init; None when /proc does not show it."""
    found: list[int] = []
    while pid > 1 and pid not in found[:-1]:
        try:
            # The command's name is in parentheses and may hold spaces: split after it.
            fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return tuple(found) if found else None
        pid = int(fields[1])
        found.append(pid)
    return tuple(found)


def _cuda(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
