"""Verdicts from items: what is not worse, worse, better, and what is not enough."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bench.quality.paired import tango_interval
from bench.quality.verdict import agreement_needed, compare_task, corrected, flips_needed
from bench.values.errors import InputError
from bench.values.record import QualityItem


def items(values: list[float], **changes: object) -> list[QualityItem]:
    """One item per value, all of one task."""
    base = QualityItem(
        task="t", metric="acc", filter="none", doc_id=0, sample=0, value=0.0, item_hash=""
    )
    return [
        replace(base, doc_id=i, value=v, item_hash=f"h{i}", **changes)  # type: ignore[arg-type]
        for i, v in enumerate(values)
    ]


def flipped(n: int, right: int, lost: int, won: int) -> tuple[list[float], list[float]]:
    """0/1 scores of n items of which `right` were right; some flip each way."""
    base = [1.0] * right + [0.0] * (n - right)
    variant = list(base)
    variant[:lost] = [0.0] * lost
    variant[right : right + won] = [1.0] * won
    return base, variant


def compared(base: list[float], variant: list[float], **options: object):  # type: ignore[no-untyped-def]
    settings = {"higher_is_better": True, "chance": None, "margin": 0.99, "primary": True}
    return compare_task(items(base), items(variant), **{**settings, **options})  # type: ignore[arg-type]


def test_an_identical_variant_is_not_worse() -> None:
    base, _ = flipped(960, 919, 0, 0)
    found = compared(base, base)
    assert found.verdict == "not_worse"
    assert (found.lost, found.won, found.p) == (0, 0, 1.0)
    assert found.recovery is not None
    assert found.recovery.value == 1.0


def test_identical_on_few_items_proves_nothing() -> None:
    """20 items without a flip still allow a loss of 16 %: no equivalence from emptiness."""
    base, _ = flipped(20, 18, 0, 0)
    found = compared(base, base)
    assert found.verdict == "not_enough_evidence"
    # z² ÷ (n + z²) ÷ 0.9 = 1 %: n = 3.8415 · (1 ÷ 0.009 − 1) = 423 in all; sought in steps of 2 %.
    assert found.more_items is not None
    assert 423 <= 20 + found.more_items <= 1.02 * 423


def test_the_positive_control_is_worse() -> None:
    """Flips 20 / 4 of 960: McNemar p = .0015, recovery 98.3 %."""
    found = compared(*flipped(960, 917, 20, 4))
    assert found.verdict == "worse"
    assert found.p == pytest.approx(0.00154, abs=1e-5)
    assert found.recovery is not None
    assert found.recovery.value == pytest.approx(901 / 917)


def test_the_negative_control_is_not_worse() -> None:
    found = compared(*flipped(960, 917, 1, 1))
    assert found.verdict == "not_worse"
    assert found.recovery is not None
    assert found.recovery.low > 0.99


def test_a_real_gain_is_better() -> None:
    assert compared(*flipped(960, 800, 2, 40)).verdict == "better"


def test_recovery_above_chance_by_hand() -> None:
    """0.9 to 0.8 with chance 0.25: 0.55 / 0.65 of what guessing does not give."""
    found = compared(*flipped(100, 90, 10, 0), chance=0.25)
    assert found.recovery_above_chance is not None
    assert found.recovery_above_chance.value == pytest.approx(0.55 / 0.65)


def test_many_tests_together_ask_for_more() -> None:
    """p = .039 alone is worse; among ten tests it is not (Holm)."""
    suspicious = compared(*flipped(960, 900, 10, 2))
    assert suspicious.verdict == "worse"
    same = [compared(*flipped(960, 900, 1, 1)) for _ in range(9)]
    assert corrected([suspicious, *same])[0].verdict == "not_enough_evidence"


def test_other_metrics_of_a_task_do_not_enter_the_correction() -> None:
    suspicious = compared(*flipped(960, 900, 10, 2))
    second = compared(*flipped(960, 900, 10, 2), primary=False)
    assert corrected([suspicious, second])[0].p_holm == pytest.approx(suspicious.p)


def test_perplexity_recovers_by_its_ratio() -> None:
    """−1 to −1.1 nats per byte: bits per byte × 1.1, so 1 ÷ 1.1 is recovered."""
    texts = items([-1.0] * 30, metric="bits_per_byte", weight=100.0)
    other = items([-1.1] * 30, metric="bits_per_byte", weight=100.0)
    found = compare_task(
        texts, other, higher_is_better=False, chance=None, margin=0.99, primary=True
    )
    assert found.baseline == pytest.approx(1 / math.log(2))
    assert found.recovery is not None
    assert found.recovery.value == pytest.approx(1 / 1.1)
    assert found.verdict == "worse"
    assert found.test == "sign flips"


def test_repeats_of_an_item_are_one_item() -> None:
    """Three samples of each of 40 items: 40 clusters, not 120 items."""
    rng = np.random.default_rng(0)
    base = [i for s in range(3) for i in items(list(rng.integers(0, 2, 40) * 1.0), sample=s)]
    found = compare_task(base, base, higher_is_better=True, chance=None, margin=0.99, primary=True)
    assert (found.n, found.samples) == (40, 3)
    assert found.test == "sign flips"


def test_change_of_log_likelihoods_by_hand() -> None:
    base = items([1.0, 1.0], logliks=(-1.0, -2.0))
    moved = items([1.0, 1.0], logliks=(-1.5, -1.25))
    found = compare_task(base, moved, higher_is_better=True, chance=0.5, margin=0.99, primary=True)
    assert found.mean_abs_dll_nats == pytest.approx((0.5 + 0.75) / 2)
    assert found.same_choice == 0.0


def test_other_questions_are_refused() -> None:
    base = items([1.0, 0.0])
    with pytest.raises(InputError, match="item 0 is another question"):
        compare_task(
            base,
            [replace(i, item_hash="x") for i in base],
            higher_is_better=True,
            chance=None,
            margin=0.99,
            primary=True,
        )
    with pytest.raises(InputError, match="1 items were scored in one run only"):
        compare_task(base, base[:1], higher_is_better=True, chance=None, margin=0.99, primary=True)


def test_more_items_really_show_equivalence() -> None:
    """2 lost and 1 won of 480, .9437 right: as many items more as it says, flipping alike, bring
    the interval above 99 %, and a twentieth fewer do not."""
    more = agreement_needed(2, 1, 0.9437, 480, 0.99)
    assert more is not None
    for n, enough in ((480 + more, True), (480 + 0.95 * more, False)):
        share = n / 480
        interval = tango_interval(2 * share, share, n).over(0.9437)
        assert (interval.low >= 0.99) is enough
    assert agreement_needed(30, 1, 0.9437, 480, 0.99) is None


def test_flips_needed_by_hand() -> None:
    """5 lost and none won: p = 2 / 2^5 = .0625; with 6 lost it is .031. 5 · f rounds to 6 from
    f = 1.1, which steps of 2 % reach at 1.02^5 = 1.104: a tenth more items."""
    assert flips_needed(5, 0, 480, 0.05) == round(480 * (1.02**5 - 1))
    assert flips_needed(3, 3, 480, 0.05) is None
    found = compared(*flipped(480, 453, 5, 0))
    assert (found.verdict, found.more_items) == ("not_enough_evidence", 50)
