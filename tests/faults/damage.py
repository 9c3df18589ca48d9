"""Ways to damage a text: bits, cuts, repeats, and the values that readers trip over."""

from __future__ import annotations

import json
import random
from typing import Any

ODD = (
    *(b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"1e300", b"9" * 400, b"9" * 5000, b"true"),
    *(b"null", b"[]", b"{}", b'""', b"[[1]]", b"{" * 200, b"[" * 5000, b"\x00", b"\xff\xfe"),
    *(b"\x1b[2J", b"\xe2\x80\xae", b"\\ud800", b"*a", b"&a ", b"<<: ", b"!!python/none ", b"\r\n"),
    *(b"\n\n", b",", b":", b'"', b"'", b"%", b"\t", b"-" * 50, b"ffffffffffffffff\r\n"),
)
"""Pieces that are put in somewhere, or in the place of a value."""


def damaged(sample: bytes, rng: random.Random) -> bytes:
    """`sample` changed in one to four places."""
    data = bytearray(sample)
    if rng.random() < 0.3 and _replace_node(data, rng):
        return bytes(data)
    for _ in range(rng.randint(1, 4)):
        rng.choice((_flip, _cut, _insert, _repeat, _replace_value, _drop_line))(data, rng)
    return bytes(data)


NODES: tuple[Any, ...] = (
    *(None, [], {}, "", "x", -1, 0, True, 1e300, 10**400, [[1]], [None], {"a": {}}, {"x": 1}),
)
"""What a value of a JSON document is replaced by, so that it stays JSON."""


def _replace_node(data: bytearray, rng: random.Random) -> bool:
    """One value of a JSON document replaced or left out; False where the text is none."""
    try:
        document = json.loads(data)
        places = [*_places(document)]
    except (ValueError, RecursionError):
        return False
    if places:
        holder, key = rng.choice(places)
        if rng.random() < 0.1:
            del holder[key]
        else:
            holder[key] = rng.choice(NODES)
    data[:] = json.dumps(document).encode()
    return True


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) below a node of a JSON document."""
    if not isinstance(node, (dict, list)):
        return []
    found = [(node, key) for key in (node if isinstance(node, dict) else range(len(node)))]
    for holder, key in tuple(found):
        if isinstance(holder[key], (dict, list)):
            found += _places(holder[key])
    return found


def _at(data: bytearray, rng: random.Random) -> int:
    return rng.randrange(len(data) + 1)


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _cut(data: bytearray, rng: random.Random) -> None:
    if rng.random() < 0.2:
        del data[_at(data, rng) :]
    else:
        at = _at(data, rng)
        del data[at : at + rng.randint(1, 30)]


def _insert(data: bytearray, rng: random.Random) -> None:
    at = _at(data, rng)
    data[at:at] = rng.choice(ODD)


def _repeat(data: bytearray, rng: random.Random) -> None:
    at = _at(data, rng)
    data[at:at] = data[at : at + rng.randint(1, 60)] * rng.randint(1, 40)


def _replace_value(data: bytearray, rng: random.Random) -> None:
    """What stands after a colon, an equals sign or a comma gives way to something odd."""
    places = [i for i, c in enumerate(data) if c in b":=,"]
    if places:
        at = rng.choice(places) + 1
        end = next((i for i in range(at, len(data)) if data[i] in b",}\n]"), len(data))
        data[at:end] = b" " + rng.choice(ODD)


def _drop_line(data: bytearray, rng: random.Random) -> None:
    lines = bytes(data).split(b"\n")
    del lines[rng.randrange(len(lines))]
    data[:] = b"\n".join(lines)
