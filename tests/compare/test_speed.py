"""Changes of speed: the paired t test by hand, and what identical pairs do not prove."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from gate_support import launched, measured, point, variant
from scipy import stats

from bench.compare.compare import compare
from bench.compare.launches import launches, remedy
from bench.compare.speed import (
    EVERYWHERE,
    Observed,
    SpeedChange,
    Values,
    changes,
    corrected,
    equivalence_p,
    observed,
    paired_t_p,
    ratio_interval,
)
from bench.compare.words import words_of
from bench.config.compose import compose, run_spec
from bench.values.record import Run

RATE = "output_tokens_per_s"


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


def rates(*values: float, metric: str = RATE) -> Values:
    """A rate at one load, one value per launch."""
    repeats = {(i, 0): v for i, v in enumerate(values)}
    return {(metric, "c1"): Observed(launches=dict(enumerate(values)), repeats=repeats)}


def repeats(*values: float) -> Values:
    """The output rate at one load in repeats of one launch."""
    of_one = {(0, i): v for i, v in enumerate(values)}
    return {(RATE, "c1"): Observed(launches={0: sum(values) / len(values)}, repeats=of_one)}


def test_repeats_of_one_launch_have_no_direction() -> None:
    """Twelve repeats, each 30 % faster: all of one launch, so nothing is said of the next one."""
    values = [100.0 + 0.1 * i for i in range(12)]
    for change in changes(repeats(*values), repeats(*(1.3 * v for v in values))):
        assert change.verdict == "in_this_run"
        assert (change.p, change.p_holm, change.p_equivalent) == (None, None, None)
        assert (change.launches, change.pairs, change.basis) == (1, 12, "repeats")
    text, codes = words_of([change_of(repeats(*values), 1.3)], [], measured=True, launched=1)
    assert text.startswith("in this run: output tokens/s +30.0% [")
    assert "no verdict from 1 launch of each, 3 are needed" in text
    assert codes[0] == "speed_in_this_run"


def test_launches_whose_pairs_are_withheld_are_not_said_to_be_missing() -> None:
    """Three launches of each, of which one has both sides: not "1 launch of each"."""
    found = changes(rates(100.0, 101.0, 99.0), rates(130.0))
    text, _ = words_of(found, [], measured=True, launched=3)
    said = (
        "no verdict: of 3 launches of each, 3 are needed in which no load of either is withheld, "
        "and there is 1 (bench show RUN says why)"
    )
    assert said in text


def change_of(base: Values, factor: float) -> SpeedChange:
    other = {
        key: Observed(
            launches={k: factor * v for k, v in seen.launches.items()},
            repeats={k: factor * v for k, v in seen.repeats.items()},
        )
        for key, seen in base.items()
    }
    return changes(base, other)[0]


def test_two_launches_are_too_few() -> None:
    overall, _ = changes(rates(100.0, 100.1), rates(130.0, 130.1))
    assert (overall.verdict, overall.launches) == ("in_this_run", 2)
    overall, _ = changes(rates(100.0, 100.1, 99.9), rates(130.0, 130.2, 129.9))
    assert (overall.verdict, overall.launches, overall.basis) == ("faster", 3, "launches")


def test_variants_beside_each_other_need_a_smaller_p() -> None:
    """Four launches 1.3 to 1.9 % faster, p = .001: still so among 3 variants, not among 100."""
    base = rates(100, 100, 100, 100)
    found = changes(base, rates(101.3, 101.9, 101.5, 101.7))
    for variants, verdict in ((3, "faster"), (100, "no_difference_shown")):
        row, *_ = corrected([found] * variants)
        for change in row:  # over all loads, and at the one there is
            assert change.p is not None
            assert change.p_holm == pytest.approx(min(1.0, variants * change.p))
            assert change.verdict == verdict


def test_single_loads_are_corrected_for_each_other() -> None:
    """Of 20 loads one is 6 % faster with p = .004: 20 times that is no direction."""
    base = {(RATE, f"c{i}"): rates(100, 100, 100)[RATE, "c1"] for i in range(20)}
    other = base | {(RATE, "c7"): rates(105.5, 106, 106.5)[RATE, "c1"]}
    (row,) = corrected([changes(base, other)])
    at = next(c for c in row if c.load == "c7")
    assert at.p is not None
    # logs .053541, .058269, .062975: mean .058262, s .0047171, t = 21.393; 1 - t/sqrt(t^2 + 2)
    assert at.p == pytest.approx(0.002178, abs=1e-5)
    assert at.p_holm == pytest.approx(20 * at.p, abs=1e-9)
    assert at.verdict == "faster"  # p 0.044: still
    other |= {(RATE, "c7"): rates(105, 106, 107)[RATE, "c1"]}
    (row,) = corrected([changes(base, other)])
    at = next(c for c in row if c.load == "c7")
    # logs .04879, .05827, .06766: t = 10.7, p = .0086, times 20
    assert at.p == pytest.approx(0.0086, abs=1e-4)
    assert at.verdict == "no_difference_shown"


def test_a_change_within_the_margin_is_none() -> None:
    """0.1 % faster in every launch is beyond chance (p = .0002), and too little to be one; 1.3 %
    with an interval that reaches below 1 % is a change."""
    base = rates(100, 100, 100, 100)
    small, *_ = changes(base, rates(100.1, 100.11, 100.09, 100.1))
    assert small.p is not None
    assert small.p < 0.001
    assert small.verdict == "equivalent"
    text, codes = words_of([small], [], measured=True, launched=1)
    assert text.startswith("the same speed (within 1%): output tokens/s +0.1%")
    assert codes[0] == "speed_equivalent"
    across, *_ = changes(base, rates(100.9, 101.5, 101.3, 101.5))
    assert across.verdict == "faster"


@pytest.mark.parametrize("values", [(0.003, 0.006, -0.002), (-0.004, 0.001, 0.002, 0.0)])
def test_equivalence_is_two_one_sided_tests(values: tuple[float, ...]) -> None:
    """The larger of two one-sided t tests against ln 0.99 and ln 1.01, as scipy computes them."""
    sides = [
        stats.ttest_1samp(values, math.log(0.99), alternative="greater").pvalue,
        stats.ttest_1samp(values, math.log(1.01), alternative="less").pvalue,
    ]
    assert equivalence_p(values) == pytest.approx(max(sides), rel=1e-9)
    assert paired_t_p(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-9)


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


@pytest.mark.parametrize(("rounds", "said"), [(1, True), (2, True), (3, False)])
def test_fewer_than_three_launches_are_said(rounds: int, said: bool) -> None:
    base, other = (launched({RATE: [100, 101, 99][:rounds]}, name=n) for n in "ab")
    codes = [f.code for f in compare([base, other]).findings]
    assert ("one_run" in codes) is said


def test_a_stored_run_twice_is_one_launch() -> None:
    runs = [measured(point({RATE: [100, 101, 99]}), at=at) for at in ("1", "1", "2")]
    assert launches(variant(*runs).runs) == (0, 0, 1)
    (seen,) = observed(variant(*runs), [RATE]).values()
    assert seen.launches == {0: 100, 1: 100}


def endpoint(at: str, **server: Any) -> Run:
    words = [f"engine.{k}={v}" for k, v in server.items() if k == "launch"]
    spec = run_spec(compose(["engine=endpoint", "gpus=0", *words]), detect_gpus=False)
    told = {k: v for k, v in server.items() if k != "launch"}
    return replace(measured(at=at).run, spec=spec, server=told)


def test_a_server_that_already_runs_is_one_launch_unless_it_says_otherwise() -> None:
    silent = [endpoint(str(i)) for i in range(3)]
    restarted = [endpoint(str(i), process_start_s=1e9 + i // 2) for i in range(3)]
    named = [endpoint(str(i), launch=name) for i, name in enumerate("abc")]
    assert launches(silent) == (0, 0, 0)
    assert launches(restarted) == (0, 0, 1)
    assert launches(named) == (0, 1, 2)
    assert "engine.launch=NAME" in remedy(silent)
    assert "engine.launch" not in remedy([measured().run])


def test_series_one_after_the_other_are_said() -> None:
    base = launched({RATE: [100, 101, 99]})
    later = [measured(point({RATE: [v]}), at=f"2027-{i}") for i, v in enumerate((100, 101, 99))]
    codes = [f.code for f in compare([base, variant(*later, name="b")]).findings]
    assert "no_turns" in codes
