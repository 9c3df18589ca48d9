"""A number that was written as people write it, as it is written here: `2m` of seconds is 120."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

_TIMES_S = {
    **dict.fromkeys(("ns",), 1e-9),
    **dict.fromkeys(("us", "µs"), 1e-6),
    **dict.fromkeys(("ms", "msec"), 1e-3),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
_BYTES = {"kb": 1e-6, "mb": 1e-3, "g": 1.0, "gb": 1.0, "tb": 1e3, "t": 1e3, "mib": 2**20 / 1e9}
_BYTES |= {"gib": 2**30 / 1e9, "tib": 2**40 / 1e9}
_RATES = ("/s", "rps", "qps", "req/s", "requests/s", "tok/s", "tokens/s", "persecond")
_MANY = {
    **dict.fromkeys(("k", "thousand"), 1e3),
    **dict.fromkeys(("M", "mio", "million", "millions"), 1e6),
    **dict.fromkeys(("B", "b", "G", "bn", "billion", "billions"), 1e9),
    **dict.fromkeys(("T", "tn", "trillion", "trillions"), 1e12),
}
_MTOK = {
    f"{many}{tokens}": n / 1e6 for many, n in _MANY.items() for tokens in ("", "tok", "tokens")
}
_MTOK |= {"m": 1.0, "mtok": 1.0, "mtokens": 1.0, "btok": 1e3}
_ENDINGS: tuple[tuple[re.Pattern[str], Mapping[str, float]], ...] = (
    (re.compile(r"(?:^|_)(?:gb(?:_per)?_s|gb_per_s)$"), {"gb/s": 1.0, "tb/s": 1e3, "mb/s": 1e-3}),
    (re.compile("_per_s$"), dict.fromkeys(_RATES, 1.0)),
    (re.compile(r"(?:^|_)(?:mtok_per_\w+)$"), _MTOK),
    (re.compile("_ms$"), {k: v * 1e3 for k, v in _TIMES_S.items()}),
    (re.compile("_s$"), _TIMES_S),
    (re.compile("_h$"), {k: v / 3600 for k, v in _TIMES_S.items()}),
    (
        re.compile("_months$"),
        {"m": 1.0, "months": 1.0, "y": 12.0, "year": 12.0, "years": 12.0, "yr": 12.0},
    ),
    (re.compile("_years$"), {"y": 1.0, "year": 1.0, "years": 1.0, "months": 1 / 12}),
    (re.compile(r"_(?:w|watts)$"), {"w": 1.0, "watt": 1.0, "watts": 1.0, "kw": 1e3}),
    (re.compile("_kw$"), {"kw": 1.0, "w": 1e-3, "mw": 1e3}),
    (re.compile("_gib$"), {k: v * 1e9 / 2**30 for k, v in _BYTES.items()} | {"g": 1.0}),
    (re.compile("_gb$"), _BYTES),
    (
        re.compile(r"(?:^|_)(?:usd\w*)$"),
        {"$": 1.0, "usd": 1.0, "ct": 0.01, "cents": 0.01, "$/h": 1.0, "$/kwh": 1.0},
    ),
    (re.compile("_b$"), {"b": 1.0, "bn": 1.0, "m": 1e-3}),
)
"""How a key's name ends, and what the units that people write behind its number come to in it."""
_WORDS = {
    word: n
    for n, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()
    )
}
_SHARES = re.compile(r"share|fraction|utili[sz]ation|discount|margin|pass_rate|per_year$|_ci$|wacc")


def as_number(text: str, *, whole: bool) -> str | None:
    """40,000 or 50k or 1e6, as people and other languages write numbers, in figures alone; None
    for what may mean something else (10m is minutes to some, 1,5 a half). Nobody groups from a
    zero on: 0,500 is rather a half."""
    if re.fullmatch(r"[+-]?0\d{0,2}[ ,_']\d{3}.*", text.strip()):
        half = re.fullmatch(r"([+-]?)0,(\d{3})", text.strip())
        if half is None or whole:
            return None
        return f"{float(f'{half[1]}0.{half[2]}')!r} or {half[1]}{int(half[2])}"
    found = re.fullmatch(r"([+-]?[\d ,_']*\.?\d+(?:[eE][+-]?\d{1,2})?)([kK]?)", text.strip())
    grouped = r"[+-]?\d{1,3}([ ,_']\d{3})(?:[ ,_']\d{3})*(?:\.\d+)?"
    if found is None or (re.search("[ ,_']", found[1]) and not re.fullmatch(grouped, found[1])):
        return None
    value = float(re.sub("[ ,_']", "", found[1])) * (1000 if found[2] else 1)
    return (
        None if not math.isfinite(value) else f"{value:.0f}" if value.is_integer() else f"{value!r}"
    )


def meant(key: str, text: str, *, whole: bool) -> str | None:
    """What `text` is as a number of `key`, whose name holds its unit; None where that is open.

    load.duration_s: 2m is 120; mtok_per_month: 30B is 30000; input_share: 75% is 0.75.
    """
    name = re.sub(r"\[\d+\]", "", key).rpartition(".")[2]
    plain = text.strip().casefold()
    if plain in _WORDS:
        return str(_WORDS[plain])
    found = re.fullmatch(
        r"[$~≈]?\s*([+-]?[\d ,_'.]*\d(?:[eE][+-]?\d{1,2})?)\s*([^\d\s.,][^\d]*)?", text.strip()
    )
    figures = None if found is None else as_number(found[1], whole=False)
    if found is None or figures is None or " or " in figures:
        return None
    factor = _factor(name, (found[2] or "").strip().replace(" ", ""))
    return None if factor is None else _in_figures(float(figures) * factor, whole=whole)


def _factor(name: str, unit: str) -> float | None:
    """What one of `unit` is in the unit of a key called `name`."""
    units: Mapping[str, float] = next((u for end, u in _ENDINGS if end.search(name)), {})
    for written in (unit, unit.casefold()):
        if written in units:
            return units[written]
    if not unit:
        return 1.0
    if unit in ("%", "percent", "pct"):
        return None if units else 1.0 if "percent" in name else 0.01
    if units is _MTOK:
        return None
    return next((_MANY[u] for u in (unit, unit.casefold()) if u in _MANY), None)


def _in_figures(value: float, *, whole: bool) -> str | None:
    """A number that this program reads, without a power of ten; None where it is not whole and has
    to be."""
    value = float(f"{value:.12g}")
    if value.is_integer() and abs(value) < 1e18:
        return f"{value:.0f}"
    return None if whole or not math.isfinite(value) else f"{value:.12f}".rstrip("0")


def example(key: str, default: object, *, whole: bool) -> str:
    """A number that `key` takes: its own default, else one of its kind."""
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        return f"{default:.12g}" if math.isfinite(default) else "8"
    name = key.rpartition(".")[2]
    if name == "usd_per_kwh":
        return "0.12"
    return "8" if whole or not _SHARES.search(name) else "0.5"


_BOUND = re.compile(r"(\w+) must be (?:in [\[(]0, 1[\])]|.*(?:at most|below) 1(?:, not .*)?$)")


def share_meant(refusal: str, values: Mapping[str, object]) -> str:
    """A clause for a share that was typed in percent, 75 for 0.75; empty for anything else."""
    found = _BOUND.match(refusal)
    given = None if found is None else values.get(found[1])
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 1 < given <= 100:
        return ""
    return f": {given:g} % is {_in_figures(given / 100, whole=False)}."
