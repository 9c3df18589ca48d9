"""The first lines of a run: what was found, whether to trust it, what next; words stay whole."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from gate_support import measured, metric, point
from rich.console import Console

from bench.measure.measurement import Measurement, PointMeasurement
from bench.report.answer import answer, checks_line
from bench.report.terminal import said
from bench.values.finding import Finding, Severity

RATES = {"output_tokens_per_s": [90.0, 110.0], "ttft_p50_ms": [20.0]}


def load(rate: float, concurrency: int, *findings: Finding) -> PointMeasurement:
    figures = {**RATES, "output_tokens_per_s": [rate], "total_tokens_per_s": [2 * rate]}
    return replace(point(figures, concurrency), findings=findings)


def found(code: str, severity: Severity, text: str, withholds: str = "all") -> Finding:
    return Finding(code=code, severity=severity, text=text, withholds=withholds)  # type: ignore[arg-type]


def told(*points: PointMeasurement) -> tuple[str, str, str, str]:
    made = measured(*points)
    first = answer(made.run, made.measurement)
    return first.found, first.trust, first.next, first.mood


def test_a_sound_run_says_the_most_it_found() -> None:
    passed = found("clock", "pass", "fine")
    what, trust, after, mood = told(load(100, 4, passed), load(300, 16, passed))
    assert what == (
        "300 tokens/s out (600 with those of the prompts) at 16 in flight, the most of 2 loads; "
        "the first token comes after 20.0 ms (median)"
    )
    assert (trust, mood) == ("yes: 2 checks passed", "good")
    assert after.startswith("more load may give more: load.concurrency=[32]; bench report")


def test_what_several_loads_say_in_the_same_words_is_one_warning() -> None:
    """`33 of 44 checks passed` left open what became of the rest; `3 warnings` were one line."""
    passed, wide = found("clock", "pass", "fine"), found("precision", "warn", "too wide")
    unmade = found("preemptions", "info", "not published")
    loads = [load(100, n, passed, wide, unmade) for n in (1, 4, 16)]
    _, trust, _, _ = told(*loads)
    assert trust == "yes: 3 checks passed, 1 warning below"
    assert checks_line(measured(*loads).measurement) == (
        "3 checks passed, 1 warning, 1 could not be made or only note something: bench report "
        "lists them"
    )


def test_figures_of_something_unknown_are_doubted_in_the_second_line() -> None:
    """26.86 times what memory can deliver was `yes: 17 checks passed, 3 warnings below`."""
    memory = "9 % of the bound, but 26.86 times what memory can deliver; the server drafts tokens"
    _, trust, _, mood = told(load(100, 4, found("bound", "warn", memory)))
    assert mood == "doubt"
    assert trust.startswith("yes for what was measured, but of what? 9 % of the bound, but 26.86")


def test_a_failed_run_says_so_first_and_what_to_change() -> None:
    wrong = found("errors", "fail", "5 % of the requests failed; lower load.concurrency")
    what, trust, after, mood = told(load(100, 4, wrong))
    assert (trust, mood) == (
        "NO, do not quote it (4 in flight): 5 % of the requests failed (errors)",
        "bad",
    )
    assert after == "lower load.concurrency, and run it again"
    assert what == "no rate that may be quoted"


def test_a_load_that_failed_takes_itself_away_and_the_rest_may_be_quoted() -> None:
    wrong = found("errors", "fail", "5 % of the requests failed; lower load.concurrency")
    what, trust, after, mood = told(load(100, 4), load(300, 16, wrong))
    assert what == (
        "100 tokens/s out (200 with those of the prompts) at 4 in flight, the only one of 2 loads "
        "that may be quoted; the first token comes after 20.0 ms (median)"
    )
    assert (trust, mood) == (
        "in part, not at 16 in flight: 5 % of the requests failed (errors); what is not withheld "
        "may be quoted",
        "doubt",
    )
    assert after == "lower load.concurrency; what is not withheld may be quoted"
    three = told(load(100, 4), load(200, 8), load(300, 16, wrong))
    assert "200 tokens/s" in three[0]
    assert "the most of the 2 of 3 loads that may be quoted" in three[0]


def test_what_a_run_failed_at_as_a_whole_takes_every_load() -> None:
    made = measured(load(100, 4), findings=[found("incomplete", "fail", "it was interrupted")])
    first = answer(made.run, made.measurement)
    assert (first.found, first.mood) == ("no rate that may be quoted", "bad")
    assert first.trust == "NO, do not quote it: it was interrupted (incomplete)"


def test_energy_alone_may_be_missing() -> None:
    wrong = found("energy_window", "fail", "windows of 2 s; load=energy", "energy")
    _, trust, after, mood = told(load(100, 4, wrong))
    assert (trust, mood) == (
        "yes for speed; not for energy: windows of 2 s (energy_window)",
        "doubt",
    )
    assert after == "load=energy; what is not withheld may be quoted"


def test_a_missing_energy_does_not_hide_what_of_the_speed_is_withheld() -> None:
    no_energy = found("energy_window", "fail", "windows of 2 s; load=energy", "energy")
    buffer = found("bursts", "fail", "the stream arrives in bursts; TTFT is the buffer's", "some")
    _, trust, _, mood = told(load(100, 4, no_energy, buffer))
    assert (trust, mood) == (
        "in part: the stream arrives in bursts (bursts); what that moves is withheld; not for "
        "energy, either: windows of 2 s (energy_window)",
        "doubt",
    )


def test_a_rehearsal_and_an_empty_run_have_no_figure_to_quote() -> None:
    made = measured(load(100, 4))
    stand_in = replace(made.measurement, rehearsal="made up: the driver")
    assert answer(made.run, stand_in).trust.startswith("NO: a rehearsal")
    nothing = answer(made.run, Measurement(points=()))
    assert nothing.found.startswith("no load was put on it")
    hidden = replace(
        load(100, 4), metrics={**load(100, 4).metrics, "output_tokens_per_s": metric([])}
    )
    assert told(hidden)[0] == "no rate that may be shown"


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_word_is_broken_in_a_terminal_and_none_added_in_a_pipe(width: int) -> None:
    text = "WARN  samples (c1): fewer than 100 requests-in-all repeats: p99 is near " + "x" * 50
    terminal = Console(file=io.StringIO(), force_terminal=True, width=width, no_color=True)
    said(terminal, text)
    pieces = terminal.file.getvalue().split()  # type: ignore[attr-defined]
    assert [p for p in pieces if "\x1b" not in p] == text.split()
    pipe = Console(file=io.StringIO(), width=400)
    said(pipe, text)
    assert pipe.file.getvalue() == text + "\n"  # type: ignore[attr-defined]
