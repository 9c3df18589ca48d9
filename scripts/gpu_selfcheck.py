"""Eleven questions to the power and memory sensors of this machine's GPU, in under 8 minutes.

    python scripts/gpu_selfcheck.py --out DIR [--rehearse [--driver]]

Changes no setting. Puts load on the GPU with torch in a process of its own, reads NVML, and writes
into DIR: selfcheck.json (the answers), trace.jsonl.gz (everything that was read) and
replay.jsonl.gz, which `meter=replay meter.path=…` plays. `--rehearse` does all of it with a made-up
board whose power follows the load, on a CPU, in less than a minute; with `--driver` it reads the
driver's library while the load stays on the CPU. Exit code 0: every answer is as
the rules assume, or it was a rehearsal; 3: one differs; 4: a question has no answer.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import __version__
from bench.compare.gpu_time import EXIT_CODES
from bench.meters.nvml import NvmlSource
from bench.meters.sampler import Rates, Sampling
from bench.meters.sensors import survey
from bench.meters.source import Clock, MeterUnavailableError, MonotonicClock
from bench.meters.synthetic import Curve, Sensors, SyntheticSource, chained, constant, square
from bench.power.selfcheck import answers
from bench.power.selfcheck_case import Answer, Facts, Segment
from bench.values.clock import now_ns
from bench.values.codec import encode
from bench.values.telemetry import Device, Header, Kind, header_line, parse, reading_line

LOAD = Path(__file__).with_name("selfcheck_load.py")
IDLE_W, RESIDENT_W, BUSY_W = 70.0, 110.0, 620.0
"""The made-up board of a rehearsal."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of each stretch; a rehearsal's are short."""

    idle: float = 12.0
    fast: float = 12.0
    step: float = 4.0
    warm: float = 5.0
    polled: float = 15.0
    steady: float = 65.0
    wave: float = 20.0
    round: float = 4.0
    restart: float = 6.0


REHEARSAL = Timing(
    idle=2.0, fast=3.0, step=1.5, warm=0.2, steady=4.0, wave=2.0, polled=3.0, round=0.6, restart=1.0
)
STEPS = 4
ROUNDS = 6
"""With the sampler: as many as a limit of half a per cent asks for."""


class Load:
    """The process that makes the load."""

    def __init__(self, kind: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(LOAD), kind],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.said = self.answer()

    def answer(self) -> dict[str, Any]:
        """The next line that it says; SystemExit when it died."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the load's process ended ({self.process.wait()}); see its message.")
        found: dict[str, Any] = json.loads(line)
        return found

    def order(self, order: dict[str, Any]) -> None:
        """Tell it what to do next; it answers when that is over."""
        assert self.process.stdin is not None
        print(json.dumps(order), file=self.process.stdin, flush=True)

    def stop(self) -> None:
        """End it and wait."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@dataclass
class Check:
    """One self-check under way: what was read so far, and the load that ran meanwhile."""

    source: Any
    clock: Clock
    timing: Timing
    kind: str
    script: list[tuple[float, Curve]] | None = None
    rehearsal: bool = False
    lines: list[str] = field(default_factory=list)
    replayed: list[str] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    pids: list[int] = field(default_factory=list)
    load: Load | None = None

    def made_up(self, at_ns: int, curve: Curve) -> None:
        """Let the made-up board of a rehearsal follow the load."""
        if self.script is not None:
            self.script.append(((at_ns - self.source.zero_ns) / 1e9, curve))

    def start_load(self) -> int:
        """Start the load's process; the bytes that it holds on the device."""
        self.load = Load(self.kind)
        self.pids.append(self.load.said["pid"])
        self.made_up(now_ns(), constant(RESIDENT_W))
        return int(self.load.said["allocated_bytes"])

    def run(
        self,
        name: str,
        load: Any,
        seconds: float,
        *,
        period_s: float | None = None,
        how: float | None = None,
    ) -> Segment:
        """One segment: order the load, fill the trace (`how`: poll seconds; 0.5: the sampler)."""
        print(f"  {name} ({seconds:g} s)", file=sys.stderr, flush=True)
        start = now_ns() + 100_000_000
        end = start + round(seconds * 1e9)
        order = {"load": load, "start_ns": start, "end_ns": end, "period_s": period_s}
        if self.load is not None:
            self.load.order(order)
            busy = square(RESIDENT_W, BUSY_W, period_s) if period_s else constant(BUSY_W)
            self.made_up(start, constant(RESIDENT_W) if load == "idle" else busy)
            self.made_up(end, constant(RESIDENT_W))
        ends = self.counter_at(start, end) if how is None else ()
        self.fill(how, end)
        said: dict[str, Any] = {"units": 0, "edges_ns": []}
        if self.load is not None:
            said = self.load.answer()
        segment = Segment(
            name=name,
            load=load,
            start_ns=start,
            end_ns=end,
            period_s=period_s,
            polled_s=how,
            edges_ns=tuple(said["edges_ns"]),
            rate_per_s=said["units"] / seconds,
            counter_mj=ends,
        )
        self.segments.append(segment)
        return segment

    def counter_at(self, start_ns: int, end_ns: int) -> tuple[tuple[int, float], ...]:
        """The counter twice, inside a segment and read at no other time."""
        inner_ns = (end_ns - start_ns) // 20
        found = []
        for at_ns in (start_ns + inner_ns, end_ns - inner_ns):
            self.clock.sleep_until(at_ns)
            reading = self.source.energy(DEVICE)
            value = reading.values.get("energy_mj")
            found += [] if value is None else [(reading.t_ns, float(value))]
        return tuple(found)

    def fill(self, how: float | None, end_ns: int) -> None:
        """Read until a moment: as the sampler does, by fast polling, or not at all."""
        if how is None:
            self.clock.sleep_until(end_ns)
        elif how >= 0.5:
            new: list[str] = []
            Sampling([self.source], new.append, self.clock, Rates()).run(
                lambda: now_ns() > end_ns + 100_000_000
            )
            self.lines += new
            self.replayed += new
        else:
            self.poll(how, end_ns)

    def poll(self, period_s: float, end_ns: int) -> None:
        """Fields 186, 83 and 185 by themselves, as often as asked or as they answer."""
        began, number = now_ns(), 0
        source = self.source
        readers: tuple[tuple[Kind, Any], ...] = (
            ("power", source.power),
            ("energy", source.energy),
            ("state", source.average),
        )
        while now_ns() < end_ns + 20_000_000:
            for kind, read in readers:
                self.lines.append(reading_line(kind, DEVICE, read(DEVICE)))
            number = max(number + 1, int((now_ns() - began) / (period_s * 1e9)))
            self.clock.sleep_until(began + round(number * period_s * 1e9))


DEVICE = 0


def perform(check: Check, out: Path) -> Facts:
    """All stretches in their order; the facts that the trace does not hold."""
    t, source = check.timing, check.source
    fields = {s.name: s.why for s in survey(source, check.clock, 1.0) if s.device == DEVICE}
    memory = memory_now(source, "before")
    with marked(check, "before_launch"):
        check.run("before_launch", "idle", t.idle, how=0.5)
    allocated = check.start_load()
    with marked(check, "resident"):
        check.run("resident", "idle", t.idle, how=0.5)
    memory |= memory_now(source, "resident")
    check.run("fast", "square", t.fast, period_s=1.3, how=0.002)
    check.run("steps", "square", 2 * STEPS * t.step, period_s=2 * t.step, how=0.01)
    check.run("warm", "steady", t.warm)
    check.run("steady_10ms", "steady", t.polled, how=0.01)
    check.run("steady_ends", "steady", t.polled)
    check.run("steady", "steady", t.steady, how=0.5)
    for ms in (37, 50, 100):
        check.run(f"square_{ms}ms", "square", t.wave, period_s=ms / 1e3, how=0.5)
    without, with_it = in_turns(check, out)
    restart(check)
    return Facts(
        fields=fields,
        memory=memory,
        allocated_bytes=allocated,
        rates_without=tuple(without),
        rates_with=tuple(with_it),
        load_pids=tuple(check.pids),
        marks=check.marks,
    )


@contextmanager
def marked(check: Check, name: str) -> Iterator[None]:
    """Remember a segment as an idle baseline."""
    yield
    segment = check.segments[-1]
    check.marks[f"{name}_start"] = segment.start_ns
    check.marks[f"{name}_end"] = segment.end_ns


def memory_now(source: Any, when: str) -> dict[str, dict[str, int]]:
    """Both versions of the memory call, where the source has them."""
    reading = source.memory(DEVICE)
    found = {}
    if all(v is not None for v in reading.values.values()):
        found[f"v2_{when}"] = {k.removesuffix("_bytes"): v for k, v in reading.values.items()}
    first = source.memory_v1(DEVICE) if hasattr(source, "memory_v1") else None
    return found | ({f"v1_{when}": first} if first else {})


def in_turns(check: Check, out: Path) -> tuple[list[float], list[float]]:
    """Rates of the load without and with the real sampler's process: A B A B A …"""
    without, with_it = [], []
    for number in range(2 * ROUNDS + 1):
        if number % 2:
            with sampler(check.source.kind, out / "overhead.jsonl"):
                segment = check.run(f"with_sampler_{number // 2}", "steady", check.timing.round)
            with_it.append(segment.rate_per_s or 0.0)
        else:
            segment = check.run(f"without_{number // 2}", "steady", check.timing.round)
            without.append(segment.rate_per_s or 0.0)
    return without, with_it


@contextmanager
def sampler(kind: str, path: Path) -> Iterator[None]:
    """The sampler as a run starts it."""
    config = {"kind": kind, "fast_s": 0.05, "slow_s": 0.5, "watts": 400, "boards": 1}
    command = [sys.executable, "-m", "bench.meters.sampler", str(path), json.dumps(config)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        raise SystemExit("the sampler did not start.")
    try:
        yield
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def restart(check: Check) -> None:
    """End the load's process and start it again while the sampler looks on."""
    assert check.load is not None
    start = now_ns()
    check.load.stop()
    check.load = None
    check.made_up(start, constant(IDLE_W))
    check.fill(0.5, now_ns() + round(check.timing.restart / 2 * 1e9))
    check.start_load()
    check.fill(0.5, now_ns() + round(check.timing.restart / 2 * 1e9))
    check.segments.append(Segment(name="restart", load="idle", start_ns=start, end_ns=now_ns()))


def open_check(rehearse: bool, driver: bool = False) -> Check:
    """The real board, or one that is made up; SystemExit when there is none."""
    clock = MonotonicClock()
    if rehearse and not driver:
        script: list[tuple[float, Curve]] = [(0.0, constant(IDLE_W))]
        lagging = Sensors(counter_lag_s=0.03)
        source = SyntheticSource(curve=chained(script), sensors=lagging, zero_ns=now_ns())
        made = Check(source=source, clock=clock, timing=REHEARSAL, kind="cpu", script=script)
        return replace(made, rehearsal=True)
    try:
        source_read = NvmlSource(clock)
        if rehearse:
            return Check(
                source=source_read, clock=clock, timing=REHEARSAL, kind="cpu", rehearsal=True
            )
        return Check(source=source_read, clock=clock, timing=Timing(), kind="cuda")
    except MeterUnavailableError as error:
        raise SystemExit(f"no GPU to check: {error}. --rehearse does without.") from error


def write(check: Check, facts: Facts, out: Path, took_s: float) -> tuple[Answer, ...]:
    """Traces and answers into `out`; the answers."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    found = check.source.header()
    device: Device = found.devices[DEVICE]
    note = (
        f"gpu_selfcheck of bench {__version__} on {device.name}, driver {found.driver}: idle, "
        "steady and square-wave load by torch"
    )
    header: Header = replace(
        found, wall_iso=at, monotonic_ns=now_ns(), fast_period_s=0.05, slow_period_s=0.5, note=note
    )
    for name, lines in (("trace", check.lines), ("replay", check.replayed)):
        with gzip.open(out / f"{name}.jsonl.gz", "wt") as file:
            file.write("\n".join([header_line(header), *lines]) + "\n")
    told = answers(parse([header_line(header), *check.lines]), device, check.segments, facts)
    document = {
        "rehearsal": check.rehearsal,
        "source": check.source.kind,
        "taken": at,
        "took_s": took_s,
        "device": encode(device),
        "driver": found.driver,
        "cuda": found.cuda,
        "answers": [encode(a) for a in told],
        "segments": [encode(s) for s in check.segments],
        "facts": encode(facts),
    }
    (out / "selfcheck.json").write_text(json.dumps(document, indent=1) + "\n")
    return told


def exit_code(told: Sequence[Answer]) -> int:
    """What the answers come to, as the evidence's programs end."""
    verdicts = {a.verdict for a in told}
    if "not measured" in verdicts:
        return EXIT_CODES["unclear"]
    return EXIT_CODES["no" if "differs" in verdicts else "yes"]


def main(argv: list[str] | None = None) -> int:
    """Do it, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--driver", action="store_true", help="rehearse on the driver's library")
    given = parser.parse_args(argv)
    given.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    check = open_check(given.rehearse, given.driver)
    try:
        facts = perform(check, given.out)
        # Before NVML is closed: a closed one tells no version of its driver.
        told = write(check, facts, given.out, time.monotonic() - began)
    finally:
        if check.load is not None:
            check.load.stop()
        check.source.close()
    for number, answer in enumerate(told, 1):
        print(f"{number:2} {answer.verdict:13} {answer.question}\n   {'':13} {answer.text}")
    print(f"{time.monotonic() - began:.0f} s; written into {given.out}")
    return 0 if given.rehearse else exit_code(told)


if __name__ == "__main__":
    sys.exit(main())
