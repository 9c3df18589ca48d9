"""The gate in the terminal: every condition with its interval, then the outcome in words."""

from __future__ import annotations

from rich.console import Console

from bench.compare.gate import Gate, GateTest
from bench.compare.words import p_text
from bench.report.grid import Grid, column, numbers, print_grid
from bench.report.markup import escape
from bench.report.numbers import lopsided, quantity, with_interval
from bench.values.count_words import count

WORDS = {"failed": "FAILED", "held": "held", "not_enough_evidence": "not enough evidence"}


def print_gate(out: Console, gate: Gate) -> None:
    """Conditions as they were read, a row per test, reasons, and the exit code."""
    print_grid(out, gate_grid(gate))
    for line in gate_lines(gate):
        out.print(escape(line), highlight=False, soft_wrap=True)
    style = {"failed": "bold red", "held": "bold green"}.get(gate.outcome, "bold yellow")
    out.print(outcome_line(gate), style=style, highlight=False, soft_wrap=True)


def gate_grid(gate: Gate) -> Grid:
    """One row per test."""
    return Grid(
        title="gate: is it beyond the limit?",
        columns=(
            column("condition"),
            column("run"),
            column("load"),
            *numbers("baseline", "run's", "estimate, 95 %", "n", "p (Holm)"),
            column("outcome"),
        ),
        rows=tuple(_cells(t) for t in gate.tests),
        keys=3,
    )


def gate_lines(gate: Gate) -> list[str]:
    """What the conditions were read as, and what stands in the way of an answer."""
    read = dict.fromkeys((t.condition, t.read_as) for t in gate.tests)
    lines = [f"  {condition}: fails on a {read_as}" for condition, read_as in read]
    open_ones: dict[tuple[str, str, str], list[str]] = {}
    for t in (t for t in gate.tests if t.reason is not None):
        open_ones.setdefault((t.condition, t.run, t.reason or ""), []).append(t.load or "")
    for (condition, run, reason), loads in open_ones.items():
        at = f" at {', '.join(loads)}" if any(loads) else ""
        lines.append(f"  {condition}, {run}{at}: {reason}")
    if gate.note is not None:
        lines.append(f"  {gate.note}")
    return lines


def outcome_line(gate: Gate) -> str:
    """The outcome, the tests behind it, and the exit code."""
    counts = {word: sum(t.outcome == key for t in gate.tests) for key, word in WORDS.items()}
    found = [f"{n} {word}" for word, n in counts.items() if n]
    tests = count(len(gate.tests), "test")
    said = f"{', '.join(found)} of {tests}" if len(found) > 1 else f"all of {tests}"
    return f"GATE {WORDS[gate.outcome]}: {said} · exit {gate.exit_code}"


def _cells(t: GateTest) -> tuple[str, ...]:
    base = "–" if t.baseline is None else quantity(t.baseline)
    own = "–" if t.variant is None else quantity(t.variant)
    p = "–" if t.p_holm is None else p_text(t.p_holm)
    return (
        t.condition,
        t.run,
        t.load or "–",
        base,
        own,
        estimate(t),
        str(t.n),
        p,
        WORDS[t.outcome],
    )


def estimate(t: GateTest) -> str:
    """The tested quantity with its interval: a change has a sign, a relative one a %."""
    if t.estimate is None or t.low is None or t.high is None:
        return "–"
    if t.kind == "ratio":
        halves = t.estimate - t.low, t.high - t.estimate
        if lopsided(*halves):
            return f"{t.estimate:+.2%} ({t.low:+.2%} to {t.high:+.2%})"
        return f"{t.estimate:+.2%} ± {max(halves):.2%}"
    text = with_interval(t.estimate, t.low, t.high)
    return f"+{text}" if t.kind == "change" and t.estimate > 0 else text
