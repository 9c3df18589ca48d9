"""Server-sent events of OpenAI-style streams: when each came, and which of them bear text.

Two readers give the same columns: `_slow` takes any event stream and any JSON; `_fast` reads events
in vLLM's layout that are alike all at once (`bench.web.alike`), and hands every other event to the
slow reader. All times are left to the caller: an event is known
by the offset in the body of the byte that completed it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bench.web.alike import DELTA, FINISH, KEY, ONE, PROMPT, ROLE, TEXT, TOTAL, alike
from bench.web.http import Int64, MalformedError
from bench.web.said import Said, data_of, failed, finish_of, is_done, read_block, read_event

# --- events -----------------------------------------------------------------------------------

_LINE_END = rb"(?>\r\n|\r|\n)"
_BLANK_LINE = re.compile(_LINE_END + _LINE_END)
BOM = b"\xef\xbb\xbf"


def events(body: bytes) -> list[tuple[bytes, int]]:
    """(data, offset of the last byte) of each complete event that has data.

    Takes LF, CRLF and CR line ends, comments, fields other than data, several data lines.
    """
    return [(data, end) for block, end in _blocks(body) if (data := data_of(block))]


def _blocks(body: bytes, ended: bool = False) -> list[tuple[bytes, int]]:
    """(lines, offset of the last byte) of each event; the last of an `ended` body may lack its
    blank line."""
    result = []
    at = len(BOM) if body.startswith(BOM) else 0
    for blank in _BLANK_LINE.finditer(body, at):
        result.append((body[at : blank.start()], blank.end() - 1))
        at = blank.end()
    if ended and _is_whole(body[at:]):
        result.append((body[at:], len(body) - 1))
    return result


def _is_whole(block: bytes) -> bool:
    """Whether an event that nothing closed was sent to its end: some servers forget the last
    blank line. A cut one is no JSON object."""
    data = data_of(block)
    if is_done(data) or block.startswith(b"error:"):
        return True
    try:
        return isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        return False


# --- columns ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Columns:
    """What the events of one body say, in order; all arrays of the same shape.

    `finish` is the last finish_reason; the usage scalars are the last ones given.
    """

    last_byte: Int64
    total: Int64
    choice: Int64
    text: Int64
    answer: Int64
    bare: Int64
    prompt: int | None
    cached: int | None
    reasoning: int | None
    done: bool
    finish: str
    error: str | None


def read_body(body: bytes, *, ended: bool = False) -> Columns:
    """The columns of a body; MalformedError where an event is not a completion chunk.

    `ended` says that nothing was cut off: an event that no blank line closes counts as well.
    """
    columns = None if ended and not body.endswith(b"\n\n") else _fast(body)
    if columns is None:
        columns = _slow(body, ended)
    if ended and not len(columns.last_byte):
        return _whole(body) or columns
    return columns


def _whole(body: bytes) -> Columns | None:
    """The columns of an answer that was not streamed: one event, there with its last byte."""
    if not body.lstrip().startswith(b"{"):
        return None
    try:
        said = read_event(body)
    except MalformedError:
        return None
    if not (said.choice or said.error):
        return None
    row = [len(body) - 1, said.total, said.choice, said.text, said.answer, said.bare]
    table = np.array(row, dtype=np.int64).reshape(6, 1)
    return _columns(table, said.prompt, said.finish, [said])


def _slow(body: bytes, ended: bool = False) -> Columns:
    found = [(said, end) for block, end in _blocks(body, ended) if (said := read_block(block))]
    rows = [(end, s.total, s.choice, s.text, s.answer, s.bare) for s, end in found]
    every = [s for s, _ in found]
    prompt = next((s.prompt for s in reversed(every) if s.prompt >= 0), -1)
    finish = next((s.finish for s in reversed(every) if s.finish), "")
    table = np.array(rows, dtype=np.int64).reshape(len(rows), 6)
    return _columns(table.T.copy(), prompt, finish, every)


_ENDS = {
    **dict.fromkeys(("eos", "eos_token", "end_turn", "stop_sequence", "complete"), "stop"),
    **dict.fromkeys(("max_tokens", "max_length", "max_new_tokens", "limit"), "length"),
    "stop": "stop",
    "length": "length",
}
"""Other words (and cases) for the reasons `stop` and `length`: TGI's, Anthropic's, Cohere's."""


def _columns(table: Int64, prompt: int, finish: str, said: list[Said]) -> Columns:
    """Columns of the six rows of `table`; `said` are those events that the slow reader read."""
    return Columns(
        last_byte=table[0],
        total=table[1],
        choice=table[2],
        text=table[3],
        answer=table[4],
        bare=table[5],
        prompt=None if prompt < 0 else prompt,
        cached=next((s.cached for s in reversed(said) if s.cached >= 0), None),
        reasoning=next((s.reasoning for s in reversed(said) if s.reasoning >= 0), None),
        done=any(s.done for s in said),
        finish=_ENDS.get(finish.lower(), finish),
        error=next((s.error for s in reversed(said) if s.error), None),
    )


# --- the fast reader --------------------------------------------------------------------------


def _fast(body: bytes) -> Columns | None:
    """The columns, or None for a body whose lines do not end in plain LF or is not UTF-8."""
    if b"\r" in body or body.startswith(BOM):
        return None
    body = body[: body.rfind(b"\n\n") + 2] if b"\n\n" in body else b""
    if b"\n\n\n" in body or body.startswith(b"\n") or not is_utf8(body):
        return None
    newlines = np.flatnonzero(np.frombuffer(body, dtype=np.uint8) == 10)
    last_byte = newlines[1:][np.diff(newlines) == 1]
    starts, ends = np.concatenate(([0], last_byte + 1))[:-1], last_byte - 1
    return columns_of(body, starts, ends, [0, len(ends)], last_byte)[0]


def columns_of(
    body: bytes, starts: Int64, ends: Int64, firsts: list[int], last_byte: Int64
) -> list[Columns | None]:
    """The columns of each of several answers whose events are body[start:end], in UTF-8 and of
    lines that end in plain LF; None for one that is left to the slow reader.

    Answer k has the events from `firsts[k]` up to `firsts[k + 1]`; `last_byte` goes into the
    columns as it is.
    """
    found = alike(body, starts, ends, firsts)
    text = found.text.astype(np.int64)
    thinks = [m is not None and (m[KEY] or b"").startswith(b"r") for m in found.models]
    answer = text * ~np.repeat(thinks, np.diff(firsts))
    table = np.array([last_byte, found.total, np.ones_like(text), text, answer, 1 - text])
    unlike = np.flatnonzero(~found.like)
    bounds = np.searchsorted(unlike, firsts).tolist()
    others = unlike.tolist()
    return [
        _of_one(body, starts, ends, table, (a, b), others[m:n], model)
        for (a, b), (m, n), model in zip(
            pairwise(firsts), pairwise(bounds), found.models, strict=True
        )
    ]


def _of_one(
    body: bytes,
    starts: Int64,
    ends: Int64,
    table: Int64,
    rows: tuple[int, int],
    others: list[int],
    model: re.Match[bytes] | None,
) -> Columns | None:
    """The columns of the answer whose events are `rows` of the table, once the `others` among them,
    which are not alike, are read."""
    try:
        said = {i: _said(body[starts[i] : ends[i]]) for i in others}
    except MalformedError:
        return None  # the slow reader tells of it
    if any(one is not None and failed(one.finish) for one in said.values()):
        return None  # the slow reader makes an error of it
    for i, one in said.items():
        if one is not None:
            table[1:, i] = one.total, one.choice, one.text, one.answer, one.bare
    mine = table[:, rows[0] : rows[1]]
    without_data = [i - rows[0] for i, one in said.items() if one is None]
    if without_data:
        mine = np.delete(mine, without_data, axis=1)
    every = [one for one in said.values() if one is not None]
    return _columns(mine, _last_prompt(rows, said, model), _last_finish(every), every)


_DONE = Said(done=True)


def _said(event: bytes) -> Said | None:
    """What an event says that is not like the others; None for one without data."""
    if event == b"data: [DONE]":
        return _DONE
    found = ONE.fullmatch(event)
    if found is None:
        return read_block(event)
    total, prompt = int(found[TOTAL] or -1), int(found[PROMPT] or -1) or -1
    if found[TEXT] is None and found[DELTA] is None:  # no choice: usage alone
        return Said(total=total, prompt=prompt)
    text = bool(found[TEXT] or found[DELTA])
    finish = finish_of((found[FINISH] or b"").decode())
    return Said(
        total=total,
        prompt=prompt,
        choice=True,
        text=text,
        answer=text and not (found[KEY] or b"").startswith(b"r"),
        bare=not (text or found[ROLE] or finish),
        finish=finish,
    )


def _last_prompt(
    rows: tuple[int, int], others: dict[int, Said | None], model: re.Match[bytes] | None
) -> int:
    """The prompt tokens that were given last; -1 where none were."""
    usual = -1 if model is None else int(model[PROMPT] or -1)
    last_usual = next((i for i in range(rows[1] - 1, rows[0] - 1, -1) if i not in others), -1)
    for i, one in reversed(others.items()):
        if usual >= 0 and i < last_usual:
            break
        if one is not None and one.prompt >= 0:
            return one.prompt
    return usual if last_usual >= 0 else -1


def _last_finish(said: list[Said]) -> str:
    return next((one.finish for one in reversed(said) if one.finish), "")


def is_utf8(body: bytes) -> bool:
    """Whether the bytes are."""
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
