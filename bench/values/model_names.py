"""Whether a server serves the model that was named: known once it is asked, before any load."""

from __future__ import annotations

from collections.abc import Sequence

from bench.values.override_text import override, pasted


def alike(name: str, other: str) -> bool:
    """Whether one name holds the other, but for case and punctuation."""
    a, b = ("".join(c for c in n.lower() if c.isalnum()) for n in (name, other))
    return bool(a and b) and (a in b or b in a)


def _same(name: str, other: str) -> bool:
    """Whether two names are one, but for case and whose it is (ORG/NAME)."""
    return name.casefold().rpartition("/")[2] == other.casefold().rpartition("/")[2]


def another_model(named: str | None, asked: str, listed: Sequence[str]) -> str | None:
    """Why a server does not serve the model that was `named`; None where it may, or none was."""
    if named is None or any(alike(named, n) for n in (asked, *listed)):
        return None
    served = ", ".join(n for n in listed[:4] if n) or "a model that it does not name"
    alias = ""
    if asked and asked in listed:
        word = pasted(override("engine.expects_model", asked))
        alias = f"; where {asked} is the server's name for {named}, add {word}"
    return (
        f"model={named} was named, but the server serves {served} (asked for: {asked}): the "
        f"result is that of another model; say model=NAME of the one served, or none{alias}"
    )


def doubtful(asked: str, listed: Sequence[str], answers_as: str | None) -> str | None:
    """What to say of a name that the server takes, though its answers bear another or it does not
    list it; None where neither is so. No reason to refuse: there are aliases, and gateways list a
    part of what they serve."""
    if asked and answers_as and not alike(asked, answers_as):
        return (
            f"its answers say that they are {answers_as}'s, asked for was {asked}: an alias, or a "
            "gateway that sends requests on to another model"
        )
    if not any(listed) or any(_same(asked, n) for n in listed):
        return None
    names = ", ".join(n for n in listed[:4] if n) + (" …" if len(listed) > 4 else "")
    return (
        f"the server lists {names} and not {asked}, and answers to it all the same: which model "
        "answers is not known; name one that it lists, engine.served_model=NAME"
    )
