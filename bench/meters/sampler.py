"""The sampler: a process of its own that appends what the meters read and knows nothing else.

`python -m bench.meters.sampler FILE JSON` writes telemetry to FILE until its stdin closes; its one
line on stdout says when the header stands. FILE `-` is stdout, for another machine's sampler whose
lines come back over the words that started it: its first line is the header. It knows nothing of
load, windows or engines: those are marks in the run, and the analysis is a pure function of both.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.meters.source import Clock, MeterUnavailableError, Source
from bench.values.clock import now_ns
from bench.values.errors import BenchError
from bench.values.telemetry import (
    End,
    Header,
    Kind,
    ProcessSample,
    Reading,
    Told,
    end_line,
    header_line,
    processes_line,
    reading_line,
)

Emit = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How often: power every `fast_s`, everything else every `slow_s`, in seconds."""

    fast_s: float = 0.05
    slow_s: float = 0.5


class Sampling:
    """Reads sources in turn and emits one line for each reading.

    The devices of all sources are numbered through. A reading with the stamp of the one before (a
    recording played again) is the same reading and is not written twice.
    """

    def __init__(self, sources: Sequence[Source], emit: Emit, clock: Clock, rates: Rates) -> None:
        self._emit = emit
        self._clock = clock
        self._rates = rates
        self._devices: list[tuple[Source, int]] = [
            (s, d.index) for s in sources for d in s.devices()
        ]
        polls = [s.poll_s for s in sources if s.poll_s is not None]
        self._tick_s = min([rates.fast_s, *polls])
        # A recording has its own rhythm: every reading is looked at on every tick.
        self._every = 1 if polls else max(1, round(rates.slow_s / rates.fast_s))
        # One device after the other, so that slow reads do not pile up in one tick.
        self._due = [i if not polls else 0 for i in range(len(self._devices))]
        self._seen: dict[tuple[int, str], int] = {}

    def run(self, stopped: Callable[[], bool]) -> None:
        """Sample on an absolute schedule until `stopped`; a late tick is skipped, not squeezed."""
        tick_ns = round(self._tick_s * 1e9)
        began = self._clock.now_ns()
        number = 0
        while not stopped():
            self.tick(number)
            late = (self._clock.now_ns() - began) // tick_ns
            number = max(number + 1, late)
            self._clock.sleep_until(began + number * tick_ns)

    def tick(self, number: int) -> None:
        """One round: power of all devices, and the slow readings of those whose turn has come.

        A turn that fell into a tick that was skipped for lateness is taken at the next one.
        """
        for index, (source, device) in enumerate(self._devices):
            self._write("power", index, source.power(device))
            if number >= self._due[index]:
                missed = (number - self._due[index]) // self._every
                self._due[index] += (missed + 1) * self._every
                self._slow(index, source, device)

    def _slow(self, index: int, source: Source, device: int) -> None:
        self._write("energy", index, source.energy(device))
        self._write("state", index, source.state(device))
        self._write("memory", index, source.memory(device))
        listed = source.processes(device)
        if listed is not None:
            told = not isinstance(listed, str)
            sample = ProcessSample(
                t_ns=self._clock.now_ns(),
                device=index,
                processes=listed if not isinstance(listed, str) else None,
                why=None if told else str(listed),
            )
            self._emit(processes_line(sample))

    def _write(self, kind: Kind, index: int, reading: Reading | None) -> None:
        if reading is None or self._seen.get((index, kind)) == reading.t_ns:
            return
        self._seen[index, kind] = reading.t_ns
        self._emit(reading_line(kind, index, reading))


def open_sources(config: Mapping[str, Any]) -> tuple[list[Source], Header]:
    """The sources that a configuration asks for, and the header of their telemetry.

    `kind` auto takes NVML, else RAPL, else nothing with the reasons. BenchError when a source was
    asked for by name and is not there.
    """
    kind = config["kind"]
    if kind == "none":
        return [], Header(source="none", reason=config.get("reason") or "meter=none was asked for")
    if kind == "replay":
        from bench.meters.replay import ReplaySource, read_telemetry

        replayed = ReplaySource(read_telemetry(Path(config["path"])))
        return [replayed], replayed.header()
    if kind == "synthetic":
        return _synthetic(config)
    sources: list[Source] = []
    reasons: list[str] = []
    told: Told | None = None
    for name in ("nvml", "rapl"):
        if kind in ("auto", name) or (kind == "nvml" and sources):
            try:
                sources.append(_hardware(name))
            except MeterUnavailableError as error:
                if kind == name:
                    raise BenchError(f"meter={kind}: {error}") from error
                reasons.append(str(error))
                told = getattr(error, "told", told)
    if not sources:
        return [], Header(source="none", reason="; ".join(reasons), gpus_told=told)
    return sources, _joined(sources, reasons, told)


def _hardware(name: str) -> Source:
    if name == "nvml":
        from bench.meters.nvml import NvmlSource

        return NvmlSource()
    from bench.meters.rapl import RaplSource

    return RaplSource()


def _synthetic(config: Mapping[str, Any]) -> tuple[list[Source], Header]:
    from bench.meters.synthetic import SyntheticSource, constant

    source = SyntheticSource(
        curve=constant(config["watts"]),
        boards=max(1, config["boards"]),
        zero_ns=now_ns(),
        place=config.get("place", ""),
    )
    return [source], source.header()


def _joined(sources: Sequence[Source], reasons: Sequence[str], told: Told | None) -> Header:
    """The first source's header with the devices of all, numbered through."""
    devices = [d for s in sources for d in s.devices()]
    first = sources[0].header()
    return replace(
        first,
        gpus_told=first.gpus_told or told,
        devices=tuple(replace(d, index=i) for i, d in enumerate(devices)),
        # Boards without the host's own meter, or the host's without boards: say what is missing.
        reason=reasons[0] if reasons and sources[0].kind == "rapl" else None,
        host_reason=reasons[0] if reasons and sources[0].kind == "nvml" else None,
    )


class _PipeClock:
    """The monotonic clock; its sleep ends early when the owner is gone."""

    def __init__(self) -> None:
        self.owner = os.getppid()
        self.over = False

    def now_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        return now_ns()

    def sleep_until(self, when_ns: int) -> None:
        """Sleep, or see that stdin was closed."""
        left_s = max(0.0, (when_ns - now_ns()) / 1e9)
        ready, _, _ = select.select([0], [], [], left_s)
        self.over = (bool(ready) and not os.read(0, 4096)) or os.getppid() != self.owner

    def stopped(self) -> bool:
        """Whether the owner closed the pipe or died."""
        return self.over


def main() -> int:
    """Write the header, say `ready` (or why not), sample until stdin closes."""
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the owner decides when to stop
    path = None if sys.argv[1] == "-" else Path(sys.argv[1])
    config = json.loads(sys.argv[2])
    try:
        sources, header = open_sources(config)
    except BenchError as error:
        print(f"failed {error}", flush=True)
        return error.exit_code
    header = replace(
        header,
        owner_pid=os.getppid(),
        monotonic_ns=now_ns(),
        wall_iso=datetime.now(UTC).isoformat(timespec="milliseconds"),
        fast_period_s=config["fast_s"],
        slow_period_s=config["slow_s"],
    )
    try:
        _write(path, sources, header)
    except BrokenPipeError:
        return 1  # the owner is gone before anything was measured
    except OSError as error:  # a full disk: what stands is kept, and the telemetry has a gap
        print(f"failed power cannot be recorded ({error.strerror}).", flush=True)
        return 1
    finally:
        for source in sources:
            source.close()
    return 0


def _write(path: Path | None, sources: Sequence[Source], header: Header) -> None:
    """The whole telemetry, line by line, until the owner is gone; None is stdout."""
    began_ns = now_ns()
    stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    with stdout if path is None else path.open("w", buffering=1) as file:
        print(header_line(header), file=file)
        if path is not None:
            print("ready", flush=True)
        if sources:
            clock = _PipeClock()
            rates = Rates(fast_s=header.fast_period_s, slow_s=header.slow_period_s)
            Sampling(sources, lambda line: print(line, file=file), clock, rates).run(clock.stopped)
        end = End(began_ns=began_ns, t_ns=now_ns(), cpu_s=time.process_time())
        print(end_line(end), file=file)


if __name__ == "__main__":
    sys.exit(main())
