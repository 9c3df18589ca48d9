"""Which variants are not beaten in everything: quality against cost against latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

Better = Literal["higher", "lower"]


def front(
    points: Mapping[str, Mapping[str, float | None]], axes: Sequence[tuple[str, Better]]
) -> tuple[str, ...]:
    """Names of the points that no other point beats: at least as good on every axis and better on
    one. A point without a value on some axis is left out: it cannot be placed."""
    placed = {
        name: tuple(
            (-1.0 if better == "lower" else 1.0) * float(values[axis] or 0.0)
            for axis, better in axes
        )
        for name, values in points.items()
        if all(values.get(axis) is not None for axis, _ in axes)
    }
    return tuple(
        name
        for name, mine in placed.items()
        if not any(_beats(other, mine) for key, other in placed.items() if key != name)
    )


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True)) and one != other
