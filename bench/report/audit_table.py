"""An audit of another tool's result, on a terminal and as a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from bench.foreign.audit import Audit
from bench.report.grid import Grid, column, numbers, print_grid
from bench.report.markup import escape
from bench.report.numbers import quantity
from bench.values.codec import encode

_WORDS = {
    "yes": "can be trusted",
    "another definition": "right by its own definition, another here",
    "no": "cannot be trusted",
    "unknown": "cannot be checked",
}
_BESIDE = ("fail", "warn")


def audit_document(found: Audit) -> dict[str, Any]:
    """The audit as plain data."""
    r = found.result
    return {
        "file": r.file,
        "tool": r.tool,
        "version": r.version,
        "load": r.point.label,
        "requests": found.requests,
        "detail": r.detail,
        "conditions": dict(r.conditions),
        "figures": [encode(line) for line in found.lines],
        "findings": [encode(f) for f in found.findings],
        "notes": list(r.notes),
        "unsaid": list(r.unsaid),
        "trusted": list(found.of("yes")),
        "another_definition": list(found.of("another definition")),
        "not_trusted": list(found.of("no")),
        "unknown": list(found.of("unknown")),
    }


def print_audit(d: Mapping[str, Any], out: Console) -> None:
    """Figure by figure, what was found, then what can be trusted, what not, what is unknown."""
    name = f"{d['tool']} {d['version']}" if d["version"] else d["tool"]
    many = "no raw data" if d["requests"] is None else f"{d['requests']:,} requests, {d['detail']}"
    out.print(f"[bold]{escape(name)}[/] · {escape(d['file'])} · {d['load']} · {many}")
    columns = (column("figure"), *numbers("it says", "computed here"), column("trust", wraps=True))
    print_grid(out, Grid(columns=columns, rows=tuple(map(_row, d["figures"])), keys=1))
    for line in words(d):
        out.print(escape(line), highlight=False, soft_wrap=True)


def _row(line: Mapping[str, Any]) -> tuple[str, ...]:
    ours = "–" if line["ours"] is None else quantity(line["ours"])
    code = line["why"].partition(":")[0] if line["verdict"] == "no" else ""
    trust = f"no: {code}" if code else line["verdict"]
    return line["metric"], quantity(line["claimed"]), ours, trust


def words(d: Mapping[str, Any]) -> Iterator[str]:
    """Findings and the three lists."""
    order = {"fail": 0, "warn": 1}
    shown = [f for f in d["findings"] if f["severity"] in _BESIDE]
    for f in sorted(shown, key=lambda f: order[f["severity"]]):
        yield f"  {f['severity'].upper():<4}  {f['code']}: {f['text']}"
    counted = Counter(f["severity"] for f in d["findings"])
    unmade = f", {counted['info']} could not be made of this file" if counted["info"] else ""
    yield f"  {counted['pass']} checks passed{unmade}"
    for note in d["notes"]:
        yield f"  note  {note}"
    told: dict[str, list[str]] = {}
    for line in d["figures"]:
        if line["verdict"] == "another definition":
            told.setdefault(line["why"] or "its definition is not known", []).append(line["metric"])
    for why, metrics in told.items():
        yield f"  {', '.join(metrics)}: {why}"
    for key, verdict in (
        ("trusted", "yes"),
        ("another_definition", "another definition"),
        ("not_trusted", "no"),
        ("unknown", "unknown"),
    ):
        yield f"{_WORDS[verdict]}: {', '.join(d[key]) or 'nothing'}"
    yield f"not in the file: {'; '.join(d['unsaid'])}"
    if d.get("stored"):
        yield f"stored: {d['stored']}"
