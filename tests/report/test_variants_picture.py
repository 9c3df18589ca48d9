"""The picture of variants: what it shows may not be larger than what was measured."""

from __future__ import annotations

from bench.report.pictures.variants import Standing, pareto


def test_a_hundredth_of_a_percent_is_not_blown_up() -> None:
    """0.99993 beside 1: both lie within a step of the axis, whose labels are all different."""
    standings = [
        Standing(name=name, places={"cost": cost, "quality": quality}, on_front=True)
        for name, cost, quality in (("none", 1.0, 1.0), ("int8", 0.7, 0.99993))
    ]
    figure = pareto(standings, "cost", "quality")
    (axes,) = figure.axes
    figure.canvas.draw()
    low, high = axes.get_ylim()
    assert high - low >= 0.04
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(set(labels)) == len(labels)
