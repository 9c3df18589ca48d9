"""Tables at every width: nothing cut, keys repeated, no colour in a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import termios
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


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_terminal_of_any_width_shows_every_figure_whole(width: int) -> None:
    """`bench fit` in a real terminal: every plan that --json gives stands there uncut."""
    command = [sys.executable, "-m", "bench.cli", "fit", "model=deepseek-r1", "gpu=h200-sxm"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    table = json.loads(done.stdout)["table"]
    plans = [f["plan_tokens_per_s"] for f in table]
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, width))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = _read_to_end(ours)
    assert process.returncode == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert "…" not in shown
    assert {f["gpus"] for f in table} == {1, 2, 4, 8, 16}
    for plan in plans:
        assert f" {plan:,.0f} " in shown
    ruled = [line.rstrip() for line in shown.splitlines() if "───" in line]
    assert max(map(len, ruled)) <= width


def _read_to_end(terminal: int) -> str:
    """Everything a terminal was sent; Linux says with an error that its other end has closed."""
    parts = []
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 65536):
            parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode()


def test_many_rows_are_laid_out_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich's own table is the truth; wide characters take two cells, and nothing is markup."""
    columns = (column("run"), *numbers("tok/s", "ms"), column("trust"))
    rows = tuple((f"r{i}" * (i % 4), f"{i:,} ± 1", "東京" * (i % 2), "[b]ok") for i in range(300))
    grid = Grid(columns=columns, rows=rows)
    printed = []
    for many in (200, 1000):
        monkeypatch.setattr("bench.report.grid._MANY", many)
        for width in (200, 24):
            out = StringIO()
            print_grid(Console(file=out, width=width), grid)
            printed.append([line.rstrip() for line in out.getvalue().splitlines()])
    assert printed[0] == printed[2]
    assert printed[1] == printed[3]
    assert len(printed[0]) > 300
