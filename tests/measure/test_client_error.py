"""The client's own error: which is held against a load point, and which is believed again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.measure.client_error import Calibration, Shape, at_load, too_large
from bench.measure.metrics import Metric
from bench.traffic import calibrate

SHAPE = Shape(concurrency=16, ttft_ms=30, itl_ms=4, tokens_per_chunk=1, workers=1, own_cores=1)
GOOD = Calibration(
    shape=SHAPE,
    ttft_error_p50_ms=0.2,
    ttft_error_p99_ms=0.74,
    itl_error_p50_ms=0.01,
    itl_error_p99_ms=0.1,
    client_cpu_us_per_token=10.0,
    max_tokens_per_s=3e5,
    requests=32,
)
ERRORS = {
    "ttft_error_p50_ms": 0.2,
    "ttft_error_p99_ms": 0.74,
    "itl_error_p50_ms": 0.01,
    "itl_error_p99_ms": 0.1,
}


def metrics(ttft_p99_ms: float | None) -> dict[str, Metric]:
    values = {"ttft_p50_ms": 12.0, "ttft_p99_ms": ttft_p99_ms, "itl_p50_ms": 4.0, "itl_p99_ms": 7.0}
    return {name: Metric(value=value, unit="ms") for name, value in values.items()}


def test_errors_are_held_against_five_percent() -> None:
    """0.74 ms are more than 5 % of 14.5 ms and less than 5 % of 16 ms."""
    assert too_large(ERRORS, metrics(14.5)) == ("ttft_error_p99_ms", "ttft_p99_ms", 0.74)
    assert too_large(ERRORS, metrics(16.0)) is None
    assert too_large(ERRORS, metrics(None)) is None
    assert too_large({**ERRORS, "itl_error_p50_ms": -0.3}, metrics(16.0)) is not None
    # 0.24 ms are 6 % of 4 ms, and too little to matter
    assert too_large({**ERRORS, "itl_error_p50_ms": 0.24}, metrics(16.0)) is None


def test_a_load_point_is_held_against_its_own_calibration() -> None:
    stored = {**ERRORS, "by_load": {"0": {**ERRORS, "ttft_error_p99_ms": 0.1}}}
    own, other = at_load(stored, 0), at_load(stored, 2)
    assert own is not None
    assert own["ttft_error_p99_ms"] == 0.1
    assert other is stored
    assert at_load(ERRORS, 0) is ERRORS  # a run stored before there were any
    assert at_load(None, 0) is None


def test_a_bad_calibration_is_not_believed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1.6 ms of 30 are more than 5 %: it was the machine's moment, and is measured anew."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bad = replace(GOOD, ttft_error_p99_ms=1.6)
    made = iter([bad, GOOD])
    monkeypatch.setattr(calibrate, "_measure", lambda _: next(made))
    found = [calibrate.calibrate(SHAPE, lambda _: None) for _ in range(3)]
    assert [f.ttft_error_p99_ms for f in found] == [1.6, 0.74, 0.74]
    assert [f.cached for f in found] == [False, False, True]
