"""Workloads from a user's JSONL file: ShareGPT or OpenAI conversations, or a timestamped trace.

One JSON object per line, read line by line and never loaded whole:

sharegpt  {"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}, …]}
messages  {"messages": [{"role": "user", "content": "…"}, …], "output_tokens": 200}
trace     {"arrival_s": 0.25, "input_tokens": 512, "output_tokens": 64}

`output_tokens` (or `max_tokens`) may stand on a conversation too; without it a recorded reply is as
long as its text at four characters per token, which is an assumption. A trace also takes
`timestamp` or `timestamp_ms` (milliseconds), `input_length` and `output_length`. Every error names
file, line and field.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from bench.values.errors import InputError
from bench.values.json_text import json_text
from bench.values.spec import MOST_TOKENS

Format = Literal["sharegpt", "messages", "trace"]
Message = dict[str, str]

CHARS_PER_TOKEN = 4.0
"""Assumed of English text, where only text is given and a token count is needed before the run."""

MOST_S = 3_155_760_000
"""A hundred years: stamps of a trace may count from 1970."""

_MOST_LINE = 64 * 2**20

_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "system": "system",
    "developer": "system",
}


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One turn: the messages added since the previous one, and what came back where recorded."""

    messages: tuple[Message, ...]
    reply: str | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What one line of a ShareGPT or messages file asks for, turn by turn."""

    exchanges: tuple[Exchange, ...]


@dataclass(frozen=True, kw_only=True)
class TraceRow:
    """One request of a trace; `arrival_s` counts from the first row's."""

    arrival_s: float
    input_tokens: int
    output_tokens: int


class _FieldError(Exception):
    """A field that is not what it should be; `read` adds file and line."""


def read(path: str, file_format: Format | None) -> Iterator[Conversation | TraceRow]:
    """Yield the entries of a file as they are read; lines without a user's turn are passed over.

    InputError names the file, the line and the field that does not fit.
    """
    first_s: float | None = None
    last_s = 0.0
    for number, record in _records(path):
        try:
            kind = file_format or _guess(record)
            if kind == "trace":
                row = _trace_row(record)
                first_s = row.arrival_s if first_s is None else first_s
                if row.arrival_s < last_s:
                    raise _FieldError(f"{_arrival_key(record)}: earlier than the line before")
                last_s = row.arrival_s
                yield TraceRow(
                    arrival_s=row.arrival_s - first_s,
                    input_tokens=row.input_tokens,
                    output_tokens=row.output_tokens,
                )
            else:
                conversation = _conversation(record, kind)
                if conversation.exchanges:
                    yield conversation
        except _FieldError as error:
            raise InputError(f"{path}:{number}: {error}.") from None


def conversations(path: str, file_format: Format | None) -> Iterator[Conversation]:
    """The conversations of a file; InputError when it holds none or is a trace."""
    found = False
    for entry in read(path, file_format):
        if not isinstance(entry, Conversation):
            raise InputError(f"workload.file_format: {path} is a trace; set it to trace.")
        found = True
        yield entry
    if not found:
        raise InputError(f"workload.file: {path} holds no conversation with a user's turn.")


def trace_rows(path: str) -> Iterator[TraceRow]:
    """The rows of a trace; InputError when it holds none."""
    found = False
    for entry in read(path, "trace"):
        assert isinstance(entry, TraceRow)
        found = True
        yield entry
    if not found:
        raise InputError(f"workload.file: {path} holds no request.")


@dataclass(frozen=True, kw_only=True)
class TraceExtent:
    """How much a trace holds: its requests, and seconds from the first to the last arrival."""

    requests: int
    seconds: float

    @property
    def rate_per_s(self) -> float:
        """Mean arrival rate in requests/s."""
        return (self.requests - 1) / self.seconds if self.seconds > 0 else float(self.requests)


def trace_extent(path: str) -> TraceExtent:
    """Read a trace once from end to end, keeping two numbers."""
    count, last_s = 0, 0.0
    for row in trace_rows(path):
        count, last_s = count + 1, row.arrival_s
    return TraceExtent(requests=count, seconds=last_s)


def check(path: str, file_format: Format | None) -> None:
    """Read the whole file once, so that a bad line is found before an engine is started."""
    if file_format == "trace" or isinstance(next(read(path, file_format), None), TraceRow):
        trace_extent(path)
        return
    for _ in conversations(path, file_format):
        pass


def resolved_format(path: str, file_format: Format | None) -> Format:
    """The format given, or what the first line looks like."""
    if file_format is not None:
        return file_format
    for number, record in _records(path):
        try:
            return _guess(record)
        except _FieldError as error:
            raise InputError(f"{path}:{number}: {error}.") from None
    raise InputError(f"workload.file: {path} is empty.")


def _records(path: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with _opened(path) as file:
        for number in itertools.count(1):
            try:
                line = file.readline(_MOST_LINE)
            except UnicodeDecodeError:
                raise InputError(f"{path}:{number}: not UTF-8 text.") from None
            if len(line) == _MOST_LINE:
                raise InputError(f"{path}:{number}: a line longer than {_MOST_LINE:,} characters.")
            if not line:
                return
            if not line.strip():
                continue
            if number == 1 and line.lstrip().startswith("["):
                raise InputError(
                    f"{path}:1: one JSON array, where one object per line is expected. Turn it "
                    f"into JSONL: jq -c '.[]' {path} > {Path(path).stem}.jsonl"
                )
            try:
                record = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}:{number}: not JSON ({error}).") from None
            except RecursionError:
                raise InputError(f"{path}:{number}: JSON nested too deeply.") from None
            if not isinstance(record, dict):
                raise InputError(f"{path}:{number}: an object is expected, {_kind(record)} found.")
            yield number, record


def _opened(path: str) -> TextIO:
    """The file, which must be one: a FIFO that nobody writes to would be waited for."""
    try:
        found = Path(path).expanduser()
        if found.exists() and not found.is_file():
            raise InputError(f"workload.file: {path} is no file.")
        return found.open(encoding="utf-8")
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise InputError(f"workload.file: {path}: {said}.") from None


def _guess(record: Mapping[str, Any]) -> Format:
    if "conversations" in record:
        return "sharegpt"
    if "messages" in record:
        return "messages"
    if any(key in record for key in ("arrival_s", "timestamp_ms", "timestamp")):
        return "trace"
    raise _FieldError(
        "neither conversations (ShareGPT), nor messages (OpenAI), nor arrival_s (a trace): set "
        f"workload.file_format; its keys are {', '.join(sorted(record)[:6]) or 'none'}"
    )


def _conversation(record: Mapping[str, Any], kind: Format) -> Conversation:
    names = {
        "sharegpt": ("conversations", "from", "value"),
        "messages": ("messages", "role", "content"),
    }
    key, role_key, text_key = names[kind]
    listed = record.get(key)
    if not isinstance(listed, list):
        raise _FieldError(f"{key}: a list is expected, {_kind(listed)} found")
    messages = [_message(m, f"{key}[{i}]", role_key, text_key) for i, m in enumerate(listed)]
    output_tokens = _optional_count(record, "output_tokens", "max_tokens")
    return Conversation(exchanges=tuple(_exchanges(messages, output_tokens)))


def _message(found: object, where: str, role_key: str, text_key: str) -> Message:
    if not isinstance(found, dict):
        raise _FieldError(f"{where}: an object is expected, {_kind(found)} found")
    role = found.get(role_key)
    if not isinstance(role, str) or role not in _ROLES:
        raise _FieldError(f"{where}.{role_key}: {role!r} is none of {', '.join(sorted(_ROLES))}")
    return {"role": _ROLES[role], "content": _text(found.get(text_key), f"{where}.{text_key}")}


def _text(found: object, where: str) -> str:
    """A string, or OpenAI's list of text parts."""
    if isinstance(found, str):
        return found
    if not isinstance(found, list):
        raise _FieldError(f"{where}: text is expected, {_kind(found)} found")
    parts = []
    for i, part in enumerate(found):
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        if not isinstance(text, str):
            raise _FieldError(f"{where}[{i}]: only text parts can be sent")
        parts.append(text)
    return "\n".join(parts)


def _exchanges(messages: list[Message], output_tokens: int | None) -> Iterator[Exchange]:
    """Cut at every reply. What comes before the first user's message and is a reply is dropped."""
    asked: list[Message] = []
    for message in messages:
        if message["role"] != "assistant":
            asked.append(message)
        elif any(m["role"] == "user" for m in asked):
            yield Exchange(
                messages=tuple(asked), reply=message["content"], output_tokens=output_tokens
            )
            asked = []
    if any(m["role"] == "user" for m in asked):
        yield Exchange(messages=tuple(asked), output_tokens=output_tokens)


def _arrival_key(record: Mapping[str, Any]) -> str:
    return next((k for k in ("arrival_s", "timestamp_ms", "timestamp") if k in record), "arrival_s")


def _trace_row(record: Mapping[str, Any]) -> TraceRow:
    key = _arrival_key(record)
    arrival = record.get(key)
    most = MOST_S if key == "arrival_s" else 1e3 * MOST_S
    number = isinstance(arrival, (int, float)) and not isinstance(arrival, bool)
    # NaN is between no two numbers, so that the comparison refuses it too.
    if arrival is None or not number or not 0 <= arrival <= most:
        what = f"a time from 0 to {MOST_S:,} s (a hundred years)"
        raise _FieldError(f"{key}: {what} is expected, {_kind(arrival)} found")
    counts = [
        _optional_count(record, *names)
        for names in (("input_tokens", "input_length"), ("output_tokens", "output_length"))
    ]
    if counts[0] is None or counts[1] is None:
        raise _FieldError(f"{'input_tokens' if counts[0] is None else 'output_tokens'}: missing")
    return TraceRow(
        arrival_s=float(arrival) / (1.0 if key == "arrival_s" else 1e3),
        input_tokens=counts[0],
        output_tokens=counts[1],
    )


def _optional_count(record: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = record.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise _FieldError(f"{name}: a whole number above 0 is expected, {_kind(value)} found")
        if value > MOST_TOKENS:
            raise _FieldError(f"{name}: at most {MOST_TOKENS:,} is expected, {_kind(value)} found")
        return value
    return None


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, int) and abs(value) > 10**40:
        return "a number of too many digits"
    if isinstance(value, float):
        return str(value)
    return json_text(value)[:40] if isinstance(value, (int, str)) else type(value).__name__
