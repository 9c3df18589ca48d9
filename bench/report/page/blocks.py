"""What a page is made of. Plain text throughout: escaping is the template's business."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.report.numbers import quantity, with_interval
from bench.report.words import Word

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.measure.metrics import Metric
    from bench.values.finding import Severity

Mood = Literal["", "good", "doubt", "bad"]
"""What a word or a row says of itself beside its text: never colour alone."""

MOODS: dict[Severity, Mood] = {"pass": "good", "info": "", "warn": "doubt", "fail": "bad"}
"""The mood of a finding."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: what is read, and the number itself for programs; `note` stands small below."""

    text: str
    value: float | None = None
    note: str = ""
    mood: Mood = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """`columns` are headings; the first cell of a row names it. `left` are places of columns with
    text; the others hold numbers. A table of `prose` has its cells below each other on a phone."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    left: Sequence[int] = (0,)
    prose: bool = False


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture by its file name, the sentence under it, and the numbers it shows as a table."""

    kind: ClassVar[str] = "picture"
    name: str
    caption: str
    draw: Callable[[], Figure]
    numbers: Table | None = None


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph; `lead` is a word before it that carries the mood; a decision is `large`."""

    kind: ClassVar[str] = "text"
    text: str
    lead: str = ""
    mood: Mood = ""
    large: bool = False


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Three or four numbers that carry the page, large; each a heading with its cell."""

    kind: ClassVar[str] = "figures"
    items: Sequence[tuple[str, Cell]]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A command or other lines to be copied as they are."""

    kind: ClassVar[str] = "listing"
    text: str


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Blocks behind a title that opens them; print leaves out what is closed."""

    kind: ClassVar[str] = "fold"
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, kw_only=True)
class Glossary:
    """Words with what they mean; headings above lead to them."""

    kind: ClassVar[str] = "glossary"
    words: Sequence[Word]


Block = Table | Picture | Text | Figures | Listing | Fold | Glossary


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page under its heading; `name` is its anchor."""

    name: str
    heading: str
    blocks: Sequence[Block]


@dataclass(frozen=True, kw_only=True)
class Page:
    """The whole page. `made` says by what and when."""

    title: str
    sections: Sequence[Section]
    made: str

    @property
    def has_words(self) -> bool:
        """Whether headings may lead to a list of words."""
        return any(s.name == "words" for s in self.sections)

    def pictures(self) -> list[Picture]:
        """Every picture of the page, those in folds too, in order."""
        return [p for s in self.sections for p in _pictures(s.blocks)]


_SHORT = 20
"""Characters of a cell that is a word, not a sentence."""


def text_of(blocks: Sequence[Block]) -> str:
    """All that can be read in these blocks but the words of pictures and sentences in tables."""
    found: list[str] = []
    for block in blocks:
        if isinstance(block, Table):
            found += [block.caption, *block.columns]
            found += [c.text for row in block.rows for c in row if len(c.text) <= _SHORT]
        elif isinstance(block, Picture):
            found += [block.caption, text_of([block.numbers] if block.numbers else [])]
        elif isinstance(block, Text):
            found += [block.lead, block.text]
        elif isinstance(block, Figures):
            found += [t for name, cell in block.items for t in (name, cell.text)]
        elif isinstance(block, Fold):
            found += [block.title, text_of(block.blocks)]
    return "\n".join(found)


def _pictures(blocks: Sequence[Block]) -> list[Picture]:
    found: list[Picture] = []
    for block in blocks:
        if isinstance(block, Picture):
            found.append(block)
        elif isinstance(block, Fold):
            found += _pictures(block.blocks)
    return found


def without_empty(table: Table, kept: Sequence[str] = ()) -> Table:
    """The table without columns in which no row has anything; its caption names what they were."""
    empty = [
        n
        for n, title in enumerate(table.columns)
        if n and title not in kept and all(row[n].text == "–" for row in table.rows)
    ]
    if not empty or not table.rows:
        return table
    left = [n for n in range(len(table.columns)) if n not in empty]
    return replace(
        table,
        caption=f"{table.caption}. Not known: {'; '.join(table.columns[n] for n in empty)}",
        columns=[table.columns[n] for n in left],
        rows=[[row[n] for n in left] for row in table.rows],
        left=[at for at, n in enumerate(left) if n in table.left],
    )


def word(text: object) -> Cell:
    """A cell of text; `–` for None."""
    return Cell(text="–" if text is None else str(text))


def number(value: float | None, form: str = ",") -> Cell:
    """A cell of a number that has no interval; `–` for None."""
    return word(None) if value is None else Cell(text=format(value, form), value=value)


def rounded(value: float | None, note: str = "") -> Cell:
    """A cell of a number to the digits that a reader needs; `–` for None."""
    return word(None) if value is None else Cell(text=quantity(value), value=value, note=note)


_MOODS: dict[str, Mood] = {
    "ok": "good",
    "partly": "doubt",
    "rehearsal": "bad",
    "incomplete": "bad",
    "FAILED": "bad",
}


def trust(how: str | None) -> Cell:
    """A cell that says how much of what stands beside it may be quoted."""
    return Cell(text=how or "–", mood=_MOODS.get(how or "", ""))


def measured(metric: Metric | None, *, note: str = "") -> Cell:
    """A cell of a metric as the terminal shows it: interval, share in %, withheld or `–`."""
    if metric is None:
        return Cell(text="–")
    if metric.value is None:
        if metric.withheld_value is not None:
            return Cell(text="withheld", mood="bad")
        return Cell(text="–", note=note)
    if metric.unit == "1":
        return Cell(text=f"{metric.value:.1%}", value=metric.value, note=note)
    text = with_interval(metric.value, metric.ci_low, metric.ci_high)
    return Cell(text=text, value=metric.value, note=note)


def rows_of(*rows: Sequence[object]) -> list[list[Cell]]:
    """Rows of cells from cells and plain values."""
    return [[c if isinstance(c, Cell) else word(c) for c in row] for row in rows]
