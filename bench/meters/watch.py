"""Metering around a whole run: the sampler's process, the marks of the run, what it shows now."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.meters.on_nodes import sampled
from bench.nodes.joined import Node
from bench.values.clock import now_ns
from bench.values.codec import decode
from bench.values.errors import BenchError, InputError
from bench.values.interpreter import python
from bench.values.json_text import json_text
from bench.values.server import Gauges, Progress, ProgressCallback
from bench.values.spec import RunSpec
from bench.values.telemetry import Header

FOLDER = "telemetry"
POWER_FILE = "power.jsonl"

IDLE_S = {"nvml": 10.0, "rapl": 5.0, "replay": 1.0, "synthetic": 1.0, "none": 0.0}
"""How long an idle baseline is watched; a board's counter undercounts below 5 s."""

_SHOW_EVERY_S = 0.5
_STALE_S = 3.0
"""Older readings are not shown: the sampler may have died."""
_STOP_S = 5.0
_TAIL_BYTES = 65536
_LOCAL = ("127.0.0.1", "localhost", "::1", "0.0.0.0")


class Watch:
    """A running sampler. `marks` are moments of the run on the telemetry's clock, by name."""

    def __init__(self, path: Path, header: Header, idle_s: float | None) -> None:
        self.path = path
        self.header = header
        self.marks: dict[str, int] = {}
        self._idle_s = IDLE_S[header.source] if idle_s is None else idle_s
        self._shown = Gauges()
        self._shown_at_s = 0.0

    def mark(self, name: str) -> None:
        """Remember that `name` is now."""
        self.marks[name] = now_ns()

    def idle(self, name: str, progress: ProgressCallback) -> None:
        """Wait for an idle baseline and mark its ends `<name>_start` and `<name>_end`."""
        self.mark(f"{name}_start")
        began_s = time.monotonic()
        idle_s = self._idle_s if self.header.devices else 0.0
        while (elapsed_s := time.monotonic() - began_s) < idle_s:
            progress(
                Progress(
                    phase=f"metering idle power, {name.replace('_', ' ')}",
                    elapsed_s=elapsed_s,
                    done=round(elapsed_s, 1),
                    total=idle_s,
                    unit="s",
                    gauges=self.gauges(),
                )
            )
            time.sleep(min(0.5, idle_s - elapsed_s))
        self.mark(f"{name}_end")

    def gauges(self) -> Gauges:
        """Power, temperature and memory as last written; all None when nothing is metered."""
        now_s = time.monotonic()
        if self.header.devices and now_s - self._shown_at_s >= _SHOW_EVERY_S:
            self._shown, self._shown_at_s = self._read(), now_s
        return self._shown

    def _read(self) -> Gauges:
        """Boards as last read; processors, which have no reading of power, by their counters."""
        recent = now_ns() - round(_STALE_S * 1e9)
        lines = [line for line in _tail(self.path) if line["t"] >= recent]
        latest = {(line["k"], line["d"]): line.get("v") or {} for line in lines}
        boards = [d for d in self.header.devices if d.scope == "GPU board"]
        if not boards:
            packages = [d for d in self.header.devices if d.scope == "CPU package"]
            return Gauges(power_w=_total([_counted_w(lines, d.index) for d in packages], 1.0))
        power_mw = [latest.get(("power", d.index), {}).get("instant_mw") for d in boards]
        hot = [latest.get(("state", d.index), {}).get("temperature_c") for d in boards]
        used = [latest.get(("memory", d.index), {}).get("used_bytes") for d in boards]
        return Gauges(
            power_w=_total(power_mw, 1e3),
            temperature_c=max((t for t in hot if t is not None), default=None),
            memory_gib=_total(used, 2**30),
        )


def _counted_w(lines: Sequence[Mapping[str, Any]], device: int) -> float | None:
    """Mean power over the recent readings of a device's counter; None below two."""
    read = [
        (line["t"], mj)
        for line in lines
        if (line["k"], line["d"]) == ("energy", device)
        and (mj := (line.get("v") or {}).get("energy_mj")) is not None
    ]
    if len(read) < 2 or read[-1][0] <= read[0][0]:
        return None
    return 1e6 * float(read[-1][1] - read[0][1]) / float(read[-1][0] - read[0][0])


def _total(values: list[Any], divisor: float) -> float | None:
    """The sum over boards; None unless every board told its value."""
    if not values or any(v is None for v in values):
        return None
    return float(sum(values)) / divisor


def _tail(path: Path) -> Iterator[dict[str, Any]]:
    """The last whole lines of telemetry."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().split(b"\n")[1:-1]
    except OSError:
        return
    for line in lines:
        found = json.loads(line)
        if found.get("k") not in ("header", "processes", "end"):
            yield found


@contextmanager
def watch(spec: RunSpec, run_dir: Path, nodes: Sequence[Node] = ()) -> Iterator[Watch]:
    """Meter into `run_dir`/telemetry for as long as the context lasts, on this machine and, where
    the engine is spread over them, on all `nodes`.

    InputError when the meter asked for cannot be set up; a machine without one is metered by none,
    and the telemetry says why.
    """
    folder = run_dir / FOLDER
    folder.mkdir(exist_ok=True)
    path = folder / POWER_FILE
    command = python("-m", "bench.meters.sampler", str(path), json_text(_config(spec)))
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise BenchError(
            f"the power sampler did not start: {sys.executable}: {error.strerror}."
        ) from error
    try:
        header = _started(process, path)
        metered = nodes if spec.nodes.engine and header.source != "none" else ()
        with sampled(metered, spec.nodes, folder, _config(spec), POWER_FILE):
            yield Watch(path, header, spec.meter.idle_s)
    finally:
        _stop(process)


def _started(process: subprocess.Popen[bytes], path: Path) -> Header:
    """Wait for the sampler's word; its header, or the reason as an InputError."""
    assert process.stdout is not None
    word = process.stdout.readline().decode().strip()
    if word.startswith("failed "):
        reason = word.removeprefix("failed ").rstrip(".")
        remedy = (
            "" if reason.startswith("power cannot be rec") else " meter=auto takes what there is."
        )
        raise InputError(f"{reason}.{remedy}")
    if word != "ready":
        raise BenchError("the power sampler did not start; meter=none does without it.")
    with path.open() as file:
        found = json.loads(file.readline())
    del found["k"]
    return decode(Header, found, str(path))


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _config(spec: RunSpec) -> dict[str, Any]:
    """What the sampler is told: the source, its rhythm, and nothing of the load."""
    kind, reason = _wanted(spec)
    if kind == "replay":
        if not spec.meter.path:
            raise InputError("meter.path: say which recorded telemetry meter=replay is to play.")
        if not Path(spec.meter.path).expanduser().is_file():
            raise InputError(f"meter.path: there is no file {spec.meter.path!r}.")
    return {
        "kind": kind,
        "reason": reason,
        "path": spec.meter.path and str(Path(spec.meter.path).expanduser().absolute()),
        "fast_s": spec.meter.period_s,
        "slow_s": spec.meter.slow_period_s,
        "watts": spec.meter.watts,
        "boards": spec.gpus // spec.nodes.serving,
    }


def _wanted(spec: RunSpec) -> tuple[str, str | None]:
    """The source to open; `auto` meters no server that is a schedule or stands elsewhere."""
    engine = spec.engine
    if spec.meter.kind != "auto":
        return spec.meter.kind, None
    if engine.kind == "truth":
        return "none", "the truth server is a schedule: its power says nothing (meter=… meters it)"
    if engine.kind == "none":
        return "none", "no engine was served"
    if engine.kind == "endpoint" and urlsplit(engine.base_url).hostname not in _LOCAL:
        return "none", "the server is on another machine: nothing here meters it"
    return "auto", None
