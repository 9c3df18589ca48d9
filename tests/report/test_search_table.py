"""The answer of a load search in words: what was shown, what failed, and what stayed unclear."""

from __future__ import annotations

from typing import Any

from bench.measure.measurement import Measurement
from bench.report.search_table import answer


def tried(load: float, verdict: str, grows: float) -> dict[str, Any]:
    seen = {"queue_growth_per_s": grows, "completed_per_s": load - grows}
    return {"load": load, "verdict": verdict, "criterion": "queue growth", "seen": seen}


def found(*steps: dict[str, Any], objective: str = "saturate") -> dict[str, Any]:
    above = [s["load"] for s in steps if s["verdict"] != "holds"]
    held = [s["load"] for s in steps if s["verdict"] == "holds"]
    return {
        "complete": True,
        "objective": objective,
        "criteria": "c",
        "tried": list(steps),
        "found": max(held, default=None),
        "not_holding": min(above, default=None),
    }


def said(document: dict[str, Any]) -> str:
    return answer(document, Measurement(points=()), "req/s")


def test_the_knee_and_what_lies_beyond() -> None:
    text = said(found(tried(17.8, "holds", 0.1), tried(18.7, "fails", 2.5)))
    assert text == (
        "the knee: the server keeps up up to 17.8 req/s; not at 18.7 req/s, over-saturated: the "
        "queue grows by 2.50 a second, 16.2 req/s are completed"
    )


def test_unclear_is_not_over_saturated() -> None:
    """What more repeats might have shown to hold is not said to fail."""
    steps = (tried(17.8, "holds", 0.1), tried(18.7, "unclear", 0.5), tried(33.5, "fails", 15.7))
    assert said(found(*steps)) == (
        "the knee: the server keeps up up to 17.8 req/s; unclear at 18.7 req/s; not at 33.5 req/s, "
        "over-saturated: the queue grows by 15.7 a second, 17.8 req/s are completed"
    )
    assert said(found(*steps[:2])).endswith("up to 17.8 req/s; unclear at 18.7 req/s")


def test_an_slo_names_the_limit_that_is_missed() -> None:
    missed = {
        **tried(24.0, "fails", 1.0),
        "criterion": "ttft_sched_p99_ms",
        "seen": {"ttft_sched_p99_ms": 323.0},
    }
    text = said(found(tried(22.7, "holds", 0.1), missed, objective="slo"))
    assert text == "the SLO holds up to 22.7 req/s; not at 24 req/s (ttft_sched_p99_ms 323)"


def test_no_load_holds_or_all_do() -> None:
    assert said(found(tried(1.0, "fails", 0.5))) == "nothing holds: c is missed even at 1 req/s"
    assert said(found(tried(9.0, "holds", 0.0))).endswith("no higher load was allowed")
