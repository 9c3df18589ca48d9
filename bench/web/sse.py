"""Server-sent events of OpenAI-style streams: when each came, and which of them bear text.

Two readers give the same columns: `_slow` takes any event stream and any JSON; `_fast` recognises
vLLM's event layout, reads what differs from event to event, and hands every event that does not
match byte for byte to the slow reader. All times are left to the caller: an event is known
by the offset in the body of the byte that completed it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.web.http import Int64, MalformedError
from bench.web.said import Said, data_of, failed, finish_of, is_done, read_block, read_event

# --- events -----------------------------------------------------------------------------------

_LINE_END = rb"(?>\r\n|\r|\n)"
_BLANK_LINE = re.compile(_LINE_END + _LINE_END)
_BOM = b"\xef\xbb\xbf"


def events(body: bytes) -> list[tuple[bytes, int]]:
    """(data, offset of the last byte) of each complete event that has data.

    Takes LF, CRLF and CR line ends, comments, fields other than data, several data lines.
    """
    return [(data, end) for block, end in _blocks(body) if (data := data_of(block))]


def _blocks(body: bytes, ended: bool = False) -> list[tuple[bytes, int]]:
    """(lines, offset of the last byte) of each event; the last of an `ended` body may lack its
    blank line."""
    result = []
    at = len(_BOM) if body.startswith(_BOM) else 0
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
# Keys in the order in which vLLM writes them, each at most once, no white space: whatever this
# matches, JSON reads the same way (tests/web/test_sse.py holds the two against each other).

_STRING = rb'[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+'
_NUMBER = rb"(?:0|[1-9][0-9]{0,14})"
_FAST = (
    rb'data: \{"id":"' + _STRING + rb'","object":"(?:text_completion|chat\.completion\.chunk)",'
    rb'"created":' + _NUMBER + rb',"model":"' + _STRING + rb'","choices":\[\{"index":0,'
    rb'(?:"text":"(' + _STRING + rb')"|"delta":\{("role":"assistant",)?'
    rb'"(content|reasoning|reasoning_content)":"(' + _STRING + rb')"\}),"logprobs":null,'
    rb'"finish_reason":(?:null|"([a-z_]{1,40})")(?:,"stop_reason":null)?'
    rb'(?:,"prompt_token_ids":null)?(?:,"token_ids":null)?\}\]'
    rb'(?:,"usage":\{"prompt_tokens":('
    + _NUMBER
    + rb'),"total_tokens":'
    + _NUMBER
    + rb',"completion_tokens":('
    + _NUMBER
    + rb')(?:,"prompt_tokens_details":null)?'
    rb'(?:,"completion_tokens_details":null)?\})?\}'
)
_ONE = re.compile(_FAST)
# Groups of a match: text; role, key and text of a delta; finish reason; prompt, completion tokens.
_TEXT, _ROLE, _KEY, _DELTA, _FINISH, _PROMPT, _TOTAL = range(1, 8)

# The events of an answer repeat what stands before their text and most of what stands after it.
# With that put as one byte each (control characters, which JSON text never holds), a third is left.
_BEFORE, _COUNTED, _AFTER = b"\x01", b"\x02", b"\x03"
_OTHER = rb"([^\n]++(?:\n[^\n]++)*+)"
_SHORT = re.compile(
    rb"(?:\x01(" + _STRING + rb")(?:\x02" + _NUMBER + rb',"completion_tokens":(' + _NUMBER + rb")"
    rb'(?:,"prompt_tokens_details":null)?(?:,"completion_tokens_details":null)?\}\}|\x03)|'
    + _OTHER
    + rb")\n\n"
)
_OTHERS = re.compile(_OTHER + rb"\n\n")


def _fast(body: bytes) -> Columns | None:
    """The columns, or None for a body whose lines do not end in plain LF or is not UTF-8."""
    if b"\r" in body or body.startswith(_BOM):
        return None
    body = body[: body.rfind(b"\n\n") + 2] if b"\n\n" in body else b""
    if b"\n\n\n" in body or body.startswith(b"\n") or not _is_utf8(body):
        return None
    newlines = np.flatnonzero(np.frombuffer(body, dtype=np.uint8) == 10)
    last_byte = newlines[1:][np.diff(newlines) == 1]
    rows, undo, model = _shortened(body)
    if len(rows) != len(last_byte):
        return None
    others = [i for i, row in enumerate(rows) if row[2]]
    said = [_said(undo(rows[i][2])) for i in others]
    if any(one is not None and failed(one.finish) for one in said):
        return None  # the slow reader makes an error of it
    return _table(rows, last_byte, dict(zip(others, said, strict=True)), model)


Rows = list[tuple[bytes, bytes, bytes]]


def _shortened(body: bytes) -> tuple[Rows, Callable[[bytes], bytes], re.Match[bytes] | None]:
    """(text, completion tokens, another event) of each event, what gives such another event its
    repeated parts back, and the event whose parts those are: one in the middle of the body."""
    at = body.rfind(b"\n\n", 0, len(body) // 2) + 2
    model = _ONE.match(body, at) if at > 1 else None
    odd = model is None or model[_FINISH] or model[_ROLE] or model[_PROMPT] == b"0"
    if model is None or odd or any(sign in body for sign in (_BEFORE, _COUNTED, _AFTER)):
        return [(b"", b"", event) for event in _OTHERS.findall(body)], bytes, None
    text = _TEXT if model[_TEXT] is not None else _DELTA
    counted = model[_TOTAL] is not None
    sign = _COUNTED if counted else _AFTER
    end = body.index(b'"total_tokens":', model.end(text)) + 15 if counted else model.end()
    before, after = body[at : model.start(text)], body[model.end(text) : end]
    head, tail, mark = len(before), len(after), after[:12]
    short = []
    for event in body.split(b"\n\n"):
        at = event.find(mark, head) if event.startswith(before) else -1
        if at >= 0 and event.startswith(after, at):
            event = b"".join((_BEFORE, event[head:at], sign, event[at + tail :]))
        short.append(event)
    rows = _SHORT.findall(b"\n\n".join(short))
    return rows, lambda e: e.replace(sign, after).replace(_BEFORE, before), model


def _said(event: bytes) -> Said | None:
    """What an event says that is not like the others; None for one without data."""
    found = _ONE.fullmatch(event)
    if found is None:
        return read_block(event)
    text = bool(found[_TEXT] or found[_DELTA])
    finish = finish_of((found[_FINISH] or b"").decode())
    return Said(
        total=int(found[_TOTAL] or -1),
        prompt=int(found[_PROMPT] or -1) or -1,
        choice=True,
        text=text,
        answer=text and not (found[_KEY] or b"").startswith(b"r"),
        bare=not (text or found[_ROLE] or finish),
        finish=finish,
    )


def _table(
    rows: Rows, last_byte: Int64, others: dict[int, Said | None], model: re.Match[bytes] | None
) -> Columns:
    """The columns of events that are like `model`, and of the `others` by their place."""
    some = np.array([row[0] != b"" for row in rows], dtype=np.int64)
    total = np.array([int(row[1] or -1) for row in rows], dtype=np.int64)
    thought = model is not None and (model[_KEY] or b"").startswith(b"r")
    answer = some * 0 if thought else some
    table = np.array([last_byte, total, some * 0 + 1, some, answer, 1 - some])
    for i, one in others.items():
        if one is not None:
            table[1:, i] = one.total, one.choice, one.text, one.answer, one.bare
    table = np.delete(table, [i for i, one in others.items() if one is None], axis=1)
    said = [one for one in others.values() if one is not None]
    return _columns(table, _last_prompt(len(rows), others, model), _last_finish(said), said)


def _last_prompt(count: int, others: dict[int, Said | None], model: re.Match[bytes] | None) -> int:
    """The prompt tokens that were given last; -1 where none were."""
    usual = -1 if model is None or model[_PROMPT] is None else int(model[_PROMPT])
    last_usual = next((i for i in range(count - 1, -1, -1) if i not in others), -1)
    for i, one in reversed(others.items()):
        if usual >= 0 and i < last_usual:
            break
        if one is not None and one.prompt >= 0:
            return one.prompt
    return usual if last_usual >= 0 else -1


def _last_finish(said: list[Said]) -> str:
    return next((one.finish for one in reversed(said) if one.finish), "")


def _is_utf8(body: bytes) -> bool:
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
