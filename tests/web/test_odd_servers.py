"""Servers of every temper, asked and loaded as a run does: the right number, or the right words.

The load is the product's own client and reader, in this process; the figures are those that a run
shows. Every mode that is not said to end otherwise has the truth's figures.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from odd_servers import (
    DONE,
    FIRST_S,
    STEP_S,
    Ask,
    Event,
    Host,
    Odd,
    due_s,
    end,
    event,
    piece,
    plain,
    serving,
    usage,
    whole,
)

from bench.derive import measure_point
from bench.engines.exchange import Target
from bench.engines.probe import probe
from bench.measure.measurement import PointMeasurement
from bench.traffic.client import Client, Shot
from bench.traffic.worker import collect, request_bytes
from bench.traffic.workers import merge
from bench.values.clock import now_ns
from bench.values.errors import BenchError
from bench.values.record import Anchor, LoadPoint, PlannedRequest, PointData, Run
from bench.values.server import Server
from bench.values.spec import RunSpec

TOKENS, SLOTS, REQUESTS = 10, 8, 24
PER_TOKEN = ("itl_p50_ms", "tpot_p50_ms")
RATE = "output_tokens_per_s"
ALL = (RATE, "ttft_p50_ms", *PER_TOKEN)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A mode, and what has to come out: `api` where it is forced, `tokens` of each answer,
    `first_ms` of its first token, `hides` those figures that must not be shown, `fails` the share
    of requests that fail, `says` the words of a finding or, where it is `refused`, of the error."""

    odd: Odd
    api: str = "auto"
    tokens: float | None = TOKENS
    first_ms: float = FIRST_S * 1e3
    answer_ms: float | None = None
    hides: tuple[str, ...] = ()
    fails: float = 0.0
    says: str = ""
    refused: bool = False


def odd(answers: Callable[[Ask], list[Event]] = whole, **more: Any) -> Odd:
    return Odd(answers=answers, **more)


def before(
    *raw: bytes, after: Callable[[Ask], list[Event]] = whole
) -> Callable[[Ask], list[Event]]:
    """An answer that begins with these bytes at once."""
    return lambda ask: [*((0.0, data) for data in raw), *after(ask)]


def thinking(key: str, thought: int) -> Callable[[Ask], list[Event]]:
    """So many pieces of thought, then the answer."""
    return lambda ask: whole(ask, lambda k: piece(ask, key=key if k < thought else "content"))


def bundles(ask: Ask, first: int = 4, counted: bool = True) -> list[Event]:
    """Several tokens in the first chunk, then one each."""
    rest = range(min(first, ask.tokens), ask.tokens)
    chunks = [(min(first, ask.tokens) - 1, "aaaa"), *((k, "a") for k in rest)]
    found = []
    for k, text in chunks:
        message = piece(ask, text)
        if counted and ask.options.get("continuous_usage_stats"):
            message["usage"] = usage(ask, k + 1)
        found.append((due_s(k), event(message)))
    return [*found, (due_s(ask.tokens - 1), end(ask))]


def ended(count: Callable[[Ask], Any], **more: Any) -> Callable[[Ask], list[Event]]:
    """The truth, with another usage at its end."""
    return lambda ask: [*plain(ask), (due_s(ask.tokens - 1), end(ask, count(ask), **more))]


def every_chunk(
    count: Callable[[Ask, int], Any], last: Callable[[Ask], int] | None = None
) -> Callable[[Ask], list[Event]]:
    """A usage in every chunk, asked for or not; `last` is that of the finish."""

    def answers(ask: Ask) -> list[Event]:
        made = [{**piece(ask), "usage": count(ask, k)} for k in range(ask.tokens)]
        closing = piece(ask, "", finish_reason="length")
        if last is not None:
            closing["usage"] = usage(ask, last(ask))
        return [*plain(ask, lambda k: made[k]), (due_s(ask.tokens - 1), event(closing) + DONE)]

    return answers


def usage_elsewhere(place: str) -> Callable[[Ask], list[Event]]:
    """The usage in the last choice, under other names, as `timings` alone, or behind [DONE]."""

    def answers(ask: Ask) -> list[Event]:
        counted = usage(ask, ask.tokens)
        closing = piece(ask, "", finish_reason="length")
        if place == "choice":
            closing["choices"][0]["usage"] = counted
        elif place == "names":
            closing["usage"] = {"input_tokens": ask.prompt_tokens, "output_tokens": ask.tokens}
        elif place == "timings":
            closing["timings"] = {"prompt_n": ask.prompt_tokens, "predicted_n": ask.tokens}
        last = event(closing) + DONE
        if place == "after":
            last += event({"choices": [], "usage": counted})
        return [*plain(ask), (due_s(ask.tokens - 1), last)]

    return answers


def end_token(ask: Ask) -> list[Event]:
    """The model ends after five pieces of text; its end token is counted and makes no text."""
    n = min(5, ask.tokens - 1)
    return [*plain(ask, n=n), (due_s(n), end(ask, n + 1, finish="stop"))]


def now_and_then(otherwise: Callable[[Ask], list[Event]]) -> Callable[[Ask], list[Event]]:
    """Not in the probe, and in every other answer of the load, it goes another way."""

    def answers(ask: Ask) -> list[Event]:
        of_load = ask.tokens == TOKENS
        return otherwise(ask) if of_load and ask.number % 2 else whole(ask)

    return answers


_ENCRYPTED = {"type": "reasoning.encrypted", "data": "x"}


def in_parts(ask: Ask) -> list[Event]:
    """Five pieces of thought in lists of parts, then the answer in such lists."""

    def made(k: int) -> dict[str, Any]:
        part = {"type": "text", "text": "a"}
        thought = {"type": "thinking", "thinking": [part]}
        return {"choices": [{"index": 0, "delta": {"content": [thought if k < 5 else part]}}]}

    return whole(ask, made)


def told_in_a_field(ask: Ask) -> list[Event]:
    """Four tokens, then a line named error, as llama.cpp wrote it, and [DONE]."""
    said = b'error: {"code": 400, "message": "the context is full"}\n\n'
    return [*plain(ask, n=4), (due_s(4), said + DONE)]


def held(ask: Ask) -> list[Event]:
    """Everything at the end."""
    events = whole(ask)
    return [(events[-1][0], b"".join(data for _, data in events))]


def in_pairs(ask: Ask) -> list[Event]:
    """Two tokens' events at a time."""
    tokens = plain(ask)
    pairs = [(t, a + b) for (_, a), (t, b) in zip(tokens[::2], tokens[1::2], strict=True)]
    return [*pairs, (due_s(ask.tokens - 1), end(ask))]


def at_random(ask: Ask) -> list[Event]:
    """A finish_reason in two of three answers, and never [DONE]."""
    reason = {"finish_reason": "length"} if ask.number % 3 else {}
    last = event(piece(ask, "", **reason)) + event({"choices": [], "usage": usage(ask, ask.tokens)})
    return [*plain(ask), (due_s(ask.tokens - 1), last)]


def unsaid_stop(ask: Ask) -> list[Event]:
    """Ends by itself after six tokens and gives no reason; `length` is all it ever says."""
    n = min(6, ask.tokens)
    last = end(ask, n, finish="length" if n == ask.tokens else "")
    return [*plain(ask, n=n), (due_s(n - 1), last)]


def refuse(*keys: str, status: int = 400) -> Callable[[Ask], tuple[int, str, bytes] | None]:
    """Whoever asks with one of these keys is refused; status 0 drops the connection."""
    return lambda ask: (status, "", b'{"detail":"extra"}') if set(keys) & set(ask.body) else None


def too_short(ask: Ask) -> tuple[int, str, bytes] | None:
    """As OpenAI's newer models: fewer than ten tokens are refused."""
    return (400, "", b'{"error":"max_tokens is below the minimum"}') if ask.tokens < 10 else None


def always(status: int, more: str = "", body: bytes = b"{}") -> Callable[[Ask], Any]:
    return lambda ask: (status, more, body)


def ids_only_as_text(ask: Ask) -> tuple[int, str, bytes] | None:
    return (422, "", b"{}") if isinstance(ask.body.get("prompt"), list) else None


def cut_utf8(data: bytes) -> list[bytes]:
    """Two packets that part in the middle of a character."""
    at = next((i + 1 for i, b in enumerate(data) if b >= 0xC0), len(data) // 2)
    return [data[:at], data[at:]]


_JSON = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"


def whole_json(ask: Ask) -> list[Event]:
    """The answer as one JSON object: no stream, whatever was asked for."""
    said = {"message": {"content": "aaa"}} if ask.chat else {"text": "aaa"}
    choice = {"index": 0, "finish_reason": "length", **said}
    message = {"choices": [choice], "usage": usage(ask, ask.tokens)}
    return [(due_s(ask.tokens - 1), json.dumps(message).encode())]


def one_piece(ask: Ask) -> list[Event]:
    """A stream of one chunk, as a gateway makes it of an answer that it had whole."""
    last = due_s(ask.tokens - 1)
    return [(last, event(piece(ask, "a" * ask.tokens))), (last + 0.001, end(ask))]


MODEL_LOADING = b'{"error":{"message":"Loading model","code":503}}'
CASES: Mapping[str, Case] = {
    "truth": Case(odd=Odd()),
    "truth_chat": Case(odd=Odd(), api="chat"),
    # --- the stream's framing
    "crlf": Case(odd=odd(packs=lambda d: [d.replace(b"\n", b"\r\n")])),
    "no_space": Case(odd=odd(packs=lambda d: [d.replace(b"data: ", b"data:")])),
    "split_in_a_character": Case(
        odd=odd(lambda ask: whole(ask, lambda _: piece(ask, "ö")), packs=cut_utf8)
    ),
    "line_separator_in_text": Case(odd=odd(lambda ask: whole(ask, lambda _: piece(ask, "\u2028")))),
    "byte_order_mark": Case(odd=odd(before(b"\xef\xbb\xbf"))),
    "half_a_character": Case(
        odd=odd(
            lambda ask: whole(ask, lambda _: piece(ask, "ö")),
            packs=lambda d: [d.replace("ö".encode(), "ö".encode()[:1])],
        )
    ),
    "done_in_quotes": Case(
        odd=odd(packs=lambda d: [d.replace(b"data: [DONE]", b'data: "[DONE]"')])
    ),
    "signs_of_life": Case(
        odd=odd(
            before(
                b'event: queue\ndata: {"message": "position 3"}\n\n',
                event({"type": "ping", "message": "still here"}),
                event({"choices": [{"index": 0, "delta": {}, "finish_reason": None}]}),
            )
        ),
        api="chat",
    ),
    "finish_reason_in_words": Case(
        odd=odd(lambda ask: whole(ask, lambda _: piece(ask, finish_reason="null")))
    ),
    "comments": Case(odd=odd(before(b": ping\n\n", b":\n\n", b": still one\n"))),
    "comments_as_data": Case(odd=odd(before(event(": OPENROUTER PROCESSING"), event("ping")))),
    "ping_events": Case(odd=odd(before(b'event: ping\ndata: {"type": "ping"}\n\n'))),
    "empty_chunks_first": Case(
        odd=odd(before(event({"choices": []}), event({"choices": [], "prompt_filter_results": []})))
    ),
    "ends_with_connection": Case(odd=odd(head="Content-Type: text/event-stream\r\n")),
    "as_json": Case(
        odd=odd(head="Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n")
    ),
    "large_chunks": Case(odd=odd(lambda ask: whole(ask, lambda _: piece(ask, pad="x" * 9_999)))),
    "no_done": Case(
        odd=odd(lambda ask: [(t, d.removesuffix(DONE)) for t, d in whole(ask)]),
    ),
    # --- the shape of a token
    "role_first": Case(
        odd=odd(before(event({"choices": [{"delta": {"role": "assistant", "content": ""}}]}))),
        api="chat",
    ),
    "role_null_first": Case(
        odd=odd(before(event({"choices": [{"delta": {"role": "assistant", "content": None}}]}))),
        api="chat",
    ),
    "tool_calls": Case(
        odd=odd(
            lambda ask: whole(
                ask,
                lambda _: {
                    "choices": [
                        {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}}
                    ]
                },
            )
        ),
        api="chat",
    ),
    "second_choice": Case(odd=odd(lambda ask: whole(ask, lambda _: piece(ask, index=1)))),
    "logprobs": Case(
        odd=odd(
            lambda ask: whole(
                ask, lambda _: piece(ask, logprobs={"tokens": ["a"], "token_logprobs": [-1.0]})
            )
        )
    ),
    "ends_in_many_words": Case(
        odd=odd(lambda ask: [*plain(ask), (due_s(ask.tokens - 1), end(ask, finish="eos_token"))])
    ),
    "empty_finish_reason": Case(
        odd=odd(lambda ask: whole(ask, lambda _: piece(ask, finish_reason="")))
    ),
    "text_later_than_token": Case(
        odd=odd(lambda ask: whole(ask, lambda k: piece(ask, "" if k in (0, 1) else "a"))),
        answer_ms=(FIRST_S + 2 * STEP_S) * 1e3,
    ),
    "thought": Case(
        odd=odd(thinking("reasoning", 5)), answer_ms=(FIRST_S + 5 * STEP_S) * 1e3, api="chat"
    ),
    "thought_by_another_name": Case(
        odd=odd(thinking("reasoning_content", 5)),
        answer_ms=(FIRST_S + 5 * STEP_S) * 1e3,
        api="chat",
    ),
    "thought_in_parts": Case(odd=odd(in_parts), answer_ms=(FIRST_S + 5 * STEP_S) * 1e3, api="chat"),
    "what_is_no_text": Case(
        odd=odd(
            before(
                event({"choices": [{"delta": {"role": "assistant", "content": ""}}]}),
                event({"choices": [{"delta": None, "content_filter_results": {"a": "x"}}]}),
                event({"choices": [{"delta": {"content": "", "citations": ["x"]}}]}),
                event({"choices": [{"delta": {"extra_content": {"google": {"s": "x"}}}}]}),
                event({"choices": [{"delta": {"reasoning_details": [_ENCRYPTED]}}]}),
            )
        ),
        api="chat",
    ),
    "nothing_but_thought": Case(odd=odd(thinking("reasoning", 999)), api="chat"),
    "thought_as_empty_chunks": Case(
        odd=odd(
            lambda ask: whole(
                ask,
                lambda k: (
                    {"choices": [{"delta": {"role": None, "content": None}}]}
                    if k < 5
                    else piece(ask)
                ),
            )
        ),
        answer_ms=(FIRST_S + 5 * STEP_S) * 1e3,
        api="chat",
    ),
    # --- counting
    "running_usage": Case(odd=odd(lambda ask: bundles(ask, 1))),
    "four_in_the_first_chunk": Case(odd=odd(bundles), first_ms=(FIRST_S + 3 * STEP_S) * 1e3),
    "eight_in_the_first_chunk": Case(
        odd=odd(lambda ask: bundles(ask, 8)), first_ms=(FIRST_S + 7 * STEP_S) * 1e3
    ),
    "bundles_without_count": Case(
        odd=odd(lambda ask: bundles(ask, 4, counted=False)),
        first_ms=(FIRST_S + 3 * STEP_S) * 1e3,
        hides=PER_TOKEN,
        says="keeps some back",
    ),
    "usage_null": Case(odd=odd(lambda ask: whole(ask, lambda _: {**piece(ask), "usage": None}))),
    "usage_as_text": Case(odd=odd(ended(lambda ask: str(ask.tokens)))),
    "usage_of_each_chunk_alone": Case(odd=odd(every_chunk(lambda ask, k: usage(ask, 1)))),
    "usage_in_all_the_same": Case(odd=odd(every_chunk(lambda ask, k: usage(ask, ask.tokens)))),
    "usage_doubled": Case(
        odd=odd(ended(lambda ask: 2 * ask.tokens)), hides=(RATE, *PER_TOKEN), says="counts wrongly"
    ),
    "usage_too_low": Case(
        odd=odd(ended(lambda ask: ask.tokens // 2)), hides=(RATE, *PER_TOKEN), says="another number"
    ),
    "no_usage": Case(
        odd=odd(lambda ask: [*plain(ask), (due_s(ask.tokens - 1), DONE)]),
        hides=(RATE, *PER_TOKEN),
        says="gives no usage",
    ),
    "hidden_thought": Case(
        odd=odd(
            lambda ask: [
                *[(due_s(k), event(piece(ask))) for k in range(ask.tokens // 2, ask.tokens)],
                (
                    due_s(ask.tokens - 1),
                    end(ask, completion_tokens_details={"reasoning_tokens": ask.tokens // 2}),
                ),
            ]
        ),
        first_ms=(FIRST_S + 5 * STEP_S) * 1e3,
        says="never streamed",
    ),
    "prompt_cut_silently": Case(odd=odd(ended(lambda ask: ask.tokens, prompt=5)), says="planned"),
    "usage_in_the_choice": Case(odd=odd(usage_elsewhere("choice"))),
    "usage_as_input_and_output": Case(odd=odd(usage_elsewhere("names"))),
    "timings_alone": Case(odd=odd(usage_elsewhere("timings"))),
    "usage_after_done": Case(odd=odd(usage_elsewhere("after"))),
    "zeros_until_the_end": Case(
        odd=odd(every_chunk(lambda ask, k: usage(ask, 0), last=lambda ask: ask.tokens))
    ),
    "zeros_throughout": Case(
        odd=odd(ended(lambda ask: 0, prompt=0)), hides=(RATE, *PER_TOKEN), says="gives no usage"
    ),
    "a_count_that_lags": Case(
        odd=odd(every_chunk(lambda ask, k: usage(ask, k), last=lambda ask: ask.tokens))
    ),
    "end_token_counted": Case(
        odd=odd(end_token),
        tokens=6,
        says="another length",
    ),
    # --- what is refused
    "no_token_ids": Case(odd=odd(refuses=ids_only_as_text), says="prompts as token ids"),
    "drops_what_it_does_not_know": Case(
        odd=odd(refuses=refuse("ignore_eos", "min_tokens", status=0)), says="ignore_eos"
    ),
    "no_temperature": Case(
        odd=odd(refuses=refuse("temperature", status=500)), says="temperature=0"
    ),
    "no_short_answers": Case(odd=odd(refuses=too_short)),
    "another_length_field": Case(odd=odd(refuses=refuse("max_tokens"))),
    "chat_alone": Case(odd=odd(refuses=lambda ask: None if ask.chat else (404, "", b"{}"))),
    # --- ends
    "reason_now_and_then": Case(odd=odd(at_random)),
    "stops_without_a_reason": Case(odd=odd(unsaid_stop), tokens=6, says="another length"),
    "stream_of_the_dead": Case(
        odd=odd(now_and_then(lambda ask: plain(ask, n=4))),
        hides=ALL,
        fails=0.5,
        says="neither finish_reason nor [DONE]",
    ),
    "early_without_reason": Case(
        odd=odd(now_and_then(lambda ask: [*plain(ask, n=4), (due_s(4), end(ask, 4, ""))])),
        hides=ALL,
        fails=0.5,
        says="without a finish_reason",
    ),
    "stop_made_up_by_a_proxy": Case(
        odd=odd(now_and_then(lambda ask: [*plain(ask, n=4), (due_s(4), end(ask, 4, "stop"))])),
        tokens=None,
        says="their streams were cut and a proxy made the reason up",
    ),
    "usage_lost": Case(
        odd=odd(
            now_and_then(
                lambda ask: [
                    *plain(ask, n=4),
                    (due_s(4), end(replace(ask, body={}), 4)),
                ],
            )
        ),
        hides=ALL,
        fails=0.5,
        says="cut_short",
    ),
    "error_then_done": Case(
        odd=odd(
            now_and_then(
                lambda ask: [(0.01, event({"error": {"message": "GatewayTimeout"}}) + DONE)]
            )
        ),
        hides=ALL,
        fails=0.5,
        says="GatewayTimeout",
    ),
    "error_as_a_field": Case(
        odd=odd(now_and_then(told_in_a_field)), hides=ALL, fails=0.5, says="the context is full"
    ),
    "status_in_a_frame": Case(
        odd=odd(
            now_and_then(
                lambda ask: [
                    *plain(ask, n=4),
                    (due_s(4), event({"status": "failed", "code": 503}) + DONE),
                ]
            )
        ),
        hides=ALL,
        fails=0.5,
        says="503",
    ),
    "aborted": Case(
        odd=odd(
            now_and_then(
                lambda ask: [*plain(ask, n=4), (due_s(4), end(ask, 4, finish="engine_abort"))]
            )
        ),
        hides=ALL,
        fails=0.5,
        says="finish_reason is 'engine_abort'",
    ),
    "done_and_nothing_else": Case(
        odd=odd(now_and_then(lambda ask: [(0.01, DONE)])),
        hides=ALL,
        fails=0.5,
        says="no token",
    ),
    "failed_as_a_reason": Case(
        odd=odd(
            now_and_then(lambda ask: [*plain(ask, n=4), (due_s(4), end(ask, 4, finish="error"))])
        ),
        hides=ALL,
        fails=0.5,
        says="finish_reason is 'error'",
    ),
    "kept_by_a_gateway": Case(
        odd=odd(head=f"{Odd.head}X-Portkey-Cache-Status: SEMANTIC HIT\r\n"),
        hides=ALL,
        fails=1.0,
        says="a gateway's cache did",
    ),
    "missed_by_a_cache": Case(
        odd=odd(head=f"{Odd.head}X-Cache: MISS\r\nCache-Control: no-store\r\n")
    ),
    # --- buffers
    "all_at_once": Case(
        odd=odd(held),
        first_ms=(FIRST_S + 9 * STEP_S) * 1e3,
        hides=("ttft_p50_ms", *PER_TOKEN),
        says="something between buffers",
    ),
    "two_at_a_time": Case(
        odd=odd(in_pairs),
        first_ms=(FIRST_S + STEP_S) * 1e3,
        hides=("ttft_p50_ms", *PER_TOKEN),
        says="something between buffers",
    ),
    "not_streamed": Case(
        odd=odd(whole_json, head=_JSON),
        first_ms=(FIRST_S + 9 * STEP_S) * 1e3,
        hides=("ttft_p50_ms", *PER_TOKEN),
        says="answers come whole",
    ),
    "one_piece": Case(
        odd=odd(one_piece),
        first_ms=(FIRST_S + 9 * STEP_S) * 1e3,
        hides=("ttft_p50_ms", *PER_TOKEN),
        says="answers come whole",
    ),
    # --- no measurement
    "error_in_200": Case(
        refused=True,
        odd=odd(refuses=always(200, body=b'{"error":{"message":"no quota"}}')),
        says="no quota",
    ),
    "lines_of_json": Case(
        refused=True,
        odd=odd(refuses=always(200, body=b'{"response":"a","done":false}\n')),
        says='"response":"a"',
    ),
    "compressed": Case(
        refused=True,
        odd=odd(head=f"{Odd.head}Content-Encoding: gzip\r\n"),
        says="Content-Encoding: gzip",
    ),
    "moved": Case(
        refused=True,
        odd=odd(refuses=always(307, "Location: https://elsewhere/v1/completions\r\n")),
        says="https://elsewhere/v1/completions",
    ),
    "needs_a_key": Case(refused=True, odd=odd(refuses=always(401)), says="MY_KEY"),
    "loading": Case(
        refused=True, odd=odd(refuses=always(503, body=MODEL_LOADING)), says="start_timeout_s"
    ),
    "rate_limit": Case(
        refused=True,
        odd=odd(refuses=always(429, "Retry-After: 0\r\n", b"slow down")),
        says="limits its rate",
    ),
    "only_a_page": Case(
        refused=True, odd=odd(refuses=always(200, body=b"<html>hello</html>")), says="<html>hello"
    ),
}


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with serving({name: case.odd for name, case in CASES.items()}) as found:
        yield found


def loaded(server: Server) -> PointData:
    """What the product's client sees of three rounds of requests."""
    planned = {
        i: PlannedRequest(
            index=i,
            prompt=[{"role": "user", "content": "a b c d"}]
            if server.api == "chat"
            else ("a b c d" if server.prompt == "text" else [7, 8, 9, i]),
            input_tokens=4,
            output_tokens=TOKENS,
        )
        for i in range(REQUESTS)
    }

    async def run() -> PointData:
        shots = [
            Shot(index=i, session=-1, body=request_bytes(server, r), gap_ns=0, arrival_ns=0)
            for i, r in planned.items()
        ]
        port = int(server.base_url.split(":")[2].split("/")[0])
        client = Client("127.0.0.1", port, timeout_s=10, ends_at_done=server.hangs_after_done)
        await client.connect(SLOTS)
        start_ns = now_ns()
        await client.closed(shots, SLOTS, start_ns)
        wall_s = (now_ns() - start_ns) / 1e9
        point = LoadPoint(index=0, repeat=0, mode="closed", concurrency=SLOTS)
        return merge(point, start_ns, [collect(client, planned, 0, 0.01, wall_s, server)])

    return asyncio.run(run())


@pytest.fixture(scope="module")
def probed(host: Host, request: pytest.FixtureRequest) -> Mapping[str, Server | BenchError]:
    """What each server of the selected cases was found to be, or why it was refused: asked several
    at a time, for a probe mostly waits."""

    def asked(name: str) -> Server | BenchError:
        target = Target(base_url=host.url(name), key_env="MY_KEY", timeout_s=5)
        try:
            return probe(target, served_model="m", api=CASES[name].api)
        except BenchError as error:
            return error

    names = [n for n in CASES if any(f"[{n}]" in item.nodeid for item in request.session.items)]
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(names, pool.map(asked, names), strict=True))


def measured(
    found: Server | BenchError, name: str, spec: RunSpec
) -> tuple[Server, PointData, PointMeasurement]:
    case = CASES[name]
    if isinstance(found, BenchError):
        raise found
    server = found
    anchor = Anchor(monotonic_ns=0, wall_iso="2026-11-26T00:00:00")
    run = Run(spec=spec, anchor=anchor, server={"ignore_eos": server.ignore_eos})
    for _ in range(6):
        data = loaded(server)
        if case.fails or not _late(data, case):
            break
    return server, data, measure_point(run, [data])


def _late(data: PointData, case: Case) -> bool:
    """Whether the machine had too much else to do: then the load is put on once more."""
    delay_ns = data.chunk_delay_ns
    if delay_ns is None or not len(delay_ns) or np.median(delay_ns) > _LATE_NS:
        return True
    bundled = float((np.diff(data.chunk_ns) == 0).mean())  # by a server that had no core
    expected = case.says == "something between buffers"
    return first_ms(data, 0) - case.first_ms > _LATE_MS or (bundled > 0.2 and not expected)


@pytest.mark.parametrize("name", CASES)
def test_the_right_number_or_the_right_words(
    probed: Mapping[str, Server | BenchError], name: str, run_spec: Callable[..., RunSpec]
) -> None:
    case = CASES[name]
    load = {"concurrency": [SLOTS], "repeats": 1, "requests": REQUESTS, "calibrate": False}
    workload = {
        "name": "test",
        "input_tokens": 4,
        "output_tokens": TOKENS,
        "slo": {"ttft_ms": 1000.0, "tpot_ms": 100.0},
    }
    spec = run_spec(engine="endpoint", load=load, workload=workload)
    if case.refused:
        with pytest.raises(BenchError, match=re.escape(case.says)):
            measured(probed[name], name, spec)
        return
    server, data, point = measured(probed[name], name, spec)
    failed = float((data.requests["outcome"] != 0).mean())
    words = [*server.left_out, *(f.text for f in point.findings)]
    assert failed == pytest.approx(case.fails, abs=0.2), (failed, words)
    if case.says:
        assert any(case.says in text for text in words), words
    for figure in ALL:
        hidden = point.metrics[figure].value is None
        because = point.metrics[figure].reason or ""
        if figure in case.hides or not because.startswith(_MACHINE):
            assert hidden == (figure in case.hides), (figure, point.metrics[figure])
    if case.fails:
        return
    if RATE not in case.hides and case.tokens is not None:
        assert tokens_of(data) == {case.tokens}
    assert -_EARLY_MS < first_ms(data, 0) - case.first_ms < _LATE_MS
    thought = point.metrics["first_answer_p50_ms"].n > 0
    assert thought == (case.answer_ms is not None)
    if case.answer_ms is not None:
        late_ms = first_ms(data, data.requests["first_answer"]) - case.answer_ms
        assert -_EARLY_MS < late_ms < _LATE_MS


_MACHINE = ("client_bound", "client_cpu", "tie_out", "little", "steady_state", "lost_slots")
"""Failures that are those of a machine with too much to do, not of the server."""
_LATE_NS = 1_000_000
"""From this on it was the machine that bundled what arrived."""
_EARLY_MS, _LATE_MS = 0.5, 8.0
"""How far a busy machine may be off with its best answer: its sleeps may end a little early."""


def tokens_of(data: PointData) -> set[int]:
    total = np.concatenate([[0], np.cumsum(data.chunk_tokens)])
    r = data.requests
    return set((total[r["first_chunk"] + r["chunks"]] - total[r["first_chunk"]]).tolist())


def first_ms(data: PointData, chunk: Any) -> float:
    """The shortest time to an answer's chunk of that number: a machine with other work is late now
    and then, never early."""
    r = data.requests
    taken = (data.chunk_ns[r["first_chunk"] + chunk] - r["sent_ns"]) / 1e6
    return float(taken.min())
