"""Lines, steps, crossings and scales against sums by hand and against series that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.trend.crossing import crossing
from bench.trend.line import fit_line
from bench.trend.scales import joined, scale_numbers, shift


def test_a_line_by_hand() -> None:
    """Days 0, 1, 2, 3 and values 1, 3, 4, 6: slope 8 ÷ 5 = 1.6, mean 3.5 at day 1.5; residuals
    -0.1, 0.3, -0.3, 0.1, sum of squares 0.2, variance 0.1; slope's error √(0.1 ÷ 5) = 0.1414 and
    t(2) = 4.3027."""
    line = fit_line([0, 1, 2, 3], [1, 3, 4, 6], steps=False)
    assert line is not None
    assert [line.slope, line.at(1.5), line.free] == pytest.approx([1.6, 3.5, 2])
    low, high = line.slope_interval() or (0.0, 0.0)
    assert (low, high) == pytest.approx((1.6 - 0.60849, 1.6 + 0.60849), abs=1e-4)
    # the line at day 3: error √(0.1 ÷ 4 + 1.5² × 0.1 ÷ 5) = 0.26458
    low, high = line.interval_at(3) or (0.0, 0.0)
    assert (low, high) == pytest.approx((5.9 - 1.13839, 5.9 + 1.13839), abs=1e-4)


def test_scales_have_a_level_each() -> None:
    """Two scales, 100 apart, that rise by 1 a day: joined they would rise by 21."""
    line = fit_line([0, 1, 10, 11], [5, 6, 115, 116], [0, 0, 1, 1], steps=False)
    assert line is not None
    assert [line.slope, line.scales, line.at(11)] == pytest.approx([1, 2, 116])


def test_too_little_data_has_no_line_or_no_interval() -> None:
    assert fit_line([0], [1]) is None
    assert fit_line([0, 10], [5, 115], [0, 1]) is None  # one date per scale
    two = fit_line([0, 1], [1, 3])
    assert two is not None
    assert two.slope_interval() is None


Data = tuple[list[float], list[float]]


def series(rng: np.random.Generator, slope: float, step: float = 0.0) -> Data:
    days = np.arange(24) * 30.0
    y = 100 + slope * days + step * (days >= 360) + rng.normal(0, 2, 24)
    return days.tolist(), y.tolist()


def test_intervals_of_slopes_cover() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(600):
        line = fit_line(*series(rng, 0.1))
        assert line is not None
        low, high = line.slope_interval() or (0.0, 0.0)
        inside += low <= 0.1 <= high
    assert inside / 600 >= 0.93


def test_steps_are_found_apart_from_drift() -> None:
    """A step of 14 at noise 2 is found in its place; its interval covers, and so does the slope's,
    which a line without the step would miss. Without a step none is found in 97 of 100."""
    rng = np.random.default_rng(2)
    size = slope = plain = found = 0
    for _ in range(300):
        data = series(rng, 0.05, 14)
        line = fit_line(*data)
        assert line is not None
        places = [s for s in line.steps if s.after_day == 330]
        found += bool(places)
        size += any(s.low <= 14 <= s.high for s in places)
        low, high = line.slope_interval() or (0.0, 0.0)
        slope += low <= 0.05 <= high
        low, high = (fit_line(*data, steps=False) or line).slope_interval() or (0.0, 0.0)
        plain += low <= 0.05 <= high
    assert found / 300 >= 0.95
    assert size / found >= 0.93
    assert slope / 300 >= 0.93
    assert plain / 300 < 0.2
    chance = 0
    for _ in range(600):
        line = fit_line(*series(rng, 0.05))
        assert line is not None
        chance += bool(line.steps)
    assert chance / 600 <= 0.02


def test_a_crossing_is_a_distribution_that_covers() -> None:
    """100 + 0.2 d meets 190 + 0.05 d on day 600, after the last date."""
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(300):
        days = np.arange(12) * 30.0
        a = fit_line(days.tolist(), (100 + 0.2 * days + rng.normal(0, 4, 12)).tolist())
        b = fit_line(days.tolist(), (190 + 0.05 * days + rng.normal(0, 4, 12)).tolist())
        assert a is not None
        assert b is not None
        met = crossing(a, b, 330.0)
        assert met is not None
        inside += met.low_day <= 600 <= met.high_day
    assert inside / 300 >= 0.93


def test_lines_that_move_apart_never_meet() -> None:
    rng = np.random.default_rng(4)
    days = (np.arange(12) * 30.0).tolist()
    behind = fit_line(days, rng.normal(100, 1, 12).tolist())
    ahead = fit_line(days, [200 + d + rng.normal() for d in days])
    assert behind is not None
    assert ahead is not None
    met = crossing(behind, ahead, 330.0)
    assert met is not None
    assert met.never == 1
    assert math.isinf(met.median_day)
    assert met.by(10_000) == 0
    other = crossing(ahead, behind, 330.0)
    assert other is not None
    assert other.already == 1


def test_a_moved_scale_is_seen_and_never_joined_unasked() -> None:
    names = [f"m{i}" for i in range(20)]
    rng = np.random.default_rng(5)
    first = {n: 1200 + 10.0 * i for i, n in enumerate(names)}
    refit = {n: r + rng.normal(0, 1) for n, r in first.items()}
    moved = {n.upper(): r + 15 for n, r in refit.items()}
    a = shift(first, refit, same_source=True)
    b = shift(refit, moved, same_source=True)
    assert (a.same_scale, b.same_scale) == (True, False)
    assert b.median == pytest.approx(15)
    assert "the scale was moved" in b.why
    assert scale_numbers([a, b]) == (0, 0, 1)
    assert joined([a, b]) == pytest.approx((15, 15, 0))
    few = shift({"a": 1}, {"a": 1}, same_source=True)
    assert not few.same_scale
    assert joined([a, few]) is None
    assert not shift(first, refit, same_source=False).same_scale


def alike(rng: np.random.Generator, memory: float, slope: float, step: float = 0.0) -> Data:
    """48 months of a price whose neighbours resemble each other, with one jump after two years."""
    noise = rng.normal(0, 1, 48)
    for i in range(1, 48):
        noise[i] = memory * noise[i - 1] + math.sqrt(1 - memory**2) * noise[i]
    days = np.arange(48) * 30.4
    return days.tolist(), (slope * days + noise + step * (np.arange(48) >= 24)).tolist()


@pytest.mark.parametrize("memory", [0.0, 0.4, 0.7])
def test_neighbours_that_resemble_each_other_widen_the_interval(memory: float) -> None:
    """Slopes are covered in 93 of 100, where a line that takes every month for a witness covers far
    less. A step of ten times the noise is found in its place."""
    rng = np.random.default_rng(6)
    inside = found = 0
    for _ in range(150):
        line = fit_line(*alike(rng, memory, 0.01))
        assert line is not None
        low, high = line.slope_interval() or (0.0, 0.0)
        inside += low <= 0.01 <= high
        jumped = fit_line(*alike(rng, memory, 0.01, 10.0))
        assert jumped is not None
        found += any(s.after_day == pytest.approx(23 * 30.4) for s in jumped.steps)
    assert inside / 150 >= 0.93
    assert found / 150 >= 0.9
