"""Which chunks of an answer bear tokens, and how many each: by its usage, else by its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.web.http import Int64
from bench.web.sse import Columns


@dataclass(frozen=True, eq=False)
class Tokens:
    """The token-bearing chunks of one response.

    `last_byte` are offsets in the body, `counts` the tokens of each chunk, None where the server
    did not say; `prompt`, `completion` and `cached` the server's last usage, None when it gave
    none. `hidden` are tokens of the completion that were never streamed, None where it does not
    say; they are counted with the first chunk. `first_answer` is the first chunk of the answer, -1
    where nothing but thought came.
    """

    last_byte: Int64
    counts: Int64 | None
    prompt: int | None
    completion: int | None
    done: bool
    error: str | None
    finish: str = ""
    cached: int | None = None
    hidden: int | None = None
    first_answer: int = -1


def tokens_of(columns: Columns) -> Tokens:
    """Token-bearing chunks: those whose usage says so, else those that carry text.

    The role-only first delta and the usage-only last chunk bear none. Chunks without text count
    where the usage says that each of them is a token.
    """
    with_text = (columns.choice & columns.text).astype(bool)
    if _counts_its_texts(columns, with_text):
        return _one_by_one(columns, with_text)
    completion = _last_usage(columns, with_text)
    counts: Int64 | None = None
    bearing = with_text
    rises = _running(columns, with_text)
    if rises is None:
        rises = _increments(columns, with_text)
        if rises is not None:
            alone = columns.total[(columns.total >= 0) & (columns.choice == 0)]
            completion = int(alone[-1]) if len(alone) else int(rises.sum())
    if rises is not None:
        bearing = rises > 0
        counts = rises[bearing]
    elif completion is not None:
        bearing = _one_each(columns, with_text, completion)
    hidden = _hidden(columns, completion, int(bearing.sum())) if counts is None else None
    if hidden:
        counts = np.ones(int(bearing.sum()), dtype=np.int64)
        counts[0] += hidden
    return Tokens(
        last_byte=columns.last_byte[bearing],
        counts=counts,
        prompt=columns.prompt,
        completion=completion,
        done=columns.done,
        error=columns.error,
        finish=columns.finish,
        cached=columns.cached,
        hidden=hidden,
        first_answer=_first_answer(columns, bearing),
    )


Mask = np.ndarray[Any, np.dtype[np.bool_]]


def _counts_its_texts(columns: Columns, with_text: Mask) -> bool:
    """Whether the total is the number of chunks with text so far, all along: the ordinary answer,
    of which nothing more has to be asked."""
    texts = np.cumsum(with_text)
    if not len(texts) or not texts[-1]:
        return False
    silent = (columns.total < 0) & ~with_text
    return bool(((columns.total == texts) | silent).all())


def _one_by_one(columns: Columns, with_text: Mask) -> Tokens:
    """The tokens of such an answer: what the rules for all others say of it, too."""
    count = int(np.count_nonzero(with_text))
    return Tokens(
        last_byte=columns.last_byte[with_text],
        counts=np.ones(count, dtype=np.int64),
        prompt=columns.prompt,
        completion=count,
        done=columns.done,
        error=columns.error,
        finish=columns.finish,
        cached=columns.cached,
        first_answer=_first_answer(columns, with_text),
    )


def _last_usage(columns: Columns, with_text: Mask) -> int | None:
    """The completion tokens that were given last; none at all beside text is a server that has not
    counted them."""
    totals = columns.total[columns.total >= 0]
    if not len(totals) or (totals[-1] == 0 and with_text.any()):
        return None
    return int(totals[-1])


def _one_each(columns: Columns, with_text: Mask, completion: int) -> Mask:
    """The chunks of which each is a token, where one usage at the end says so: those with text,
    with them those that have none yet and the last one, or with them the mark of the end that a
    model wrote."""
    missing = completion - int(with_text.sum())
    bare = columns.bare.astype(bool)
    if missing <= 0:
        return with_text
    each: Mask = with_text | bare
    if missing == int(bare.sum()):
        return each
    last = int(np.flatnonzero(columns.choice)[-1]) if columns.choice.any() else -1
    if columns.finish and bare.any() and missing == int(bare.sum()) + 1 and not each[last]:
        # The last token makes no text either, and comes with the reason of the end.
        each[last] = True
        return each
    ends = np.flatnonzero(columns.choice.astype(bool) & ~with_text)
    last_text = int(np.flatnonzero(with_text)[-1]) if with_text.any() else len(with_text)
    if missing == 1 and columns.finish == "stop" and len(ends) and ends[-1] > last_text:
        found = with_text.copy()
        found[ends[-1]] = True
        return found
    return with_text


def _running(columns: Columns, with_text: Mask) -> Int64 | None:
    """Tokens of each event by a running total; None where the usage is no such thing.

    It is believed only if every chunk with text has one, it never falls and it rises with them: a
    server that puts its final usage into the last chunk, or the same into all, would otherwise turn
    one chunk into all the tokens.
    """
    given = columns.total >= 0
    rises = np.zeros(len(given), dtype=np.int64)
    rises[given] = np.diff(columns.total[given], prepend=0)
    bearing = columns.choice.astype(bool) & (rises > 0)
    flat = int((with_text & (rises <= 0)).sum())
    texts = int(with_text.sum())
    lags = texts and columns.total[np.argmax(with_text)] == 0  # counted before the piece is added
    if not (given | ~with_text).all() or (rises < 0).any() or not bearing.any() or lags:
        return None
    # A last piece of text may be let go with no new token; more than that is no running total.
    if flat > max(1, texts // 4):
        return None
    found: Int64 = np.where(bearing, rises, 0)
    return found


def _increments(columns: Columns, with_text: Mask) -> Int64 | None:
    """Tokens of each event where its usage counts that event alone: every piece of text has at
    least one, and as a running total they would be fewer tokens than pieces of text."""
    counts = columns.total[with_text]
    if len(counts) < 2 or counts.min() < 1 or counts.max() >= len(counts):
        return None
    found: Int64 = np.where(with_text, columns.total, 0)
    return found


def _hidden(columns: Columns, completion: int | None, chunks: int) -> int | None:
    """Reasoning tokens that were counted but never streamed; None where that is not shown."""
    thought = (columns.choice & columns.text & ~columns.answer & 1).any()
    if columns.reasoning is None or completion is None or thought or not chunks:
        return None
    return columns.reasoning if completion - columns.reasoning == chunks else None


def _first_answer(columns: Columns, bearing: Mask) -> int:
    """Which bearing chunk is the answer's first; the very first where no thought was streamed."""
    text = columns.text[bearing].astype(bool)
    answer = columns.answer[bearing].astype(bool)
    if not len(text):
        return -1
    if not (text & ~answer).any() and text[0]:
        return 0
    return int(np.argmax(answer)) if answer.any() else -1
