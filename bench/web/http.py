"""HTTP/1.1 responses found in raw bytes: head, body framing, and whether they are whole.

Pure; strict where leniency could hang or mislead a measurement. `bench.traffic.sse` reads the body.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

HEAD_END = b"\r\n\r\n"
CHUNKED_END = b"\r\n0\r\n\r\n"

MAX_HEAD_BYTES = 1 << 16
"""More than this without the end of a head is not an HTTP response."""
_MAX_SIZE_LINE = 1 << 10
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?\Z", re.DOTALL)
_LENGTH = re.compile(rb"[0-9]{1,15}\Z")
_SIZE_LINE = re.compile(rb"([0-9a-fA-F]{1,12})[ \t]*(?:;.*)?\Z", re.DOTALL)


class MalformedError(ValueError):
    """The bytes are not an HTTP response or its body is not what its headers promise."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """Status line and headers; `body_at` is the offset of the first body byte.

    `length` is the promised length of the body in bytes, None when it ends with the connection.
    """

    status: int
    headers: dict[bytes, bytes]
    body_at: int
    chunked: bool
    length: int | None
    keep_alive: bool


def parse_head(data: bytes) -> Head | None:
    """The head of the final response in `data`; None while incomplete; interim 1xx are skipped."""
    at = 0
    while True:
        end = data.find(HEAD_END, at, at + MAX_HEAD_BYTES)
        if end < 0:
            start = data[at : at + 5]
            if not b"HTTP/".startswith(start):
                raise MalformedError(f"not an HTTP response: {data[at : at + 40]!r}")
            if len(data) - at >= MAX_HEAD_BYTES:
                raise MalformedError(f"no end of the headers in {MAX_HEAD_BYTES} bytes")
            return None
        lines = data[at:end].split(b"\r\n")
        line = _STATUS_LINE.match(lines[0])
        if line is None:
            raise MalformedError(f"not an HTTP response: {lines[0][:40]!r}")
        at = end + len(HEAD_END)
        status = int(line[2])
        if status == 101:
            raise MalformedError("the server switched protocols")
        if status >= 200:
            return _head(status, int(line[1]), lines[1:], at)


def _head(status: int, minor: int, lines: list[bytes], body_at: int) -> Head:
    headers = {}
    for line in lines:
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    bodiless = status in (204, 304)
    chunked = not bodiless and b"chunked" in headers.get(b"transfer-encoding", b"").lower()
    length: int | None = 0 if bodiless else None
    promised = headers.get(b"content-length")
    if promised is not None and not chunked and not bodiless:
        if not _LENGTH.match(promised):
            raise MalformedError(f"content-length {promised[:40]!r}")
        length = int(promised)
    connection = headers.get(b"connection", b"").lower()
    keep_alive = b"close" not in connection if minor else b"keep-alive" in connection
    return Head(
        status=status,
        headers=headers,
        body_at=body_at,
        chunked=chunked,
        length=length,
        keep_alive=keep_alive,
    )


def dechunk(data: bytes, at: int) -> tuple[list[tuple[int, int]], int | None]:
    """Walk a chunked body from offset `at`.

    Returns the (start, end) offsets of the chunks' contents that are there, and the offset after
    the terminating chunk and its trailers, None while it has not arrived.
    """
    spans: list[tuple[int, int]] = []
    find, add = data.find, spans.append
    total = len(data)
    known: dict[bytes, int] = {}  # size lines seen, each with the line end before it
    end = at
    while True:
        eol = find(b"\r\n", at, at + _MAX_SIZE_LINE)
        line = data[end:eol] if eol >= 0 else b""
        size = known.get(line, 0)
        if not size:
            if end < at and not data.startswith(b"\r\n", end):
                raise MalformedError(f"a chunk of {end - spans[-1][0]} bytes does not end there")
            if eol < 0:
                if total - at >= _MAX_SIZE_LINE:
                    raise MalformedError(f"chunk size {data[at : at + 20]!r}")
                return spans, None
            size = _size(data[at:eol])
            if size == 0:
                return spans, _trailers_end(data, eol + 2)
            if end < at:
                known[line] = size
        start = eol + 2
        end = start + size
        if end + 2 > total:
            if start < total:
                add((start, min(end, total)))
            return spans, None
        add((start, end))
        at = end + 2


def _size(line: bytes) -> int:
    match = _SIZE_LINE.match(line)
    if match is None:
        raise MalformedError(f"chunk size {line[:20]!r}")
    return int(match[1], 16)


def _trailers_end(data: bytes, at: int) -> int | None:
    if data.startswith(b"\r\n", at):
        return at + 2
    end = data.find(HEAD_END, at)
    return None if end < 0 else end + len(HEAD_END)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One response in raw bytes: its head, where its body lies, and whether it is whole.

    `spans` are the (start, end) offsets of the body's parts, shape (parts, 2). `end` is the offset
    after the response; None when it ends with the connection.
    """

    head: Head
    spans: Int64
    complete: bool
    end: int | None

    def body(self, data: bytes) -> bytes:
        """The body's bytes that are there, freed of their framing."""
        return b"".join([data[a:b] for a, b in self.spans.tolist()])


def frame(data: bytes, *, closed: bool = False) -> Frame | None:
    """Find the response in `data`; None while its head is incomplete.

    `closed` says that the connection has ended, which completes a body without a length.
    """
    head = parse_head(data)
    if head is None:
        return None
    if head.chunked:
        spans, end = dechunk(data, head.body_at)
        return Frame(head=head, spans=_pairs(spans), complete=end is not None, end=end)
    if head.length is None:
        spans = [(head.body_at, len(data))]
        return Frame(head=head, spans=_pairs(spans), complete=closed, end=None)
    end = head.body_at + head.length
    spans = [(head.body_at, min(end, len(data)))]
    return Frame(head=head, spans=_pairs(spans), complete=len(data) >= end, end=end)


def _pairs(spans: list[tuple[int, int]]) -> Int64:
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


def raw_offsets(offsets: Int64, bounds: Int64) -> Int64:
    """Where in the whole response each body byte at `offsets` lies. Shape of `offsets`.

    `bounds` are the `spans` of the frame.
    """
    sizes = bounds[:, 1] - bounds[:, 0]
    span_starts = np.cumsum(sizes) - sizes
    # Of empty spans at the same place the last one, which holds the byte, is found.
    span = np.searchsorted(span_starts, offsets, side="right") - 1
    found: Int64 = bounds[span, 0] + offsets - span_starts[span]
    return found
