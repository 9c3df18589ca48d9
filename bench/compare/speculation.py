"""Speculative decoding on or off as the variant: its name, its acceptance, its net gain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.compare.speed import EVERYWHERE, MARGIN, SpeedChange
from bench.measure.measurement import Measurement
from bench.values.drafting import name_of
from bench.values.record import Run

_SAID = {
    "faster": ("gains", "loses"),
    "slower": ("loses", "gains"),
    "equivalent": (f"gains nothing (within {MARGIN:.0%})",) * 2,
    "no_difference_shown": ("shows no gain",) * 2,
}
_CODES = {"gains": "speculation_gains", "loses": "speculation_loses"}


@dataclass(frozen=True, kw_only=True)
class Drafting:
    """What drafts, on which side, and which share of the drafted tokens the engine counted as
    accepted over its load points, [lowest, highest]; None where it counts none."""

    name: str
    in_variant: bool
    acceptance: tuple[float, float] | None


def drafting(
    baseline: tuple[Run, Sequence[Measurement]], variant: tuple[Run, Sequence[Measurement]]
) -> Drafting | None:
    """Who drafts, where exactly one of the two does."""
    names = name_of(baseline[0].spec), name_of(variant[0].spec)
    if (names[0] is None) == (names[1] is None):
        return None
    on = names[1] is not None
    measured = variant[1] if on else baseline[1]
    return Drafting(name=names[on] or "", in_variant=on, acceptance=_acceptance(measured))


def _acceptance(measured: Sequence[Measurement]) -> tuple[float, float] | None:
    found = [
        finding.figure
        for one in measured
        for point in one.points
        for finding in point.findings
        if finding.code == "speculation" and finding.figure is not None
    ]
    return (min(found), max(found)) if found else None


def gain(drafts: Drafting, changes: Sequence[SpeedChange]) -> tuple[str, tuple[str, ...]]:
    """(words, codes): whether drafting gains, by the paired test of the output rate over launches;
    a few launches give no verdict."""
    rate = next(
        (c for c in changes if c.metric == "output_tokens_per_s" and c.load == EVERYWHERE), None
    )
    known = _SAID.get("" if rate is None else rate.verdict)
    verdict = "has no verdict" if known is None else known[0 if drafts.in_variant else 1]
    accepted = "the engine counts no acceptance"
    if drafts.acceptance is not None:
        low, high = (f"{share:.0%}" for share in drafts.acceptance)
        accepted = f"{low if low == high else f'{low} to {high}'} of the drafted tokens accepted"
    code = "speculation_no_verdict" if known is None else _CODES.get(verdict, "speculation_same")
    return f"speculative decoding ({drafts.name}) {verdict}, {accepted}", (code,)
