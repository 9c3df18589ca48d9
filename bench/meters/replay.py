"""Recorded telemetry, played again as if it happened now. It measures nothing and says so."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.foreign.telemetry import telemetry_lines
from bench.meters.source import Clock, MonotonicClock
from bench.values.clock import now_ns
from bench.values.errors import InputError
from bench.values.outside import regular
from bench.values.telemetry import (
    Device,
    Header,
    Kind,
    Process,
    Reading,
    SourceKind,
    Telemetry,
    parse,
)

_POLL_S = 0.01


def read_telemetry(path: Path) -> Telemetry:
    """A telemetry file, gzipped or not, or a log of nvidia-smi, DCGM or Zeus; else InputError."""
    try:
        log = telemetry_lines(regular(path))
        if log is not None:
            return parse(log)
        if path.suffix == ".gz":
            with gzip.open(regular(path), "rt") as file:
                return parse(file)
        with regular(path).open() as file:
            return parse(file)
    except (OSError, ValueError, KeyError, TypeError, InputError) as error:
        raise InputError(f"meter.path: {path} is no recorded telemetry ({error}).") from error


class ReplaySource:
    """Readings of recorded telemetry with its own gaps, moved to begin now.

    A reading keeps the (moved) stamp it was recorded with; the sampler writes each once. Past the
    end of the recording there are no readings, so a longer run has a gap there. See
    `bench.meters.source.Source`.
    """

    kind: SourceKind = "replay"
    poll_s: float | None = _POLL_S

    def __init__(
        self, telemetry: Telemetry, clock: Clock | None = None, start_ns: int | None = None
    ):
        self._telemetry = telemetry
        self._clock = clock or MonotonicClock()
        stamps = [s.t_ns[0] for (d, _), s in telemetry.series.items() if d >= 0 and len(s.t_ns)]
        if not stamps:
            raise InputError("meter.path: the recorded telemetry holds no readings.")
        self._shift_ns = (now_ns() if start_ns is None else start_ns) - int(min(stamps))

    def header(self) -> Header:
        """The recorded one, labelled replay, with where it came from."""
        was = self._telemetry.header
        parts = [f"recorded from {was.source}", was.wall_iso, was.note or ""]
        return replace(was, source="replay", note=", ".join(p for p in parts if p))

    def devices(self) -> tuple[Device, ...]:
        """The recorded devices."""
        return self._telemetry.header.devices

    def power(self, device: int) -> Reading | None:
        """The last reading recorded before this moment; None before the first."""
        return self._last(device, "power")

    def energy(self, device: int) -> Reading | None:
        """The last reading recorded before this moment; None before the first."""
        return self._last(device, "energy")

    def state(self, device: int) -> Reading | None:
        """The last reading recorded before this moment; None before the first."""
        return self._last(device, "state")

    def memory(self, device: int) -> Reading | None:
        """The last reading recorded before this moment; None before the first."""
        return self._last(device, "memory")

    def processes(self, device: int) -> tuple[Process, ...] | str | None:
        """Process ids of another machine and time mean nothing here."""
        return None

    def close(self) -> None:
        """Nothing is held open."""

    def _last(self, device: int, kind: Kind) -> Reading | None:
        series = self._telemetry.of(device, kind)
        at = self._clock.now_ns() - self._shift_ns
        place = int(np.searchsorted(series.t_ns, at, side="right")) - 1
        if place < 0:
            return None
        values: dict[str, float | int | None] = {}
        why: dict[str, str] = {}
        for name, column in series.values.items():
            value = float(column[place])
            values[name] = None if np.isnan(value) else value
            if np.isnan(value):
                why[name] = series.why.get(name, "not recorded")
        return Reading(
            t_ns=int(series.t_ns[place]) + self._shift_ns,
            half_ns=int(series.half_ns[place]),
            values=values,
            why=why,
        )
