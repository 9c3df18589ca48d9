"""NVIDIA boards through NVML: every value with its return code, none of them ever a made-up 0."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.meters.nvml_library import (
    NO_SUCH_CALL,
    Found,
    Library,
    NvmlUnavailableError,
    running,
)
from bench.meters.source import Clock, MonotonicClock, stamped
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

SLICE = "a MIG slice has no sensor of its own: NVML counts the whole board"

Values = dict[str, float | int | None]
Whys = dict[str, str]


class NvmlSource:
    """The boards and MIG slices that CUDA_VISIBLE_DEVICES leaves visible, those that answer. See
    `bench.meters.source.Source`.

    NvmlUnavailableError when NVML does not start or lists none. `binding` is the pynvml module.
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
        library = Library(binding)
        self._library, self._nvml = library, library.binding
        self._clock = clock or MonotonicClock()
        self._proc = proc
        self._parents: dict[int, dict[int, Process]] = {}
        chosen = library.chosen((os.environ if env is None else env).get("CUDA_VISIBLE_DEVICES"))
        if not chosen.found:
            library.close()
            raise NvmlUnavailableError(chosen.reason or "NVML lists no GPU", chosen.told)
        self._handles = [found.handle for found in chosen.found]
        self._devices = tuple(self._device(i, found) for i, found in enumerate(chosen.found))
        self._silent = tuple(f"GPU {b.place} does not answer ({b.why})" for b in chosen.silent)

    def _device(self, index: int, found: Found) -> Device:
        call, handle = self._library.call, found.handle
        values, why = self._tried(
            {
                "power_limit_w": lambda: call("nvmlDeviceGetEnforcedPowerLimit", handle) / 1000,
                "power_limit_default_w": lambda: (
                    call("nvmlDeviceGetPowerManagementDefaultLimit", handle) / 1000
                ),
                "persistence": lambda: int(call("nvmlDeviceGetPersistenceMode", handle)),
                "memory_total_bytes": lambda: int(call("nvmlDeviceGetMemoryInfo", handle).total),
                "pci_bus_id": lambda: self._library.text_of(
                    call("nvmlDeviceGetPciInfo", handle).busId
                ),
            }
        )
        if found.split_why is not None:
            why["mig"] = found.split_why
        persistence = values["persistence"]
        return Device(
            index=index,
            uuid=found.uuid,
            name=found.name,
            nvml_index=found.place,
            power_limit_w=values["power_limit_w"],
            power_limit_default_w=values["power_limit_default_w"],
            mig=found.split,
            slice_of=found.slice_of,
            persistence=None if persistence is None else bool(persistence),
            memory_total_bytes=values["memory_total_bytes"],
            pci_bus_id=values["pci_bus_id"],
            why=why,
        )

    def header(self) -> Header:
        """Driver and CUDA versions, and the devices."""
        library = self._library
        values, _ = self._tried(
            {
                "driver": lambda: library.text("nvmlSystemGetDriverVersion"),
                "cuda": lambda: _cuda(int(library.call("nvmlSystemGetCudaDriverVersion_v2"))),
            }
        )
        return Header(
            source="nvml",
            devices=self._devices,
            gpus_told="these",
            silent=self._silent,
            driver=values["driver"],
            cuda=values["cuda"],
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
        handle = self._handles[device]
        info, _ = self._library.tried(lambda: self._library.call("nvmlDeviceGetMemoryInfo", handle))
        if info is None:
            return None
        return {"total": int(info.total), "used": int(info.used), "free": int(info.free)}

    def state(self, device: int) -> Reading | None:
        """Everything slow but the counter, each value tried on its own."""
        nvml, call, handle = self._nvml, self._library.call, self._handles[device]

        def read() -> tuple[Values, Whys]:
            values, why = self._fields(
                device, {"average_mw": _POWER_AVERAGE, "memory_temperature_c": _MEMORY_TEMPERATURE}
            )
            more, whys = self._tried(
                {
                    "sm_mhz": lambda: call("nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_SM),
                    "memory_mhz": lambda: call(
                        "nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_MEM
                    ),
                    "temperature_c": lambda: call(
                        "nvmlDeviceGetTemperature", handle, nvml.NVML_TEMPERATURE_GPU
                    ),
                    "limit_mw": lambda: call("nvmlDeviceGetEnforcedPowerLimit", handle),
                    "event_reasons": lambda: self._event_reasons(handle),
                    "utilisation_pct": lambda: call("nvmlDeviceGetUtilizationRates", handle).gpu,
                    **{
                        name: self._violation(handle, policy)
                        for name, policy in _VIOLATIONS.items()
                    },
                }
            )
            return values | more, why | whys

        return stamped(self._clock, read)

    def _event_reasons(self, handle: Any) -> int:
        """Why clocks are held; drivers before 535 know the call by its older name alone."""
        call = self._library.call
        try:
            return int(call("nvmlDeviceGetCurrentClocksEventReasons", handle))
        except self._library.errors as error:
            if self._library.said(error) != NO_SUCH_CALL:
                raise
            return int(call("nvmlDeviceGetCurrentClocksThrottleReasons", handle))

    def memory(self, device: int) -> Reading | None:
        """Version 2 of the memory call, which tells what is reserved from what is used."""
        library, handle = self._library, self._handles[device]
        names = ("total", "reserved", "used", "free")

        def read() -> tuple[Values, Whys]:
            info, why = library.tried(
                lambda: library.call(
                    "nvmlDeviceGetMemoryInfo", handle, version=library.binding.nvmlMemory_v2
                )
            )
            if why is not None:
                blank = [f"{name}_bytes" for name in names]
                return dict.fromkeys(blank), dict.fromkeys(blank, why)
            return {f"{name}_bytes": int(getattr(info, name)) for name in names}, {}

        return stamped(self._clock, read)

    def processes(self, device: int) -> tuple[Process, ...] | str | None:
        """Who computes or draws on the board, with the ancestors that /proc shows."""
        listed = running(self._library, self._handles[device])
        if isinstance(listed, str):
            return listed
        # Ancestors are looked up once, when a process appears: ids are used again later.
        known = self._parents.get(device, {})
        now = {}
        for pid, (kind, used) in listed.items():
            seen = known.get(pid) or Process(
                pid=pid, parents=ancestors(pid, self._proc), name=command(pid, self._proc)
            )
            now[pid] = replace(seen, kind=kind, used_bytes=used)
        self._parents[device] = now
        return tuple(now.values())

    def close(self) -> None:
        """Release NVML."""
        self._library.close()

    def _violation(self, handle: Any, policy: int) -> Callable[[], Any]:
        call = self._library.call
        return lambda: call("nvmlDeviceGetViolationStatus", handle, policy).violationTime

    def _fields(self, device: int, wanted: Mapping[str, Any]) -> tuple[Values, Whys]:
        """Several field values in one call, each with its own return code."""
        values: Values = dict.fromkeys(wanted)
        if self._devices[device].slice_of is not None:
            return values, dict.fromkeys(wanted, SLICE)
        handle, ids = self._handles[device], list(wanted.values())
        got, refused = self._library.tried(
            lambda: self._library.call("nvmlDeviceGetFieldValues", handle, ids)
        )
        if refused is not None:
            return values, dict.fromkeys(wanted, refused)
        why: Whys = {}
        for name, field in zip(wanted, got, strict=True):
            values[name], reason = decode_field(self._nvml, field)
            if reason is not None:
                why[name] = reason
        return values, why

    def _tried(self, calls: Mapping[str, Callable[[], Any]]) -> tuple[dict[str, Any], Whys]:
        values: dict[str, Any] = {}
        why: Whys = {}
        for name, call in calls.items():
            values[name], reason = self._library.tried(call)
            if reason is not None:
                why[name] = reason
        return values, why


def decode_field(nvml: Any, field: Any) -> tuple[float | int | None, str | None]:
    """The value of an nvmlFieldValue by its type, or None with the reason its return code gives."""
    if field.nvmlReturn == nvml.NVML_ERROR_FUNCTION_NOT_FOUND:
        return None, NO_SUCH_CALL
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


def command(pid: int, proc: Path = Path("/proc")) -> str | None:
    """The name of a process's command; None when /proc does not show it."""
    try:
        return (proc / str(pid) / "comm").read_text().strip() or None
    except OSError:
        return None


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
