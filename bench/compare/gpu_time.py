"""Measurements on a GPU: how long they will take (modelled), and what their answers exit with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.measure.stats import Judgement

EXIT_CODES: dict[Judgement, int] = {"yes": 0, "no": 3, "unclear": 4}
"""How a program of the evidence ends when it has measured; anything else is a failure of its own.
The same as the gate of `bench compare --fail-if`."""

WINDOW_S = 31.0
"""An energy figure needs a steady window of 30 s."""

SHORT_WINDOW_S = 10.0
"""Long enough for a speed: where time is too short for an energy figure."""

REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class Level:
    """One concurrency, and how long one request is assumed to take at it."""

    concurrency: int
    request_s: float


@dataclass(frozen=True, kw_only=True)
class Group:
    """Levels measured with one start of the engine; `duration_s` holds for each of them."""

    levels: tuple[Level, ...]
    duration_s: float
    estimate_s: float


def level(concurrency: int, output_tokens: int, tokens_per_s: float) -> Level:
    """The time of a request where all slots together get so many output tokens/s, queueing for the
    cache included: Little's law."""
    return Level(concurrency=concurrency, request_s=concurrency * output_tokens / tokens_per_s)


def group(levels: Sequence[Level], start_s: float, window_s: float = WINDOW_S) -> Group:
    """One start, a warm-up request per slot, and each level `REPEATS` times until it has drained.

    A closed loop's window begins when every slot has had one request, so it lasts that much longer.
    """
    duration_s = math.ceil(window_s + max(x.request_s for x in levels))
    each_s = sum(REPEATS * (duration_s + x.request_s) + x.request_s for x in levels)
    return Group(levels=tuple(levels), duration_s=duration_s, estimate_s=start_s + each_s)


def grouped(
    levels: Sequence[Level], start_s: float, limit_s: float, window_s: float = WINDOW_S
) -> list[Group]:
    """As few starts as keep each below the limit, neighbours together.

    A level that is too long by itself gets a short window, and is left out where even that is.
    """
    found: list[list[Level]] = []
    for one in levels:
        if found and group([*found[-1], one], start_s, window_s).estimate_s <= limit_s:
            found[-1].append(one)
        else:
            found.append([one])
    groups = [group(g, start_s, window_s) for g in found]
    short = [
        g if g.estimate_s <= limit_s else group(g.levels, start_s, SHORT_WINDOW_S) for g in groups
    ]
    return [g for g in short if g.estimate_s <= limit_s]
