"""Changes of speed: the paired t test by hand, and what identical pairs do not prove."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from gate_support import measured, point, variant

from bench.compare.compare import compare
from bench.compare.speed import EVERYWHERE, changes, corrected, paired_t_p, ratio_interval
from bench.compare.words import words_of


def test_three_pairs_by_hand() -> None:
    """1, 2, 3 %: mean 2, s = 1, t = 2 · √3 = 3.46 at 2 degrees; p = 1 − t ÷ √(t² + 2)."""
    t = 2 * math.sqrt(3)
    assert paired_t_p([0.01, 0.02, 0.03]) == pytest.approx(1 - t / math.sqrt(t * t + 2))
    interval = ratio_interval([0.01, 0.02, 0.03])
    assert interval is not None
    assert interval.value == pytest.approx(math.exp(0.02))
    assert interval.low == pytest.approx(math.exp(0.02 - 4.302653 * 0.01 / math.sqrt(3)))


def test_one_pair_proves_nothing() -> None:
    assert paired_t_p([0.1]) is None
    assert ratio_interval([0.1]) is None


@pytest.mark.parametrize(("pairs", "p"), [(2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_pairs_that_agree_exactly_have_their_sign_alone(pairs: int, p: float) -> None:
    """Without a spread there is no t: the exact sign test, however large the change."""
    assert paired_t_p([0.3] * pairs) == pytest.approx(p)
    # The last bit of a float is no spread either.
    nearly = [0.3] * (pairs - 1) + [math.nextafter(0.3, 1)]
    assert paired_t_p(nearly) == pytest.approx(p)


def test_the_same_thing_twice_is_no_change() -> None:
    assert paired_t_p([0.0, 0.0, 0.0]) == 1.0


def rates(*values: float) -> dict[tuple[str, str], dict[tuple[int, int], float]]:
    """The output rate at one load in repeats of one run."""
    return {("output_tokens_per_s", "c1"): {(0, i): v for i, v in enumerate(values)}}


def test_two_identical_repeats_are_not_faster() -> None:
    overall, _ = changes(rates(100.0, 100.0), rates(130.0, 130.0))
    assert overall.verdict == "no_difference_shown"


def test_variants_beside_each_other_need_a_smaller_p() -> None:
    """Four repeats 1.3 to 1.9 % faster, p = .001: still so among 3 variants, not among 100."""
    base = rates(100, 100, 100, 100)
    found = changes(base, rates(101.3, 101.9, 101.5, 101.7))
    for variants, verdict in ((3, "faster"), (100, "no_difference_shown")):
        (overall, at_load), *_ = corrected([found] * variants)
        assert overall.p is not None
        assert overall.p_holm == pytest.approx(min(1.0, variants * overall.p))
        assert overall.verdict == verdict
        assert at_load.p_holm == at_load.p


def test_a_change_within_the_margin_is_none() -> None:
    """0.1 % faster in every repeat is beyond chance (p = .0002), and too little to be one; 1.3 %
    with an interval that reaches below 1 % is a change."""
    base = rates(100, 100, 100, 100)
    small, *_ = changes(base, rates(100.1, 100.11, 100.09, 100.1))
    assert small.p is not None
    assert small.p < 0.001
    assert small.verdict == "equivalent"
    text, codes = words_of([small], [], measured=True)
    assert text.startswith("the same speed (within 1%): output tokens/s +0.1%")
    assert codes[0] == "speed_equivalent"
    across, *_ = changes(base, rates(100.9, 101.5, 101.3, 101.5))
    assert across.verdict == "faster"


def test_the_metrics_of_one_variant_are_corrected_together() -> None:
    """p = .001, .03, .04 and .2: times 4, 3, 2 and 1 (Holm), never falling."""
    found = [
        replace(c, metric=name, p=p, p_holm=p)
        for name, p in (("a", 0.001), ("b", 0.03), ("c", 0.04), ("d", 0.2))
        for c in changes(rates(100, 100, 100), rates(120, 130, 140))
        if c.load == EVERYWHERE
    ]
    (row,) = corrected([found])
    assert [c.p_holm for c in row] == pytest.approx([0.004, 0.09, 0.09, 0.2])
    assert [c.verdict for c in row] == ["faster", *["no_difference_shown"] * 3]


@pytest.mark.parametrize(("rounds", "said"), [(1, True), (2, False)])
def test_one_run_each_shares_no_drift(rounds: int, said: bool) -> None:
    """A variant of one run says that its interval knows nothing of starts; rounds do know."""
    runs = [measured(point({"output_tokens_per_s": [100, 101, 99]})) for _ in range(rounds)]
    codes = [f.code for f in compare([variant(*runs), variant(*runs, name="b")]).findings]
    assert ("one_run" in codes) is said
