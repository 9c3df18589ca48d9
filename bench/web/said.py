"""What one event of a stream says, in the dialects that servers and gateways speak."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.values.json_text import json_text
from bench.web.http import MalformedError

_MAX_TOKENS = 1 << 53
_LINE = re.compile(rb"\r\n|\r|\n")


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


# --- lines ------------------------------------------------------------------------------------


def data_of(block: bytes) -> bytes:
    """The data of an event's lines."""
    if block.startswith(b"data: ") and b"\n" not in block and b"\r" not in block:
        return block[6:]
    return b"\n".join(_fields(block, b"data"))


def _fields(block: bytes, name: bytes) -> list[bytes]:
    """The values of the lines of that name, each without its first space."""
    start = name + b":"
    found = (line[len(start) :] for line in _LINE.split(block) if line.startswith(start))
    return [value.removeprefix(b" ") for value in found]


_DONE = re.compile(rb'(?i)\s*"?(\[(done|end)\]|done)"?\s*')
_KEEPS_ALIVE = re.compile(rb'(?i)\s*(:[^\n]*|"?(ping|keep-?alive|heartbeat)"?)?\s*')
"""Data that only keeps the connection open: nothing, a word for it, or a comment that a gateway
took for data (`data: : OPENROUTER PROCESSING`)."""


def is_done(data: bytes) -> bool:
    """Whether the data is the mark behind the last event, however it is written."""
    return _DONE.fullmatch(data) is not None


_FAILS = re.compile(r"(?i)error|exception|abort|cancel|fail|time-?out|overload")
_WAITS = re.compile(r"(?i)ping|keep.?alive|heartbeat|progress|queue|pending|processing|loading")


def failed(reason: str) -> bool:
    """Whether this word for how an answer ended says that it did not end well."""
    return _FAILS.search(reason) is not None


def read_block(block: bytes) -> Said | None:
    """What an event's lines say; None for a comment, a sign of life, or lines without data."""
    data = data_of(block)
    if b"event:" in block:
        kind = b" ".join(_fields(block, b"event")).decode(errors="replace")
        if _FAILS.search(kind):
            return Said(error=_shown(data) or f"an event of type {kind.strip()[:40]}")
        if _WAITS.search(kind) and b'"choices"' not in data:
            return None
    if b"error:" in block and (told := _fields(block, b"error")):
        # llama.cpp's own field until late 2025: `error: {"code": 400, …}`, and then [DONE].
        return Said(error=_shown(b" ".join(told)) or "a line named error")
    return None if _KEEPS_ALIVE.fullmatch(data) else read_event(data)


def _shown(data: bytes) -> str:
    return data[:300].decode(errors="replace")


# --- a chunk ----------------------------------------------------------------------------------


def read_event(data: bytes) -> Said:
    """Interpret one event's data; MalformedError when it is not a completion chunk."""
    if is_done(data):
        return Said(done=True)
    message = _parsed(data)
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
    finish = next((f for c in choices if (f := finish_of(c.get("finish_reason")))), "")
    if failed(finish):
        return Said(error=f"finish_reason is {finish!r}")
    bears = [_bears(c) for c in choices]
    text = any(text for text, _ in bears)
    return Said(
        total=total,
        prompt=prompt,
        cached=cached,
        reasoning=reasoning,
        choice=True,
        text=text,
        answer=any(answer for _, answer in bears),
        bare=not (finish or text or any(map(_has_role, choices))),
        finish=finish,
    )


def _parsed(data: bytes) -> Any:
    """The JSON of an event. Half a character, as a server that decodes token by token sends it,
    takes no token away."""
    try:
        return json.loads(data.decode(errors="replace"))
    except (ValueError, RecursionError):
        raise MalformedError(f"event is not JSON: {data[:60]!r}") from None


def finish_of(reason: object) -> str:
    """A finish_reason; empty where there is none, also where that is said in words."""
    told = reason if isinstance(reason, str) else ""
    return "" if told.lower() in ("null", "none") else told


def _has_role(choice: dict[str, Any]) -> bool:
    """Whether it opens the message, as the first chunk of a chat does."""
    delta = choice.get("delta") or choice.get("message")
    return isinstance(delta, dict) and bool(delta.get("role"))


# --- errors -----------------------------------------------------------------------------------

_ERROR_KEYS = (
    *("detail", "message", "error_message", "error_msg", "errors", "err", "exception"),
    *("error_code", "errorCode", "fault", "reason", "title", "msg"),
)
"""Keys of a frame without choices that is an error, whatever it is called there."""
_KINDS = ("object", "type", "event", "status")
_STATUSES = ("code", "status", "status_code", "statusCode")
_FIRST_BAD_STATUS = 400


def _error_in(message: dict[str, Any]) -> str:
    """The error that a frame is, in any of the shapes that gateways give one; else empty."""
    choices = message.get("choices")
    listed = choices if isinstance(choices, list) else []
    inner = next((c["error"] for c in listed if isinstance(c, dict) and c.get("error")), None)
    found = message.get("error") or inner
    shaped = message.get("object") == "error" or message.get("type") == "error"
    if not found and not choices and "usage" not in message:
        shaped = shaped or _is_shaped_as_error(message)
    return json_text(found or message)[:300] if found or shaped else ""


def _is_shaped_as_error(message: Mapping[str, Any]) -> bool:
    """Whether a frame without choices, usage and `error` tells of one all the same."""
    kinds = [kind for key in _KINDS if isinstance(kind := message.get(key), str)]
    if any(_FAILS.search(kind) for kind in kinds) or message.get("success") is False:
        return True
    bad = any(
        type(code := message.get(key)) is int and code >= _FIRST_BAD_STATUS for key in _STATUSES
    )
    waits = any(_WAITS.search(kind) for kind in kinds)
    return bad or (not waits and any(message.get(key) for key in _ERROR_KEYS))


# --- usage ------------------------------------------------------------------------------------

_COMPLETION = ("completion_tokens", "output_tokens", "generated_tokens")
_PROMPT = ("prompt_tokens", "input_tokens")
_OF_PROMPT = ("prompt_tokens_details", "input_tokens_details")
_OF_ANSWER = ("completion_tokens_details", "output_tokens_details")
_CACHED = ("cached_tokens", "prompt_cache_hit_tokens")


def _usage(message: dict[str, Any], data: bytes) -> tuple[int, int, int, int]:
    """(completion, prompt, cached prompt, reasoning) tokens so far, -1 where not given."""
    usage = _usage_object(message)
    if not usage:
        return -1, -1, -1, -1
    if not isinstance(usage, dict):
        raise MalformedError(f"usage is not an object: {data[:60]!r}")
    of_prompt, of_answer = (
        next((d for key in keys if isinstance(d := usage.get(key), dict)), {})
        for keys in (_OF_PROMPT, _OF_ANSWER)
    )
    cached = _count(of_prompt, ("cached_tokens",))
    reasoning = _count(of_answer, ("reasoning_tokens",))
    # A prompt of no tokens is a server that has not counted it.
    return (
        _count(usage, _COMPLETION),
        _count(usage, _PROMPT) or -1,
        cached if cached >= 0 else _count(usage, _CACHED),
        reasoning if reasoning >= 0 else _count(usage, ("reasoning_tokens",)),
    )


def _usage_object(message: dict[str, Any]) -> Any:
    """The usage, wherever a server puts it: beside the choices, into one of them (Moonshot), into
    `x_groq`, or as nothing but llama.cpp's `timings`."""
    if usage := message.get("usage"):
        return usage
    groq, timings = message.get("x_groq"), message.get("timings")
    if isinstance(groq, dict) and groq.get("usage"):
        return groq["usage"]
    choices = message.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and isinstance(choice.get("usage"), dict):
            return choice["usage"]
    if not isinstance(timings, dict) or "predicted_n" not in timings:
        return None
    prompt, cached = (max(0, _count(timings, (key,))) for key in ("prompt_n", "cache_n"))
    return {"completion_tokens": timings["predicted_n"], "prompt_tokens": prompt + cached}


def _count(usage: Mapping[str, Any], keys: tuple[str, ...]) -> int:
    """The count under the first of these names that is there; -1 where none is."""
    key = next((k for k in keys if usage.get(k) is not None), "")
    if not key:
        return -1
    value = usage[key]
    # JSON has one kind of number, and some gateways write numbers as text.
    digits = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 16
    if digits or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if type(value) is not int or not 0 <= value < _MAX_TOKENS:
        raise MalformedError(f"{key} is not a token count: {str(value)[:40]}")
    return value


# --- text -------------------------------------------------------------------------------------

_NO_TEXT = frozenset(
    (
        *("role", "index", "id", "type", "object", "created", "model", "status", "channel"),
        *("finish_reason", "native_finish_reason", "stop_reason", "logprobs", "token_ids"),
        *("prompt_token_ids", "signature", "annotations", "recipient", "matched_stop"),
        *("provider_specific_fields", "extra_content", "thought_signature", "encrypted_content"),
        *("reasoning_signature", "obfuscation", "padding", "citations", "metadata", "usage"),
        *("system_fingerprint", "service_tier", "request_id", "trace_id", "created_at"),
        *("timestamp", "tool_call_id", "content_filter_results", "timings"),
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
    found = [(k, v) for k, v in said.items() if k not in _NO_TEXT and _has_text(v)]
    return bool(found), any(_is_answer(k, v) for k, v in found)


def _is_answer(key: str, value: object) -> bool:
    """Whether text under this name is the answer's; a list may hold parts of thought (Mistral)."""
    if _THOUGHT.search(key):
        return False
    if not isinstance(value, list):
        return True
    return any(_is_answer_part(part) for part in value)


def _is_answer_part(part: object) -> bool:
    if not isinstance(part, dict):
        return _has_text(part)
    if _THOUGHT.search(str(part.get("type"))):
        return False
    return any(k not in _NO_TEXT and _has_text(v) and _is_answer(k, v) for k, v in part.items())


def _has_text(value: object) -> bool:
    """Whether there is a piece of text somewhere in it; what is encrypted is none."""
    if isinstance(value, str):
        return bool(value)
    if isinstance(value, dict):
        if "encrypted" in str(value.get("type")):
            return False
        return any(k not in _NO_TEXT and _has_text(v) for k, v in value.items())
    return isinstance(value, list) and any(map(_has_text, value))
