"""A run without numbers says why before anything else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.derive import derive
from bench.measure.checks.moves import withhold
from bench.report.terminal import print_run
from bench.store import load_run
from bench.values.finding import Finding

STORED = Path(__file__).parents[1] / "data" / "run-schema-1"


def test_the_reason_stands_first(capsys: pytest.CaptureFixture[str]) -> None:
    run = load_run(STORED)
    measurement = derive(run)
    print_run(run, measurement)
    assert "no rate that may be shown" not in capsys.readouterr().out
    busy = Finding(code="client_bound", severity="fail", text="something else wants its core")
    points = tuple(
        replace(p, metrics=withhold(p.metrics, [busy]), findings=(*p.findings, busy))
        for p in measurement.points
    )
    print_run(run, replace(measurement, points=points))
    found = capsys.readouterr().out.splitlines()[1]
    why = "client_bound: something else wants its core"
    assert found == f"Found    no rate that may be shown: {why}"
