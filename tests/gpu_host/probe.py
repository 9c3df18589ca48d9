"""What bench finds on a host in a given state: its own code, through the real binding.

A process of its own, since a library that was loaded stays. Time is turned, in the library as well:
45 s of metering take milliseconds.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from ctypes import CDLL, c_double
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pynvml
from build import LIBRARY
from power_support import MARKS, SECOND_NS, TurnedClock, at, load_part, sampled
from scenarios import OWN

from bench.cli.verbs.doctor import examine
from bench.config.compose import catalogue, compose, run_spec
from bench.host.doctor import problems
from bench.meters.gpus import list_gpus
from bench.meters.nvml import NvmlSource
from bench.power.measure import measure, metered
from bench.preflight import identified
from bench.values.errors import BenchError
from bench.values.spec import RunSpec
from bench.values.telemetry import parse

START_S, END_S = 8.0, 42.0
LONG_S = 45.0


class LibraryClock(TurnedClock):
    """The turned clock, which turns the library's with it."""

    def __init__(self, library: Any) -> None:
        super().__init__()
        self.library = library
        self.events: list[tuple[int, str]] = []
        self.turn()

    def turn(self) -> None:
        """Tell the library what time it is."""
        self.library.standin_clock(c_double(self.at_ns / 1e9))
        while self.events and self.at_ns >= self.events[0][0]:
            _, orders = self.events.pop(0)
            give(orders)

    def sleep_until(self, when_ns: int) -> None:
        """Turn to then."""
        super().sleep_until(when_ns)
        self.turn()


def give(orders: str) -> None:
    """Put orders where the library looks for them."""
    path = Path(os.environ["NVML_STANDIN"])
    fresh = path.with_suffix(".new")
    fresh.write_text(orders)
    fresh.replace(path)


def tried(ask: Any) -> dict[str, Any]:
    """An answer, a refusal in one line, or the traceback that a user would have seen."""
    try:
        return dict(ask())
    except BenchError as error:
        return {"refused": str(error)}
    except Exception as error:  # noqa: BLE001 -- what is looked for
        return {
            "traceback": f"{type(error).__name__}: {error}",
            "at": traceback.format_exc()[-400:],
        }


known = cache(catalogue)


@cache
def spec_of(gpus: int) -> RunSpec:
    """The run that the host is looked at for."""
    made: RunSpec = run_spec(compose(["model=deepseek-r1-distill-llama-8b", f"gpus={gpus}"]))
    return made


def doctor(scenario: dict[str, Any], clock: LibraryClock) -> dict[str, Any]:
    cat = known()
    spec = spec_of(scenario["gpus"])
    machine = examine(
        spec, cat, scenario["env"], clock=clock, fetch=lambda _: None, rapl=Path("/nowhere")
    )
    found = problems(machine, scenario["gpus"])
    return {
        "boards": [b.device.uuid for b in machine.boards],
        "problems": {f.code: f"{f.severity}: {f.text}" for f in found},
    }


def auto(scenario: dict[str, Any]) -> dict[str, Any]:
    gpu, count = identified(list_gpus(scenario["env"]), known())
    return {"gpu": gpu.name, "count": count}


def energy(scenario: dict[str, Any], clock: LibraryClock) -> dict[str, Any]:
    """45 s of load, sampled and measured as a run is."""
    source = NvmlSource(clock, scenario["env"])
    try:
        began = clock.at_ns
        clock.events = [
            (began + round(s * SECOND_NS), scenario["own"] + scenario["orders"] + more)
            for s, more in scenario.get("later", [])
        ]
        trace = parse(sampled([source], clock, LONG_S))
    finally:
        source.close()
    trace = replace(trace, header=replace(trace.header, owner_pid=OWN))
    shift = began - at(0)
    marks = {name: ns + shift for name, ns in MARKS.items()}
    parts = [load_part(START_S + shift / 1e9, END_S + shift / 1e9, repeat=r) for r in range(3)]
    how = metered(
        trace,
        gpus=scenario["gpus"],
        marks=marks,
        own_pids=(OWN,),
        start_ns=began + 5 * SECOND_NS,
        end_ns=clock.at_ns,
    )
    power = measure(how, parts, max_error_rate=0.01)
    mean = power.metrics["power_mean_w"]
    said = [f for f in power.findings if f.severity in ("fail", "warn")]
    return {
        "watts": mean.value,
        "why": mean.reason,
        "devices": [d.uuid for d in how.deployment.devices],
        "findings": {f.code: f"{f.severity}: {f.text}" for f in said},
    }


class Libraries:
    """The driver's library in every age that is asked for, each loaded once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loaded: dict[str, Any] = {}

    def use(self, without: str) -> Any:
        """Make the binding call the library that lacks a symbol, or none."""
        if without not in self.loaded:
            self.loaded[without] = CDLL(str(self.folder / (without or "whole") / LIBRARY))
        pynvml._nvmlGetFunctionPointer_cache.clear()
        pynvml.nvmlLib = self.loaded[without]
        return self.loaded[without]


def answers(scenario: dict[str, Any], library: Any) -> dict[str, Any]:
    """What the doctor, the detection and a metered run make of one scenario."""
    give(scenario["orders"])
    clock = LibraryClock(library)
    found = {
        "name": scenario["name"],
        "doctor": tried(lambda: doctor(scenario, clock)),
        "auto": tried(lambda: auto(scenario)),
    }
    give(scenario["own"] + scenario["orders"])
    clock = LibraryClock(library)
    return {**found, "energy": tried(lambda: energy(scenario, clock))}


def main() -> int:
    """`probe.py FOLDER FILE`: ask every scenario of the file with the libraries of the folder."""
    libraries = Libraries(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NVML_STANDIN"] = str(Path(folder) / "orders")
        for scenario in json.loads(Path(sys.argv[2]).read_text()):
            print(json.dumps(answers(scenario, libraries.use(scenario["without"]))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
