"""Runs stored as `bench run` stores them, their load and their boards made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from point_support import Shot, point
from power_support import SECOND_NS, ZERO_NS, TurnedClock, at, edited, sampled

from bench.config.compose import compose, run_spec
from bench.meters.sampler import Rates
from bench.meters.synthetic import Curve, Sensors, SyntheticSource
from bench.store import create_run_dir, save_point, save_run
from bench.values.record import Anchor, PointData, Run

LOAD_S = 66
"""Requests of one second in one slot: the steady window is 65 s, in which 65 of them end."""

STARTS_S = (20, 100, 180)
OVER_S = 260.0
OWN_PID = 100


def busy(idle_w: float, load_w: float) -> Curve:
    """`load_w` from a second before each repeat to a second after it, `idle_w` else; exact."""

    def energy_j(t_s: float) -> float:
        loaded_s = sum(min(max(t_s - s + 1, 0.0), LOAD_S + 2.0) for s in STARTS_S)
        return idle_w * t_s + (load_w - idle_w) * loaded_s

    return energy_j


def repeat_of(number: int, prompt: int, output: int, **more: Any) -> PointData:
    """One repeat: a request a second, its tokens in ten equal chunks from 50 to 950 ms."""
    began = at(STARTS_S[number])
    shots = [
        Shot(
            sent=(began + i * SECOND_NS) / 1e6,
            chunks=[(began + i * SECOND_NS) / 1e6 + 50 + 100 * k for k in range(10)],
            end=(began + (i + 1) * SECOND_NS) / 1e6,
            tokens=[output // 10] * 10,
            prompt=prompt,
        )
        for i in range(LOAD_S)
    ]
    return replace(point(shots, repeat=number, **more), start_ns=began)


def stored(
    results: Path,
    curve: Curve,
    *,
    prompt: int = 50,
    output: int = 20,
    overrides: Sequence[str] = (),
    source: str = "synthetic",
    sensors: Sensors | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """The folder of a run of three repeats on one H100 whose board follows `curve`."""
    spec = run_spec(
        compose(
            [
                "engine=vllm",
                "gpu=h100-sxm",
                "gpus=1",
                "load.concurrency=[1]",
                "load.repeats=3",
                f"workload.input_tokens={prompt}",
                f"workload.output_tokens={output}",
                f"results_dir={results}",
                *overrides,
            ]
        ),
        detect_gpus=False,
    )
    path = create_run_dir(spec)
    run = Run(
        spec=spec,
        anchor=Anchor(monotonic_ns=ZERO_NS, wall_iso="2026-11-24T00:00:00.000+00:00"),
        server={"pid": OWN_PID, "ignore_eos": True, "engine_version": "0.32.0"},
        status="complete",
        engine_facts=facts,
        marks={
            "before_launch_start": at(0),
            "before_launch_end": at(8),
            "resident_start": at(9),
            "resident_end": at(17),
        },
        path=str(path),
    )
    save_run(path, run)
    for number in range(len(STARTS_S)):
        save_point(path, repeat_of(number, prompt, output))
    (path / "telemetry").mkdir()
    lines = trace_lines(curve, source, sensors or Sensors())
    (path / "telemetry" / "power.jsonl").write_text("\n".join(lines) + "\n")
    return path


def trace_lines(curve: Curve, source: str, sensors: Sensors) -> list[str]:
    """A board's trace over the whole run, as if `source` had read it; the run's process is on it.

    A watt more and less every second, so that the reading moves as real ones do.
    """

    def moving(t_s: float) -> float:
        rest = t_s % 2.0
        return curve(t_s) + min(rest, 2.0 - rest)

    clock = TurnedClock()
    board = SyntheticSource(curve=moving, sensors=sensors, clock=clock, zero_ns=ZERO_NS)
    lines = sampled([board], clock, OVER_S, Rates(fast_s=0.1, slow_s=0.5))

    def edit(line: dict[str, Any]) -> dict[str, Any]:
        if line["k"] == "header":
            return {**line, "source": source}
        return {**line, "v": [[OWN_PID, 2**30, [1]]]} if line["k"] == "processes" else line

    return edited(lines, edit)


def document(path: Path) -> dict[str, Any]:
    """What `bench show --json` prints of a stored run."""
    from bench.derive import derive
    from bench.report.document import run_document
    from bench.store import load_run

    run = load_run(path)
    return run_document(run, derive(run))
