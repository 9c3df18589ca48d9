"""The README opens with a verdict that stands: each line of it is what the claim prints today."""

from __future__ import annotations

from pathlib import Path

from claims_support import assessed

README = Path(__file__).parents[2] / "README.md"


def _in_order(parts: list[str], text: str) -> bool:
    at = 0
    for part in parts:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True


def test_the_opening_example_is_what_is_printed() -> None:
    """`…` stands for what is left out of a line; `ceiling:` once stood for `bound:`."""
    found = assessed("source-document-hardware/r1-2xa100")
    printed = [f"{found.claim}: {found.verdict.upper()}: {found.why}"]
    for check in found.checks:
        printed.append(f"{check.kind}: {check.verdict}  " + "  ".join(check.evidence))
        printed += check.evidence
    example = [
        line.strip()
        for line in README.read_text(encoding="utf-8").split("`bench` measures")[0].splitlines()
        if line.startswith("      ") or line.startswith("    source-document")
    ]
    assert len(example) >= 5
    for line in example:
        parts = [" ".join(p.split()) for p in line.split("…")]
        assert any(_in_order(parts, " ".join(p.split())) for p in printed), line
