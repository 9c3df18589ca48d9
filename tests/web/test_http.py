"""HTTP/1.1 found in raw bytes: however they are split, and strict about what is not HTTP."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.web.http import MAX_HEAD_BYTES, MalformedError, dechunk, frame, raw_offsets

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


def chunked(parts: list[bytes], trailer: bytes = b"") -> bytes:
    """A chunked response whose chunks are `parts`."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n" + trailer + b"\r\n"


@given(BODIES, st.data())
def test_a_chunked_body_is_found_whole_and_no_sooner(
    parts: list[bytes], data: st.DataObject
) -> None:
    whole = chunked(parts)
    found = frame(whole)
    assert found is not None
    assert found.complete
    assert found.end == len(whole)
    assert found.body(whole) == b"".join(parts)
    cut = data.draw(st.integers(0, len(whole) - 1))
    early = frame(whole[:cut])
    assert early is None or not early.complete
    if early is not None:
        assert b"".join(parts).startswith(early.body(whole[:cut]))


@given(BODIES)
def test_content_length_and_close_carry_the_same_body(parts: list[bytes]) -> None:
    body = b"".join(parts)
    sized = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    found = frame(sized + b"HTTP/1.1 200 OK\r\n")  # what follows on a kept connection is not ours
    assert found is not None
    assert found.complete
    assert found.end == len(sized)
    assert found.body(sized) == body
    to_close = HEAD + b"\r\n" + body
    open_ended = frame(to_close)
    assert open_ended is not None
    assert not open_ended.complete
    closed = frame(to_close, closed=True)
    assert closed is not None
    assert closed.complete
    assert closed.body(to_close) == body


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=8), st.data())
def test_every_body_byte_is_dated_by_the_read_that_brought_it(
    parts: list[bytes], data: st.DataObject
) -> None:
    whole = chunked(parts)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=6)))
    edges = [0, *cuts, len(whole)]
    sizes = [b - a for a, b in pairwise(edges)]
    found = frame(whole)
    assert found is not None
    positions = [p for a, b in found.spans for p in range(a, b)]
    expected = [sum(edge <= p for edge in edges[1:]) for p in positions]
    offsets = np.arange(len(positions), dtype=np.int64)
    raw = raw_offsets(offsets, found.spans)
    assert raw.tolist() == positions
    assert np.searchsorted(np.cumsum(sizes), raw, "right").tolist() == expected


@pytest.mark.parametrize(
    "bad",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        HEAD + b"Content-Length: 12abc\r\n\r\nhello",
        HEAD + b"Content-Length: -1\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_HEAD_BYTES,
    ],
)
def test_what_is_not_http_is_refused(bad: bytes) -> None:
    with pytest.raises(MalformedError):
        frame(bad)


@pytest.mark.parametrize("size", [b"xyz", b"-5", b"0x10", b"1_0", b"", b"5 5"])
def test_a_bad_chunk_size_is_refused(size: bytes) -> None:
    with pytest.raises(MalformedError):
        dechunk(size + b"\r\nhello\r\n0\r\n\r\n", 0)


def test_chunk_extensions_trailers_and_interim_answers_are_taken() -> None:
    whole = b"HTTP/1.1 100 Continue\r\n\r\n" + chunked([b"ab"], trailer=b"X-Sum: 1\r\n")
    whole = whole.replace(b"2\r\nab", b"2;name=value\r\nab")
    found = frame(whole)
    assert found is not None
    assert found.complete
    assert found.head.status == 200
    assert found.body(whole) == b"ab"
    assert found.end == len(whole)


def test_a_chunk_that_is_longer_than_it_says_is_refused() -> None:
    with pytest.raises(MalformedError, match="does not end there"):
        dechunk(b"3\r\nabcd\r\n0\r\n\r\n", 0)


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", True),
    ],
)
def test_keep_alive_follows_version_and_header(head: bytes, kept: bool) -> None:
    found = frame(head)
    assert found is not None
    assert found.head.keep_alive is kept


def test_an_answer_without_a_body_ends_with_its_head() -> None:
    whole = b"HTTP/1.1 204 No Content\r\n\r\n"
    found = frame(whole)
    assert found is not None
    assert found.complete
    assert found.end == len(whole)


@pytest.mark.parametrize("sizes", [(3, 3, 3), (3, 5, 3), (16, 16, 1)])
def test_a_size_that_came_before_is_read_the_same(sizes: tuple[int, ...]) -> None:
    """Offsets by hand: a size line of one digit and its line end before each content, one after."""
    body = b"".join(b"%x\r\n%s\r\n" % (n, b"x" * n) for n in sizes) + b"0\r\n\r\n"
    spans, end = dechunk(body, 0)
    assert [b - a for a, b in spans] == list(sizes)
    assert {body[a:b] for a, b in spans} == {b"x" * n for n in sizes}
    assert end == len(body)


@pytest.mark.parametrize("tail", [b"3\r\nabc\r\n", b"0\r\n\r\n", b""])
def test_a_chunk_longer_than_its_size_is_refused_also_after_equal_ones(tail: bytes) -> None:
    with pytest.raises(MalformedError, match="does not end there"):
        dechunk(b"3\r\nabc\r\n3\r\nabc\r\n3\r\nabcd\r\n" + tail, 0)


_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
_LONG = b"".join(b"%x\r\n%s\r\n" % (n, b"x" * n) for n in (700, 700, 3000, 4000)) + b"0\r\n\r\n"


@given(st.integers(0, len(_LONG)), st.sampled_from(b"\r\n0123aAxg;"), st.booleans(), st.booleans())
@example(0, ord("0"), True, False)
@example(3, ord("\r"), True, False)
def test_a_long_body_read_at_once_is_read_as_chunk_by_chunk(
    at: int, byte: int, put_in: bool, cut: bool
) -> None:
    """With a byte changed, added or the end cut off: the same spans, or refused by both."""
    body = _LONG[:at] if cut else _LONG[:at] + bytes([byte]) + _LONG[at + (not put_in) :]
    try:
        spans, end = dechunk(_HEAD + body, len(_HEAD))
    except MalformedError:
        with pytest.raises(MalformedError):
            frame(_HEAD + body)
        return
    found = frame(_HEAD + body)
    assert found is not None
    assert found.spans.tolist() == [list(span) for span in spans]
    assert (found.end, found.complete) == (end, end is not None)
