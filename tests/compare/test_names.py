"""Variants are called by what differs between them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gate_support import measured

from bench.compare.variant import Measured, Variant, apart, beside, told_by
from bench.config.compose import compose, run_spec


def run(*words: str) -> Measured:
    one = measured()
    spec = run_spec(compose(["engine=truth", "gpus=0", "checkpoints_dir=/nowhere", *words]))
    return replace(one, run=replace(one.run, spec=spec))


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([("engine.itl_ms=5",), ("engine.itl_ms=11",)], ["none, itl 5 ms", "none, itl 11 ms"]),
        ([("quant=none",), ("quant=fp8",)], ["none", "fp8"]),
        ([(), ()], ["none", "none #2"]),
        ([("results_dir=/a",), ("results_dir=/b",)], ["none", "none #2"]),
        (
            [("engine.slots=4", "seed=1"), ("seed=2",), ("seed=2",)],
            ["none, slots 4, seed 1", "none, slots none, seed 2", "none, slots none, seed 2 #2"],
        ),
    ],
)
def test_what_differs_is_in_the_name(words: list[tuple[str, ...]], names: list[str]) -> None:
    assert [v.name for v in apart([run(*w) for w in words])] == names


def series(folder: str, *words: str) -> Variant:
    one = run(*words)
    path = f"results/{folder}/launch-1"
    return Variant(name="none", rounds=(replace(one, run=replace(one.run, path=path)),))


def test_a_series_beside_its_baseline_is_told_by_what_differs_then_by_its_folder() -> None:
    main = series("main")
    assert beside(main, series("change")).name == "none (change)"
    assert beside(main, series("change", "engine.itl_ms=11")).name == "none, itl 11 ms"
    assert beside(main, series("main")).name == "none #2"


def test_two_parts_at_most_and_no_long_value() -> None:
    first = {"a.x": 1, "b.y": "z" * 40, "c.w": 3}
    second = {"a.x": 2, "b.y": "q", "c.w": 4}
    assert told_by(["v", "v"], [first, second]) == [f"v, x 1, y {'z' * 23}…", "v, x 2, y q"]
