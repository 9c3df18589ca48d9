"""Launches of one condition: estimated where there are three, else assumed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from bench.config.compose import compose, run_spec
from bench.predict import own
from bench.predict.answer import predictions
from bench.predict.evidence import OWN_SPREAD, Row
from bench.predict.noise import ASSUMED, between_launches, of_repeats, with_launches
from bench.predict.question import Question, question
from bench.values.errors import InputError


@pytest.fixture
def tiny() -> Question:
    return question(run_spec(compose(["model=tiny", "gpu=cpu"]), detect_gpus=False))


def launched(q: Question, run: str, load: int, rate: float, **more: Any) -> Row:
    return replace(q.row(load, tokens_per_s=rate, own=True), id=f"{run}/c{load}", **more)


def test_three_launches_estimate_their_spread(tiny: Question) -> None:
    rates = (math.exp(0.0), math.exp(0.1), math.exp(0.2))
    rows = [launched(tiny, f"r{i}", 4, rate) for i, rate in enumerate(rates)]
    found = between_launches(rows, tiny.row(8))
    # Variance of 0, 0.1, 0.2 is 0.01; of Student's t with 2 degrees the 90th percentile is 1.886,
    # of the normal 1.282.
    assert found.log_sd == pytest.approx(0.1 * 1.8856 / 1.2816, rel=1e-3)
    assert (found.launches, found.conditions) == (3, 1)
    assert "estimated from 3 launches of 1 condition of your own" in found.words
    # What repeats explain is not the launch's: 0.01 - 0.06².
    noisy = [replace(r, log_sd=0.06) for r in rows]
    assert between_launches(noisy, tiny.row(8)).log_sd == pytest.approx(0.08 * 1.4713, rel=1e-3)


def test_two_launches_or_unlike_ones_estimate_nothing(tiny: Question) -> None:
    two = [launched(tiny, f"r{i}", 4, 1.0 + i) for i in range(2)]
    unlike = [*two, launched(tiny, "r2", 8, 9.0)]
    repeats = [launched(tiny, "r0", load, 1.0) for load in (1, 2, 4)]
    for rows in (two, unlike, repeats):
        found = between_launches(rows, tiny.row(8))
        assert (found.log_sd, found.launches) == (ASSUMED["cpu"], 0)
        assert "assumed" in found.words


def test_other_models_speak_where_the_asked_one_cannot(tiny: Question) -> None:
    rows = [replace(launched(tiny, f"r{i}", 4, 1.0 + i / 10), model="other") for i in range(3)]
    found = between_launches(rows, tiny.row(8))
    assert found.other_model
    assert found.words.endswith("of other models")


def test_what_launches_share_does_not_average_out(tiny: Question) -> None:
    one = [launched(tiny, "r", load, 1.0, log_sd=0.03) for load in (1, 2, 4, 8)]
    for row in with_launches(one, 0.1):
        assert row.log_sd == pytest.approx(math.hypot(0.03, 0.2))  # 0.1 × √4
    again = [launched(tiny, f"r{i}", 4, 1.0) for i in range(3)]
    for row in with_launches(again, 0.1):
        assert row.log_sd == pytest.approx(math.hypot(0.1, OWN_SPREAD * math.sqrt(2)))
    assert of_repeats(one, tiny.row(1)) == pytest.approx(0.03)


def test_the_band_holds_another_launch_and_says_of_what_it_is(tiny: Question) -> None:
    load = replace(tiny.spec.load, concurrency=(4,))
    two = (launched(tiny, "a", 2, 100.0), launched(tiny, "b", 8, 300.0))
    assumed = predictions(tiny, load, two)[0]
    assert any("assumed" in n for n in assumed.notes)
    band = assumed.figures["output_tokens_per_s"]
    # Launches of 12 % and the model's 6 % between loads alone: e^(2 × 1.28 × 0.134) = 1.41.
    assert band.width > 1.41
    steady = (*two, *(launched(tiny, f"s{i}", 2, 100.0 + 0.1 * i) for i in range(4)))
    known = predictions(tiny, load, steady)[0]
    assert any("estimated from 5 launches" in n for n in known.notes)
    assert known.figures["output_tokens_per_s"].width < band.width


def test_another_processor_is_no_evidence_of_this_one(tiny: Question) -> None:
    mine = (launched(tiny, "a", 2, 100.0), launched(tiny, "c", 8, 300.0))
    others = replace(launched(tiny, "b", 8, 900.0), host="Another CPU, 64 cores")
    load = replace(tiny.spec.load, concurrency=(4,))
    alone, both = (predictions(tiny, load, rows)[0] for rows in (mine, (*mine, others)))
    assert both.figures == alone.figures
    assert both.own_rows == 2
    assert any("vllm on Another CPU, 64 cores" in n for n in both.notes)
    assert not own.about([others], tiny.row(1))


def test_one_load_of_a_processor_says_nothing_of_others(tiny: Question) -> None:
    load = replace(tiny.spec.load, concurrency=(4, 64))
    one = launched(tiny, "a", 2, 100.0)
    with pytest.raises(InputError, match="one load alone of vllm"):
        predictions(tiny, load, (one, launched(tiny, "b", 2, 110.0)))
    among, beyond = predictions(tiny, load, (one, launched(tiny, "b", 8, 300.0)))
    assert not any("outside of your own loads" in n for n in among.notes)
    assert any("outside of your own loads (2 to 8 in flight)" in n for n in beyond.notes)


def test_a_load_point_without_repeats_is_no_surer_than_those_with(tiny: Question) -> None:
    """Its scatter is not known; as 0 it narrowed the band and outweighed the others."""
    rows = [launched(tiny, "a", 4, 100.0, log_sd=0.1), launched(tiny, "b", 8, 150.0, log_sd=None)]
    assert of_repeats(rows, rows[0]) == pytest.approx(0.1)
    first, second = with_launches(rows, 0.0)
    assert first.log_sd == second.log_sd == pytest.approx(0.1)
