"""What `--fail-if` takes, and that nothing else gets through or gets a traceback."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bench.compare.condition import BETTER, UNITS, parse
from bench.values.errors import InputError

RATES = sorted(name for name, unit in UNITS.items() if unit != "1")
OPS = {"higher": "<", "lower": ">", "none": "<>"}


@pytest.mark.parametrize(
    ("text", "kind", "limit", "load"),
    [
        ("output_tokens_per_s < -3%", "ratio", -0.03, None),
        ("output_tokens_per_s<+3 %", "ratio", 0.03, None),
        ("ttft_p99_ms@c16 > +20", "change", 20.0, "c16"),
        ("ttft_p99_ms @ r2.5 > -20 ms", "change", -20.0, "r2.5"),
        ("ttft_p99_ms@all > 200ms", "value", 200.0, "all"),
        ("error_rate > .01", "value", 0.01, None),
        ("error_rate > +0.01", "change", 0.01, None),
        ("energy_per_output_token_j > 5%", "ratio", 0.05, None),
        ("kv_peak_gib > +1.5GiB", "change", 1.5, None),
        ("quality.gsm8k < -1%", "ratio", -0.01, None),
        ("quality.gsm8k:exact_match < 0.7", "value", 0.7, None),
    ],
)
def test_a_condition_is_read(text: str, kind: str, limit: float, load: str | None) -> None:
    found = parse(text)
    assert (found.kind, found.load) == (kind, load)
    assert found.limit == pytest.approx(limit)


def test_tasks_and_their_metrics_are_told_apart() -> None:
    assert parse("quality.arc_easy < -1%").task == ("arc_easy", None)
    assert parse("quality.arc_easy:acc_norm < -1%").task == ("arc_easy", "acc_norm")
    assert parse("error_rate > 1").task is None


def test_what_was_understood_is_said() -> None:
    assert parse("tpot_p50_ms > 5%").read_as == "relative change of tpot_p50_ms above +5%"
    assert parse("tpot_p50_ms > +5").read_as == "change of tpot_p50_ms above +5 ms"
    assert parse("tpot_p50_ms > 5").read_as == "value of tpot_p50_ms above 5 ms"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("outptu_tokens_per_s < -3%", "Did you mean 'output_tokens_per_s'"),
        ("speed < -3%", "Did you mean 'output_tokens_per_s'?"),
        ("error_rate > 1%", "'error_rate > 0.01' for the share itself"),
        ("ttft_p99_ms > 5 s", "is in ms, not in s"),
        ("ttft_p99_ms >= 5%", "'>=' is not < or >"),
        ("ttft_p99_ms", "is no condition"),
        ("ttft_p99_ms > nan", "is no condition"),
        ("output_tokens_per_s > -3%", "Did you mean 'output_tokens_per_s < -3%'?"),
        ("output_tokens_per_s@c16 > 3%", "Did you mean 'output_tokens_per_s@c16 < -3%'?"),
        ("output_tokens_per_s > 100", "Did you mean 'output_tokens_per_s < 100'?"),
        ("ttft_p99_ms < -20", "Did you mean 'ttft_p99_ms > +20'?"),
        ("ttft_p99_ms < 5%", "Did you mean 'ttft_p99_ms > 5%'?"),
        ("error_rate < 0.01", "Did you mean 'error_rate > 0.01'?"),
        ("energy_per_output_token_j < 5%", "of energy_per_output_token_j, lower is better"),
        ("output_tokens_per_s < -100%", "nothing falls by 100%"),
        ("quality.gsm8k@c16 < -1%", "scored once per run"),
        ("quality. < -1%", "is no metric"),
        ("output_tokens_per_s < 3%", "write 'output_tokens_per_s < -3%' for a fall"),
        ("output_tokens_per_s@c16 < 97%", "write 'output_tokens_per_s@c16 < -97%' for a fall"),
        ("quality.gsm8k < 3%", "write 'quality.gsm8k < -3%' for a fall"),
        ("kv_pool_gib < 3%", "write 'kv_pool_gib < -3%' for a fall"),
        ("output_tokens_per_s < 0", "would never fail: output_tokens_per_s: nothing lies below 0"),
        ("error_rate > 2", "would never fail: error_rate: a share is at most 1"),
        ("ttft_p99_ms > NaN", "NaN is no number that anything can be held against"),
        ("ttft_p99_ms > -inf", "inf is no number"),
        ("output_tokens_per_s < \u20133%", "the minus is the sign on the keyboard"),
        ("output_tokens_per_s < -3,5%", "a point, not a comma"),
        ("output_tokens_per_s < -3 percent", "a percentage is written with %"),
        ("", "is no condition"),
    ],
)
def test_anything_else_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        parse(text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@given(
    metric=st.sampled_from(RATES),
    pick=st.integers(0, 1),
    sign=st.sampled_from(["", "+", "-"]),
    thousandths=st.integers(0, 99_000),
    percent=st.booleans(),
    load=st.none() | st.from_regex(r"[a-z][a-z0-9.-]{0,8}", fullmatch=True),
    space=st.sampled_from(["", " ", "  "]),
)
def test_every_condition_comes_back_as_it_was_written(
    metric: str, pick: int, sign: str, thousandths: int, percent: bool, load: str | None, space: str
) -> None:
    ops = OPS[BETTER.get(metric, "none")]
    op = ops[pick % len(ops)]
    at = "" if load is None else f"@{load}"
    unit = "%" if percent else ""
    if op == "<" and not sign:  # refused: a rise that was meant as a fall, and what never fails
        assume(thousandths == 0 if percent else thousandths > 0)
    found = parse(f"{metric}{at}{space}{op}{space}{sign}{thousandths / 1000}{unit}")
    number = float(f"{sign}{thousandths / 1000}")
    assert (found.metric, found.op, found.load) == (metric, op, load)
    assert found.kind == ("ratio" if percent else "change" if sign else "value")
    assert found.limit == pytest.approx(number / 100 if percent else number)


@given(st.text(max_size=40) | st.from_regex(r"[a-z_]+@?[a-z0-9]* ?[<>=]+ ?[-+0-9.e%]*"))
def test_any_text_is_a_condition_or_one_line(text: str) -> None:
    try:
        found = parse(text)
    except InputError as error:
        said = str(error)
    else:
        said = text
        assert found.metric in UNITS or found.task is not None
        assert abs(found.limit) < float("inf")
    assert text.strip() in said or repr(text) in said
