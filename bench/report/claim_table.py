"""Verdicts in the terminal: the quote, what it comes to, and the evidence line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.claims.verdict import Assessment
from bench.report.terminal import console

_STYLE = {
    "confirmed": "green",
    "refuted": "red",
    "impossible": "red",
    "not comparable": "yellow",
    "untested": "cyan",
    "possible": "dim",
}


def print_claims(found: Sequence[Assessment], *, in_full: bool, out: Console | None = None) -> None:
    """Each claim with its evidence, or one line per claim where there are many."""
    out = out or console()
    if in_full:
        for one in found:
            _print_one(one, out)
    else:
        out.print(_table(found))
    counted = Counter(a.verdict for a in found)
    if len(found) > 1:
        words = ", ".join(f"{n} {v}" for v, n in counted.most_common())
        out.print(f"{len(found)} claims: {words}", highlight=False)


def _print_one(a: Assessment, out: Console) -> None:
    style = _STYLE[a.verdict]
    out.print(f"[bold]{escape(a.claim)}[/]: [{style} bold]{a.verdict.upper()}[/]", highlight=False)
    out.print(f"  {escape(a.who)}: “{escape(a.quote)}”", highlight=False, soft_wrap=True)
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
        out.print(f"  settle with: {escape(a.settle_with)}", highlight=False, soft_wrap=True)
    out.print()


def _table(found: Sequence[Assessment]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("claim", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("why")
    for a in found:
        style = _STYLE[a.verdict]
        table.add_row(escape(a.claim), f"[{style}]{a.verdict}[/]", escape(_why(a)))
    return table


def _why(a: Assessment) -> str:
    """The line of evidence that carries the verdict: the last one of the check that decided."""
    deciding = next((c for c in a.checks if c.verdict == a.verdict), a.checks[-1])
    if deciding.kind in ("fit", "lookup"):
        words = ("too much", ": contradicted", ": agrees")
        marked = [e for e in deciding.evidence if any(w in e for w in words)]
        return " ".join((marked or list(deciding.evidence))[-1].split())
    stated = [e for e in deciding.evidence if e.startswith("stated")]
    return " ".join((stated or list(deciding.evidence))[0].split())
