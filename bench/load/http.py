"""HTTP/1.1 and server-sent events, parsed after the run from what arrived.

`frame` finds the response in raw bytes; `events` finds the SSE events in its body and the read in
which each became complete; `tokens` turns events into token-bearing chunks. All are pure.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

HEAD_END = b"\r\n\r\n"
CHUNKED_END = b"\r\n0\r\n\r\n"


class MalformedError(ValueError):
    """The bytes are not an HTTP response or its body is not what its headers promise."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """Status line and headers; `body_at` is the offset of the first body byte."""

    status: int
    headers: dict[bytes, bytes]
    body_at: int

    @property
    def chunked(self) -> bool:
        """Whether the body comes in HTTP chunks."""
        return b"chunked" in self.headers.get(b"transfer-encoding", b"").lower()

    @property
    def length(self) -> int | None:
        """The promised length of the body in bytes; None when it ends with the connection."""
        if self.status in (204, 304):
            return 0
        value = self.headers.get(b"content-length")
        if value is None:
            return None
        if not value.isdigit():
            raise MalformedError(f"content-length {value!r}")
        return int(value)

    @property
    def keep_alive(self) -> bool:
        """Whether the connection may carry another request."""
        return b"close" not in self.headers.get(b"connection", b"").lower()


def parse_head(data: bytes) -> Head | None:
    """The head of the final response in `data`; None while incomplete; interim 1xx are skipped."""
    at = 0
    while True:
        end = data.find(HEAD_END, at)
        if end < 0:
            if data and not b"HTTP/".startswith(data[:5]) and not data.startswith(b"HTTP/"):
                raise MalformedError(f"not an HTTP response: {data[:40]!r}")
            return None
        lines = data[at:end].split(b"\r\n")
        parts = lines[0].split(None, 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
            raise MalformedError(f"not an HTTP response: {lines[0][:40]!r}")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        status = int(parts[1])
        at = end + 4
        if status >= 200:
            return Head(status=status, headers=headers, body_at=at)


def dechunk(data: bytes, at: int) -> tuple[list[tuple[int, int]], int | None]:
    """Walk a chunked body from offset `at`.

    Returns the (start, end) offsets of the chunks' contents that are there, and the offset after
    the terminating chunk and its trailers, None while it has not arrived.
    """
    spans: list[tuple[int, int]] = []
    find = data.find
    while True:
        eol = find(b"\r\n", at)
        if eol < 0:
            return spans, None
        try:
            size = int(data[at:eol].split(b";", 1)[0], 16)
        except ValueError:
            raise MalformedError(f"chunk size {data[at:eol][:20]!r}") from None
        start = eol + 2
        if size == 0:
            return spans, _trailers_end(data, start)
        if start + size + 2 > len(data):
            if start < len(data):
                spans.append((start, min(start + size, len(data))))
            return spans, None
        spans.append((start, start + size))
        at = start + size + 2


def _trailers_end(data: bytes, at: int) -> int | None:
    if data.startswith(b"\r\n", at):
        return at + 2
    end = data.find(HEAD_END, at)
    return None if end < 0 else end + 4


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One response in raw bytes: its head, where its body lies, and whether it is whole.

    `end` is the offset after the response; None when it ends with the connection.
    """

    head: Head
    spans: list[tuple[int, int]]
    complete: bool
    end: int | None


def frame(data: bytes, *, closed: bool = False) -> Frame | None:
    """Find the response in `data`; None while its head is incomplete.

    `closed` says that the connection has ended, which completes a body without a length.
    """
    head = parse_head(data)
    if head is None:
        return None
    if head.chunked:
        spans, end = dechunk(data, head.body_at)
        return Frame(head=head, spans=spans, complete=end is not None, end=end)
    if head.length is None:
        spans = [(head.body_at, len(data))]
        return Frame(head=head, spans=spans, complete=closed, end=None)
    end = head.body_at + head.length
    spans = [(head.body_at, min(end, len(data)))]
    return Frame(head=head, spans=spans, complete=len(data) >= end, end=end)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One server-sent event: its data, and the number of the read that completed it."""

    data: bytes
    read: int


def events(data: bytes, spans: list[tuple[int, int]], read_sizes: list[int]) -> list[Event]:
    """The SSE events in the body at `spans`, each with the read in which its blank line arrived.

    Takes LF and CRLF line ends, comments, fields other than data, several data lines per event.
    """
    body = b"".join([data[a:b] for a, b in spans])
    read_ends = list(accumulate(read_sizes))
    span_starts = [0, *accumulate(b - a for a, b in spans)]
    separator = b"\r\n\r\n" if b"\r\n\r\n" in body else b"\n\n"
    result: list[Event] = []
    at = 0
    span = 0
    while (end := body.find(separator, at)) >= 0:
        last = end + len(separator) - 1  # body offset of the byte that completes the event
        while span_starts[span + 1] <= last:
            span += 1
        raw_offset = spans[span][0] + last - span_starts[span]
        text = body[at:end]
        at = last + 1
        if text.startswith(b"data: ") and b"\n" not in text:
            payload = text[6:]
        else:
            payload = _data_lines(text)
            if not payload:
                continue
        result.append(Event(data=payload, read=bisect_right(read_ends, raw_offset)))
    return result


def _data_lines(text: bytes) -> bytes:
    lines = []
    for line in text.replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(b"data:"):
            lines.append(line[6:] if line.startswith(b"data: ") else line[5:])
    return b"\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The token-bearing chunks of one response.

    `reads` are read numbers, `counts` tokens per chunk (None where the server did not say),
    `prompt` and `completion` the server's final usage, None when it gave none.
    """

    reads: list[int]
    counts: list[int | None]
    prompt: int | None
    completion: int | None
    done: bool
    error: str | None


def tokens(stream: list[Event]) -> Tokens:
    """Token-bearing chunks of OpenAI-style stream events.

    A chunk bears tokens when its running usage rose; without running usage, when it carries
    non-empty text. The role-only first delta and the usage-only last chunk bear none.
    """
    reads: list[int] = []
    counts: list[int | None] = []
    prompt: int | None = None
    completion: int | None = None
    done = False
    error: str | None = None
    loads = json.loads
    for event in stream:
        if event.data == b"[DONE]":
            done = True
            continue
        try:
            message = loads(event.data)
        except ValueError:
            raise MalformedError(f"event is not JSON: {event.data[:60]!r}") from None
        if not isinstance(message, dict):
            raise MalformedError(f"event is not an object: {event.data[:60]!r}")
        if message.get("error"):
            error = json.dumps(message["error"])[:300]
            continue
        usage = message.get("usage")
        choices = message.get("choices")
        rose: int | None = None
        if usage:
            total = usage.get("completion_tokens")
            prompt = usage.get("prompt_tokens", prompt)
            if total is not None:
                rose = total - (completion or 0)
                completion = total
        if not choices:
            continue
        if rose is None:
            if _has_text(choices[0]):
                reads.append(event.read)
                counts.append(None)
        elif rose > 0:
            reads.append(event.read)
            counts.append(rose)
    return Tokens(
        reads=reads, counts=counts, prompt=prompt, completion=completion, done=done, error=error
    )


def _has_text(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    if delta is None:
        return bool(choice.get("text"))
    return bool(
        delta.get("content")
        or delta.get("reasoning_content")
        or delta.get("reasoning")
        or delta.get("tool_calls")
    )
