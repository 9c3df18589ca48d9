"""Server-sent events of OpenAI-style streams: when each came, and which of them bear tokens.

Two readers give the same columns: `_slow` takes any event stream and any JSON; `_fast` reads events
in vLLM's layout that are alike all at once (`bench.web.alike`), and hands every other event to the
slow reader. All times are left to the caller: an event is known
by the offset in the body of the byte that completed it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.values.json_text import json_text
from bench.web.alike import DELTA, FINISH, KEY, ONE, PROMPT, ROLE, TEXT, TOTAL, Alike, alike
from bench.web.http import Int64, MalformedError

_MAX_TOKENS = 1 << 53

# --- events -----------------------------------------------------------------------------------

_LINE_END = rb"(?>\r\n|\r|\n)"
_BLANK_LINE = re.compile(_LINE_END + _LINE_END)
_LINE = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


def events(body: bytes) -> list[tuple[bytes, int]]:
    """(data, offset of the last byte) of each complete event that has data.

    Takes LF, CRLF and CR line ends, comments, fields other than data, several data lines.
    """
    return [(data, end) for block, end in _blocks(body) if (data := _data(block))]


def _blocks(body: bytes, ended: bool = False) -> list[tuple[bytes, int]]:
    """(lines, offset of the last byte) of each event; the last of an `ended` body may lack its
    blank line."""
    result = []
    at = len(_BOM) if body.startswith(_BOM) else 0
    for blank in _BLANK_LINE.finditer(body, at):
        result.append((body[at : blank.start()], blank.end() - 1))
        at = blank.end()
    if ended and _is_whole(_data(body[at:])):
        result.append((body[at:], len(body) - 1))
    return result


def _is_whole(data: bytes) -> bool:
    """Whether an event that nothing closed was sent to its end: some servers forget the last
    blank line. A cut one is no JSON object."""
    if data.strip() == b"[DONE]":
        return True
    try:
        return isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        return False


def _data(block: bytes) -> bytes:
    if block.startswith(b"data: ") and b"\n" not in block and b"\r" not in block:
        return block[6:]
    lines = []
    for line in _LINE.split(block):
        if line.startswith(b"data:"):
            lines.append(line[6:] if line.startswith(b"data: ") else line[5:])
    return b"\n".join(lines)


def _is_error_event(block: bytes) -> bool:
    """Whether a line `event: error` says what the data need not repeat."""
    return b"event:" in block and any(
        line.startswith(b"event:") and line[6:].strip().lower() in (b"error", b"exception")
        for line in _LINE.split(block)
    )


# --- what one event says ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """What one event says; `total`, `prompt`, `cached` and `reasoning` are the usage so far, -1
    where it gives none. `text` may be thought or answer; `answer` is said of the answer alone.
    `bare` is a choice without text, role or end: a token that makes no text yet may come so."""

    total: int = -1
    prompt: int = -1
    cached: int = -1
    reasoning: int = -1
    choice: bool = False
    text: bool = False
    answer: bool = False
    bare: bool = False
    done: bool = False
    finish: str = ""
    error: str = ""


_ERROR_KEYS = (
    *("detail", "message", "error_message", "error_msg", "errors", "err", "exception"),
    *("error_code", "errorCode", "fault", "reason", "title", "msg"),
)
"""Keys of a frame without choices that is an error, whatever it is called there."""

_FAILED_FINISH = ("error", "abort", "aborted", "cancelled", "canceled", "failed", "timeout")


def _read_block(block: bytes) -> Said | None:
    """What an event's lines say; None for a comment or an event without data."""
    data = _data(block)
    if _is_error_event(block):
        return Said(error=data[:300].decode(errors="replace") or "an event of type error")
    return None if _KEEPS_ALIVE.fullmatch(data) else read_event(data)


_KEEPS_ALIVE = re.compile(rb'(?i)\s*(:[^\n]*|"?(ping|keep-?alive|heartbeat)"?)?\s*')
"""Data that only keeps the connection open: nothing, a word for it, or a comment that a gateway
took for data (`data: : OPENROUTER PROCESSING`)."""


def read_event(data: bytes) -> Said:
    """Interpret one event's data; MalformedError when it is not a completion chunk."""
    if data.strip() == b"[DONE]":
        return Said(done=True)
    try:
        message = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise MalformedError(f"event is not JSON: {data[:60]!r}") from None
    if message is None:  # llama.cpp opens a batch with `data: null`
        return Said()
    if not isinstance(message, dict):
        raise MalformedError(f"event is not an object: {data[:60]!r}")
    if error := _error_in(message):
        return Said(error=error)
    total, prompt, cached, reasoning = _usage(message, data)
    choices = message.get("choices")
    if not choices:
        return Said(total=total, prompt=prompt, cached=cached, reasoning=reasoning)
    if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
        raise MalformedError(f"choices is not a list of objects: {data[:60]!r}")
    finish = next((f for c in choices if isinstance(f := c.get("finish_reason"), str) and f), "")
    if finish in _FAILED_FINISH:
        return Said(error=f"finish_reason is {finish!r}")
    bears = [_bears(c) for c in choices]
    return Said(
        total=total,
        prompt=prompt,
        cached=cached,
        reasoning=reasoning,
        choice=True,
        text=any(text for text, _ in bears),
        answer=any(answer for _, answer in bears),
        bare=not (finish or any(text for text, _ in bears) or any(map(_has_role, choices))),
        finish=finish,
    )


def _has_role(choice: dict[str, Any]) -> bool:
    """Whether it opens the message, as the first chunk of a chat does."""
    delta = choice.get("delta") or choice.get("message")
    return isinstance(delta, dict) and bool(delta.get("role"))


def _error_in(message: dict[str, Any]) -> str:
    """The error that a frame is, in any of the shapes that gateways give one; else empty."""
    choices = message.get("choices")
    listed = choices if isinstance(choices, list) else []
    inner = next((c["error"] for c in listed if isinstance(c, dict) and c.get("error")), None)
    found = message.get("error") or inner
    shaped = message.get("object") == "error" or message.get("type") == "error"
    if not found and not choices and "usage" not in message:
        shaped = shaped or any(message.get(key) for key in _ERROR_KEYS)
    return json_text(found or message)[:300] if found or shaped else ""


def _usage(message: dict[str, Any], data: bytes) -> tuple[int, int, int, int]:
    """(completion, prompt, cached prompt, reasoning) tokens so far, -1 where not given."""
    extra = message.get("x_groq")
    usage = message.get("usage") or (extra.get("usage") if isinstance(extra, dict) else None)
    if not usage:
        return -1, -1, -1, -1
    if not isinstance(usage, dict):
        raise MalformedError(f"usage is not an object: {data[:60]!r}")
    of_prompt, of_answer = (
        d if isinstance(d := usage.get(key), dict) else {}
        for key in ("prompt_tokens_details", "completion_tokens_details")
    )
    cached = _count(of_prompt, "cached_tokens")
    if cached < 0:  # DeepSeek's own name for it
        cached = _count(usage, "prompt_cache_hit_tokens")
    # A prompt of no tokens is a server that has not counted it.
    return (
        _count(usage, "completion_tokens"),
        _count(usage, "prompt_tokens") or -1,
        cached,
        _count(of_answer, "reasoning_tokens"),
    )


def _count(usage: dict[str, Any], key: str) -> int:
    value = usage.get(key)
    if value is None:
        return -1
    # JSON has one kind of number, and some gateways write numbers as text.
    digits = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 16
    if digits or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if type(value) is not int or not 0 <= value < _MAX_TOKENS:
        raise MalformedError(f"{key} is not a token count: {str(value)[:40]}")
    return value


_NO_TEXT = frozenset(
    (
        *("role", "index", "id", "type", "object", "created", "model", "status", "channel"),
        *("finish_reason", "native_finish_reason", "stop_reason", "logprobs", "token_ids"),
        *("prompt_token_ids", "signature", "annotations", "recipient", "matched_stop"),
        "provider_specific_fields",
    )
)
"""Keys beside the text that may hold text of their own; any other one is what was generated."""


_THOUGHT = re.compile("reason|think|thought")


def _bears(choice: dict[str, Any]) -> tuple[bool, bool]:
    """Whether a choice carries generated text at all, and whether some of it is the answer's.

    Servers name thought `reasoning`, `reasoning_content`, `thinking`, …: those are no answer.
    """
    said = choice.get("delta")
    if said is None:
        said = choice.get("message")  # some stream whole-message objects
    if said is None:
        text = _has_text(choice.get("text"))
        return text, text
    if not isinstance(said, dict):
        raise MalformedError(f"delta is not an object: {str(said)[:40]}")
    found = [k for k, v in said.items() if k not in _NO_TEXT and _has_text(v)]
    return bool(found), not all(_THOUGHT.search(k) for k in found)


def _has_text(value: object) -> bool:
    """Whether there is a piece of text somewhere in it."""
    if isinstance(value, str):
        return bool(value)
    if isinstance(value, dict):
        return any(k not in _NO_TEXT and _has_text(v) for k, v in value.items())
    return isinstance(value, list) and any(map(_has_text, value))


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
    return _slow(body, ended) if columns is None else columns


def _slow(body: bytes, ended: bool = False) -> Columns:
    found = [(said, end) for block, end in _blocks(body, ended) if (said := _read_block(block))]
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
    if b"\r" in body or body.startswith(_BOM):
        return None
    body = body[: body.rfind(b"\n\n") + 2] if b"\n\n" in body else b""
    if b"\n\n\n" in body or body.startswith(b"\n") or not _is_utf8(body):
        return None
    newlines = np.flatnonzero(np.frombuffer(body, dtype=np.uint8) == 10)
    last_byte = newlines[1:][np.diff(newlines) == 1]
    starts, ends = np.concatenate(([0], last_byte[:-1] + 1)), last_byte - 1
    found = alike(body, starts, ends)
    others = range(len(ends)) if found is None else np.flatnonzero(~found.like).tolist()
    said = {i: _said(body[starts[i] : ends[i]]) for i in others}
    if any(one is not None and one.finish in _FAILED_FINISH for one in said.values()):
        return None  # the slow reader makes an error of it
    return _table(found, last_byte, said)


def _said(event: bytes) -> Said | None:
    """What an event says that is not like the others; None for one without data."""
    found = ONE.fullmatch(event)
    if found is None:
        return _read_block(event)
    text = bool(found[TEXT] or found[DELTA])
    return Said(
        total=int(found[TOTAL] or -1),
        prompt=int(found[PROMPT] or -1) or -1,
        choice=True,
        text=text,
        answer=text and not (found[KEY] or b"").startswith(b"r"),
        bare=not (text or found[ROLE] or found[FINISH]),
        finish=(found[FINISH] or b"").decode(),
    )


def _table(found: Alike | None, last_byte: Int64, others: dict[int, Said | None]) -> Columns:
    """The columns of the events that are alike, and of the `others` by their place."""
    some = (
        np.zeros(len(last_byte), dtype=np.int64) if found is None else found.text.astype(np.int64)
    )
    total = some if found is None else found.total
    thought = found is not None and (found.model[KEY] or b"").startswith(b"r")
    table = np.array([last_byte, total, some * 0 + 1, some, some * (not thought), 1 - some])
    for i, one in others.items():
        if one is not None:
            table[1:, i] = one.total, one.choice, one.text, one.answer, one.bare
    without_data = [i for i, one in others.items() if one is None]
    if without_data:
        table = np.delete(table, without_data, axis=1)
    said = [one for one in others.values() if one is not None]
    prompt = _last_prompt(len(last_byte), others, found)
    return _columns(table, prompt, _last_finish(said), said)


def _last_prompt(count: int, others: dict[int, Said | None], found: Alike | None) -> int:
    """The prompt tokens that were given last; -1 where none were."""
    usual = -1 if found is None else int(found.model[PROMPT] or -1)
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


# --- tokens -----------------------------------------------------------------------------------


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


def tokens(columns: Columns) -> Tokens:
    """Token-bearing chunks: those whose usage says so, else those that carry text.

    The role-only first delta and the usage-only last chunk bear none. Chunks without text count
    where the usage says that each of them is a token.
    """
    with_text = (columns.choice & columns.text).astype(bool)
    given = columns.total >= 0
    totals = columns.total[given]
    completion = int(totals[-1]) if len(totals) else None
    counts: Int64 | None = None
    bearing = with_text
    rises = _running(columns, with_text)
    if rises is None:
        rises = _increments(columns, with_text)
        if rises is not None:
            alone = totals[~columns.choice[given].astype(bool)]
            completion = int(alone[-1]) if len(alone) else int(rises.sum())
    if rises is not None:
        bearing = rises > 0
        counts = rises[bearing]
    elif completion == int((with_text | columns.bare.astype(bool)).sum()):
        bearing = with_text | columns.bare.astype(bool)  # each is a token, some without text
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
    if not (given | ~with_text).all() or (rises < 0).any() or not bearing.any():
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
