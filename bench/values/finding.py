"""What is to be said about a result: it travels with the result up to the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

Severity = Literal["pass", "info", "warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check's outcome. `fail` withholds the headline; `figure` is the number it rests on.

    A failure that `withholds` energy leaves the speed standing; one that withholds `some` takes
    away the `metrics` it names (whole names, or stems such as `itl`) and leaves the rest.
    """

    code: str
    severity: Severity
    text: str
    figure: float | None = None
    unit: str | None = None
    withholds: Literal["all", "energy", "some"] = "all"
    metrics: tuple[str, ...] = ()

    def takes(self, metric: str) -> bool:
        """Whether this failure takes that figure of speed away: by its name, or by a stem of it
        (`itl` is `itl_p50_ms` and its like; a rate, which has its unit, is no stem)."""
        if self.severity != "fail" or self.withholds == "energy":
            return False
        return self.withholds == "all" or any(
            metric == m or (metric.startswith(f"{m}_") and "_per_s" not in m) for m in self.metrics
        )


def is_valid(findings: Iterable[Finding]) -> bool:
    """Whether none of the findings is a failure that takes everything away."""
    return all(f.severity != "fail" or f.withholds != "all" for f in findings)


def finding(
    code: str, severity: Severity, text: str, figure: float | None = None, unit: str | None = None
) -> Finding:
    """A Finding in one line, for the checks that make many."""
    return Finding(code=code, severity=severity, text=text, figure=figure, unit=unit)


def energy(code: str, severity: Severity, text: str, figure: float | None = None) -> Finding:
    """A finding whose failure withholds energy alone."""
    return replace(finding(code, severity, text, figure), withholds="energy")


def some(
    code: str,
    text: str,
    metrics: tuple[str, ...],
    figure: float | None = None,
    unit: str | None = None,
) -> Finding:
    """A failure that takes away the metrics it can move, and only those."""
    return replace(finding(code, "fail", text, figure, unit), withholds="some", metrics=metrics)
