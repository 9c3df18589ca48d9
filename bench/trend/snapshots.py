"""Snapshots of leaderboards: dated ratings with their sources, one a row, only ever added to.

A correction is a later row of the same day, board and model. Read are the tidy CSV of this project,
the CSV of a leaderboard (Model, Arena Score, 95% CI, …; with a date a row, a history) and Arena's
JSON (category → model → rating with its quantiles), as github.com/lmarena/arena-catalog,
fboulnois/llm-leaderboard-csv and kevinschaul/lmarena-leaderboard-history publish them.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, cast

from bench.trend.scales import plain
from bench.values.errors import InputError
from bench.values.figure import first_day

COLUMNS = (
    *("as_of", "board", "model", "rating", "low_95", "high_95"),
    *("votes", "organization", "licence", "source"),
)
BOARD = "arena-text"


@dataclass(frozen=True, kw_only=True)
class Rating:
    """One model's rating on one day of one board, with its 95 % interval where one is given."""

    as_of: str
    board: str
    model: str
    rating: float
    low_95: float | None = None
    high_95: float | None = None
    votes: int | None = None
    organization: str = ""
    licence: str = ""
    source: str

    def __post_init__(self) -> None:
        first_day(self.as_of)
        if not self.source.strip():
            raise ValueError("source must say where the rating comes from")

    @property
    def half_width(self) -> float | None:
        """Half of the interval."""
        if self.low_95 is None or self.high_95 is None:
            return None
        return (self.high_95 - self.low_95) / 2


def shipped() -> tuple[Rating, ...]:
    """The ratings that come with the package."""
    text = resources.files("bench.assets").joinpath("snapshots/ratings.csv").read_text("utf-8")
    return read_ratings(text, "ratings.csv", as_of="1970", source="shipped")


def read_ratings(
    text: str, path: str, *, as_of: str, source: str, board: str = BOARD
) -> tuple[Rating, ...]:
    """The ratings of a file; `as_of`, `source` and `board` are for shapes that lack them (of
    Arena's JSON the board names the category). InputError names the columns where the shape is not
    known."""
    if text.lstrip().startswith("{"):
        return _arena_json(text, path, as_of, source, board)
    reader = csv.DictReader(io.StringIO(text))
    have = {_word(c): c for c in reader.fieldnames or ()}
    if set(COLUMNS) <= set(reader.fieldnames or ()):
        found = [_row(path, reader.line_num, row) for row in reader]
        return tuple(found)
    names = ("arenascore", "arenaelo", "score", "rating")
    rating = next((have[name] for name in names if name in have), None)
    model = have.get("model")
    if rating is None or model is None:
        raise InputError(
            f"{path}: columns {', '.join(reader.fieldnames or ())} are no leaderboard: it needs "
            f"model and arena_score (or rating), or this project's own {', '.join(COLUMNS)}."
        )
    return tuple(
        _row(
            path,
            reader.line_num,
            {
                "as_of": row.get(have.get("date", ""), "") or as_of,
                "board": board,
                "model": row[model],
                "rating": row[rating],
                **_interval(path, _first(row, have, "95pctci", "95ci", "ci95"), row[rating]),
                "votes": row.get(have.get("votes", ""), "").replace(",", ""),
                "organization": row.get(have.get("organization", ""), ""),
                "licence": row.get(have.get("license", have.get("licence", "")), ""),
                "source": source,
            },
        )
        for row in reader
    )


def _word(column: str) -> str:
    return plain(column.replace("%", ""))


def _first(row: Mapping[str, str], have: Mapping[str, str], *words: str) -> str:
    """The cell of the first of these columns that the file has; empty where it has none."""
    return next((row[have[w]] or "" for w in words if w in have), "")


def _interval(path: str, text: str, rating: str) -> dict[str, str]:
    """`+5/-4` or `±4` beside a rating as its two ends; InputError for what is neither, so that no
    interval is lost unseen."""
    plus = text.strip().replace(" ", "")
    if not plus or plus in ("-", "–", "N/A"):
        return {}
    number = r"(\d+(?:\.\d+)?)"
    found = re.fullmatch(rf"\+?{number}/-{number}", plus)
    found = found or re.fullmatch(rf"(?:±|\+/-|\+-){number}()", plus)
    if found is None:
        raise InputError(f"{path}: {text!r} is no interval: +5/-4 or ±4 is expected.")
    up, down = float(found.group(1)), float(found.group(2) or found.group(1))
    return {"low_95": str(float(rating) - down), "high_95": str(float(rating) + up)}


def _row(path: str, line: int, row: Mapping[str, str | None]) -> Rating:
    def number(key: str) -> float | None:
        return float(value) if (value := (row.get(key) or "").strip()) else None

    try:
        rating, votes = number("rating"), number("votes")
        if rating is None:
            raise ValueError("rating is missing")
        return Rating(
            as_of=row.get("as_of") or "",
            board=row.get("board") or BOARD,
            model=(row.get("model") or "").strip(),
            rating=rating,
            low_95=number("low_95"),
            high_95=number("high_95"),
            votes=None if votes is None else int(votes),
            organization=row.get("organization") or "",
            licence=row.get("licence") or "",
            source=row.get("source") or "",
        )
    except ValueError as error:
        raise InputError(f"{path}, line {line}: {error}.") from error


def _arena_json(text: str, path: str, as_of: str, source: str, board: str) -> tuple[Rating, ...]:
    try:
        data: Any = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}.") from error
    names = ("full", "overall") if board == BOARD else (board.removeprefix("arena-"),)
    models = next((data[n] for n in names if n in data), None)
    if not isinstance(models, Mapping):
        raise InputError(
            f"{path}: no leaderboard {' or '.join(names)} for board={board}: it has "
            f"{', '.join(map(str, list(data)[:40]))}."
        )
    found = []
    for name, entry in models.items():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("rating"), (int, float)):
            raise InputError(f"{path}: {name}: rating is missing.")
        found.append(
            Rating(
                as_of=as_of,
                board=board,
                model=str(name),
                rating=float(cast(float, entry["rating"])),
                low_95=entry.get("rating_q025"),
                high_95=entry.get("rating_q975"),
                source=source,
            )
        )
    return tuple(found)


def lines(ratings: Iterable[Rating], *, header: bool) -> str:
    """Ratings as lines of the tidy CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    for r in ratings:
        values = [getattr(r, c) for c in COLUMNS]
        writer.writerow(["" if v is None else v for v in values])
    return out.getvalue()


def by_day(ratings: Iterable[Rating], board: str) -> dict[str, dict[str, Rating]]:
    """Per day, the last listed rating of each model; days in order."""
    days: dict[str, dict[str, Rating]] = {}
    for r in ratings:
        if r.board == board:
            days.setdefault(r.as_of, {})[plain(r.model)] = r
    return dict(sorted(days.items(), key=lambda pair: first_day(pair[0])))


@dataclass(frozen=True, kw_only=True)
class Changed:
    """What a snapshot says that the one before it did not: new and gone models, and the largest
    changes of rating."""

    before: str | None
    new: tuple[str, ...]
    gone: tuple[str, ...]
    moved: tuple[tuple[str, float], ...]


def changed(known: Iterable[Rating], added: Iterable[Rating], board: str = BOARD) -> Changed:
    """A new snapshot beside the newest known one that is not younger."""
    new = by_day(added, board)
    day = next(iter(reversed(new)), None)
    if day is None:
        return Changed(before=None, new=(), gone=(), moved=())
    old = [d for d in by_day(known, board) if first_day(d) < first_day(day)]
    before = by_day(known, board)[old[-1]] if old else {}
    moves = [(r.model, r.rating - before[k].rating) for k, r in new[day].items() if k in before]
    return Changed(
        before=old[-1] if old else None,
        new=tuple(r.model for k, r in new[day].items() if k not in before),
        gone=tuple(r.model for k, r in before.items() if k not in new[day]),
        moved=tuple(sorted(moves, key=lambda m: -abs(m[1]))),
    )
