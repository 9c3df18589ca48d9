"""Counts in sentences: `1 run is`, `3 runs are`, `1 of 5 APIs is`."""

from __future__ import annotations


def count(n: int, noun: str, verb: str = "") -> str:
    """The number with its noun and, where one is given, its verb, both as the number asks.

    The noun is the singular of a regular one; the verb is said of several: are, were, have.
    """
    words = f"{n:,} {noun if n == 1 else _many(noun)}"
    return f"{words} {agreeing(n, verb)}" if verb else words


def agreeing(n: int, verb: str) -> str:
    """`are` of several, as `is` of one."""
    one = {"are": "is", "were": "was", "have": "has", "do": "does", "wait": "waits"}
    return one[verb] if n == 1 else verb


def _many(noun: str) -> str:
    if noun.endswith("y") and noun[-2:-1] not in ("a", "e", "o"):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("ch", "s", "x")) else f"{noun}s"
