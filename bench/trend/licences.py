"""Licence terms of the catalogue's models over time: a change is said wherever the model is used.

Terms are rows, never edited: what a model's file in conf/model says is held to the newest row, and
a test asks for a new row when they differ. Read from the model cards by hand; nothing is fetched.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise

from bench.values.figure import first_day
from bench.values.spec import Licence, ModelSpec


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a licence allowed on a day; `commercial` None is not known."""

    as_of: str
    model: str
    licence: str
    commercial: bool | None
    restrictions: str
    source: str

    def __post_init__(self) -> None:
        first_day(self.as_of)

    def differs(self, other: Terms) -> bool:
        """Whether the terms are others, whatever their date and source."""
        mine = (self.licence, self.commercial, self.restrictions)
        return mine != (other.licence, other.commercial, other.restrictions)


@cache
def shipped_terms() -> tuple[Terms, ...]:
    """The terms that come with the package."""
    where = resources.files("bench.assets").joinpath("snapshots/licences.csv")
    return read_terms(where.read_text("utf-8"))


def read_terms(text: str) -> tuple[Terms, ...]:
    """Rows of the CSV."""
    words = {"true": True, "false": False}
    return tuple(
        Terms(
            as_of=row["as_of"],
            model=row["model"],
            licence=row["licence"],
            commercial=words.get(row["commercial"]),
            restrictions=row["restrictions"],
            source=row["source"],
        )
        for row in csv.DictReader(io.StringIO(text))
    )


def of_model(model: ModelSpec) -> Terms:
    """What the catalogue (or a file of the user's) says of a model today."""
    return _terms(model.name, model.as_of, model.licence)


def _terms(name: str, as_of: str, licence: Licence) -> Terms:
    return Terms(
        as_of=as_of,
        model=name,
        licence=licence.name,
        commercial=licence.commercial,
        restrictions=" ".join((licence.restrictions or "").split()),
        source=licence.url or "",
    )


def changes(model: ModelSpec, known: Iterable[Terms] | None = None) -> tuple[str, ...]:
    """A line for every change of a model's terms, the newest first; empty where there is none."""
    rows = [t for t in (shipped_terms() if known is None else known) if t.model == model.name]
    if not rows:
        return ()
    rows.sort(key=lambda t: first_day(t.as_of))
    rows.append(of_model(model))
    found = [_line(a, b) for a, b in pairwise(rows) if a.differs(b)]
    return tuple(reversed(found))


def _line(before: Terms, after: Terms) -> str:
    parts = []
    if before.licence != after.licence:
        parts.append(f"{before.licence} → {after.licence}")
    if before.commercial != after.commercial:
        words = {True: "allowed", False: "not allowed", None: "not known"}
        parts.append(f"commercial use {words[before.commercial]} → {words[after.commercial]}")
    if before.restrictions != after.restrictions:
        parts.append("restrictions reworded" if after.restrictions else "restrictions lifted")
    return (
        f"the licence of {after.model} changed between {before.as_of} and {after.as_of}: "
        f"{'; '.join(parts)} ({after.source or before.source})"
    )
