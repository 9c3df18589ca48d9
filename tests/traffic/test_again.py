"""Repeats that are added: the interval keeps its coverage, and every try is kept and counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.config.compose import compose, run_spec
from bench.traffic import points
from bench.traffic.again import narrow_enough
from bench.values.errors import InputError
from bench.values.spec import PRECISION_LEAST, LoadSpec


@pytest.mark.parametrize("scatter", [0.3, 1.0, 1.5, 2.0])
def test_an_interval_that_decides_when_to_stop_still_covers(scatter: float) -> None:
    """Scatter in units of the precision; scipy's own t interval at the repeat where it stops."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(1500):
        rates = list(1 + 0.03 * scatter * rng.standard_normal(PRECISION_LEAST))
        while not narrow_enough(rates, 0.03) and len(rates) < LoadSpec().max_repeats:
            rates.append(float(1 + 0.03 * scatter * rng.standard_normal()))
        low, high = stats.t.interval(0.95, len(rates) - 1, np.mean(rates), stats.sem(rates))
        covered += bool(low <= 1 <= high)
    assert covered / 1500 >= 0.93 - 2 * (0.93 * 0.07 / 1500) ** 0.5


def test_no_look_before_the_least_count() -> None:
    assert not narrow_enough([1.0] * (PRECISION_LEAST - 1), 0.03)
    assert narrow_enough([1.0] * PRECISION_LEAST, 0.03)


@pytest.mark.parametrize(("given", "share"), [("3%", 0.03), (0.03, 0.03), ("0.5 %", 0.005)])
def test_a_precision_is_read(given: Any, share: float) -> None:
    assert LoadSpec(precision=given).precision_share == pytest.approx(share)


@pytest.mark.parametrize("wrong", ["3", "much", "-1%", "0"])
def test_a_precision_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(InputError, match="precision must be a share"):
        run_spec(compose(["engine=truth", f"load.precision={wrong}"]), detect_gpus=False)


@pytest.mark.parametrize("wrong", ["load.max_repeats=4", "load.repeats=9 load.max_repeats=8"])
def test_a_precision_that_no_look_can_reach_is_refused(wrong: str) -> None:
    words = ["engine=truth", "load.precision=3%", *wrong.split()]
    with pytest.raises(InputError, match=r"repeats must be at (least 6|most max_repeats)"):
        run_spec(compose(words), detect_gpus=False)


class Fake:
    """Stands for a driver: rates by load, and tries that are disturbed."""

    def __init__(self, *words: str) -> None:
        words = ("engine=truth", "load=closed", "load.concurrency=[1,4]", *words)
        self.spec = run_spec(compose(list(words)), detect_gpus=False)

        self.names: list[str] = []

    def measure(self, point: Any, name: str) -> Any:
        self.names.append(name)
        return Try(point=point)


@dataclass(frozen=True, kw_only=True)
class Try:
    point: Any
    discarded: str | None = None


def tries(monkeypatch: pytest.MonkeyPatch, rate: Any, cause: Any, *words: str) -> list[Any]:
    monkeypatch.setattr(points, "output_rate_of", lambda spec, data: rate(data.point))
    monkeypatch.setattr(points, "cause_outside", lambda spec, data: cause(data.point))
    return list(points.grid(Fake(*words)))  # type: ignore[arg-type]


def test_only_the_wide_load_point_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def rate(point: Any) -> float:
        return 100.0 if point.concurrency == 1 else 100.0 + 20 * (point.repeat % 2)

    made = tries(monkeypatch, rate, lambda p: None, "load.precision=3%")
    counts = [sum(t.point.concurrency == c for t in made) for c in (1, 4)]
    assert counts == [PRECISION_LEAST, 12]
    assert len({(t.point.index, t.point.repeat) for t in made}) == len(made)


def test_a_disturbed_repeat_is_replaced_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of load 4 every try is disturbed: two are replaced, and the rest count as they are."""

    def cause(point: Any) -> str | None:
        return "client_bound: busy" if point.concurrency == 4 else None

    made = tries(monkeypatch, lambda p: 1.0, cause, "load.max_retries=2")
    of_four = [t for t in made if t.point.concurrency == 4]
    assert [t.discarded is not None for t in of_four] == [True, True, False, False, False]
    assert [t.point.repeat for t in of_four] == [0, 1, 2, 3, 4]
    assert sum(t.point.concurrency == 1 for t in made) == 3


def test_what_stands_in_for_a_disturbed_repeat_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of three repeats is disturbed: a fourth is measured, and its line says why."""
    monkeypatch.setattr(
        points, "cause_outside", lambda spec, data: None if data.point.repeat else "steady_state"
    )
    driver = Fake("load.repeats=3", "load.concurrency=[4]", "load.max_retries=2")
    list(points.grid(driver))  # type: ignore[arg-type]
    assert driver.names == [
        "load c4, repeat 1 (1/3)",
        "load c4, repeat 2 (2/4)",
        "load c4, repeat 3 (3/4)",
        "load c4, repeat 4 for a disturbed one (4/4)",
    ]
