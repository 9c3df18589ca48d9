"""Server-sent events of OpenAI-style streams: when each came, and which of them bear tokens.

Two readers give the same columns: `_slow` takes any event stream and any JSON; `_fast` recognises
vLLM's event layout with one regular expression over the whole body, and hands every event that does
not match it byte for byte to the slow reader. All times are left to the caller: an event is known
by the offset in the body of the byte that completed it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.load.http import Int64, MalformedError

_MAX_TOKENS = 1 << 53

# --- events -----------------------------------------------------------------------------------

_LINE_END = rb"(?>\r\n|\r|\n)"
_BLANK_LINE = re.compile(_LINE_END + _LINE_END)
_LINE = re.compile(rb"\r\n|\r|\n")


def events(body: bytes) -> list[tuple[bytes, int]]:
    """(data, offset of the last byte) of each complete event that has data.

    Takes LF, CRLF and CR line ends, comments, fields other than data, several data lines.
    """
    result = []
    at = 0
    for blank in _BLANK_LINE.finditer(body):
        data = _data(body[at : blank.start()])
        at = blank.end()
        if data:
            result.append((data, at - 1))
    return result


def _data(block: bytes) -> bytes:
    if block.startswith(b"data: ") and b"\n" not in block and b"\r" not in block:
        return block[6:]
    lines = []
    for line in _LINE.split(block):
        if line.startswith(b"data:"):
            lines.append(line[6:] if line.startswith(b"data: ") else line[5:])
    return b"\n".join(lines)


# --- what one event says ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """What one event says; `total` and `prompt` are the usage so far, -1 where it gives none."""

    total: int = -1
    prompt: int = -1
    choice: bool = False
    text: bool = False
    done: bool = False
    error: str = ""


def read_event(data: bytes) -> Said:
    """Interpret one event's data; MalformedError when it is not a completion chunk."""
    if data == b"[DONE]":
        return Said(done=True)
    try:
        message = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise MalformedError(f"event is not JSON: {data[:60]!r}") from None
    if not isinstance(message, dict):
        raise MalformedError(f"event is not an object: {data[:60]!r}")
    if message.get("error") or message.get("object") == "error":
        return Said(error=json.dumps(message.get("error") or message)[:300])
    total = prompt = -1
    usage = message.get("usage")
    if usage:
        if not isinstance(usage, dict):
            raise MalformedError(f"usage is not an object: {data[:60]!r}")
        total = _count(usage, "completion_tokens")
        prompt = _count(usage, "prompt_tokens")
    choices = message.get("choices")
    if not choices:
        return Said(total=total, prompt=prompt)
    if not isinstance(choices, list) or not isinstance(choices[0], dict):
        raise MalformedError(f"choices is not a list of objects: {data[:60]!r}")
    return Said(total=total, prompt=prompt, choice=True, text=_has_text(choices[0]))


def _count(usage: dict[str, Any], key: str) -> int:
    value = usage.get(key)
    if value is None:
        return -1
    if type(value) is not int or not 0 <= value < _MAX_TOKENS:
        raise MalformedError(f"{key} is not a token count: {str(value)[:40]}")
    return value


def _has_text(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    if delta is None:
        return bool(choice.get("text"))
    if not isinstance(delta, dict):
        raise MalformedError(f"delta is not an object: {str(delta)[:40]}")
    return any(
        delta.get(key) for key in ("content", "reasoning", "reasoning_content", "tool_calls")
    )


# --- columns ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Columns:
    """What the events of one body say, in order; all arrays of the same shape."""

    last_byte: Int64
    total: Int64
    choice: Int64
    text: Int64
    prompt: int | None
    done: bool
    error: str | None


def read_body(body: bytes) -> Columns:
    """The columns of a body; MalformedError where an event is not a completion chunk."""
    columns = _fast(body)
    return _slow(body) if columns is None else columns


def _slow(body: bytes) -> Columns:
    found = events(body)
    said = [read_event(data) for data, _ in found]
    last_byte = np.array([end for _, end in found], dtype=np.int64)
    return _columns(
        last_byte,
        [s.total for s in said],
        [s.choice for s in said],
        [s.text for s in said],
        [s.prompt for s in said],
        said,
    )


def _columns(
    last_byte: Int64,
    total: list[int],
    choice: list[bool],
    text: list[bool],
    prompt: list[int],
    said: list[Said],
) -> Columns:
    return Columns(
        last_byte=last_byte,
        total=np.array(total, dtype=np.int64),
        choice=np.array(choice, dtype=np.int64),
        text=np.array(text, dtype=np.int64),
        prompt=next((p for p in reversed(prompt) if p >= 0), None),
        done=any(s.done for s in said),
        error=next((s.error for s in reversed(said) if s.error), None),
    )


# --- the fast reader --------------------------------------------------------------------------
# Keys in the order in which vLLM writes them, each at most once, no white space: whatever this
# matches, JSON reads the same way (tests/load/test_sse.py holds the two against each other).

_STRING = rb'[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+'
_NUMBER = rb"(?:0|[1-9][0-9]{0,14})"
_FAST = (
    rb'data: \{"id":"' + _STRING + rb'","object":"(?:text_completion|chat\.completion\.chunk)",'
    rb'"created":' + _NUMBER + rb',"model":"' + _STRING + rb'","choices":\[\{"index":0,'
    rb'(?:"text":"(' + _STRING + rb')"|"delta":\{(?:"role":"assistant",)?'
    rb'"(?:content|reasoning|reasoning_content)":"(' + _STRING + rb')"\}),"logprobs":null,'
    rb'"finish_reason":(?:null|"[a-z_]{1,40}")(?:,"stop_reason":null)?'
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
_EVENT = re.compile(rb"(?:" + _FAST + rb"|([^\n]++(?:\n[^\n]++)*+))\n\n")


def _fast(body: bytes) -> Columns | None:
    """The columns, or None for a body whose lines do not end in plain LF or is not UTF-8."""
    if b"\r" in body:
        return None
    body = body[: body.rfind(b"\n\n") + 2] if b"\n\n" in body else b""
    if b"\n\n\n" in body or body.startswith(b"\n") or not _is_utf8(body):
        return None
    rows = _EVENT.findall(body)
    newlines = np.flatnonzero(np.frombuffer(body, dtype=np.uint8) == 10)
    last_byte = newlines[1:][np.diff(newlines) == 1]
    if len(last_byte) != len(rows):
        return None
    total = [int(row[3] or -1) for row in rows]
    text = [bool(row[0] or row[1]) for row in rows]
    choice = [True] * len(rows)
    prompt = [next((int(row[2]) for row in reversed(rows) if row[2]), -1)]
    others = [i for i, row in enumerate(rows) if row[4]]
    if not others:
        return _columns(last_byte, total, choice, text, prompt, [])
    return _with_others(rows, others, last_byte, total, choice, text)


def _with_others(
    rows: list[tuple[bytes, ...]],
    others: list[int],
    last_byte: Int64,
    total: list[int],
    choice: list[bool],
    text: list[bool],
) -> Columns:
    """Put what the slow reader makes of the unrecognised events into the columns."""
    prompt = [int(row[2] or -1) for row in rows]
    silent = []  # comments: events without data
    said = []
    for i in others:
        data = _data(rows[i][4])
        if not data:
            silent.append(i)
            continue
        one = read_event(data)
        said.append(one)
        total[i], prompt[i], choice[i], text[i] = one.total, one.prompt, one.choice, one.text
    for i in reversed(silent):
        for column in (total, prompt, choice, text):
            del column[i]
    return _columns(np.delete(last_byte, silent), total, choice, text, prompt, said)


def _is_utf8(body: bytes) -> bool:
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


# --- tokens -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Tokens:
    """The token-bearing chunks of one response.

    `last_byte` are offsets in the body, `counts` the tokens of each chunk, None where the server
    did not say; `prompt` and `completion` the server's last usage, None when it gave none.
    """

    last_byte: Int64
    counts: Int64 | None
    prompt: int | None
    completion: int | None
    done: bool
    error: str | None


def tokens(columns: Columns) -> Tokens:
    """Token-bearing chunks: those whose running usage rose, else those that carry text.

    The running usage is believed only if every chunk with text has one, it never falls and it
    rises at all: a server that puts its final usage into the last chunk would otherwise turn that
    chunk into all the tokens. The role-only first delta and the usage-only last chunk bear none.
    """
    given = columns.total >= 0
    totals = columns.total[given]
    with_text = (columns.choice & columns.text).astype(bool)
    rises = np.diff(totals, prepend=0)
    bearing = given & columns.choice.astype(bool)
    bearing[given] &= rises > 0
    running = bool((given | ~with_text).all() and (rises >= 0).all() and bearing.any())
    if not running:
        bearing = with_text
    counts: Int64 | None = None
    if running:
        counts = np.zeros(len(given), dtype=np.int64)
        counts[given] = rises
        counts = counts[bearing]
    return Tokens(
        last_byte=columns.last_byte[bearing],
        counts=counts,
        prompt=columns.prompt,
        completion=int(totals[-1]) if len(totals) else None,
        done=columns.done,
        error=columns.error,
    )
