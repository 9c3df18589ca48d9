"""Verdicts: what a check found, with its evidence, and what all checks together come to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.claims.spec import Stated

Verdict = Literal["confirmed", "refuted", "impossible", "not comparable", "untested"]
CheckVerdict = Literal[
    "confirmed", "refuted", "impossible", "not comparable", "untested", "possible"
]
CheckKind = Literal[
    "subject", "units", "arithmetic", "cost", "lookup", "fit", "bound", "joint", "reports", "runs"
]
_STRONGEST: tuple[Verdict, ...] = ("impossible", "refuted", "confirmed", "not comparable")

WIDEST_INTERVAL = 0.25
"""Half-width, as a share of the measured value, above which an interval that contains the claim
proves nothing: it would contain many others."""
DISTURBED = 0.5
"""Half-width above which a measurement proves nothing at all: the machine did other work."""
NOT_KNOWN = "not in the formats and engines known here"
OFFLOADED = "only with host memory or disk"
FEWEST = "at the fewest bits that its words allow"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check. `evidence` is what to read, line by line; `figures` the numbers behind it.

    `possible` says that this check does not forbid the number, which confirms nothing.
    """

    kind: CheckKind
    verdict: CheckVerdict
    evidence: tuple[str, ...]
    figures: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """A claim's name with its checks, cheapest first, and the command that would settle it."""

    claim: str
    who: str
    quote: str
    checks: tuple[Check, ...]
    settle_with: str | None = None
    note: str | None = None

    @property
    def verdict(self) -> Verdict:
        """The strongest verdict of any check; `untested` when none has decided."""
        found = {c.verdict for c in self.checks}
        return next((v for v in _STRONGEST if v in found), "untested")

    @property
    def why(self) -> str:
        """The evidence that carries the verdict, in one line, from the check that decided."""
        deciding = next((c for c in self.checks if c.verdict == self.verdict), None)
        if deciding is None:
            return "nothing at hand bears it out or contradicts it"
        lines = [" ".join(line.split()) for line in deciding.evidence]
        if deciding.kind == "fit":
            return _why_of_fit(lines)
        if deciding.kind == "lookup":
            for mark in (": contradicted", ": no dated reference", "has no dated", ": agrees"):
                found = [line for line in lines if mark in line]
                if found:
                    return found[0]
        held = [line for line in lines if line.startswith("stated ")]
        beyond = [line for line in held if "what the bound allows" in line]  # of a curve's points
        reason = next(iter((*beyond, *held, lines[0])))
        if deciding.kind == "bound" and deciding.verdict == "not comparable":
            after = lines[lines.index(reason) + 1 :]  # what is unsaid and would allow it
            reason = "; ".join([reason, *after[:1]])
        fit = next((c for c in self.checks if c.kind == "fit" and c.verdict == "untested"), None)
        words = () if fit is None or deciding.verdict != "not comparable" else fit.evidence
        said = [w for w in (NOT_KNOWN, OFFLOADED) if any(w in line for line in words)]
        return "; ".join([reason, *(f"memory: {w}" for w in said)])

    def to_json(self) -> dict[str, Any]:
        """The contract of `bench claim --json`; numbers that are not finite become null."""
        return {
            "claim": self.claim,
            "verdict": self.verdict,
            "why": self.why,
            "who": self.who,
            "quote": self.quote,
            "checks": [
                {
                    "kind": c.kind,
                    "verdict": c.verdict,
                    "evidence": list(c.evidence),
                    "figures": {k: _finite(v) for k, v in c.figures.items()},
                }
                for c in self.checks
            ],
            "settle_with": self.settle_with,
            "note": self.note,
        }


def _why_of_fit(lines: Sequence[str]) -> str:
    """The memory, and what its verdict rests on: the fewest bytes of any reading, not those of one
    format."""
    rest = [line for line in lines if line.startswith((FEWEST, OFFLOADED))]
    first = [] if lines[0] in rest else [lines[0].partition(" (")[0]]
    return "; ".join([*first, *rest])


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def agrees(stated: Stated, value: float) -> bool | None:
    """Whether one exact number (a recomputation, a price) is what was stated; None for null."""
    if stated.value is None:
        return None
    low, high = stated.band
    if math.isinf(stated.value) or math.isinf(value):
        same = math.isinf(stated.value) and math.isinf(value)
        return same or (stated.relation == "at_least" and value > low)
    slack = 1e-9 * max(abs(low), abs(high), abs(value))
    if stated.relation == "at_least":
        return value >= low - slack
    if stated.relation == "at_most":
        return value <= high + slack
    if stated.relation == "below":
        return value < high
    return low - slack <= value <= high + slack


def from_interval(stated: Stated, low: float, high: float) -> CheckVerdict:
    """What a measured 95 % interval says of the stated number.

    `about`: refuted when the interval excludes it, confirmed when it contains it and is narrow
    enough to mean something. One-sided claims need the whole interval on one side. Nothing is
    said from an interval wider than half the value on each side.
    """
    if stated.value is None:
        return "not comparable"
    bottom, top = stated.band
    half = (high - low) / 2 / (abs(high + low) / 2) if high + low else math.inf
    if half > DISTURBED:
        return "untested"
    if stated.relation == "at_least":
        return "confirmed" if low >= bottom else "refuted" if high < bottom else "untested"
    if stated.relation in ("at_most", "below"):
        return "confirmed" if high <= top else "refuted" if low > top else "untested"
    if high < bottom or low > top:
        return "refuted"
    return "untested" if half > WIDEST_INTERVAL else "confirmed"


def say(stated: Stated) -> str:
    """The stated number as text: `about 50 tokens/s`, `1–2 Mtok/month`."""
    if stated.value is None:
        return "no number"
    if math.isinf(stated.value):
        return "unlimited"
    words = {"at_least": "at least ", "at_most": "at most ", "below": "below ", "about": ""}
    text = number(stated.value)
    if stated.high is not None:
        text += f"–{number(stated.high)}"
    unit = "" if stated.unit in ("1",) else f" {stated.unit}"
    approx = "~" if stated.tolerance and stated.relation == "about" else ""
    return f"{words[stated.relation]}{approx}{text}{unit}"


def number(value: float) -> str:
    """A number for people: thousands separated, four significant digits below 1,000."""
    if not math.isfinite(value):
        return "∞"
    if value == round(value) or abs(value) >= 1e3:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def worst(verdicts: Sequence[bool | None]) -> CheckVerdict:
    """Of several comparisons: refuted if any fails, untested if any is open, else confirmed."""
    if any(v is False for v in verdicts):
        return "refuted"
    if not verdicts or any(v is None for v in verdicts):
        return "untested"
    return "confirmed"
