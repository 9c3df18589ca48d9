"""The axis of a latency picture begins where the values do, and variants share their rows."""

from __future__ import annotations

import numpy as np
import pytest

from bench.measure.histogram import Histogram, histogram
from bench.report.pictures.latency import Spread, begins_ms, latency


def made(*values: float) -> Histogram:
    found = histogram([np.array(values)])
    assert found is not None
    return found


def test_tokens_that_came_together_do_not_stretch_the_axis() -> None:
    """Three of ten gaps are 0: told as a share; the axis begins at the others, near 10 ms."""
    gaps = made(0, 0, 0, 10, 10, 11, 11, 12, 12, 13)
    assert gaps.together == pytest.approx(0.3)
    assert begins_ms(gaps) == pytest.approx(10, rel=0.1)
    row = Spread(load="c1", histogram=gaps, p50_ms=11, p99_ms=13)
    (ax,) = latency([row], name="ITL", limit_ms=None, limit="").axes
    low, high = ax.get_xlim()
    assert 8 < low < 10.1
    assert 13 < high < 1.07 * gaps.edges_ms[-1]


def test_a_straggler_below_does_not_either_and_only_zeros_are_drawn() -> None:
    assert begins_ms(made(0.01, *[10.0] * 500)) == pytest.approx(10, rel=0.1)
    assert begins_ms(made(0, 0)) == pytest.approx(0.001, rel=0.1)


def test_variants_stand_over_one_another_on_one_axis() -> None:
    rows = [
        Spread(load=load, variant=name, histogram=made(at, 1.1 * at), p50_ms=at, p99_ms=None)
        for name, at in (("a", 5.0), ("b", 50.0))
        for load in ("c1", "c16")
    ]
    (ax,) = latency(rows, name="TTFT", limit_ms=60.0, limit="SLO").axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["c1", "c16"]
    low, high = ax.get_xlim()
    assert low < 5 < 50 < 60 < high
    assert {"a", "b", "median", "SLO"} <= set(ax.get_legend_handles_labels()[1])
