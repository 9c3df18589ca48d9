"""Recomputing a number: first with the claim's own inputs, then with checked or fuller ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bench.claims.quantity import Quantity, Unit, evaluate, parse_unit, quantity
from bench.claims.sources import Sources
from bench.claims.spec import Arithmetic, Calculation, Claim, Stated, Term, half_unit
from bench.claims.verdict import Check, CheckVerdict, agrees, number, say
from bench.money.prices.book import PriceRow, select
from bench.values.errors import InputError
from bench.values.units import UnitError

_BASIS = {
    "own": "with the claim's own inputs",
    "sourced": "with checked inputs",
    "fuller": "with what was left out",
}
MOST_ROUNDED = 5
"""Inputs whose rounding is followed at once: their corners triple with each."""
LATER = " (later than the claim)"
_POWERS_OF_1000 = {1e3: "1,000", 1e6: "1,000,000", 1e9: "1,000,000,000"}


def check_arithmetic(claim: Claim, says: Arithmetic, sources: Sources) -> tuple[Check, ...]:
    """One check per calculation; a unit that cannot come out ends it."""
    return tuple(_check(claim, says.stated, c, sources) for c in says.calculations)


def _check(claim: Claim, stated: Stated, calculation: Calculation, sources: Sources) -> Check:
    unit = parse_unit(calculation.unit or stated.unit)
    values: dict[str, Quantity] = {}
    shown: dict[str, str] = {}
    cited: list[str] = []
    for name, term in calculation.terms.items():
        value, source = _resolve(claim, term, sources)
        values[name] = quantity(value, term.unit)
        shown[name] = f"{number(value)}{'' if term.unit == '1' else f' {term.unit}'}"
        if source:
            cited.append(f"{name} = {shown[name]}: {source}")
    kind = "cost" if any(t.value is None for t in calculation.terms.values()) else "arithmetic"
    try:
        computed = evaluate(calculation.formula, values).to(unit)
    except UnitError as error:
        return Check(kind="units", verdict="refuted", evidence=(calculation.what, str(error)))
    spread = _spread(calculation, values, unit)
    verdict = _verdict(calculation, stated, unit.text, spread)
    plain = calculation.formula.strip() in values  # the term's own line says it all
    lines = [f"{_BASIS[calculation.basis]}: {calculation.what}", *cited]
    if not (plain and cited):
        lines.append(
            f"{calculation.formula} = {_insert(calculation.formula, shown)} "
            f"= {number(computed)} {'' if unit.text == '1' else unit.text}".rstrip()
        )
    figures: dict[str, float | None] = {"computed": computed}
    if unit.dims == parse_unit(stated.unit).dims:
        in_stated_unit = quantity(computed, unit.text).to(parse_unit(stated.unit))
        figures |= {"stated": stated.value, "ratio": _ratio(stated, in_stated_unit)}
        if stated.high is not None:
            figures["stated_high"] = stated.high
        if calculation.basis != "fuller":
            per_mtok = any("Mtok" in t.unit for t in calculation.terms.values())
            lines.append(_beside(stated, in_stated_unit, per_mtok=per_mtok))
    if _restates(calculation, stated):
        verdict = "untested"
        lines.append("the number was put in and comes out: that confirms nothing")
    if calculation.note:
        lines.append(calculation.note)
    return Check(
        kind="cost" if kind == "cost" else "arithmetic",
        verdict=verdict,
        evidence=tuple(lines),
        figures=figures,
    )


def _restates(calculation: Calculation, stated: Stated) -> bool:
    """Whether the stated number itself is the only input: 2.7 typed as 2.7 ÷ 1."""
    terms = [t for t in calculation.terms.values() if t.value is not None and not t.source]
    if calculation.basis != "own" or len(terms) != len(calculation.terms):
        return False
    others = [t.value for t in terms if t.value != stated.value]
    return len(others) < len(terms) and all(v == 1 for v in others)


def _spread(
    calculation: Calculation, values: Mapping[str, Quantity], unit: Unit
) -> tuple[float, ...]:
    """The result at every corner of what the inputs' rounding allows, the plain result first.

    A number typed with decimals stands for half a unit of its last one on either side; a whole
    number is exact, and so is what the price book and the cost model give.
    """
    corners: list[dict[str, Quantity]] = [dict(values)]
    rounded = [n for n, t in calculation.terms.items() if _slack(t)]
    for name in rounded[:MOST_ROUNDED]:
        half = _slack(calculation.terms[name])
        scale = values[name].base / (calculation.terms[name].value or 1.0)
        corners += [
            {**c, name: Quantity(values[name].base + sign * half * scale, values[name].dims)}
            for c in list(corners)
            for sign in (-1, 1)
        ]
    return tuple(evaluate(calculation.formula, c).to(unit) for c in corners)


def _slack(term: Term) -> float:
    """By how much a typed number may be off either way; whole numbers are counts and exact."""
    if term.value is None:
        return 0.0
    return max(half_unit(term.value, whole=False), term.tolerance * abs(term.value))


def _verdict(
    calculation: Calculation, stated: Stated, unit: str, computed: tuple[float, ...]
) -> CheckVerdict:
    if calculation.basis == "fuller":
        return "possible"
    if parse_unit(unit).dims != parse_unit(stated.unit).dims:
        return "refuted"
    found = [quantity(c, unit).to(parse_unit(stated.unit)) for c in computed]
    outcomes = [agrees(stated, value) for value in found]
    same = None if outcomes[0] is None else any(outcomes)
    if same is False and stated.relation == "about":
        low, high = stated.band
        same = min(found) <= low and high <= max(found)
    return "untested" if same is None else "confirmed" if same else "refuted"


def _resolve(claim: Claim, term: Term, sources: Sources) -> tuple[float, str]:
    """The term's number and where it comes from."""
    if term.value is not None:
        return term.value, term.source
    if term.price is not None:
        row, later = price_row(sources.prices, term.price, claim.as_of)
        if row is None:
            raise InputError(f"{claim.name}: the price book has no {term.price!r}.")
        return row.usd, price_text(row, later)
    assert term.tco is not None
    answer = sources.cost_model(term.tco, term.overrides)
    found: Any = answer
    for key in term.figure:
        if not isinstance(found, Mapping) or key not in found:
            raise InputError(
                f"{claim.name}: figure {'/'.join(term.figure)} is not in the answer to "
                f"tco={term.tco} ({key!r} is missing)."
            )
        found = found[key]
    if found is None:
        return math.inf, f"bench tco tco={' '.join((term.tco, *term.overrides))}: none is reached"
    if not isinstance(found, (int, float)):
        raise InputError(f"{claim.name}: figure {'/'.join(term.figure)} is no number.")
    return float(found), f"bench tco tco={' '.join((term.tco, *term.overrides))}"


def price_row(rows: tuple[PriceRow, ...], key: str, as_of: str) -> tuple[PriceRow | None, bool]:
    """The price `provider/model kind` that held on a date, else the first known later one."""
    name, kind = key.split()
    mine = [r for r in rows if r.key == name and r.kind == kind]
    held = select(mine, as_of)
    if held:
        return next(iter(held.values())), False
    return (min(mine, key=lambda r: r.as_of), True) if mine else (None, False)


def price_text(row: PriceRow, later: bool) -> str:
    """Source and date of a price; a later one than the claim is said to be so."""
    return f"{row.source}, as of {row.as_of}{LATER if later else ''}"


def _insert(formula: str, shown: Mapping[str, str]) -> str:
    """The formula with its numbers in place of the names."""
    pieces: list[str] = []
    word = ""
    for char in formula + " ":
        if char.isalnum() or char == "_":
            word += char
            continue
        pieces += [shown.get(word, word), {"*": "×", "/": "÷"}.get(char, char)]
        word = ""
    return "".join(pieces).rstrip()


def _ratio(stated: Stated, computed: float) -> float | None:
    """How many times the computed number was stated; None where that means nothing."""
    if stated.value is None or computed == 0 or math.isinf(computed):
        return None
    return stated.value / computed


def _beside(stated: Stated, computed: float, *, per_mtok: bool) -> str:
    """The computed number beside the stated one, and by how much they differ."""
    unit = "" if stated.unit == "1" else f" {stated.unit}"
    text = f"stated {say(stated)}, computed {number(computed)}{unit}"
    if stated.value is None:
        return text
    if agrees(stated, computed):
        return f"{text}: it agrees"
    end = stated.value
    if stated.high is not None and computed > stated.high:
        end = stated.high  # a range is as far off as its nearer end
    known = math.isfinite(end) and math.isfinite(computed) and computed != 0
    ratio = end / computed if known else 0.0
    if ratio < 0:
        return f"{text}: the sign is the other one"
    if ratio == 0 or end < 0:
        return f"{text}: it does not agree"
    if stated.relation != "about":
        return f"{text}: {number(1 / ratio)} times the limit"
    for power, word in _POWERS_OF_1000.items():
        if per_mtok and abs(ratio / power - 1) < 0.02:
            return (
                f"{text}: {word} times too high; a price per million tokens was multiplied as "
                f"if per {'thousand tokens' if power == 1e3 else 'token'}"
            )
    many = ratio if ratio > 1 else 1 / ratio
    return f"{text}: {number(many)} times too {'high' if ratio > 1 else 'low'}"
