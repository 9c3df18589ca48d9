"""The fit against start-up logs of vLLM on GPUs: what is logged there was seen by others."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from fit_support import catalogue

from bench.sizing.cross_validation import Seen, fitted, refits
from bench.sizing.evidence import Answer, answer, errors, spread

DATA = Path(__file__).parents[1] / "data" / "evidence"


@cache
def answers() -> tuple[Answer, ...]:
    lines = (DATA / "engine-logs.jsonl").read_text(encoding="utf-8").splitlines()
    configs = {p.stem: json.loads(p.read_text()) for p in (DATA / "configs").glob("*.json")}
    return tuple(answer(json.loads(line), catalogue(), configs) for line in lines)


def test_clean_logs_are_met() -> None:
    clean = [a for a in answers() if a.clean]
    assert [a.row["id"] for a in clean if a.report is None] == []
    _, _, middle, high = spread(errors(clean, "weights"))
    assert middle <= 0.003
    assert high <= 0.015
    _, _, middle, high = spread(errors(clean, "KV tokens"))
    assert middle <= 0.02
    assert high <= 0.05


def test_verdicts_of_clean_logs() -> None:
    assert [a.row["id"] for a in answers() if a.clean and a.wrong] == []


def test_loading_by_version() -> None:
    """gpt-oss in MXFP4: one layer twice on Hopper until 0.14, no padding for Marlin before 0.11."""
    seen = {a.row["id"]: a.error("weights") for a in answers()}
    assert all(abs(seen[row] or 1.0) < 0.005 for row in ("I04", "I05", "I17", "I29"))


def test_windowed_models_are_met_by_the_planner() -> None:
    """Gemma 2 and 3: windows, padding and blocks as the engine has them."""
    seen = {a.row["id"]: a.error("KV tokens") for a in answers()}
    assert all(abs(seen[row] or 1.0) < 0.02 for row in ("L06", "L08", "L09"))


def test_constants_hold_for_models_that_they_were_not_fitted_on() -> None:
    """Refitted without each of 14 models, the H100 campaign's constants stay, and so does KV."""
    found = {r.rules.peak_per_logit.value: r for r in refits(answers())}
    later = found[14.9]
    assert len(later.without) >= 14
    _, _, middle, high = spread(later.errors)
    assert middle <= 0.002
    assert high <= 0.02
    assert all(abs(c.peak / 14.9 - 1) < 0.1 for c in later.without.values())
    adds = [c.communication for c in later.without.values()]
    assert all(c is not None and abs(c - 1.83) < 0.1 for c in adds)


def test_a_line_is_fitted_as_by_hand() -> None:
    """2 bytes a logit and a quarter GiB; two ranks add 1.5."""
    one = {"kv_predicted_gib": 1.0, "kv_logged_gib": 1.0, "taken_gib": 1.0}
    rows = [
        Seen(model=str(x), left_gib=2 * x + 0.25 + more, logits_gib=x, ranks=ranks, **one)
        for x, ranks, more in ((0.1, 1, 0.0), (0.2, 1, 0.0), (0.3, 2, 1.5))
    ]
    found = fitted(rows)
    assert (found.peak, found.context) == pytest.approx((2.0, 0.25))
    assert found.communication == pytest.approx(1.5)
