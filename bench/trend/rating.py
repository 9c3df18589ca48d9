"""The best open and the best closed model of a leaderboard over time, and when they might meet.

Open means that weights can be downloaded, whatever their licence forbids. Where a snapshot gives no
licence, the model's name in another one decides, then the family's; a model of which nothing is
known counts as closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from bench.trend.crossing import Crossing, crossing
from bench.trend.line import Line, fit_line
from bench.trend.scales import Shift, joined, plain, scale_numbers, shift
from bench.trend.snapshots import BOARD, Rating, by_day
from bench.values.errors import InputError
from bench.values.figure import first_day

DAYS_PER_MONTH = 365.25 / 12
LEAST_DATES = 3
OPEN = (
    *"deepseekr1 deepseekv3 deepseekv2 deepseekcoder deepseekllm llama codellama gemma".split(),
    *"mixtral mistral7b mistralsmall mistrallarge3 ministral magistralsmall".split(),
    *"qwen3235b qwen330b qwen332b qwen3next qwen3coder qwen2572b qwen25coder qwen272b".split(),
    *"qwen15 qwq qwen14b phi glm4 gptoss kimik2 minimaxm yi16 yi34b yi15 commandr".split(),
    *"commanda jamba nemotron llama31nemotron olmo granite dbrx falcon vicuna".split(),
    *"wizardlm internlm hunyuan7b ring ling longcat intellect3 mimov2flash stepfun".split(),
    *"athene starling zephyr tulu".split(),
)
CLOSED = (
    "llama4maverick0326experimental",  # shown on the board, its weights never published
    "qwenmax",
    "qwen25max",
    "qwen3max",
    "qwenplus",
    "qwen25plus",
    "qwen2max",
    "yilarge",
)
"""Beginnings of plain names; the closed ones of an open family first."""


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best model of a kind on one day."""

    day: str
    model: str
    rating: float
    half_width: float | None
    rank: int


@dataclass(frozen=True, kw_only=True)
class RatingTrend:
    """Both series, the scales they are on, and their lines: within scales, and joined by the models
    in both snapshots. Rates are points per month."""

    board: str
    days: tuple[str, ...]
    scales: tuple[int, ...]
    shifts: tuple[Shift, ...]
    best_open: tuple[Best, ...]
    best_closed: tuple[Best, ...]
    lines: Mapping[str, Line | None]
    added: tuple[float, ...] | None
    meets: Crossing | None
    findings: tuple[str, ...]
    tenth: float | None
    """The rating of the tenth model of the newest snapshot."""

    @property
    def gaps(self) -> tuple[float, ...]:
        """Best closed less best open on each day, which no common shift of a scale moves."""
        return tuple(
            c.rating - o.rating for o, c in zip(self.best_open, self.best_closed, strict=True)
        )


def rating_trend(ratings: Iterable[Rating], board: str = BOARD) -> RatingTrend:
    """The trend of a board; InputError where it has no snapshot."""
    days = by_day(ratings, board)
    if not days:
        raise InputError(f"no snapshot of {board!r}; bench snapshot import FILE adds one.")
    licences = {k: r.licence for day in days.values() for k, r in day.items() if r.licence}
    names = tuple(days)
    shifts = tuple(
        shift(
            {k: r.rating for k, r in days[a].items()},
            {k: r.rating for k, r in days[b].items()},
            same_source=_source(days[a]) == _source(days[b]),
        )
        for a, b in pairwise(names)
    )
    opened = tuple(_best(d, days[d], licences, want_open=True) for d in names)
    closed = tuple(_best(d, days[d], licences, want_open=False) for d in names)
    when = [float(first_day(d).toordinal()) for d in names]
    scales, added = scale_numbers(shifts), joined(shifts)
    gaps = [c.rating - o.rating for o, c in zip(opened, closed, strict=True)]
    lines = {
        "open": fit_line(when, [b.rating for b in opened], scales),
        "closed": fit_line(when, [b.rating for b in closed], scales),
        "gap": fit_line(when, gaps),
    }
    for key, series in (("open joined", opened), ("closed joined", closed)):
        values = (
            None if added is None else [b.rating + s for b, s in zip(series, added, strict=True)]
        )
        lines[key] = None if values is None else fit_line(when, values)
    gap, zero = lines["gap"], None
    if gap is not None and gap.free >= 1:
        zero = Line(
            slope=0.0,
            level=0.0,
            origin_day=gap.origin_day,
            cov=((0.0, 0.0), (0.0, 0.0)),
            free=10**6,
            points=0,
            scales=1,
        )
    return RatingTrend(
        board=board,
        days=names,
        scales=scales,
        shifts=shifts,
        best_open=opened,
        best_closed=closed,
        lines=lines,
        added=added,
        meets=None if zero is None or gap is None else crossing(zero, gap, when[-1]),
        findings=tuple(_findings(names, shifts, scales, lines)),
        tenth=_tenth(days[names[-1]]),
    )


def _tenth(day: Mapping[str, Rating]) -> float | None:
    ranked = sorted((r.rating for r in day.values()), reverse=True)
    return ranked[9] if len(ranked) > 9 else None


def _source(day: Mapping[str, Rating]) -> str:
    return next(iter(day.values())).source


def is_open(model: str, licence: str) -> bool:
    """Whether a model's weights can be downloaded, by its licence or else its family."""
    name = plain(model)
    if licence:
        return licence.casefold() not in ("proprietary", "-", "proprietary (api)")
    return name.startswith(OPEN) and not name.startswith(CLOSED)


def _best(
    day: str, models: Mapping[str, Rating], licences: Mapping[str, str], *, want_open: bool
) -> Best:
    ranked = sorted(models.items(), key=lambda pair: -pair[1].rating)
    for rank, (key, r) in enumerate(ranked, 1):
        if is_open(r.model, r.licence or licences.get(key, "")) == want_open:
            return Best(day=day, model=r.model, rating=r.rating, half_width=r.half_width, rank=rank)
    kind = "open" if want_open else "closed"
    raise InputError(f"the snapshot of {day} has no {kind} model.")


def per_month(line: Line | None) -> tuple[float, float | None, float | None] | None:
    """A line's slope in points per month, with its interval."""
    if line is None:
        return None
    ends = line.slope_interval()
    if ends is None:
        return line.slope * DAYS_PER_MONTH, None, None
    low, high = (x * DAYS_PER_MONTH for x in ends)
    return line.slope * DAYS_PER_MONTH, low, high


def _findings(
    days: tuple[str, ...],
    shifts: tuple[Shift, ...],
    scales: tuple[int, ...],
    lines: Mapping[str, Line | None],
) -> list[str]:
    found = [
        f"{a} → {b}: {one.why}"
        for a, b, one in zip(days, days[1:], shifts, strict=False)
        if not one.same_scale
    ]
    if len(set(scales)) > 1:
        found.append(
            f"{len(set(scales))} scales: rates are within scales, levels of different scales are "
            "not compared (joined lines add the shift of common models and say so)"
        )
    if len(days) < LEAST_DATES or lines["open"] is None:
        found.append(f"{len(days)} dates: too little for a rate")
    return found
