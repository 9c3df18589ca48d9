"""Workloads from a user's file: conversations and requests, turn by turn.

`bench.foreign.shapes` finds the shape and streams the records; here they become what is sent
(`bench.traffic.trace_file` does it for traces). Without a count of its own a recorded reply is as
long as its text at four characters per token, which is an assumption. Tool calls are sent as text:
what a model was asked to read is then there, though not in its template for tools. Every error
names file, line and field.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.foreign.lines import kind
from bench.foreign.shapes import Record, records, shape_of
from bench.traffic.trace_file import FieldError, count, trace_extent
from bench.values.errors import InputError
from bench.values.json_text import json_text
from bench.values.spec import WorkloadSpec

Message = dict[str, str]

_ROLES = {
    "human": "user",
    "user": "user",
    "tool": "user",
    "function": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "system": "system",
    "developer": "system",
}
_CALLS = ("tool_calls", "function_call")
_MOST_GAP_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One turn: the messages added since the previous one, and what came back where recorded.

    `gap_s` is how long after the previous answer it was asked; None where the file does not say.
    """

    messages: tuple[Message, ...]
    reply: str | None = None
    output_tokens: int | None = None
    gap_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What belongs together in a file of conversations, turn by turn."""

    exchanges: tuple[Exchange, ...]


def conversations(spec: WorkloadSpec, left: dict[str, int] | None = None) -> Iterator[Conversation]:
    """The conversations of a file, as they are read; those without a user's turn are passed over.

    InputError when it holds none or is a trace, and for a bad line.
    """
    found = False
    for conversation in _sessions(_read(spec, left)):
        found = True
        yield conversation
    if not found:
        raise InputError(f"workload.file: {spec.file} holds no conversation with a user's turn.")


def _read(
    spec: WorkloadSpec, left: dict[str, int] | None
) -> Iterator[tuple[str | None, Conversation]]:
    """(session, conversation) of every record."""
    for record in records(spec.file or "", spec.file_format):
        if record.shape.form == "trace":
            raise InputError(f"workload.file_format: {spec.file} is a trace; set it to trace.")
        try:
            exchanges = _exchanges_of(record)
        except FieldError as error:
            raise InputError(f"{record.where}: {error}.") from None
        if exchanges:
            session = record.values.get("session_id")
            yield None if session is None else str(session), Conversation(exchanges=exchanges)
        elif left is not None:
            left["no user's turn"] = left.get("no user's turn", 0) + 1


def _sessions(found: Iterator[tuple[str | None, Conversation]]) -> Iterator[Conversation]:
    """Requests of one session that go on from each other become one conversation.

    Each names all that was said before; what it adds to the request before is its turn. One whose
    context was rewritten begins anew: its prompt repeats nothing.
    """
    name: str | None = None
    said: tuple[Message, ...] = ()
    turns: list[Exchange] = []
    for session, conversation in found:
        asked = conversation.exchanges[0]
        goes_on = session is not None and session == name and len(asked.messages) > len(said)
        if goes_on and asked.messages[: len(said)] == said:
            turns[-1], added = _answered(turns[-1], asked, len(said))
            turns.append(added)
        else:
            if turns:
                yield Conversation(exchanges=tuple(turns))
            turns, name = list(conversation.exchanges), session
        said = asked.messages
    if turns:
        yield Conversation(exchanges=tuple(turns))


def _answered(before: Exchange, asked: Exchange, known: int) -> tuple[Exchange, Exchange]:
    """The turn before with its recorded reply, and what `asked` adds after it."""
    added = list(asked.messages[known:])
    reply = before.reply
    if added[0]["role"] == "assistant":
        reply = added.pop(0)["content"]
    closed = Exchange(
        messages=before.messages,
        reply=reply,
        output_tokens=before.output_tokens,
        gap_s=before.gap_s,
    )
    new = Exchange(
        messages=tuple(added),
        reply=asked.reply,
        output_tokens=asked.output_tokens,
        gap_s=asked.gap_s,
    )
    return closed, new


def check(spec: WorkloadSpec) -> None:
    """Read the whole file once, so that a bad line is found before an engine is started."""
    if is_trace(spec):
        if trace_extent(spec).requests == 0:
            raise InputError(f"workload.file: {spec.file} holds no request.")
        return
    for _ in conversations(spec):
        pass


def is_trace(spec: WorkloadSpec) -> bool:
    """Whether the workload's file is a timestamped trace."""
    return shape_of(spec.file or "", spec.file_format).form == "trace"


def _exchanges_of(record: Record) -> tuple[Exchange, ...]:
    values = record.values
    output_tokens = count(values, "output_tokens", "max_tokens")
    if record.shape.form == "turns":
        return tuple(_turns(values))
    key, role_key, text_key = ("messages", "role", "content")
    if record.shape.form == "sharegpt":
        key, role_key, text_key = ("conversations", "from", "value")
    listed = values.get(key)
    if not isinstance(listed, list):
        raise FieldError(f"{key}: a list is expected, {kind(listed)} found")
    messages = [_message(m, f"{key}[{i}]", role_key, text_key) for i, m in enumerate(listed)]
    if record.shape.form == "request":
        return tuple(_one_request(messages, output_tokens, _gap(values)))
    return tuple(_cut(messages, output_tokens))


def _turns(values: Mapping[str, Any]) -> Iterator[Exchange]:
    listed = values.get("turns")
    if not isinstance(listed, list):
        raise FieldError(f"turns: a list is expected, {kind(listed)} found")
    for i, turn in enumerate(listed):
        if not isinstance(turn, Mapping):
            raise FieldError(f"turns[{i}]: text or an object is expected, {kind(turn)} found")
        message = {"role": "user", "content": _text(turn.get("text"), f"turns[{i}].text")}
        yield Exchange(
            messages=(message,), output_tokens=count(turn, "output_tokens"), gap_s=_gap(turn)
        )


def _gap(values: Mapping[str, Any]) -> float | None:
    gap = values.get("delay_s")
    if gap is None:
        return None
    known = isinstance(gap, (int, float)) and not isinstance(gap, bool) and math.isfinite(gap)
    if not known or not 0 <= gap <= _MOST_GAP_S:
        raise FieldError(f"delay: a time from 0 ms to a day is expected, {kind(gap)} found")
    return float(gap)


def _one_request(
    messages: list[Message], output_tokens: int | None, gap_s: float | None
) -> Iterator[Exchange]:
    """A request as it was sent: all of its messages, but for a reply at its end."""
    reply = None
    if messages and messages[-1]["role"] == "assistant":
        reply = messages[-1]["content"]
        messages = messages[:-1]
    if any(m["role"] == "user" for m in messages):
        yield Exchange(
            messages=tuple(messages), reply=reply, output_tokens=output_tokens, gap_s=gap_s
        )


def _message(found: object, where: str, role_key: str, text_key: str) -> Message:
    if not isinstance(found, dict):
        raise FieldError(f"{where}: an object is expected, {kind(found)} found")
    role = found.get(role_key)
    if not isinstance(role, str) or role not in _ROLES:
        raise FieldError(f"{where}.{role_key}: {role!r} is none of {', '.join(sorted(_ROLES))}")
    content = found.get(text_key)
    calls = next((found[k] for k in _CALLS if found.get(k)), None)
    if calls is None:
        return {"role": _ROLES[role], "content": _text(content, f"{where}.{text_key}")}
    said = "" if content is None else _text(content, f"{where}.{text_key}")
    return {"role": _ROLES[role], "content": "\n".join(filter(None, (said, json_text(calls))))}


def _text(found: object, where: str) -> str:
    """A string, or OpenAI's list of text parts."""
    if isinstance(found, str):
        return found
    if not isinstance(found, list):
        raise FieldError(f"{where}: text is expected, {kind(found)} found")
    parts = []
    for i, part in enumerate(found):
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        if not isinstance(text, str):
            raise FieldError(f"{where}[{i}]: only text parts can be sent")
        parts.append(text)
    return "\n".join(parts)


def _cut(messages: list[Message], output_tokens: int | None) -> Iterator[Exchange]:
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
