"""Quantities whose unit is read from text, and expressions over them: the check of the units.

A unit is a product of powers: `USD/Mtok`, `kW`, `USD/kWh`, `Mtok/month`. Adding or comparing
different dimensions raises UnitError; scales (k, M, hours in a month) are applied, never dropped.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

from bench.values.errors import nearest
from bench.values.units import HOURS_PER_MONTH, MONTHS_PER_YEAR, SECONDS_PER_HOUR, UnitError

Dims = tuple[tuple[str, int], ...]

_MONTH_S = HOURS_PER_MONTH * SECONDS_PER_HOUR
_UNITS: dict[str, tuple[float, Dims]] = {
    "1": (1.0, ()),
    "%": (0.01, ()),
    "x": (1.0, ()),
    "USD": (1.0, (("USD", 1),)),
    "token": (1.0, (("token", 1),)),
    "tokens": (1.0, (("token", 1),)),
    "tok": (1.0, (("token", 1),)),
    "ktok": (1e3, (("token", 1),)),
    "Mtok": (1e6, (("token", 1),)),
    "t": (1.0, (("token", 1),)),
    "ms": (1e-3, (("s", 1),)),
    "s": (1.0, (("s", 1),)),
    "min": (60.0, (("s", 1),)),
    "h": (SECONDS_PER_HOUR, (("s", 1),)),
    "day": (24 * SECONDS_PER_HOUR, (("s", 1),)),
    "month": (_MONTH_S, (("s", 1),)),
    "months": (_MONTH_S, (("s", 1),)),
    "year": (MONTHS_PER_YEAR * _MONTH_S, (("s", 1),)),
    "years": (MONTHS_PER_YEAR * _MONTH_S, (("s", 1),)),
    "W": (1.0, (("W", 1),)),
    "kW": (1e3, (("W", 1),)),
    "MW": (1e6, (("W", 1),)),
    "J": (1.0, (("W", 1), ("s", 1))),
    "mJ": (1e-3, (("W", 1), ("s", 1))),
    "kJ": (1e3, (("W", 1), ("s", 1))),
    "MJ": (1e6, (("W", 1), ("s", 1))),
    "Wh": (SECONDS_PER_HOUR, (("W", 1), ("s", 1))),
    "kWh": (1e3 * SECONDS_PER_HOUR, (("W", 1), ("s", 1))),
    "Btok": (1e9, (("token", 1),)),
    "Mtokens": (1e6, (("token", 1),)),
    "us": (1e-6, (("s", 1),)),
    "req": (1.0, (("request", 1),)),
    "query": (1.0, (("request", 1),)),
    "queries": (1.0, (("request", 1),)),
    "GPU": (1.0, (("GPU", 1),)),
    "user": (1.0, (("user", 1),)),
    "node": (1.0, (("node", 1),)),
    "rack": (1.0, (("rack", 1),)),
    "cent": (0.01, (("USD", 1),)),
    "TPS": (1.0, (("s", -1), ("token", 1))),
    "rps": (1.0, (("request", 1), ("s", -1))),
    "qps": (1.0, (("request", 1), ("s", -1))),
    "sec": (1.0, (("s", 1),)),
    "second": (1.0, (("s", 1),)),
    "hour": (SECONDS_PER_HOUR, (("s", 1),)),
    "$": (1.0, (("USD", 1),)),
    "request": (1.0, (("request", 1),)),
    "requests": (1.0, (("request", 1),)),
    "point": (1.0, (("point", 1),)),
    "points": (1.0, (("point", 1),)),
    "rank": (1.0, (("rank", 1),)),
    "param": (1.0, (("param", 1),)),
    "Bparam": (1e9, (("param", 1),)),
    "GB": (1e9, (("byte", 1),)),
    "GiB": (1024.0**3, (("byte", 1),)),
}

_WORDS: Mapping[str, str] = {
    **{name.casefold(): name for name in _UNITS if name not in ("MJ", "mJ", "MW")},
    **{"toks": "tok", "tk": "tok", "tkn": "tok", "gpus": "GPU", "users": "user", "nodes": "node"},
    **{"racks": "rack", "reqs": "req", "seconds": "s", "secs": "s", "minutes": "min"},
    **{"minute": "min", "hours": "h", "hr": "h", "hrs": "h", "days": "day", "joule": "J"},
    **{"joules": "J", "watt": "W", "watts": "W", "kilowatt": "kW", "kilowatts": "kW"},
    **{"megawatt": "MW", "megawatts": "MW", "cents": "cent", "dollar": "USD", "dollars": "USD"},
    **{"percent": "%", "pct": "%", "times": "x", "×": "x", "µs": "us", "mtoks": "Mtok"},
}
"""Other spellings in lower case. Of M and m only those that nobody means otherwise: `mw` may be a
milliwatt or a megawatt, and stays unknown."""
_TOKENS = r"(?:tokens?|toks?)\b"
_MANY: Mapping[str, str] = {
    rf"\b(?:1\s?)?(?:k|thousand)\s?{_TOKENS}": "ktok",
    rf"\b(?:1\s?)?(?:m|mn|million)\s?{_TOKENS}": "Mtok",
    rf"\b(?:1\s?)?(?:b|bn|billion)\s?{_TOKENS}": "Btok",
}


@dataclass(frozen=True)
class Unit:
    """A parsed unit: the text, its scale to base units and its dimensions."""

    text: str
    scale: float
    dims: Dims


@dataclass(frozen=True)
class Quantity:
    """A value in base units with its dimensions."""

    base: float
    dims: Dims

    def to(self, unit: Unit) -> float:
        """The value in `unit`; UnitError when the dimensions differ."""
        if self.dims != unit.dims:
            raise UnitError(f"{describe(self.dims)} cannot be given in {unit.text}")
        return self.base / unit.scale


def parse_unit(text: str) -> Unit:
    """Read `USD/Mtok`, as people write it (`$ per 1M tokens`, `tok/s/gpu`); ValueError names the
    part that is no unit."""
    scale, dims = 1.0, dict[str, int]()
    sign = 1
    plain = re.sub(r"\bper\b", "/", text)
    for pattern, unit in _MANY.items():
        plain = re.sub(pattern, unit, plain, flags=re.IGNORECASE)
    for word in plain.replace("*", " * ").replace("/", " / ").split():
        if word in "*/":
            sign = -1 if word == "/" else 1
            continue
        token = word if word in _UNITS else _WORDS.get(word.casefold(), word)
        if token not in _UNITS:
            raise ValueError(f"unit: {word!r} of {text!r} is unknown.{nearest(word, _UNITS)}")
        factor, parts = _UNITS[token]
        scale *= factor**sign
        for name, power in parts:
            dims[name] = dims.get(name, 0) + sign * power
    return Unit(text, scale, _dims(dims))


def _dims(powers: Mapping[str, int]) -> Dims:
    return tuple(sorted((n, p) for n, p in powers.items() if p))


def quantity(value: float, unit: str) -> Quantity:
    """`value` in `unit` as a Quantity."""
    parsed = parse_unit(unit)
    return Quantity(value * parsed.scale, parsed.dims)


def describe(dims: Dims) -> str:
    """Dimensions as text: `USD/s`."""
    if not dims:
        return "a plain number"
    over = "*".join(n if p == 1 else f"{n}^{p}" for n, p in dims if p > 0) or "1"
    under = "".join(f"/{n}" if p == -1 else f"/{n}^{-p}" for n, p in dims if p < 0)
    return over + under


def evaluate(formula: str, terms: Mapping[str, Quantity]) -> Quantity:
    """The value of an arithmetic expression over named quantities.

    ValueError for anything but names, numbers, + - * / and brackets, or an unknown name;
    UnitError for a sum or difference of unlike quantities.
    """
    try:
        tree = ast.parse(formula, mode="eval")
    except SyntaxError as error:
        raise ValueError(f"formula: {formula!r} is no expression") from error
    return _value(tree.body, terms, formula)


def _value(node: ast.expr, terms: Mapping[str, Quantity], formula: str) -> Quantity:
    if isinstance(node, ast.Name):
        if node.id not in terms:
            raise ValueError(f"formula: {node.id!r} is no term.{nearest(node.id, terms)}")
        return terms[node.id]
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return Quantity(float(node.value), ())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _value(node.operand, terms, formula)
        return Quantity(-inner.base, inner.dims)
    if isinstance(node, ast.BinOp):
        left, right = (_value(side, terms, formula) for side in (node.left, node.right))
        return _combine(node.op, left, right, formula)
    raise ValueError(f"formula: {formula!r} may hold names, numbers, + - * / and brackets only")


def _combine(op: ast.operator, left: Quantity, right: Quantity, formula: str) -> Quantity:
    if isinstance(op, (ast.Add, ast.Sub)):
        if left.dims != right.dims:
            verb = "add" if isinstance(op, ast.Add) else "subtract"
            raise UnitError(
                f"{formula}: cannot {verb} {describe(left.dims)} and {describe(right.dims)}"
            )
        sign = 1 if isinstance(op, ast.Add) else -1
        return Quantity(left.base + sign * right.base, left.dims)
    if isinstance(op, (ast.Mult, ast.Div)):
        sign = 1 if isinstance(op, ast.Mult) else -1
        powers = dict(left.dims)
        for name, power in right.dims:
            powers[name] = powers.get(name, 0) + sign * power
        if sign < 0 and right.base == 0:
            raise ValueError(f"formula: {formula!r} divides by zero")
        base = left.base * right.base if sign > 0 else left.base / right.base
        return Quantity(base, _dims(powers))
    raise ValueError(f"formula: {formula!r} may hold names, numbers, + - * / and brackets only")
