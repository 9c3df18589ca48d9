"""Numbers as people write them: what they are in a key's own unit, by hand."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from bench.config.compose import compose, run_spec
from bench.values.errors import InputError, choices, nearest
from bench.values.number_text import meant, share_meant
from bench.values.spec import RunSpec

MEANT = (
    ("load.duration_s", "2m", "120"),
    ("load.duration_s", "1.5 h", "5400"),
    ("load.duration_s", "500ms", "0.5"),
    ("workload.slo.ttft_ms", "2s", "2000"),
    ("tco.demand.mtok_per_month", "30B", "30000"),
    ("tco.demand.mtok_per_month", "30 Mtok", "30"),
    ("tco.demand.mtok_per_month", "500k", "0.5"),
    ("tco.demand.input_share", "75%", "0.75"),
    ("tco.own.capex_usd", "$250,000", "250000"),
    ("power.usd_per_kwh", "30ct", "0.3"),
    ("tco.own.life_months", "3 years", "36"),
    ("power.load_w", "0.7 kW", "700"),
    ("gpu.bandwidth_gb_s", "3.35TB/s", "3350"),
    ("gpu.memory_gb", "80 GB", "80"),
    ("load.rate_per_s[0]", "4/s", "4"),
    ("gpus", "two", "2"),
    ("workload.slo.ttft_ms", "abc", None),
    ("workload.slo.ttft_ms", "5%", None),
    ("load.duration_s", "1,5", None),
    ("load.requests", "10m", None),
    ("tco.own.capex_usd", "250,00", None),
)


@pytest.mark.parametrize(("key", "text", "number"), MEANT)
def test_what_was_meant(key: str, text: str, number: str | None) -> None:
    assert meant(key, text, whole=False) == number


def test_a_part_of_a_whole_number_is_not_meant() -> None:
    assert meant("load.requests", "1.5k", whole=True) == "1500"
    assert meant("gpus", "1.5", whole=True) is None


def test_percent_of_a_share() -> None:
    said = "input_share must be at least 0 and at most 1, not 75"
    assert share_meant(said, {"input_share": 75}) == ": 75 % is 0.75."
    assert share_meant("mem_fraction must be in (0, 1]", {"mem_fraction": 90}) == ": 90 % is 0.9."
    assert share_meant("repeats must be at least 1", {"repeats": 0}) == ""
    assert share_meant("x must be at most 1", {"x": -3}) == ""


def test_all_choices_are_said_with_the_nearest() -> None:
    assert choices("ownn", ["own", "spot"]) == " Did you mean 'own'? Valid: own, spot."
    assert choices("rent", ["own", "spot"]) == " Did you mean 'spot'? Valid: own, spot."


def test_a_long_list_is_cut_and_says_so() -> None:
    names = [f"model-number-{i:03d}" for i in range(100)]
    said = nearest("xyzzy", names)
    assert said.endswith(" and 92 more.")
    assert len(said) < 200


def _number_keys() -> Iterator[tuple[str, bool]]:
    """Every key of a run that takes a number, and whether it is a whole one."""
    hints = typing.get_type_hints(RunSpec)
    for group, hint in hints.items():
        if dataclasses.is_dataclass(hint):
            for name, kind in typing.get_type_hints(hint).items():
                plain = {kind, *typing.get_args(kind)} - {type(None), Ellipsis}
                if plain == {kind, float} or plain == {kind, int} or kind in (int, float):
                    yield f"{group}.{name}", int in plain
    yield from (("gpus", True), ("seed", True))


NUMBERS = dict(_number_keys())
NEEDS: dict[str, dict[str, float]] = {
    "load.max_repeats": {"load.precision": 0.03},
    "load.max_retries": {"load.precision": 0.03},
}


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    return compose(["engine=truth"])


@pytest.mark.parametrize("key", NUMBERS)
def test_the_example_that_a_refusal_gives_is_taken(composed: dict[str, Any], key: str) -> None:
    def spec(value: object) -> None:
        data = {k: dict(v) if isinstance(v, dict) else v for k, v in composed.items()}
        group = key.split(".")[:-1]
        for k, v in {key: value, **NEEDS.get(key, {})}.items():
            *_, last = k.split(".")
            owner = data[group[0]] if group else data
            for machine in ("on_gpu", "on_cpu"):
                if group and machine in owner:
                    owner[machine] = {**owner[machine], last: v}
            owner[last] = v
        run_spec(data, detect_gpus=False)

    with pytest.raises(InputError) as refused:
        spec("nonsense")
    said = str(refused.value)
    found = re.search(r"Write a (?:whole )?number, as ([\d.]+)\.$", said) or re.search(
        r"write \[(\d+),4,16\]\.$", said
    )
    if found is None:  # a share like 3% has words of its own
        assert "must be a share like 3% or 0.03" in said
        return
    number = float(found[1])
    spec(
        [number]
        if "list" in said and not NUMBERS[key]
        else [int(number)]
        if "list" in said
        else int(number)
        if NUMBERS[key]
        else number
    )
