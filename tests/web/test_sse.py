"""Event streams: two readers that agree, and what counts as a token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from event_support import MESSAGES, chat, completion, stream
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.web import alike
from bench.web.http import MalformedError
from bench.web.sse import _fast, _slow, events, read_body
from bench.web.tokens import tokens_of as tokens


def same(a: Any, b: Any) -> bool:
    """Whether two readers made the same columns."""
    arrays = ("last_byte", "total", "choice", "text", "answer", "bare")
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in arrays) and (
        (a.prompt, a.done, a.error, a.finish) == (b.prompt, b.done, b.error, b.finish)
    )


@pytest.fixture(autouse=True, scope="module")
def few_are_enough() -> Iterator[None]:
    """Bodies as short as these are read all at once, too."""
    before, alike._ENOUGH = alike._ENOUGH, 2
    yield
    alike._ENOUGH = before


@given(MESSAGES, st.booleans())
@example([completion('a"b\\c'), completion("☃\u2028 ")], True)
@example([completion("", 0), *[chat({"role": "assistant", "content": ""})] * 3], False)
def test_the_fast_reader_reads_what_the_slow_one_reads(messages: list[Any], done: bool) -> None:
    body = stream(*messages, done=done)
    fast = _fast(body)
    assert fast is not None
    assert same(fast, _slow(body))


ALIKE = [completion(f" {i}", i) for i in range(1, 9)]


@pytest.mark.parametrize(
    "odd",
    [
        completion("\x01"),
        completion('", "text": "'),
        completion(" x", 4) | {"id": "cmpl-2"},
        completion(" x", 4, finish_reason="stop"),
        completion("", 4),
        completion(" x") | {"usage": None},
        completion(" x", 4) | {"usage": {"prompt_tokens": 9, "completion_tokens": 4}},
        chat({"content": "x"}),
    ],
)
def test_one_event_unlike_the_others_is_read_as_it_stands(odd: Any) -> None:
    for at in range(len(ALIKE) + 1):
        body = stream(*ALIKE[:at], odd, *ALIKE[at:])
        fast = _fast(body)
        assert fast is not None
        assert same(fast, _slow(body))


@given(
    st.integers(0, 10_000), st.sampled_from(b'"\\0-1{}: ,\x00\x01\x1f\x7fn\n\xc3'), st.booleans()
)
@settings(max_examples=300)
def test_a_wrong_byte_is_seen_wherever_it_stands(at: int, byte: int, put_in: bool) -> None:
    """Both readers say the same of a body with one byte changed or added, or refuse it."""
    body = stream(*ALIKE)
    at %= len(body)
    changed = body[:at] + bytes([byte]) + body[at + (not put_in) :]
    try:
        slow = _slow(changed)
    except MalformedError:
        with pytest.raises(MalformedError):
            read_body(changed)
    else:
        assert same(read_body(changed), slow)


@pytest.mark.parametrize("total", ["01", "-1", "1.0", "+1", "1e1", "9" * 16, "", " 1"])
def test_numbers_are_read_as_json_reads_them(total: str) -> None:
    """No sign, no zero ahead, no more than 15 digits is taken for a count by the fast way."""
    body = stream(*ALIKE).replace(
        b'"completion_tokens":5', b'"completion_tokens":' + total.encode()
    )
    try:
        slow = _slow(body)
    except MalformedError:
        with pytest.raises(MalformedError):
            read_body(body)
    else:
        assert same(read_body(body), slow)


def test_thought_that_all_events_share_is_no_answer() -> None:
    messages = [chat({"reasoning_content": f"{i}"}) for i in range(9)] + [chat({"content": "x"})]
    read = read_body(stream(*messages))
    assert read.text.tolist() == [1] * 10 + [0]
    assert read.answer.tolist() == [0] * 9 + [1, 0]


@given(MESSAGES, st.sampled_from(["\n\n", "\r\n\r\n", "\r\r", "\n\n\n"]))
def test_line_ends_do_not_matter(messages: list[Any], end: str) -> None:
    read = read_body(stream(*messages, end=end))
    plain = read_body(stream(*messages))
    assert read.total.tolist() == plain.total.tolist()
    assert read.text.tolist() == plain.text.tolist()
    assert (read.prompt, read.done) == (plain.prompt, plain.done)


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused_never_more(body: bytes) -> None:
    for raw in (body, b"data: " + body + b"\n\n"):
        try:
            read_body(raw)
        except MalformedError:
            continue


@given(MESSAGES, st.data())
def test_a_cut_stream_is_the_beginning_of_the_whole(
    messages: list[Any], data: st.DataObject
) -> None:
    body = stream(*messages)
    cut = data.draw(st.integers(0, len(body)))
    part, whole = read_body(body[:cut]), read_body(body)
    n = len(part.last_byte)
    assert part.last_byte.tolist() == whole.last_byte[:n].tolist()
    assert all(end < cut for end in part.last_byte)


def test_comments_other_fields_and_several_data_lines() -> None:
    body = b": ping\n\nevent: x\nid: 3\ndata: [1,\ndata: 2]\n\nretry: 10\n\n"
    assert events(body) == [(b"[1,\n2]", body.index(b"\n\nretry") + 1)]


def test_tokens_by_running_usage() -> None:
    """Usage 1, 2, 5, 5 and a last chunk without choices: chunks of 1, 1 and 3 tokens."""
    found = tokens(
        read_body(
            stream(
                completion("a", 1),
                completion("", 2),
                completion("cde", 5),
                completion("", 5),
                {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}},
            )
        )
    )
    assert found.counts is not None
    assert found.counts.tolist() == [1, 1, 3]
    assert (found.prompt, found.completion, found.done) == (7, 5, True)


def test_tokens_by_text_where_usage_comes_at_the_end_only() -> None:
    """The final usage must not turn the last chunk into all the tokens."""
    found = tokens(
        read_body(
            stream(
                chat({"role": "assistant", "content": ""}),
                chat({"content": "a"}),
                chat({"reasoning_content": "b"}),
                chat({}),
                {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 2}},
            )
        )
    )
    assert found.counts is None
    assert len(found.last_byte) == 2
    assert found.completion == 2


@pytest.mark.parametrize(
    ("texts", "usage", "bearing"),
    [
        (["", "", ""], 3, 3),  # such an answer carried "no token": its model gave what has no text
        (["a", "", ""], 3, 3),
        (["", "a", ""], 3, 3),
        (["", "", ""], 2, 2),  # the last one says why it ended, and no more
        (["a", "", ""], 4, 1),  # bundled: which chunk has two is not known
        (["a", "b", ""], 3, 2),  # no chunk shows that it streams tokens without text
    ],
)
def test_each_chunk_is_a_token_where_the_usage_says_so_with_text_or_without(
    texts: list[str], usage: int, bearing: int
) -> None:
    chunks = [completion(text) for text in texts[:-1]]
    last = completion(texts[-1], finish_reason="length")
    found = tokens(
        read_body(stream(*chunks, last, {"choices": [], "usage": {"completion_tokens": usage}}))
    )
    assert (len(found.last_byte), found.completion) == (bearing, usage)


def test_usage_in_the_last_text_chunk_is_no_running_usage() -> None:
    found = tokens(read_body(stream(completion("a"), completion("b"), completion("c", 3))))
    assert found.counts is None
    assert len(found.last_byte) == 3
    assert found.completion == 3


def test_a_falling_usage_is_not_believed() -> None:
    found = tokens(read_body(stream(completion("a", 4), completion("b", 2))))
    assert found.counts is None
    assert len(found.last_byte) == 2


def test_an_error_event_is_kept_as_one() -> None:
    found = tokens(read_body(stream(completion("a", 1), {"error": {"message": "out of cache"}})))
    assert found.error is not None
    assert "out of cache" in found.error


@pytest.mark.parametrize(
    "event",
    [
        "nonsense",
        "[1, 2]",
        '"text"',
        '{"choices": 3}',
        '{"choices": [1]}',
        '{"choices": [{"delta": 3}]}',
        '{"choices": [], "usage": 5}',
        '{"choices": [], "usage": {"completion_tokens": -1}}',
        '{"choices": [], "usage": {"completion_tokens": 1.5}}',
        "[" * 20000,
    ],
)
def test_what_is_no_completion_chunk_is_refused(event: str) -> None:
    with pytest.raises(MalformedError):
        read_body(f"data: {event}\n\n".encode())
