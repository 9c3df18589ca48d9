"""Many whole answers read at once: those of the shape that vLLM's server gives them.

That shape is whole events in each chunk of a chunked body, in UTF-8 and plain LF, 200 OK, nothing
compressed, no trailers. A load brings thousands of such answers, and reading one costs more calls
than bytes; laid end to end they share the calls. An answer of any other shape is left to the
readers of one answer, which say the same of these (tests/web/test_together.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from bench.web.alike import Bytes
from bench.web.http import CHUNKED_END, HEAD_END, Head, Int64, MalformedError, parse_head
from bench.web.sse import BOM, columns_of, is_utf8
from bench.web.tokens import Tokens, tokens_of

BATCH_BYTES = 1 << 20
"""About as many bytes of answers are best read together: more leave the processor's cache."""

_HEX = np.full(256, -1, dtype=np.int64)
_HEX[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = range(16)
_HEX[np.frombuffer(b"ABCDEF", dtype=np.uint8)] = range(10, 16)
_MOST_HEX = 7


@dataclass(frozen=True, eq=False)
class Whole:
    """One answer that is all there. `tokens.last_byte` are offsets in its raw bytes, head and
    framing included."""

    head: Head
    tokens: Tokens


@dataclass(frozen=True, eq=False)
class _Events:
    """The events [start:end], without their blank lines, of several bodies laid end to end; body k
    has those from `firsts[k]` up to `firsts[k + 1]`."""

    starts: Int64
    ends: Int64
    firsts: list[int]


def read_together(answers: Sequence[bytes]) -> list[Whole | None]:
    """Each answer, None where it is not of the usual shape."""
    result: list[Whole | None] = [None] * len(answers)
    heads = {i: head for i, data in enumerate(answers) if (head := _usual_head(data))}
    if not heads:
        return result
    bodies = [memoryview(answers[i])[head.body_at :] for i, head in heads.items()]
    joined = b"".join(bodies)
    bounds = np.cumsum([0, *map(len, bodies)])
    events = _events(joined, bounds)
    if events is None or not _is_plain(joined):
        return result
    shift = np.array([head.body_at for head in heads.values()]) - bounds[:-1]
    last_byte = events.ends + 1 + np.repeat(shift, np.diff(events.firsts))
    found = columns_of(joined, events.starts, events.ends, events.firsts, last_byte)
    for (i, head), columns in zip(heads.items(), found, strict=True):
        tokens = None if columns is None else tokens_of(columns)
        if tokens is not None and len(tokens.last_byte):
            result[i] = Whole(head, tokens)
    return result


def _is_plain(joined: bytes) -> bool:
    """Whether it is UTF-8 and has no mark of byte order, which the first event may be preceded
    by."""
    return joined.isascii() or (is_utf8(joined) and BOM not in joined)


def _usual_head(data: bytes) -> Head | None:
    """The head of an answer that may be of the usual shape."""
    if not data.endswith(CHUNKED_END):
        return None
    return _usual(data[: data.find(HEAD_END) + len(HEAD_END)])


@lru_cache(maxsize=64)
def _usual(head: bytes) -> Head | None:
    """The same of the head alone, which many answers have in common."""
    try:
        found = parse_head(head)
    except MalformedError:
        return None
    if found is None or not found.chunked or found.status != 200:
        return None
    packed = found.headers.get(b"content-encoding", b"identity").lower()
    return found if packed in (b"", b"identity") else None


def _events(joined: bytes, bounds: Int64) -> _Events | None:
    """The events of bodies laid end to end at `bounds`, if each body is whole and no event goes
    from one chunk into another; else None."""
    raw = np.frombuffer(joined, dtype=np.uint8)
    returns, lines = _line_ends(raw)
    chunks = _chunks(raw, bounds, returns)
    if chunks is None:
        return None
    at, end = chunks
    # Framing has a CR before each of its line ends: two that follow each other close an event.
    closed = lines[1:][np.diff(lines) == 1]
    last = np.searchsorted(closed, end - 1)
    if not len(closed) or (closed[np.minimum(last, len(closed) - 1)] != end - 1).any():
        return None
    starts = np.concatenate(([0], closed[:-1] + 1))
    starts[np.concatenate(([0], last[:-1] + 1))] = at
    ends = closed - 1
    if last[-1] != len(closed) - 1 or (ends <= starts).any():
        return None
    return _Events(starts, ends, np.searchsorted(closed, bounds).tolist())


def _line_ends(raw: Bytes) -> tuple[Int64, Int64]:
    """Where there is a CR, and where a LF: looked for together."""
    places = np.flatnonzero(raw < ord(" "))  # of JSON's text nothing else is below a blank
    there = raw[places]
    return places[there == ord("\r")], places[there == ord("\n")]


def _chunks(raw: Bytes, bounds: Int64, returns: Int64) -> tuple[Int64, Int64] | None:
    """(starts, ends) of the contents of the chunks of bodies laid end to end, if each body is whole
    and has no CR but in its framing (`returns` are all of them); else None."""
    firsts = np.searchsorted(returns, bounds)
    if not len(returns) or (firsts % 2).any() or (raw[returns + 1] != ord("\n")).any():
        return None
    sizes_end, ends = returns[0::2], returns[1::2]
    starts = sizes_end + 2
    is_last = np.zeros(len(ends), dtype=np.bool_)
    is_last[firsts[1:] // 2 - 1] = True  # of each body the chunk of no bytes
    sizes = _sizes(raw, np.concatenate(([0], ends[:-1] + 2)), sizes_end)
    if sizes is None or (sizes != ends - starts).any() or ((sizes == 0) != is_last).any():
        return None
    return starts[~is_last], ends[~is_last]


def _sizes(raw: Bytes, at: Int64, end: Int64) -> Int64 | None:
    """The hexadecimal numbers raw[at:end]; None where one is none, or has more than seven digits.
    Nothing else may stand before the first of them: what is looked at there is not taken."""
    digits = end - at
    wide = int(digits.max())
    if digits.min() < 1 or wide > _MOST_HEX:
        return None
    places = end[:, None] - np.arange(wide, 0, -1)
    values = _HEX[raw[places]]
    values[places < at[:, None]] = 0
    sizes: Int64 = values @ 16 ** np.arange(wide - 1, -1, -1, dtype=np.int64)
    return sizes if (values >= 0).all() else None


def batches(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """(first, one after the last) of answers that are to be read together, by their bytes."""
    number = np.cumsum([0, *sizes])[:-1] // BATCH_BYTES
    starts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(sizes)]
    return [(a, b) for a, b in pairwise(starts) if b > a]
