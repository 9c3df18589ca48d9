"""A table of texts, once: for a terminal of any width, for a pipe, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from bench.report.markup import escape

_GAP, _EDGES = 3, 2
_WRAPPED = 28
_MANY = 200
"""More rows than these are laid out here: rich takes a millisecond for each."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column's title; numbers stand at the right, and only a text that `wraps` may be broken."""

    title: str
    right: bool = True
    wraps: bool = False


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rows of texts below their columns; the first `keys` columns say what a row is about."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str | None = None
    keys: int = 1


def column(title: str, *, wraps: bool = False) -> Column:
    """A column of words."""
    return Column(title=title, right=False, wraps=wraps)


def numbers(*titles: str) -> tuple[Column, ...]:
    """Columns of figures."""
    return tuple(Column(title=title) for title in titles)


def print_grid(out: Console, grid: Grid) -> None:
    """Print the grid; one that is wider than the terminal goes on below itself, keys repeated.

    Nothing is cut: a figure that is half shown is a wrong figure.
    """
    if grid.title:
        out.print(escape(grid.title), style="bold", highlight=False, soft_wrap=True)
    for block in blocks(grid, out.width):
        if len(grid.rows) > _MANY and not any(grid.columns[i].wraps for i in block):
            out.file.write(_laid_out(grid, block, "-" if out.options.ascii_only else "─"))
            continue
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for i in block:
            c = grid.columns[i]
            table.add_column(
                escape(c.title),
                justify="right" if c.right else "left",
                no_wrap=not c.wraps,
                overflow="fold",
            )
        for row in grid.rows:
            table.add_row(*(escape(row[i]) for i in block))
        out.print(table, highlight=False)


def _laid_out(grid: Grid, block: Sequence[int], rule: str) -> str:
    """The same table as one text, its lines without spaces at their ends."""
    widths = [_width(grid, i) for i in block]
    right = [grid.columns[i].right for i in block]

    def line(cells: Sequence[str]) -> str:
        parts = []
        for text, width, at_right in zip(cells, widths, right, strict=True):
            space = " " * (width - _cells(text))
            parts.append(space + text if at_right else text + space)
        return (" " + (" " * _GAP).join(parts)).rstrip()

    head = line([grid.columns[i].title for i in block])
    body = [line([row[i] for i in block]) for row in grid.rows]
    return "\n".join(["", head, " " + rule * (_wide(widths) - _EDGES), *body, "", ""])


def blocks(grid: Grid, width: int) -> list[list[int]]:
    """The columns by number, as many beside each other as `width` holds, keys in each block."""
    keys = list(range(min(grid.keys, len(grid.columns))))
    found = [list(keys)]
    widths = [_width(grid, i) for i in range(len(grid.columns))]
    for i in range(len(keys), len(grid.columns)):
        if _wide([widths[c] for c in (*found[-1], i)]) > width and len(found[-1]) > len(keys):
            found.append(list(keys))
        found[-1].append(i)
    return found


def _wide(widths: Sequence[int]) -> int:
    return _EDGES + sum(widths) + _GAP * (len(widths) - 1)


def _width(grid: Grid, i: int) -> int:
    c = grid.columns[i]
    natural = max(_cells(text) for text in (c.title, *(row[i] for row in grid.rows)))
    return min(natural, max(_WRAPPED, cell_len(c.title))) if c.wraps else natural


def _cells(text: str) -> int:
    return len(text) if text.isascii() and text.isprintable() else cell_len(text)


def markdown(grid: Grid) -> str:
    """The grid as a Markdown table (GitHub's dialect), its title in bold above it."""
    lines = [f"**{_md(grid.title)}**", ""] if grid.title else []
    lines.append(_line([c.title for c in grid.columns]))
    lines.append("| " + " | ".join("---:" if c.right else "---" for c in grid.columns) + " |")
    lines += [_line(row) for row in grid.rows]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_md, cells)) + " |"


def _md(text: str) -> str:
    """Nothing that came from outside becomes markup."""
    for char in "\\`*_|<>[]":
        text = text.replace(char, f"\\{char}")
    return " ".join(text.split())
