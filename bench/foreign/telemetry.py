"""Logs of GPUs as others keep them, as telemetry that can be replayed, labelled by its sampling.

Read are `nvidia-smi --query-gpu=… --format=csv -l 1`, dcgm-exporter's metrics with the time stamps
that Prometheus gives them, and Zeus' two CSV files: the samples of its power monitor (`Time,Power`,
mW of one GPU) and ZeusMonitor's windows (`start_time,window_name,elapsed_time,gpu0_energy`, J).
`power.draw` is the mean of a second on boards since Ampere, `power.draw.instant` is not: the note
says which. A log has no clock of this machine: its stamps count from its first row.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.foreign import lines
from bench.foreign.stamps import date_s
from bench.values.errors import InputError
from bench.values.telemetry import Device, Header, Kind, Reading, header_line, reading_line

KEY = "meter.path"
Target = tuple[Kind, str, float]
"""Kind of reading, field, and by what the log's unit is multiplied."""

_SMI: Mapping[str, Target] = {
    "power.draw.instant": ("power", "instant_mw", 1e3),
    "power.draw": ("power", "instant_mw", 1e3),
    "power.draw.average": ("state", "average_mw", 1e3),
    "clocks.sm": ("state", "sm_mhz", 1.0),
    "clocks.current.sm": ("state", "sm_mhz", 1.0),
    "clocks.mem": ("state", "memory_mhz", 1.0),
    "clocks.current.memory": ("state", "memory_mhz", 1.0),
    "temperature.gpu": ("state", "temperature_c", 1.0),
    "power.limit": ("state", "limit_mw", 1e3),
    "utilization.gpu": ("state", "utilisation_pct", 1.0),
    "memory.used": ("memory", "used_bytes", 2.0**20),
}
_DCGM: Mapping[str, Target] = {
    "DCGM_FI_DEV_POWER_USAGE": ("power", "instant_mw", 1e3),
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": ("energy", "energy_mj", 1.0),
    "DCGM_FI_DEV_SM_CLOCK": ("state", "sm_mhz", 1.0),
    "DCGM_FI_DEV_MEM_CLOCK": ("state", "memory_mhz", 1.0),
    "DCGM_FI_DEV_GPU_TEMP": ("state", "temperature_c", 1.0),
    "DCGM_FI_DEV_GPU_UTIL": ("state", "utilisation_pct", 1.0),
    "DCGM_FI_DEV_FB_USED": ("memory", "used_bytes", 2.0**20),
}
_UNITS = {"W": 1.0, "MHz": 1.0, "%": 1.0, "MiB": 1.0, "": 1.0}
_SAMPLE = re.compile(
    r"^(?P<name>DCGM_\w+)\{(?P<labels>.*)\}\s+(?P<value>\S+)(?:\s+(?P<at>\d+))?\s*$"
)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(kw_only=True)
class _Log:
    """Readings by (device, moment, kind), and the devices by their name in the log."""

    rows: dict[tuple[int, int, Kind], dict[str, float]] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    half_ns: dict[int, int] = field(default_factory=dict)
    """By moment, how unsure its time is, where the log says so itself."""
    note: str = ""

    def device(self, name: str, *, uuid: str, title: str) -> int:
        known = self.devices.get(name)
        if known is None:
            known = Device(index=len(self.devices), uuid=uuid or name, name=title or "GPU")
            self.devices[name] = known
        return known.index

    def add(self, device: int, at_ns: int, target: Target, value: float) -> None:
        kind, name, scale = target
        self.rows.setdefault((device, at_ns, kind), {})[name] = value * scale


def telemetry_lines(path: Path) -> Iterator[str] | None:
    """Lines of this package's telemetry from a log; None where the file is none of these logs."""
    with lines.opened(str(path), KEY) as file:
        opening = next(lines.numbered(file, str(path)), None)
        if opening is None:
            return None
        number, first = opening
        if first.lstrip().startswith("timestamp") and "power.draw" in first:
            header = [name.strip() for name in first.strip().split(",")]
            log = _smi(lines.rows(file, header, str(path), number + 1), header)
        elif first.strip().replace(" ", "") == "Time,Power":
            log = _zeus_samples(lines.rows(file, ["Time", "Power"], str(path), number + 1))
        elif first.startswith("start_time,window_name,elapsed_time,"):
            header = first.strip().split(",")
            log = _zeus_windows(lines.rows(file, header, str(path), number + 1), header)
        elif first.lstrip().startswith(("DCGM_", "# HELP DCGM_", "# TYPE DCGM_")):
            found = lines.numbered(file, str(path))
            log = _dcgm([opening, *((n + number, text) for n, text in found)], str(path))
        else:
            return None
    if not log.rows:
        raise InputError(f"{KEY}: {path} holds no reading that is known.")
    return _written(log)


def _smi(found: Iterable[tuple[int, Mapping[str, str]]], header: list[str]) -> _Log:
    log = _Log()
    names = {column: column.split(" ")[0] for column in header}
    instant = "power.draw.instant" in names.values()
    told = "power.draw.instant" if instant else "power.draw, a mean of a second on newer boards"
    log.note = f"nvidia-smi log, {told}"
    for number, row in found:
        by_name = {names[column]: value.strip() for column, value in row.items()}
        at_s = date_s(by_name["timestamp"].replace("/", "-"))
        if at_s is None:
            raise InputError(f"{KEY}: line {number}: {by_name['timestamp']!r} is no time.")
        name = by_name.get("uuid") or by_name.get("pci.bus_id") or by_name.get("index", "0")
        device = log.device(name, uuid=by_name.get("uuid", ""), title=by_name.get("name", ""))
        for column, text in by_name.items():
            target, value = _SMI.get(column), _value(text)
            if target is None or value is None or (instant and column == "power.draw"):
                continue
            log.add(device, round(at_s * 1e9), target, value)
    return log


def _value(text: str) -> float | None:
    """`250.12 W` or `98 %`; None for `[N/A]`, which was not measured."""
    number, _, unit = text.partition(" ")
    if unit not in _UNITS:
        return None
    try:
        return float(number)
    except ValueError:
        return None


def _dcgm(found: Iterable[tuple[int, str]], path: str) -> _Log:
    log = _Log(note="dcgm-exporter's metrics")
    for number, text in found:
        sample = _SAMPLE.match(text)
        if sample is None or sample["name"] not in _DCGM:
            continue
        if sample["at"] is None:
            raise InputError(
                f"{KEY}: {path}:{number}: a scrape without a time stamp: what it shows cannot be "
                "placed; export the series from Prometheus with their times (ms)."
            )
        labels = dict(_LABEL.findall(sample["labels"]))
        if labels.get("GPU_I_ID"):
            continue  # a slice reports what its whole board draws
        device = log.device(
            labels.get("UUID") or labels.get("gpu", "0"),
            uuid=labels.get("UUID", ""),
            title=labels.get("modelName", ""),
        )
        value = _value(sample["value"])
        if value is not None and value == value:  # NaN is how a blank is written
            log.add(device, int(sample["at"]) * 1_000_000, _DCGM[sample["name"]], value)
    return log


def _zeus_samples(found: Iterable[tuple[int, Mapping[str, str]]]) -> _Log:
    log = _Log(note="Zeus' power monitor: NVML's power usage, a mean of a second on newer boards")
    device = log.device("0", uuid="", title="")
    for number, row in found:
        at_s, value = date_s(row["Time"]), _value(row["Power"].strip())
        if at_s is None or value is None:
            raise InputError(f"{KEY}: line {number}: {row['Time']!r}, {row['Power']!r}: no sample.")
        log.add(device, round(at_s * 1e9), ("power", "instant_mw", 1.0), value)
    return log


def _zeus_windows(found: Iterable[tuple[int, Mapping[str, str]]], header: list[str]) -> _Log:
    """The mean power of each window, in its middle. Windows inside of others are passed over: the
    energy of a moment counts once."""
    gpus = [c for c in header if c.endswith("_energy") and c.startswith("gpu")]
    log = _Log()
    end_s, inside = -math.inf, 0
    windows = []
    for number, row in found:
        values = [_value(row[c].strip()) for c in ("start_time", "elapsed_time", *gpus)]
        start_s, took_s, *energy_j = (v if v is not None else math.nan for v in values)
        if not (math.isfinite(start_s) and math.isfinite(took_s) and took_s > 0):
            raise InputError(f"{KEY}: line {number}: no window: {row}.")
        windows.append((start_s, -took_s, energy_j))
    for start_s, minus_took_s, energy_j in sorted(windows):
        if start_s < end_s:
            inside += 1
            continue
        took_s = -minus_took_s
        end_s, at_ns = start_s + took_s, round((start_s + took_s / 2) * 1e9)
        log.half_ns[at_ns] = round(took_s / 2 * 1e9)
        for name, joules in zip(gpus, energy_j, strict=True):
            device = log.device(name, uuid="", title="")
            if math.isfinite(joules):
                log.add(device, at_ns, ("power", "instant_mw", 1e3), joules / took_s)
    log.note = "ZeusMonitor's windows, each as its mean power; between them nothing was measured"
    log.note += f"; {inside} windows inside of others were passed over" if inside else ""
    return log


def _written(log: _Log) -> Iterator[str]:
    """The log as telemetry. Half of its period is how unsure the time of each reading is."""
    ordered = sorted(log.rows)
    times = sorted({at for _, at, _ in ordered})
    first_ns = times[0]
    gaps = sorted(b - a for a, b in itertools.pairwise(times))
    period_ns = gaps[len(gaps) // 2] if gaps else 0
    half_ns = period_ns // 2
    sampled = f"one reading each {period_ns / 1e9:.3g} s: what is shorter is not seen"
    yield header_line(
        Header(
            source="replay",
            devices=tuple(log.devices.values()),
            fast_period_s=period_ns / 1e9 or 1.0,
            slow_period_s=period_ns / 1e9 or 1.0,
            note=f"{log.note}; {sampled}",
        )
    )
    for device, at_ns, kind in sorted(ordered, key=lambda key: key[1::-1]):
        values = log.rows[device, at_ns, kind]
        unsure_ns = log.half_ns.get(at_ns, half_ns)
        reading = Reading(t_ns=at_ns - first_ns, half_ns=unsure_ns, values=values)
        yield reading_line(kind, device, reading)
