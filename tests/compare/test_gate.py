"""Every outcome of a gate, worked by hand; what is not known never passes."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from gate_support import launched, measured, metric, point, variant

from bench.compare.compare import compare
from bench.compare.condition import parse
from bench.compare.gate import Gate, GateTest, judge
from bench.compare.speed import observed
from bench.compare.variant import Variant
from bench.measure.checks.moves import withhold
from bench.report.gate_table import outcome_line
from bench.report.junit import junit
from bench.values.errors import InputError
from bench.values.finding import Finding

RATE = "output_tokens_per_s"
# Logarithms of the ratios: -0.06, -0.05, -0.04. Mean -0.05, interval -0.074842 to -0.025158
# (test_estimate), so the rate changed by -7.21 % to -2.48 %.
SLOWER = [100 * math.exp(v) for v in (-0.06, -0.05, -0.04)]
SAME = [100.0, 100.0, 100.0]


def gate(base: Variant, other: Variant, *conditions: str, load: str | None = None) -> Gate:
    variants = (base, other)
    return judge(variants, compare(variants), [parse(c) for c in conditions], load)


def slower(*conditions: str, **more: Any) -> Gate:
    return gate(launched({RATE: SAME}), launched({RATE: SLOWER}, name="b"), *conditions, **more)


def only(found: Gate) -> GateTest:
    (test,) = found.tests
    return test


def test_beyond_the_limit() -> None:
    found = slower(f"{RATE} < -2%")
    test = only(found)
    assert (found.exit_code, found.outcome, test.outcome) == (3, "failed", "failed")
    assert test.estimate == pytest.approx(math.exp(-0.05) - 1)
    assert (test.low, test.high) == pytest.approx((-0.07211, -0.02484), abs=1e-5)
    # ln 0.98 = -0.020203; t = 0.029797/0.0057735 = 5.16104; 1 - t/sqrt(2 + t^2) = 0.035558
    assert test.p == pytest.approx(0.035558, abs=1e-5)


def test_within_the_limit() -> None:
    assert slower(f"{RATE} < -10%").exit_code == 0


def test_across_the_limit() -> None:
    found = slower(f"{RATE} < -4%")
    # half 0.024842, distance 0.05 - 0.040822 = 0.009178: 3 * (2.7067^2 - 1) = 18.98, so 19 more
    assert found.exit_code == 4
    assert only(found).reason == "the limit lies inside the interval; about 19 more would tell"


def test_a_change_in_its_unit_and_the_value_itself() -> None:
    base = launched({"ttft_p50_ms": [100.0, 102.0, 98.0]})
    # differences 9, 10, 11: mean 10, s 1, half 4.30265/sqrt(3) = 2.48414
    other = launched({"ttft_p50_ms": [109.0, 112.0, 109.0]}, name="b")
    for condition, code in (
        ("ttft_p50_ms > +7.4", 3),
        ("ttft_p50_ms > +7.6", 4),
        ("ttft_p50_ms > +12.5", 0),
        ("ttft_p50_ms > 50", 3),
        ("ttft_p50_ms > 110", 4),
        ("ttft_p50_ms > 130", 0),
    ):
        assert gate(base, other, condition).exit_code == code, condition


def test_the_outcome_reads_as_a_sentence() -> None:
    """`GATE not enough evidence: 1 not enough evidence of 1 tests` did not."""
    said = outcome_line(slower(f"{RATE} < -4%"))
    assert said == "GATE not enough evidence: all of 1 test · exit 4"
    said = outcome_line(slower(f"{RATE} < -0.2%", f"{RATE} < -10%"))
    assert said.startswith("GATE FAILED: 1 FAILED, 1 held of 2 tests · exit 3")


def test_holm_over_all_tests_of_the_gate() -> None:
    # p is 0.0356 for each of two: Holm makes it 0.0711, and neither is an alarm any more
    found = slower(f"{RATE} < -2%", f"{RATE} < -2.0%")
    assert [t.p_holm for t in found.tests] == pytest.approx([0.0711, 0.0711], abs=1e-4)
    assert found.exit_code == 4
    assert "one of 2 tests" in (found.tests[0].reason or "")


def test_one_load_alone_fails_the_gate_and_the_mean_does_not_hide_it() -> None:
    slow = [100 * math.exp(v) for v in (-0.201, -0.2, -0.199)]
    near = [100.1, 100.0, 99.9]
    sides = [
        variant(
            *(
                measured(point({RATE: [a]}, 1), point({RATE: [b]}, 16), at=str(i))
                for i, (a, b) in enumerate(zip(*rates, strict=True))
            ),
            name=name,
        )
        for name, rates in (("a", (SAME, SAME)), ("b", (near, slow)))
    ]
    base, other = sides
    found = gate(base, other, f"{RATE} < -12%")
    assert [(t.load, t.outcome) for t in found.tests] == [("c1", "held"), ("c16", "failed")]
    assert found.exit_code == 3
    assert gate(base, other, f"{RATE}@all < -12%").exit_code == 0  # -9.5 % on the mean
    assert gate(base, other, f"{RATE} < -12%", load="c1").exit_code == 0


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (
            point({RATE: SAME}, failed="client_bound"),
            r"withheld .* tiny/run-0 \(client_bound",
        ),
        (point({RATE: SAME}, 4), "has no load point c16"),
        (point({}), "not measured in tiny/run-0"),
        (point({}, output_tokens_per_s=metric(SAME, arose="replay")), "is replay, not measured"),
        (point({RATE: [0.0, 0.0, 0.0]}), "a ratio to 0 says nothing"),
    ],
    ids=["invalid", "missing", "unmeasured", "replay", "zero"],
)
def test_what_is_not_known_never_passes(other: Any, why: str) -> None:
    base = variant(*(measured(point({RATE: SAME}), at=str(i)) for i in range(3)))
    runs = [measured(other, at=str(i)) for i in range(3)]
    found = gate(base, variant(*runs, name="b"), f"{RATE}@c16 < -50%")
    assert found.exit_code == 4
    assert re.search(why, only(found).reason or "")


def test_what_a_certificate_leaves_standing_is_judged() -> None:
    """The client's error took the ITL tail alone: the output rate is compared, the tail is not."""
    tail = "itl_p99_ms"
    code = Finding(
        code="client_bound", severity="fail", text="late", withholds="some", metrics=(tail,)
    )
    figures = {RATE: SAME, tail: SAME}

    def side(name: str) -> Variant:
        made = point(figures)
        made = replace(made, findings=(code,), metrics=withhold(made.metrics, [code]))
        return variant(*(measured(made, at=f"{name}{i}") for i in range(3)), name=name)

    base, other = side("a"), side("b")
    assert gate(base, other, f"{RATE} < -3%").exit_code == 0
    hidden = gate(base, other, f"{tail} > 3%")
    assert hidden.exit_code == 4
    assert "client_bound: late" in (only(hidden).reason or "")
    assert (RATE, "c16") in observed(base)
    assert (tail, "c16") not in observed(base, (tail,))


def test_a_run_that_failed_as_a_whole_never_passes() -> None:
    finding = Finding(code="incomplete", severity="fail", text="the engine died")
    base = variant(measured(point({RATE: SAME})))
    broken = variant(measured(point({RATE: SAME}), findings=[finding]), name="b")
    found = gate(base, broken, f"{RATE} < -50%")
    assert found.exit_code == 4
    assert "incomplete: the engine died" in (only(found).reason or "")


def test_no_load_point_at_all_never_passes() -> None:
    found = gate(variant(measured()), variant(measured(), name="b"), f"{RATE} < -50%")
    assert (found.exit_code, only(found).reason) == (4, "no load point was measured")


def test_rare_failures_need_many_requests() -> None:
    base, few = (launched({"error_rate": [0.0] * 3}, name=n, n=20) for n in "ab")
    many = launched({"error_rate": [0.0] * 3}, name="b", n=2000)
    # 0 of 60 may be 6.0 % (Wilson), 0 of 6000 may be 0.064 %
    assert gate(base, few, "error_rate > 0.01").exit_code == 4
    assert gate(base, many, "error_rate > 0.01").exit_code == 0


def test_rounds_count_once_each() -> None:
    """Three runs of both sides: three observations, however many repeats each has."""
    base = variant(*(measured(point({RATE: [100.0] * 5}), at=str(i)) for i in range(3)))
    other = variant(
        *(measured(point({RATE: [v] * 5}), at=str(i)) for i, v in enumerate(SLOWER)), name="b"
    )
    found = gate(base, other, f"{RATE} < -2%")
    assert (only(found).n, found.note) == (3, None)
    assert only(found).p == pytest.approx(0.035558, abs=1e-5)
    four = launched({RATE: [*SAME, 100.0]}, name="b")
    assert "as many runs of both" in (only(gate(base, four, f"{RATE} < -2%")).reason or "")


@pytest.mark.parametrize("launched_times", [1, 2])
@pytest.mark.parametrize("limit", ["< -50%", "< -1%", "< 50"])
def test_below_three_launches_nothing_fails_and_nothing_holds(
    launched_times: int, limit: str
) -> None:
    """However many repeats, however clear: they are repeats of one start of the engine."""
    sides = [
        variant(
            *(measured(point({RATE: rates * 4}), at=str(i)) for i in range(launched_times)),
            name=name,
        )
        for name, rates in (("a", SAME), ("b", SLOWER))
    ]
    found = gate(sides[0], sides[1], f"{RATE} {limit}")
    test = only(found)
    assert (found.exit_code, test.outcome, test.p) == (4, "not_enough_evidence", None)
    assert (test.reason or "").startswith("in this run only")
    assert "--interleave 3" in (test.reason or "")
    assert test.estimate is not None  # what was seen is shown all the same


def energy(values: list[float], board: str) -> Variant:
    name = "energy_per_output_token_j"
    error = {"energy_instrument_error": metric([], value=0.05)}
    loads = [
        replace(point({}), metrics={**point({}).metrics, name: metric([v]), **error})
        for v in values
    ]
    power = {"devices": [{"uuid": board}]}
    return variant(*(measured(x, at=str(i), power=power) for i, x in enumerate(loads)), name=board)


def test_the_meters_own_error_cancels_only_on_the_same_board() -> None:
    a, rise = [1.0, 1.0, 1.0], [1.04, 1.041, 1.039]
    same = gate(energy(a, "x"), energy(rise, "x"), "energy_per_output_token_j > 2%")
    other = gate(energy(a, "x"), energy(rise, "y"), "energy_per_output_token_j > 2%")
    assert (same.exit_code, other.exit_code) == (3, 4)
    assert gate(energy(a, "x"), energy(rise, "x"), "energy_per_output_token_j > 1").exit_code == 4


def test_a_load_that_no_run_has_is_a_mistake() -> None:
    with pytest.raises(InputError, match="Did you mean 'c16'"):
        slower(f"{RATE}@c61 < -2%")


def test_junit_counts_and_escapes() -> None:
    found = slower(f"{RATE} < -2%", f"{RATE} < -50%", "ttft_p50_ms > 1%")
    root = ElementTree.fromstring(junit(found, "<script>\x00"))
    suite = root[0]
    assert {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3",
        "failures": str(sum(t.outcome == "failed" for t in found.tests)),
        "errors": str(sum(t.outcome == "not_enough_evidence" for t in found.tests)),
        "skipped": "0",
    }
    kinds = [[child.tag for child in case] for case in suite]
    assert kinds[1] == ["system-out"]
    assert kinds[2] == ["error"]
    assert suite.get("name") == "bench gate <script>\ufffd"
