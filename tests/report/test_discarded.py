"""A repeat that was measured again is in no figure, no distribution and no picture of the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from stored_support import busy, stored

from bench.compare.variant import Measured
from bench.derive import derive
from bench.measure.client_error import shape_of
from bench.report.page.blocks import Text
from bench.report.page.speed import _histograms
from bench.report.page.verdict import _caveats
from bench.report.terminal import print_run
from bench.store import load_run


def test_the_distribution_is_of_the_values_that_the_percentiles_are_of(tmp_path: Path) -> None:
    """The first of three repeats was disturbed: each holds as many requests, so two thirds stay."""
    run = load_run(stored(tmp_path, busy(100.0, 300.0)))
    whole = derive(run).points[0].metrics["ttft_p50_ms"].n
    first, *others = run.points
    run = replace(run, points=[replace(first, discarded="another process"), *others])
    measurement = derive(run)
    (point,) = measurement.points
    said = point.metrics["ttft_p50_ms"].n
    assert said * 3 == whole * 2
    ((_, found),) = _histograms(Measured(run=run, measurement=measurement))
    assert {name: h.n for name, h in found.items() if name in ("TTFT", "E2E")} == {
        "TTFT": said,
        "E2E": said,
    }
    assert shape_of(run, point) is not None


def test_the_terminal_and_the_page_say_how_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = load_run(stored(tmp_path, busy(100.0, 300.0)))
    first, *others = run.points
    run = replace(run, points=[replace(first, discarded="steady_state: it drifts"), *others])
    measurement = derive(run)
    told = "1 of 3 repeats were disturbed from outside the engine and measured again"
    print_run(run, measurement)
    assert told in " ".join(capsys.readouterr().out.split())
    assert any(
        told in note.text
        for note in _caveats(Measured(run=run, measurement=measurement))
        if isinstance(note, Text)
    )
