"""Tables at every width: nothing cut, keys repeated, no colour in a pipe."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from bench.report.grid import Grid, blocks, column, numbers, print_grid

GRID = Grid(
    columns=(column("load"), *numbers("aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"), column("trust")),
    rows=(("c16", "1,135 ± 213", "85 ± 12", "16.3 ± 3.0", "FAILED"),),
)


def test_columns_go_on_below_with_their_keys() -> None:
    # widths 4, 11, 10, 10, 6, three between columns and two edges: 4+3+11+2 = 20 hold one figure
    assert blocks(GRID, 200) == [[0, 1, 2, 3, 4]]
    assert blocks(GRID, 33) == [[0, 1, 2], [0, 3, 4]]
    assert blocks(GRID, 20) == [[0, 1], [0, 2], [0, 3], [0, 4]]


@pytest.mark.parametrize("width", [24, 40, 80, 140])
def test_every_figure_is_whole_at_every_width(width: int) -> None:
    out = StringIO()
    print_grid(Console(file=out, width=width), GRID)
    text = out.getvalue()
    assert all(figure in text for figure in GRID.rows[0])
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text


def test_names_from_outside_are_no_markup() -> None:
    out = StringIO()
    row = ("[red]x[/]", "1", "2", "3", "ok")
    print_grid(Console(file=out, width=200), Grid(columns=GRID.columns, rows=(row,)))
    assert "[red]x[/]" in out.getvalue()
