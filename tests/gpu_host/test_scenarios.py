"""Every way a GPU host misbehaves, on bench's own findings: no row may be wrong and silent.

docs/gpu-scenarios.md is the table that this test produces; UPDATE_SCENARIOS=1 writes it anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from build import build_all, compiler  # noqa: E402 -- beside this file
from scenarios import ALL, Scenario  # noqa: E402

TABLE = HERE.parents[1] / "docs" / "gpu-scenarios.md"
OF_THE_HOST = (
    *("engine", "driver", "host_power", "hub", "hub_token", "disk"),
    *("shared_memory", "results_disk"),
)
"""What the doctor says of the machine that runs the tests, and not of its boards."""

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler to build the library")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What bench says of every scenario, by name."""
    folder = tmp_path_factory.mktemp("nvml")
    asked = folder / "scenarios.json"
    asked.write_text(json.dumps([s.ask() for s in ALL]))
    libraries = build_all(folder, [s.without for s in ALL])
    env = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    env["PYTHONPATH"] = os.pathsep.join((str(HERE.parents[1]), str(HERE.parent), str(HERE)))
    command = [sys.executable, str(HERE / "probe.py"), str(libraries), str(asked)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return {a["name"]: a for a in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("scenario", ALL, ids=lambda s: s.name)
def test_what_bench_makes_of_it(scenario: Scenario, told: Mapping[str, Any]) -> None:
    answer = told[scenario.name]
    said = json.dumps(answer, ensure_ascii=False)
    assert "traceback" not in said, said
    assert auto_of(answer) == scenario.auto
    watts = answer["energy"].get("watts")
    if scenario.watts is None:
        assert watts is None
        assert energy_said(answer), "no energy, and nobody says why"
    else:
        assert watts == pytest.approx(scenario.watts, rel=0.003)
    assert problems_of(answer) == sorted(scenario.doctor)
    for words in scenario.says:
        assert words in said


def test_no_row_is_wrong_and_silent(told: Mapping[str, Any]) -> None:
    """The table as it stands in docs: each figure is the truth, or is withheld with its reason."""
    assert sorted(told) == sorted({s.name for s in ALL})
    assert len(told) == len(ALL), "two scenarios of one name"
    made = table(told)
    if os.environ.get("UPDATE_SCENARIOS"):
        TABLE.write_text(made)
    assert "WRONG" not in made
    assert TABLE.read_text() == made, "UPDATE_SCENARIOS=1 pytest tests/gpu_host/test_scenarios.py"


def auto_of(answer: Mapping[str, Any]) -> str:
    """What gpu=auto comes to."""
    auto = answer["auto"]
    return "refused" if "refused" in auto else f"{auto['gpu']} {auto['count']}"


def problems_of(answer: Mapping[str, Any]) -> list[str]:
    """The doctor's codes about the boards."""
    return sorted(set(answer["doctor"]["problems"]) - set(OF_THE_HOST))


def energy_said(answer: Mapping[str, Any]) -> str:
    """Why there is no figure, or what is said beside it."""
    energy = answer["energy"]
    if energy.get("watts") is None:
        return str(energy.get("refused") or energy.get("why") or "")
    said = {k: v for k, v in energy["findings"].items() if k != "energy_window"}
    return "; ".join(f"{code} ({text.partition(':')[0]})" for code, text in said.items())


def table(told: Mapping[str, Any]) -> str:
    """Markdown: scenario, what is true, what bench says."""
    lines = [
        "# What a GPU host can do to a run, and what bench says",
        "",
        "Made by `tests/gpu_host/test_scenarios.py`: the real NVML binding on a library that",
        "misbehaves as told. True W is what the deployment draws, – where no honest figure can be",
        "had; bench W is what is reported. The doctor looks before the run is there.",
        "",
        "| scenario | gpu=auto | doctor | true W | bench W | what is said of the energy |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for s in ALL:
        answer = told[s.name]
        watts = answer["energy"].get("watts")
        true = "–" if s.watts is None else f"{s.watts:.0f}"
        right = watts is None or (s.watts is not None and abs(watts / s.watts - 1) < 0.003)
        reported = "–" if watts is None else f"{watts:.0f}" + ("" if right else " WRONG")
        doctor = ", ".join(problems_of(answer)) or "nothing is wrong"
        said = short(energy_said(answer)) or ("sound" if watts is not None else "WRONG: silent")
        lines.append(f"| {s.name} | {auto_of(answer)} | {doctor} | {true} | {reported} | {said} |")
    return "\n".join(lines) + "\n"


@cache
def short(text: str) -> str:
    """A cell: without the board's long name, and cut."""
    for long, name in (("NVIDIA H100 80GB HBM3", "board"), ("-5afe-4000-8000-000000000000", "…")):
        text = text.replace(long, name)
    return (text if len(text) <= 110 else text[:109] + "…").replace("|", "/")
