"""Dialects of the stream that were once read wrongly: each with the tokens that it really has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.web.sse import read_body
from bench.web.tokens import tokens_of as tokens


def frames(*messages: Any, done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(m)}\n\n" for m in messages]
    return "".join([*lines, *(["data: [DONE]\n\n"] if done else [])]).encode()


def text(usage: int | None = None, **choice: Any) -> dict[str, Any]:
    message: dict[str, Any] = {"choices": [{"index": 0, "text": "a", **choice}]}
    if usage is not None:
        message["usage"] = {"prompt_tokens": 3, "completion_tokens": usage}
    return message


def test_usage_of_each_chunk_alone_is_added_up() -> None:
    read = tokens(read_body(frames(*[text(2)] * 5)))
    assert read.counts is not None
    assert (read.counts.tolist(), read.completion) == ([2] * 5, 10)


def test_the_same_total_in_every_chunk_is_no_running_total() -> None:
    read = tokens(read_body(frames(*[text(50)] * 10)))
    assert (read.counts, len(read.last_byte), read.completion) == (None, 10, 50)


@pytest.mark.parametrize(
    "frame",
    [
        {"detail": "engine died"},
        {"message": "overloaded", "code": 503},
        {"choices": [{"index": 0, "text": "", "finish_reason": "error"}]},
        {"choices": [{"index": 0, "text": "", "error": {"message": "x"}}]},
    ],
)
def test_errors_without_the_key_error(frame: dict[str, Any]) -> None:
    assert tokens(read_body(frames(text(), frame))).error


def test_an_event_of_type_error_and_a_null_error() -> None:
    assert tokens(read_body(b'event: error\ndata: {"x": 1}\n\n')).error
    assert tokens(read_body(frames({**text(), "error": None}))).error is None


def test_thought_is_told_from_the_answer() -> None:
    said = [{"thinking": "a"}, {"thinking": "b"}, {"content": "c"}]
    body = frames(*[{"choices": [{"index": 0, "delta": d}]} for d in said])
    assert (tokens(read_body(body)).first_answer, len(tokens(read_body(body)).last_byte)) == (2, 3)


def test_reasoning_that_is_counted_and_not_streamed_is_hidden() -> None:
    usage = {"completion_tokens": 6, "completion_tokens_details": {"reasoning_tokens": 4}}
    read = tokens(read_body(frames(text(), text(), {"choices": [], "usage": usage})))
    assert read.counts is not None
    assert (read.counts.tolist(), read.hidden) == ([5, 1], 4)


def test_a_byte_order_mark_and_a_last_event_without_its_blank_line() -> None:
    body = b"\xef\xbb\xbf" + frames(text(), done=False) + b"data: [DONE]"
    read = tokens(read_body(body, ended=True))
    assert (len(read.last_byte), read.done) == (1, True)


@pytest.mark.parametrize("data", ["", ": OPENROUTER PROCESSING", "ping", '"ping"', "keep-alive"])
def test_what_keeps_a_connection_open_is_no_event(data: str) -> None:
    body = frames(text(), done=False) + f"data: {data}\n\n".encode() + frames(text())
    assert len(tokens(read_body(body)).last_byte) == 2


@pytest.mark.parametrize("given", ["7", 7.0, 7])
def test_a_count_may_be_written_as_text_or_with_a_point(given: Any) -> None:
    message = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": given}}
    assert tokens(read_body(frames(message))).completion == 7


@pytest.mark.parametrize(
    ("reason", "means"),
    [
        *(("eos_token", "stop"), ("end_turn", "stop"), ("STOP", "stop")),
        *(("MAX_TOKENS", "length"), ("tool_calls", "tool_calls")),
    ],
)
def test_other_words_for_why_an_answer_ended(reason: str, means: str) -> None:
    assert tokens(read_body(frames(text(finish_reason=reason)))).finish == means
