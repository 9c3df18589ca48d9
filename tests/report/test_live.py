"""The live view: one line where nobody redraws, bar and gauges in a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.report.live import Whole, gauges, shown, text, view
from bench.values.server import Gauges, Progress

ALL = Gauges(
    tokens_per_s=1234.4,
    running=16,
    waiting=3,
    kv_use=0.425,
    power_w=412.3,
    temperature_c=61,
    memory_gib=70.25,
)
SEEN = "1,234 tokens/s · 16 running · 3 waiting · KV 42% · 412 W · 61 °C · 70.2 GiB"


def progress(**changes: object) -> Progress:
    made = {
        "phase": "load c16",
        "elapsed_s": 30.0,
        "done": 25.0,
        "total": 100.0,
        "unit": "requests",
    }
    return Progress(**{**made, **changes})  # type: ignore[arg-type]


def test_everything_in_one_line() -> None:
    """25 of 100 in 30 s: 90 s are left."""
    line = text(progress(gauges=ALL, detail="25 requests done"))
    assert line == (
        f"load c16 · 30 s · 25/100 requests · about 90 s left · {SEEN} · 25 requests done"
    )


def test_what_is_not_measured_is_not_shown_and_zero_is() -> None:
    assert gauges(Gauges()) == []
    assert gauges(Gauges(running=0, waiting=0, power_w=0.0)) == ["0 running", "0 waiting", "0 W"]
    assert "left" not in text(progress(done=0.0))
    assert text(progress(done=None, total=None)) == "load c16 · 30 s"


def test_the_view_in_a_terminal() -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=120, record=True)
    out.print(view(progress(gauges=ALL, detail="25 requests done")))
    lines = out.export_text().splitlines()
    assert "load c16" in lines[0]
    assert "━" in lines[0]
    assert "25/100 requests · about 90 s left" in lines[0]
    assert f"{SEEN} · 25 requests done" in lines[1]


def test_a_narrow_terminal_keeps_two_lines() -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=60, record=True)
    out.print(view(progress(gauges=ALL, detail="x" * 300)))
    lines = out.export_text().splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert lines[-1].startswith("  1,234 tokens/s")


def test_plain_lines_when_the_phase_changes(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    with shown(stream) as show:
        for phase in ("starting engine", "starting engine", "load c1", "load c1", "load c4"):
            show(progress(phase=phase, done=None))
    lines = stream.getvalue().splitlines()
    assert [line.split(" · ")[0] for line in lines] == ["starting engine", "load c1", "load c4"]
    assert "\x1b" not in stream.getvalue()
    assert capsys.readouterr().out == ""


def test_what_is_left_of_all_loads_and_which_run_it_is() -> None:
    """Half of the second of four loads is over after 30 s: 3/8 of the whole, so 50 s are left."""
    seen: list[Progress] = []
    now = 100.0
    whole = Whole(seen.append, "run 1 of 2", now=lambda: now)
    whole(progress(part=1, parts=4, elapsed_s=0.0, done=0.0))
    assert seen[-1].left_s is None
    now = 130.0
    whole(progress(part=2, parts=4, elapsed_s=10.0, done=50.0))
    assert seen[-1].left_s == pytest.approx(50.0)
    assert "run 1 of 2: load c16" in text(seen[-1])
    assert "50 s of all loads" in text(seen[-1])
    whole(progress())
    assert seen[-1].left_s is None
