"""The front of variants by hand."""

from __future__ import annotations

from bench.compare.pareto import Better, front

AXES: tuple[tuple[str, Better], ...] = (("quality", "higher"), ("cost", "lower"))


def test_beaten_in_everything_is_not_on_the_front() -> None:
    points: dict[str, dict[str, float | None]] = {
        "none": {"quality": 1.0, "cost": 1.0},
        "int8": {"quality": 0.999, "cost": 0.6},
        "bad": {"quality": 0.9, "cost": 0.8},
        "same": {"quality": 0.999, "cost": 0.6},
    }
    assert front(points, AXES) == ("none", "int8", "same")


def test_what_was_not_measured_cannot_be_placed() -> None:
    points: dict[str, dict[str, float | None]] = {
        "none": {"quality": 1.0, "cost": 1.0},
        "unscored": {"quality": None, "cost": 0.1},
    }
    assert front(points, AXES) == ("none",)


def test_zero_is_a_value() -> None:
    points: dict[str, dict[str, float | None]] = {
        "a": {"quality": 0.0, "cost": 0.0},
        "b": {"quality": 0.5, "cost": 1.0},
    }
    assert front(points, AXES) == ("a", "b")
