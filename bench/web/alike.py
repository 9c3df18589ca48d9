"""The events of answers that are alike: most of long streams, read with a few array operations.

One event in the middle of an answer is its model. The model's fixed parts are looked for in all
events of that answer at once; only the text and two numbers may differ. Whatever differs otherwise
is not alike and is left to a reader of single events. What is called alike here, JSON reads the
same way: keys in the order in which vLLM writes them, each at most once, no white space
(tests/web/test_sse.py holds the two against each other).
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.web.http import Int64

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_ENOUGH = 40
"""Below so many events, reading them one by one costs less."""

STRING = rb'[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+'
_NUMBER = rb"(?:0|[1-9][0-9]{0,14})"
ONE = re.compile(
    rb'data: \{"id":"' + STRING + rb'","object":"(?:text_completion|chat\.completion\.chunk)",'
    rb'"created":' + _NUMBER + rb',"model":"' + STRING + rb'","choices":\[(?:\{"index":0,'
    rb'(?:"text":"(' + STRING + rb')"|"delta":\{("role":"assistant",)?'
    rb'"(content|reasoning|reasoning_content)":"(' + STRING + rb')"\}),"logprobs":null,'
    rb'"finish_reason":(?:null|"([a-z_]{1,40})")(?:,"stop_reason":null)?'
    rb'(?:,"prompt_token_ids":null)?(?:,"token_ids":null)?\})?\]'
    rb'(?:,"usage":\{"prompt_tokens":('
    + _NUMBER
    + rb'),"total_tokens":('
    + _NUMBER
    + rb'),"completion_tokens":('
    + _NUMBER
    + rb')(?:,"prompt_tokens_details":null)?'
    rb'(?:,"completion_tokens_details":null)?\})?\}'
)
"""vLLM's layout of an event; the last one has usage and no choice. Groups: text; role, key and
text of a delta; finish reason; prompt tokens, their sum with the completion's, completion tokens
so far."""
TEXT, ROLE, KEY, DELTA, FINISH, PROMPT, SUM, TOTAL = range(1, 9)
_STRING = re.compile(STRING)

_WIDE = 8
"""Bytes that are looked at for a number's digits: one that fills them all is not alike."""
_ZEROS = np.uint64(0x3030303030303030)
_LOW_SEVEN = np.uint64(0x7F7F7F7F7F7F7F7F)
_ABOVE_NINE = np.uint64(0x7676767676767676)
_TOP_BITS = np.uint64(0x8080808080808080)
_BY_TWO = [
    (np.uint64((10 ** (bits // 8) << bits) + 1), np.uint64(bits), np.uint64(kept))
    for bits, kept in (
        (8, 0x0F0F0F0F0F0F0F0F),
        (16, 0x00FF00FF00FF00FF),
        (32, 0x0000FFFF0000FFFF),
    )
]
"""Digits to pairs, pairs to fours, fours to eight: factor, shift, and the bits that count."""


@dataclass(frozen=True, eq=False)
class Alike:
    """Which events are like their answer's model, which of those carry text, and their completion
    tokens so far (-1: not given). Arrays of a row per event; what stands in the rows of others
    means nothing. `models` has one for each answer, None where none of its events is alike."""

    models: list[re.Match[bytes] | None]
    like: Mask
    text: Mask
    total: Int64


class _Parts(NamedTuple):
    """What is the same in all events of an answer: around the text, and around its two numbers."""

    before: bytes
    after: bytes
    between: bytes
    last: bytes


def alike(body: bytes, starts: Int64, ends: Int64, firsts: list[int]) -> Alike:
    """The events body[start:end] of several answers that are like the one in the middle of theirs.

    Answer k has the events from `firsts[k]` up to `firsts[k + 1]`.
    """
    count = len(starts)
    like, text = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
    found = Alike(
        models=[None] * (len(firsts) - 1), like=like, text=text, total=np.full(count, -1, np.int64)
    )
    if count < _ENOUGH:
        return found
    # Answers whose parts have the same lengths are looked through together.
    groups: dict[tuple[int, ...], list[tuple[_Parts, int, int]]] = defaultdict(list)
    for k, (a, b) in enumerate(pairwise(firsts)):
        model = _model(body, starts, ends, (a + b) // 2) if b > a else None
        if model is not None:
            found.models[k] = model
            parts = _parts(body, model)
            groups[tuple(map(len, parts))].append((parts, a, b))
    for members in groups.values():
        _mark(body, starts, ends, members, found)
    return found


def _model(body: bytes, starts: Int64, ends: Int64, i: int) -> re.Match[bytes] | None:
    """The event, if it is an ordinary piece of text in vLLM's layout."""
    model = ONE.fullmatch(body, int(starts[i]), int(ends[i]))
    if model is None or model[FINISH] or model[ROLE] or model[PROMPT] == b"0":
        return None
    if model[TEXT] is None and model[DELTA] is None:
        return None
    return model


def _parts(body: bytes, model: re.Match[bytes]) -> _Parts:
    text = TEXT if model[TEXT] is not None else DELTA
    before = body[model.start() : model.start(text)]
    if model[TOTAL] is None:
        return _Parts(before, body[model.end(text) : model.end()], b"", b"")
    return _Parts(
        before,
        body[model.end(text) : model.start(SUM)],
        body[model.end(SUM) : model.start(TOTAL)],
        body[model.end(TOTAL) : model.end()],
    )


def _mark(
    body: bytes,
    starts: Int64,
    ends: Int64,
    members: list[tuple[_Parts, int, int]],
    found: Alike,
) -> None:
    """Note in `found` which events of these answers are like the models; the parts of all have the
    same lengths."""
    rows = np.concatenate([np.arange(a, b) for _, a, b in members])
    each = np.repeat(np.arange(len(members)), [b - a for _, a, b in members])
    parts = [parts for parts, _, _ in members]
    before, after, between, last = (list(words) for words in zip(*parts, strict=True))
    ends = ends[rows]
    text_at = starts[rows] + len(before[0])
    if last[0]:
        total_end = ends - len(last[0])
        good, found.total[rows], total_at = _number_before(body, total_end)
        sum_end = total_at - len(between[0])
        well, _, sum_at = _number_before(body, sum_end)
        text_end = sum_at - len(after[0])
        good &= well & _hold(body, sum_end, between, each)
        good &= _hold(body, total_end, last, each)
    else:
        text_end = ends - len(after[0])
        good = np.full(len(rows), True)
    good &= text_end >= text_at
    good &= _hold(body, starts[rows], before, each)
    good &= _hold(body, text_end, after, each)
    _only_strings(body, text_at, text_end, good)
    found.like[rows] = good
    found.text[rows] = text_end > text_at


def _hold(body: bytes, at: Int64, words: list[bytes], each: Int64) -> Mask:
    """Whether at each of `at` its answer's word stands; they are as long as each other, and `each`
    says which is whose."""
    width = len(words[0])
    there: Mask = (at >= 0) & (at <= len(body) - width)
    at = np.where(there, at, 0)
    by_eights = width // _WIDE * _WIDE
    if by_eights:
        there &= _equal(body, at, [w[:by_eights] for w in words], each, np.uint64)
    # The last eight bytes overlap the ones before; of fewer, each counts for itself.
    tail = min(width, _WIDE)
    if width % _WIDE:
        kind = np.uint64 if tail == _WIDE else np.uint8
        there &= _equal(body, at + width - tail, [w[-tail:] for w in words], each, kind)
    return there


def _equal(
    body: bytes, at: Int64, words: list[bytes], each: Int64, kind: type[np.unsignedinteger[Any]]
) -> Mask:
    """Whether the bytes at each of `at` are its answer's word, compared as numbers of `kind`."""
    width = len(words[0])
    windows = np.ndarray((len(body) - width + 1,), dtype=f"V{width}", buffer=body, strides=(1,))
    wanted = np.frombuffer(b"".join(words), dtype=f"V{width}")
    found = np.ones(len(at), dtype=np.bool_)
    unlike = np.flatnonzero(windows[at].view(kind) != wanted[each].view(kind))  # hardly ever any
    found[unlike // (width // kind().itemsize)] = False
    return found


def _number_before(body: bytes, end: Int64) -> tuple[Mask, Int64, Int64]:
    """The number that ends at each of `end`: whether it is one as JSON writes it, of seven digits
    at most, its value, and where it begins. Eight bytes are one machine word here, whose last byte
    is the last digit (Lemire's way to read eight digits)."""
    windows = np.ndarray((len(body) - _WIDE + 1,), dtype="<u8", buffer=body, strides=(1,))
    taken = windows[np.maximum(end - _WIDE, 0)]  # never beyond: something fixed comes after it
    figures = taken ^ _ZEROS
    other = (((figures & _LOW_SEVEN) + _ABOVE_NINE) | figures) & _TOP_BITS  # of each that is none
    # The exponent of a power of two: these bits are too far apart for a double to round it up.
    highest = (other.astype(np.float64).view(np.int64) >> 52) - 1023
    digits = np.where(other != 0, 7 - (highest >> 3), 0)  # none other: as if there were no digit
    below = np.minimum(_WIDE * (_WIDE - digits), 63).astype(np.uint64)
    first = (figures >> below) & np.uint64(0xFF)
    good = (digits >= 1) & (end >= _WIDE) & ((digits == 1) | (first != 0))
    value = figures >> below << below
    for factor, shift, kept in _BY_TWO:
        value = (value & kept) * factor >> shift
    return good, value.astype(np.int64), end - digits


def _only_strings(body: bytes, at: Int64, end: Int64, like: Mask) -> None:
    """Take out of `like` whose text is no JSON string: a quote in it, a wrong escape, a control
    character."""
    sizes = np.where(like, end - at, 0)
    ahead = np.cumsum(sizes) - sizes
    places = np.arange(int(sizes.sum())) + np.repeat(at - ahead, sizes)
    each = np.frombuffer(body, dtype=np.uint8)[places]
    odd = np.flatnonzero((each == ord('"')) | (each == ord("\\")) | (each < ord(" ")))
    known: dict[bytes, bool] = {}
    for i in np.unique(np.searchsorted(ahead, odd, side="right") - 1).tolist():
        text = body[at[i] : end[i]]
        if text not in known:
            known[text] = _STRING.fullmatch(text) is not None
        if not known[text]:
            like[i] = False
