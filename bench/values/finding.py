"""What is to be said about a result: it travels with the result up to the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

Severity = Literal["pass", "info", "warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check's outcome. `fail` withholds the headline; `figure` is the number it rests on.

    A failure that `withholds` energy leaves the speed standing.
    """

    code: str
    severity: Severity
    text: str
    figure: float | None = None
    unit: str | None = None
    withholds: Literal["all", "energy"] = "all"


def is_valid(findings: Iterable[Finding]) -> bool:
    """Whether none of the findings is a failure of more than energy."""
    return all(f.severity != "fail" or f.withholds == "energy" for f in findings)


def finding(
    code: str, severity: Severity, text: str, figure: float | None = None, unit: str | None = None
) -> Finding:
    """A Finding in one line, for the checks that make many."""
    return Finding(code=code, severity=severity, text=text, figure=figure, unit=unit)


def energy(code: str, severity: Severity, text: str, figure: float | None = None) -> Finding:
    """A finding whose failure withholds energy alone."""
    return replace(finding(code, severity, text, figure), withholds="energy")
