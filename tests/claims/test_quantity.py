"""Units read from text, and expressions over quantities."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.claims.quantity import evaluate, parse_unit, quantity
from bench.values.units import UnitError


def test_a_price_per_million_times_millions() -> None:
    terms = {"p": quantity(14, "USD/Mtok"), "v": quantity(1, "Mtok/month")}
    assert evaluate("p * v", terms).to(parse_unit("USD/month")) == pytest.approx(14)
    assert evaluate("p * v", terms).to(parse_unit("USD/year")) == pytest.approx(168)
    in_tokens = {**terms, "v": quantity(1e6, "tokens/month")}
    assert evaluate("p * v", in_tokens).to(parse_unit("USD/month")) == pytest.approx(14)


def test_power_times_price_is_money_per_time() -> None:
    terms = {"w": quantity(2, "kW"), "p": quantity(0.10, "USD/kWh")}
    assert evaluate("w * p", terms).to(parse_unit("USD/month")) == pytest.approx(146)


def test_brackets_signs_and_numbers() -> None:
    terms = {"a": quantity(3, "USD"), "b": quantity(1, "USD")}
    assert evaluate("(a - b) / a", terms).to(parse_unit("%")) == pytest.approx(200 / 3)
    assert evaluate("-a * 2", terms).to(parse_unit("USD")) == pytest.approx(-6)


def test_unlike_quantities_do_not_add_or_convert() -> None:
    terms = {"a": quantity(3, "USD/month"), "b": quantity(1, "USD")}
    with pytest.raises(UnitError, match="cannot add USD/s and USD"):
        evaluate("a + b", terms)
    with pytest.raises(UnitError, match=r"cannot be given in USD/month"):
        evaluate("b", terms).to(parse_unit("USD/month"))


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("a + c", "'c' is no term"),
        ("a +", "is no expression"),
        ("a ** 2", "may hold names, numbers"),
        ("__import__('os')", "may hold names, numbers"),
        ("a / 0", "divides by zero"),
        ("[a]", "may hold names, numbers"),
    ],
)
def test_what_is_no_formula_is_refused(formula: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(formula, {"a": quantity(1, "USD")})


def test_an_unknown_unit_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="'Mtokk' of 'USD/Mtokk' is unknown"):
        parse_unit("USD/Mtokk")


UNITS = st.sampled_from(["USD", "Mtok", "h", "month", "kW", "GPU", "USD/Mtok", "tokens/s"])


@settings(deadline=None)
@given(value=st.floats(1e-6, 1e6), unit=UNITS)
def test_a_quantity_comes_back_as_it_went_in(value: float, unit: str) -> None:
    assert quantity(value, unit).to(parse_unit(unit)) == pytest.approx(value)


@settings(deadline=None)
@given(a=st.floats(1e-3, 1e6), b=st.floats(1e-3, 1e6), one=UNITS, other=UNITS)
def test_dividing_undoes_multiplying(a: float, b: float, one: str, other: str) -> None:
    terms = {"a": quantity(a, one), "b": quantity(b, other)}
    assert evaluate("a * b / b", terms).to(parse_unit(one)) == pytest.approx(a)
