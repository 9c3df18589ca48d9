"""Telemetry: what the meters read, in time order, with the reason for what they could not read.

One JSON object a line: a header, then readings `{"k": kind, "d": device, "t": ns, "h": ns, "v":
{...}}`, and an end. `t` is the middle of the read on CLOCK_MONOTONIC and `h` half its length. A
value that could not be read is null and `why` says so; it is never 0. Repeated values are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from bench.values.codec import decode

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Int64 = npt.NDArray[np.int64]
    Float64 = npt.NDArray[np.float64]

SourceKind = Literal["nvml", "rapl", "replay", "synthetic", "none"]
Scope = Literal["GPU board", "CPU package", "DRAM"]
Kind = Literal["power", "energy", "state", "memory", "engine"]
Told = Literal["these", "none", "unknown"]
"""What is known of a machine's GPUs: which they are, that there is none, or neither."""

SCHEMA = 1
ENGINE = -1
"""The `d` of readings that belong to no device: the engine's own gauges."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """One thing whose power is metered, as it was when the telemetry began. None: not reported.

    `index` is its place in the telemetry, for boards CUDA's; `nvml_index` its place in NVML's list.
    `slice_of` is the uuid of the board that a MIG slice is a part of. `node` is the machine where
    that is not the head, and `clock_error_ns` how well that one's clock is known.
    """

    index: int
    uuid: str
    name: str
    scope: Scope = "GPU board"
    nvml_index: int | None = None
    pci_bus_id: str | None = None
    power_limit_w: float | None = None
    power_limit_default_w: float | None = None
    mig: bool | None = None
    slice_of: str | None = None
    persistence: bool | None = None
    memory_total_bytes: int | None = None
    node: str | None = None
    clock_error_ns: int | None = None
    why: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Header:
    """The first line. `reason` says why there is no device; `owner_pid` is the run's own process.

    `gpus_told` says what is known of this machine's GPUs (None: nobody asked); `silent` are boards
    that did not answer, with the reason. `bare_hosts` are the machines of several whose processors
    are not metered.

    The clock pair is for display; `note` and `wall_iso` are the provenance of replayed telemetry.
    """

    source: SourceKind
    devices: tuple[Device, ...] = ()
    reason: str | None = None
    host_reason: str | None = None
    gpus_told: Told | None = None
    silent: tuple[str, ...] = ()
    bare_hosts: tuple[str, ...] = ()
    owner_pid: int | None = None
    monotonic_ns: int = 0
    wall_iso: str = ""
    fast_period_s: float = 0.05
    slow_period_s: float = 0.5
    driver: str | None = None
    cuda: str | None = None
    note: str | None = None
    schema: int = SCHEMA


@dataclass(frozen=True, eq=False)
class Series:
    """Readings of one kind from one device. Arrays of shape (n,); NaN where nothing was read."""

    t_ns: Int64
    half_ns: Int64
    values: Mapping[str, Float64]
    why: Mapping[str, str] = field(default_factory=dict)

    def read(self, name: str) -> tuple[Int64, Float64]:
        """Stamps and values of one field, where it was read."""
        import numpy as np

        column = self.values.get(name)
        if column is None:
            return np.empty(0, dtype=np.int64), np.empty(0)
        there = ~np.isnan(column)
        return self.t_ns[there], column[there]


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process on a device; `parents` are its ancestors, None when /proc does not show it.

    `kind`: it computes, draws, or is a client of an MPS server; `name` is the command's, None when
    /proc does not show it.
    """

    pid: int
    used_bytes: int | None = None
    parents: tuple[int, ...] | None = None
    kind: Literal["compute", "graphics", "mps"] = "compute"
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class ProcessSample:
    """Who was on a device at one moment; `processes` None with a reason when it was not told."""

    t_ns: int
    device: int
    processes: tuple[Process, ...] | None
    why: str | None = None


@dataclass(frozen=True, kw_only=True)
class End:
    """The last line: the sampler was told to stop. `cpu_s` is what it used of a processor since
    `began_ns`."""

    began_ns: int
    t_ns: int
    cpu_s: float


@dataclass(frozen=True, eq=False)
class Telemetry:
    """All of it, columnar: one Series per (device, kind). `end` None: it was cut off."""

    header: Header
    series: Mapping[tuple[int, str], Series] = field(default_factory=dict)
    processes: tuple[ProcessSample, ...] = ()
    end: End | None = None

    def of(self, device: int, kind: Kind) -> Series:
        """The readings of one kind from one device; an empty series when there are none."""
        found = self.series.get((device, kind))
        return _Rows().series() if found is None else found


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One read: values by name (None: not read, `why` says so), its middle and half its length."""

    t_ns: int
    half_ns: int
    values: Mapping[str, float | int | None]
    why: Mapping[str, str] = field(default_factory=dict)


def header_line(header: Header) -> str:
    """The first line of telemetry."""
    from bench.values.codec import encode

    return json.dumps({"k": "header", **encode(header)}, allow_nan=False)


def end_line(end: End) -> str:
    """The line of the end."""
    from bench.values.codec import encode

    return json.dumps({"k": "end", **encode(end)}, allow_nan=False)


def reading_line(kind: Kind, device: int, reading: Reading) -> str:
    """The line of one reading."""
    line: dict[str, Any] = {"k": kind, "d": device, "t": reading.t_ns, "h": reading.half_ns}
    line["v"] = dict(reading.values)
    if reading.why:
        line["why"] = dict(reading.why)
    return json.dumps(line, separators=(",", ":"), allow_nan=False)


def processes_line(sample: ProcessSample) -> str:
    """The line of one process list."""
    line: dict[str, Any] = {"k": "processes", "d": sample.device, "t": sample.t_ns}
    line["v"] = (
        None
        if sample.processes is None
        else [
            [p.pid, p.used_bytes, None if p.parents is None else list(p.parents), p.kind, p.name]
            for p in sample.processes
        ]
    )
    if sample.why:
        line["why"] = sample.why
    return json.dumps(line, separators=(",", ":"), allow_nan=False)


@dataclass
class _Rows:
    t_ns: list[int] = field(default_factory=list)
    half_ns: list[int] = field(default_factory=list)
    values: list[Mapping[str, float | None]] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)

    def series(self) -> Series:
        import numpy as np

        names = sorted({name for row in self.values for name in row})
        columns = {
            name: np.array(
                [np.nan if (v := row.get(name)) is None else v for row in self.values],
                dtype=np.float64,
            )
            for name in names
        }
        t_ns = np.array(self.t_ns, dtype=np.int64)
        order = np.argsort(t_ns, kind="stable")
        return Series(
            t_ns[order],
            np.array(self.half_ns, dtype=np.int64)[order],
            {name: column[order] for name, column in columns.items()},
            self.why,
        )


def parse(lines: Iterable[str]) -> Telemetry:
    """The telemetry of its lines; a last line cut short is left out. ValueError when it is none."""
    header: Header | None = None
    rows: dict[tuple[int, str], _Rows] = {}
    processes: list[ProcessSample] = []
    end: End | None = None
    for line in _objects(lines):
        kind = line.pop("k", None)
        if kind == "header":
            if header is None:  # telemetry may be several files, each with its own header
                header = decode(Header, line, "header")
        elif kind == "end":
            end = decode(End, line, "end")
        elif kind == "processes":
            processes.append(_process_sample(line))
        else:
            row = rows.setdefault((line["d"], str(kind)), _Rows())
            row.t_ns.append(line["t"])
            row.half_ns.append(line["h"])
            row.values.append(line["v"])
            for name, why in line.get("why", {}).items():
                row.why.setdefault(name, why)
    if header is None:
        raise ValueError("the first line is not the header of telemetry")
    if header.schema != SCHEMA:
        raise ValueError(f"schema {header.schema}; this bench reads {SCHEMA}")
    return Telemetry(header, {key: r.series() for key, r in rows.items()}, tuple(processes), end)


def _objects(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    waiting: ValueError | None = None
    for number, line in enumerate(lines, 1):
        if waiting is not None:
            raise waiting
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as error:
            waiting = ValueError(f"line {number} is not JSON ({error})")  # unless it is the last
            continue
        if not isinstance(found, dict):
            raise ValueError(f"line {number} is not an object")
        yield found


def _process_sample(line: Mapping[str, Any]) -> ProcessSample:
    listed = line["v"]
    return ProcessSample(
        t_ns=line["t"],
        device=line["d"],
        why=line.get("why"),
        processes=None
        if listed is None
        else tuple(
            Process(
                pid=pid, used_bytes=used, parents=None if up is None else tuple(up), **_how(more)
            )
            for pid, used, up, *more in listed
        ),
    )


def _how(more: Sequence[Any]) -> dict[str, Any]:
    """Kind and name of a process; telemetry from before they were kept have neither."""
    return dict(zip(("kind", "name"), more, strict=False))
