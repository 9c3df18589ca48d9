"""Verdicts in the terminal: the quote, what it comes to, and the evidence line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from rich.console import Console

from bench.claims.verdict import Assessment, Verdict
from bench.report.console import console
from bench.report.grid import Grid, column, print_grid
from bench.report.markup import escape

_STYLE = {
    "confirmed": "green",
    "refuted": "red",
    "impossible": "red",
    "not comparable": "yellow",
    "untested": "cyan",
    "possible": "dim",
}

GRAVEST: tuple[Verdict, ...] = ("impossible", "refuted", "not comparable", "untested", "confirmed")
"""The order in which verdicts are read: what cannot be true first."""


def print_claims(found: Sequence[Assessment], *, in_full: bool, out: Console | None = None) -> None:
    """How many came out how; then each claim with its evidence, or one line for each of many."""
    out = out or console()
    counted = Counter(a.verdict for a in found)
    if len(found) > 1:
        words = ", ".join(f"{counted[v]} {v}" for v in GRAVEST if counted[v])
        out.print(f"{len(found)} claims: {words}", highlight=False, style="bold")
    if in_full:
        for one in found:
            _print_one(one, out)
        return
    for file, group in groupby(found, key=lambda a: a.claim.partition("/")[0]):
        first = sorted(group, key=lambda a: GRAVEST.index(a.verdict))
        rows = tuple((a.claim.partition("/")[2] or file, a.verdict, a.why) for a in first)
        columns = (column("claim"), column("verdict"), column("why", wraps=True))
        print_grid(out, Grid(title=file, columns=columns, rows=rows))


def _print_one(a: Assessment, out: Console) -> None:
    style = _STYLE[a.verdict]
    out.print(
        f"[bold]{escape(a.claim)}[/]: [{style} bold]{a.verdict.upper()}[/]: {escape(a.why)}",
        highlight=False,
    )
    out.print(f"  {escape(a.who)}: “{escape(a.quote)}”", highlight=False)
    for check in a.checks:
        tint = _STYLE[check.verdict]
        lines = check.evidence or ("",)
        informs = check.verdict == "possible" and check.kind in ("arithmetic", "cost")
        head = f"  [{tint}]{check.kind}: {'beside it' if informs else check.verdict}[/]"
        out.print(f"{head}  {escape(lines[0])}", highlight=False, soft_wrap=True)
        for line in lines[1:]:
            out.print(f"      {escape(line)}", highlight=False, soft_wrap=True)
    if a.note is not None:
        out.print(f"  note: {escape(' '.join(a.note.split()))}", highlight=False, soft_wrap=True)
    if a.settle_with is not None:
        # What cannot be true is settled: the command shows what forbids it.
        word = "see for yourself" if a.verdict == "impossible" else "settle with"
        out.print(f"  {word}: {escape(a.settle_with)}", highlight=False, soft_wrap=True)
    out.print()
