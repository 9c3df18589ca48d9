"""Requests from a workload: seeded, distinct in every repeat, the same for every variant.

The seed of a request is (seed, load point, repeat), never the model's quantisation or the engine,
so that two variants are sent exactly the same prompts and can be compared in pairs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bench.traffic.prefixes import Prefixes
from bench.traffic.trace_file import TraceRow, assumed_tokens, reading, trace_rows
from bench.traffic.workload_file import Conversation, Exchange, Message, conversations, is_trace
from bench.values.prompt_text import ONE_EACH, TextLength, text_of
from bench.values.record import PlannedRequest
from bench.values.spec import LengthSpec, WorkloadSpec

DEFAULT_VOCAB = 1000
"""Token ids below this exist in every vocabulary met so far; used when the size is unknown."""

_NS = 1_000_000_000


def lengths(spec: int | LengthSpec, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw `count` token counts, clipped to [min, max]."""
    if isinstance(spec, int):
        return np.full(count, spec, dtype=np.int64)
    # LengthSpec sees to it that those which the distribution needs are there.
    given = {k: getattr(spec, k) for k in ("mean", "std", "median", "sigma", "max")}
    if spec.dist == "fixed":
        drawn = np.full(count, given["mean"])
    elif spec.dist == "normal":
        drawn = rng.normal(given["mean"], given["std"], count)
    elif spec.dist == "lognormal":
        drawn = given["median"] * np.exp(rng.normal(0.0, given["sigma"], count))
    else:
        drawn = rng.uniform(spec.min, given["max"] + 1, count) // 1
    clipped: npt.NDArray[np.int64] = np.clip(np.rint(drawn), spec.min, spec.max).astype(np.int64)
    return clipped


def generate(
    spec: WorkloadSpec,
    count: int,
    *,
    seed: tuple[int, ...],
    vocab_size: int | None,
    as_text: bool = False,
    chat: bool = False,
    text_length: TextLength = ONE_EACH,
) -> Iterator[PlannedRequest]:
    """Yield `count` requests of a workload (arrival times are added by the schedule).

    `text_length` makes a prompt of text as long in the server's tokens as one of ids would be.

    With `turns` > 1, `count` counts turns: a turn's prompt is the whole conversation so far, whose
    assistant part is drawn in advance, so every byte is known before the run.
    """
    if spec.file is not None:
        yield from itertools.islice(
            _from_file(spec, seed, vocab_size, as_text=as_text, chat=chat, text_length=text_length),
            count,
        )
        return
    rng = np.random.default_rng(seed)
    first, last = _token_range(vocab_size)
    prefixes = [
        rng.integers(first, last, spec.shared_prefix_tokens).tolist()
        for _ in range(spec.shared_prefix_count if spec.shared_prefix_tokens else 0)
    ]
    inputs = lengths(spec.input_tokens, count, rng)
    outputs = lengths(spec.output_tokens, count, rng)
    history: list[int] = []
    for index in range(count):
        turn = index % spec.turns
        fresh = int(inputs[index])
        if turn == 0:
            history = list(prefixes[(index // spec.turns) % len(prefixes)]) if prefixes else []
            fresh = max(1, fresh - len(history))
        tokens = history + rng.integers(first, last, fresh).tolist()
        yield PlannedRequest(
            index=index,
            prompt=_shape(tokens, text_length, as_text=as_text, chat=chat),
            input_tokens=len(tokens),
            output_tokens=int(outputs[index]),
            session=index // spec.turns if spec.turns > 1 else -1,
            gap_ns=int(spec.turn_gap_s * _NS) if turn else 0,
        )
        if spec.turns > 1:
            history = tokens + rng.integers(first, last, int(outputs[index])).tolist()


def _shape(
    tokens: list[int], length: TextLength, *, as_text: bool, chat: bool
) -> list[int] | str | list[dict[str, str]]:
    """The prompt as the server takes it: ids, or as much text as it counts for that many."""
    if not as_text and not chat:
        return tokens
    text = text_of(tokens, length)
    return [{"role": "user", "content": text}] if chat else text


def _from_file(
    spec: WorkloadSpec,
    seed: tuple[int, ...],
    vocab_size: int | None,
    *,
    as_text: bool,
    chat: bool,
    text_length: TextLength,
) -> Iterator[PlannedRequest]:
    """Requests from the workload's file, over and over again; every pass has prompts of its own."""
    assert spec.file is not None
    rng = np.random.default_rng(seed)
    index = 0
    traced = is_trace(spec)
    for number in itertools.count():
        if traced:
            prompts = TracePrompts(
                spec,
                (*seed, number),
                vocab_size,
                as_text=as_text,
                chat=chat,
                text_length=text_length,
            )
            for row in trace_rows(spec):
                yield prompts.request(row, index)
                index += 1
            continue
        # The same conversations in every repeat, told apart by a few characters at the start of
        # the first question: the prefix cache must not know them from the repeat before.
        nonce = ".".join(map(str, (*seed, number)))
        for conversation in conversations(spec):
            for request in _session(conversation, spec, index, nonce, rng, chat=chat):
                yield request
                index += 1


class TracePrompts:
    """The requests of a trace: random tokens of the recorded lengths, or its own prompts.

    Prompts whose first hash ids are equal begin with equal tokens, and with no others.
    """

    def __init__(
        self,
        spec: WorkloadSpec,
        seed: tuple[int, ...],
        vocab_size: int | None,
        *,
        as_text: bool,
        chat: bool,
        text_length: TextLength = ONE_EACH,
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._range = _token_range(vocab_size)
        self._prefixes = Prefixes(seed, self._range, reading(spec).block_tokens)
        self._nonce = ".".join(map(str, seed))
        self._as_text, self._chat, self._length = as_text, chat, text_length

    def request(self, row: TraceRow, index: int) -> PlannedRequest:
        """The request of one row, `index` in its load point."""
        if row.text is not None:
            return self._of_text(row, row.text, index)
        tokens, shared = self._prefixes.begin(row)
        fresh = self._rng.integers(*self._range, row.input_tokens - len(tokens)).tolist()
        return PlannedRequest(
            index=index,
            prompt=self._shaped(tokens + fresh),
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            arrival_ns=round(row.arrival_s * _NS),
            shared_tokens=shared,
        )

    def _shaped(self, tokens: list[int]) -> list[int] | str | list[dict[str, str]]:
        return _shape(tokens, self._length, as_text=self._as_text, chat=self._chat)

    def _of_text(self, row: TraceRow, text: str, index: int) -> PlannedRequest:
        """A recorded prompt, marked so that no repeat knows it from the one before."""
        said = f"({self._nonce}) {text}"
        return PlannedRequest(
            index=index,
            prompt=[{"role": "user", "content": said}] if self._chat else said,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            arrival_ns=round(row.arrival_s * _NS),
        )


def _session(
    conversation: Conversation,
    spec: WorkloadSpec,
    index: int,
    nonce: str,
    rng: np.random.Generator,
    *,
    chat: bool,
) -> Iterator[PlannedRequest]:
    """The first `turns` exchanges of a conversation, each with the recorded history before it.

    Where no reply was recorded (MT-bench), drawn words of its length stand for it: the context
    grows as it would, and is the same for every variant.
    """
    history: list[Message] = []
    exchanges = conversation.exchanges[: spec.turns]
    for turn, exchange in enumerate(exchanges):
        history += exchange.messages if turn else _marked(exchange.messages, nonce)
        text = "\n\n".join(m["content"] for m in history)
        output_tokens = _reply_tokens(exchange, spec, rng)
        gap_s = spec.turn_gap_s if exchange.gap_s is None else exchange.gap_s
        yield PlannedRequest(
            index=index + turn,
            prompt=[dict(m) for m in history] if chat else text,
            input_tokens=assumed_tokens(text),
            output_tokens=output_tokens,
            session=index if len(exchanges) > 1 else -1,
            gap_ns=int(gap_s * _NS) if turn else 0,
        )
        reply = exchange.reply
        if reply is None and turn + 1 < len(exchanges):
            reply = text_of(rng.integers(0, 10**6, output_tokens).tolist())
        history.append({"role": "assistant", "content": reply or ""})


def _marked(messages: tuple[Message, ...], nonce: str) -> list[Message]:
    """`nonce` before the first user's text; what stands before it, a system prompt, stays shared"""
    first = next(i for i, m in enumerate(messages) if m["role"] == "user")
    question = {"role": "user", "content": f"({nonce}) {messages[first]['content']}"}
    return [*messages[:first], question, *messages[first + 1 :]]


def _reply_tokens(exchange: Exchange, spec: WorkloadSpec, rng: np.random.Generator) -> int:
    if exchange.output_tokens is not None:
        return exchange.output_tokens
    if exchange.reply:
        return assumed_tokens(exchange.reply)
    return int(lengths(spec.output_tokens, 1, rng)[0])


def _token_range(vocab_size: int | None) -> tuple[int, int]:
    """Ordinary tokens: special ones stand at the ends of most vocabularies."""
    vocab = vocab_size or DEFAULT_VOCAB
    return max(3, vocab // 50), max(8, vocab - vocab // 20)
