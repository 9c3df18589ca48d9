"""The events of an answer that are alike: most of a long stream, read with a few array operations.

One event in the middle of the body is the model. Its fixed parts are looked for in all others at
once; only the text and two numbers may differ. Whatever differs otherwise is not alike and is left
to a reader of single events. What is called alike here, JSON reads the same way: keys in the order
in which vLLM writes them, each at most once, no white space (tests/web/test_sse.py holds the two
against each other).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.web.http import Int64

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_ENOUGH = 40
"""Below so many events, reading them one by one costs less."""

STRING = rb'[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+'
_NUMBER = rb"(?:0|[1-9][0-9]{0,14})"
_MOST_DIGITS = 15
_PLACES = np.arange(1, _MOST_DIGITS + 2)
_POWERS = 10 ** (_PLACES - 1)
ONE = re.compile(
    rb'data: \{"id":"' + STRING + rb'","object":"(?:text_completion|chat\.completion\.chunk)",'
    rb'"created":' + _NUMBER + rb',"model":"' + STRING + rb'","choices":\[\{"index":0,'
    rb'(?:"text":"(' + STRING + rb')"|"delta":\{("role":"assistant",)?'
    rb'"(content|reasoning|reasoning_content)":"(' + STRING + rb')"\}),"logprobs":null,'
    rb'"finish_reason":(?:null|"([a-z_]{1,40})")(?:,"stop_reason":null)?'
    rb'(?:,"prompt_token_ids":null)?(?:,"token_ids":null)?\}\]'
    rb'(?:,"usage":\{"prompt_tokens":('
    + _NUMBER
    + rb'),"total_tokens":('
    + _NUMBER
    + rb'),"completion_tokens":('
    + _NUMBER
    + rb')(?:,"prompt_tokens_details":null)?'
    rb'(?:,"completion_tokens_details":null)?\})?\}'
)
"""vLLM's layout of an event. Groups: text; role, key and text of a delta; finish reason; prompt
tokens, their sum with the completion's, completion tokens so far."""
TEXT, ROLE, KEY, DELTA, FINISH, PROMPT, SUM, TOTAL = range(1, 9)
_STRING = re.compile(STRING)


@dataclass(frozen=True, eq=False)
class Alike:
    """Which events are like `model`, which of those carry text, and their completion tokens so far
    (-1: not given). Arrays of a row per event; what stands in the rows of others means nothing."""

    model: re.Match[bytes]
    like: Mask
    text: Mask
    total: Int64


def alike(body: bytes, starts: Int64, ends: Int64) -> Alike | None:
    """The events body[start:end] that are like the one in the middle.

    None where they are too few or that one is no ordinary piece of text in vLLM's layout.
    """
    count = len(starts)
    if count < _ENOUGH:
        return None
    model = ONE.fullmatch(body, int(starts[count // 2]), int(ends[count // 2]))
    if model is None or model[FINISH] or model[ROLE] or model[PROMPT] == b"0":
        return None
    text = TEXT if model[TEXT] is not None else DELTA
    before = body[model.start() : model.start(text)]
    if model[TOTAL] is None:
        after, between, last = body[model.end(text) : model.end()], b"", b""
    else:
        after = body[model.end(text) : model.start(SUM)]
        between = body[model.end(SUM) : model.start(TOTAL)]
        last = body[model.end(TOTAL) : model.end()]
    raw = np.frombuffer(body, dtype=np.uint8)
    text_at = starts + len(before)
    if model[TOTAL] is None:
        text_end = ends - len(after)
        like = np.full(count, True)
        total = np.full(count, -1, dtype=np.int64)
    else:
        good, total, total_at = _number_before(raw, ends - len(last))
        sum_end = total_at - len(between)
        well, _, sum_at = _number_before(raw, sum_end)
        text_end = sum_at - len(after)
        like = good & well & _holds(body, sum_end, between) & _holds(body, ends - len(last), last)
    like &= (text_end >= text_at) & _holds(body, starts, before) & _holds(body, text_end, after)
    _only_strings(body, text_at, text_end, like)
    return Alike(model=model, like=like, text=text_end > text_at, total=total)


def _holds(body: bytes, at: Int64, word: bytes) -> Mask:
    """Whether `word`, which has no NUL, stands at each of `at`."""
    last = len(body) - len(word)
    windows = np.ndarray((last + 1,), dtype=f"S{len(word)}", buffer=body, strides=(1,))
    found: Mask = windows[np.minimum(np.maximum(at, 0), last)] == word
    return found & (at >= 0) & (at <= last)


def _number_before(raw: Bytes, end: Int64) -> tuple[Mask, Int64, Int64]:
    """The number that ends at each of `end`: whether it is one as JSON writes it, of 15 digits at
    most, its value, and where it begins."""
    figures = raw[np.maximum(end[:, None] - _PLACES, 0)] - np.uint8(ord("0"))  # others wrap past 9
    is_digit = figures <= 9
    digits = is_digit.argmin(axis=1)  # none other among them: 0, as if there were no digit
    first = figures[np.arange(len(end)), digits - 1]
    good = (digits >= 1) & (end >= _MOST_DIGITS) & ((digits == 1) | (first != 0))
    figures[digits[:, None] < _PLACES] = 0
    value: Int64 = figures @ _POWERS
    return good, value, end - digits


def _only_strings(body: bytes, at: Int64, end: Int64, like: Mask) -> None:
    """Take out of `like` whose text is no JSON string: a quote in it, a wrong escape, a control
    character."""
    known: dict[bytes, bool] = {}
    for i, (a, b) in enumerate(zip(at.tolist(), end.tolist(), strict=True)):
        text = body[a:b]
        if text not in known:
            known[text] = _STRING.fullmatch(text) is not None
        if not known[text]:
            like[i] = False
