"""Many answers read at once say what each says when it is read alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from event_support import MESSAGES, chat, completion, stream
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.traffic.answers import ParsedShot, parse_shot, parse_shots
from bench.traffic.client import Shot
from bench.web import alike, together, tokens
from bench.web.sse import read_body
from bench.web.together import batches, read_together
from bench.web.tokens import tokens_of

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"transfer-encoding: chunked\r\nx-request-id: %d\r\n\r\n"
)


@pytest.fixture(autouse=True, scope="module")
def few_are_enough() -> Iterator[None]:
    """Answers as short as these are read all at once, too."""
    before, alike._ENOUGH = alike._ENOUGH, 2
    yield
    alike._ENOUGH = before


def answer(body: bytes, *, number: int = 0, merged: frozenset[int] = frozenset()) -> bytes:
    """A whole response: an event in each chunk, but those whose numbers are `merged` stand in one
    chunk with the next."""
    parts = [event + b"\n\n" for event in body.split(b"\n\n")[:-1]]
    contents, kept = [], b""
    for i, part in enumerate(parts):
        kept += part
        if i not in merged:
            contents.append(kept)
            kept = b""
    contents += [kept] if kept else []
    framed = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in contents)
    return HEAD % number + framed + b"0\r\n\r\n"


def ordinary(number: int, tokens: int, prompt: int = 7) -> bytes:
    """An answer as vLLM gives it: an id and a prompt length of its own, then `tokens` events."""
    messages = [completion(f" {i}", i) | {"id": f"cmpl-{number}"} for i in range(1, tokens + 1)]
    for i, message in enumerate(messages, 1):
        message["usage"] = {
            "prompt_tokens": prompt,
            "total_tokens": prompt + i,
            "completion_tokens": i,
        }
    messages[-1]["choices"][0]["finish_reason"] = "length"
    last = messages[-1] | {"choices": []}
    return answer(stream(*messages, last), number=number, merged=frozenset({tokens}))


def shot(data: bytes, every: int = 50) -> Shot:
    """A request whose answer came in reads of so many bytes."""
    reads = [data[i : i + every] for i in range(0, len(data), every)]
    return Shot(index=0, session=0, body=b"", gap_ns=0, arrival_ns=0, reads=reads)


def told(parsed: ParsedShot) -> dict[str, Any]:
    """All that was found out, comparable."""
    arrays = {
        "chunk_reads": parsed.chunk_reads.tolist(),
        "chunk_tokens": parsed.chunk_tokens.tolist(),
    }
    bare = replace(
        parsed, chunk_reads=np.empty(0, dtype=np.int64), chunk_tokens=np.empty(0, dtype=np.int64)
    )
    return vars(bare) | arrays


def assert_same(answers: list[bytes]) -> None:
    """Read together and alone, they say the same, down to the read that brought each token."""
    shots = [shot(data) for data in answers]
    together_ = parse_shots(shots, [0] * len(shots))
    alone = [parse_shot(s, data) for s, data in zip(shots, answers, strict=True)]
    assert list(map(told, together_)) == list(map(told, alone))


def test_ordinary_answers_are_all_of_the_usual_shape() -> None:
    """Ids and prompts of other lengths, counts of one to three digits."""
    answers = [ordinary(n, tokens, n * 7 + 1) for n, tokens in ((1, 5), (12, 120), (130, 11))]
    found = read_together(answers)
    tokens = [one.tokens if one is not None else None for one in found]
    assert [t and t.completion for t in tokens] == [5, 120, 11]
    assert [t and t.prompt for t in tokens] == [8, 85, 911]
    assert [t and t.finish for t in tokens] == ["length"] * 3
    assert all(t is not None and t.counts is not None and (t.counts == 1).all() for t in tokens)
    assert_same(answers)


@given(st.lists(st.tuples(MESSAGES, st.booleans(), st.frozensets(st.integers(0, 8))), max_size=4))
def test_any_messages_in_any_chunks(
    several: list[tuple[list[Any], bool, frozenset[int]]],
) -> None:
    bodies = [(stream(*messages, done=done), merged) for messages, done, merged in several]
    assert_same([answer(b, number=i, merged=m) for i, (b, m) in enumerate(bodies)])


@given(
    st.integers(0, 100_000),
    st.sampled_from(b'"\\0-1{}: ,\x00\x01\x1f\x7fn\n\r\xc3\xef'),
    st.booleans(),
)
@settings(max_examples=400)
def test_a_wrong_byte_in_one_answer_changes_what_that_one_says_alone(
    at: int, byte: int, put_in: bool
) -> None:
    good = ordinary(3, 9)
    at %= len(good)
    bad = good[:at] + bytes([byte]) + good[at + (not put_in) :]
    assert_same([ordinary(1, 12), bad, ordinary(2, 4)])


@given(st.integers(0, 100_000))
def test_a_cut_answer_among_others_is_cut(at: int) -> None:
    good = ordinary(3, 9)
    assert_same([ordinary(1, 12), good[: at % len(good)], ordinary(2, 4)])


@pytest.mark.parametrize(
    "odd",
    [
        HEAD % 1 + b"0\r\n\r\n",
        (HEAD % 1).replace(b"200 OK", b"503 No") + b"2\r\nno\r\n0\r\n\r\n",
        answer(stream(*[chat({"reasoning": "x"})] * 3, chat({"content": "y"}))),
        answer(b"\xef\xbb\xbf" + stream(*[completion("x", i) for i in range(1, 5)])),
        answer(stream(completion("x", 1), completion("y", 2, finish_reason="abort"))),
        answer(stream({"error": {"message": "boom"}})),
        answer(b"event: ping\ndata: x\n\n" + stream(*[completion("x", i) for i in range(1, 5)])),
        (HEAD % 1).replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n") + b"0\r\n\r\n",
        (HEAD % 1).replace(b"\r\n\r\n", b"\r\nx-cache: HIT\r\n\r\n")
        + ordinary(1, 4).partition(b"\r\n\r\n")[2],
        b"",
        b"SSH-2.0\r\n\r\n0\r\n\r\n",
    ],
)
def test_odd_answers_among_ordinary_ones(odd: bytes) -> None:
    for answers in ([odd], [odd, ordinary(1, 9)], [ordinary(1, 9), odd, ordinary(2, 12), odd]):
        assert_same(answers)


def test_an_event_split_over_two_chunks_is_read_alone() -> None:
    body = stream(completion("x", 1))
    parts = (body[:40], body[40:])
    data = HEAD % 1 + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"
    assert read_together([data]) == [None]
    assert_same([data, ordinary(1, 5)])


@given(
    st.integers(1, 12),
    st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.integers(-1, 13)), max_size=2),
)
def test_the_ordinary_answer_is_what_the_general_rules_say(
    count: int, odd: list[tuple[int, bool, int]]
) -> None:
    """Texts that are counted one by one, with up to two events between them that are not."""
    messages = [completion(f" {i}", i) for i in range(1, count + 1)]
    for at, text, total in odd:
        messages.insert(min(at, count), completion(" x" * text, None if total < 0 else total))
    columns = read_body(stream(*messages))
    found = tokens_of(columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "_counts_its_texts", lambda *_: False)
        general = tokens_of(columns)
    for name, value in vars(general).items():
        assert np.array_equal(getattr(found, name), value), name


@given(st.lists(st.integers(0, 3 * together.BATCH_BYTES), max_size=20))
def test_batches_hold_each_answer_once_and_in_order(sizes: list[int]) -> None:
    found = [i for a, b in batches(sizes) for i in range(a, b)]
    assert found == list(range(len(sizes)))


def test_a_head_alone_is_left_to_the_readers_of_one() -> None:
    """Its last line may look like the end of a body: nothing is to be looked for in nothing."""
    assert read_together([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n0\r\n\r\n"]) == [None]
