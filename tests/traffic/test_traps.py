"""Servers that misbehave, for real: each trap ends as what it is, and nothing hangs."""

from __future__ import annotations

import socket
import threading
import time

import numpy as np
import pytest
from misbehaving import END, HEAD, Misbehave, delta, event, outcomes, request, shoot, tokens_of

from bench.measure.metrics import Steady, e2e_ms, itl_ms, tpot_ms, ttft_ms
from bench.measure.window import Window
from bench.traffic.workers import send_load
from bench.values.clock import now_ns
from bench.values.errors import BenchError
from bench.values.record import LoadPoint, PlannedRequest
from bench.values.server import Server
from bench.values.spec import SloSpec


def test_a_good_server_first(misbehave: Misbehave) -> None:
    def serve(c: socket.socket, _: int) -> None:
        while request(c):
            c.sendall(HEAD + event("a") + event("b") + event("c") + event("d") + END)

    data = shoot(misbehave(serve))
    assert outcomes(data) == ["ok"] * 4
    assert tokens_of(data) == 16
    assert data.requests["usage_completion_tokens"].tolist() == [4] * 4


def test_a_reset_in_mid_stream_is_a_lost_connection(misbehave: Misbehave) -> None:
    def serve(c: socket.socket, _: int) -> None:
        request(c)
        c.sendall(HEAD + event("a"))
        time.sleep(0.05)
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    assert outcomes(shoot(misbehave(serve))) == ["connection"] * 4


def test_a_stream_that_just_stops_is_cut_short(misbehave: Misbehave) -> None:
    def serve(c: socket.socket, _: int) -> None:
        request(c)
        c.sendall(HEAD + event("a"))
        time.sleep(0.05)

    assert outcomes(shoot(misbehave(serve))) == ["connection"] * 4


def test_a_response_that_never_ends_times_out(misbehave: Misbehave) -> None:
    def serve(c: socket.socket, _: int) -> None:
        request(c)
        c.sendall(HEAD)
        for _second in range(300):
            c.sendall(event("a"))
            time.sleep(0.02)

    data = shoot(misbehave(serve), count=2, timeout_s=0.5)
    assert outcomes(data) == ["timeout"] * 2


def test_silence_times_out(misbehave: Misbehave) -> None:
    def serve(c: socket.socket, _: int) -> None:
        request(c)
        time.sleep(10)

    assert outcomes(shoot(misbehave(serve), count=2, timeout_s=0.5)) == ["timeout"] * 2


def test_a_connection_closed_while_idle_is_opened_anew(
    misbehave: Misbehave,
) -> None:
    """A keep-alive that the server dropped is no error of the server's: one retry."""

    def serve(c: socket.socket, number: int) -> None:
        if number < 2:
            request(c)  # reads the request and closes: as if it had crossed the server's close
            return
        while request(c):
            c.sendall(HEAD + event("a") + event("b") + event("c") + event("d") + END)

    data = shoot(misbehave(serve))
    assert outcomes(data) == ["ok"] * 4
    assert data.workers[0].reconnects == 2


def test_an_error_inside_a_stream_is_a_server_error(misbehave: Misbehave) -> None:
    def serve(c: socket.socket, _: int) -> None:
        body = b'data: {"error":{"message":"out of cache"}}\n\n'
        while request(c):
            c.sendall(HEAD + event("a") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    data = shoot(misbehave(serve))
    assert outcomes(data) == ["server_error"] * 4
    assert "out of cache" in data.errors[0]


def test_http_errors_are_counted_as_such_and_quoted(misbehave: Misbehave) -> None:
    def serve(c: socket.socket, _: int) -> None:
        while request(c):
            c.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 7\r\n\r\non fire")

    data = shoot(misbehave(serve))
    assert outcomes(data) == ["http_error"] * 4
    assert data.requests["status"].tolist() == [500] * 4
    assert data.errors[0] == "HTTP 500: on fire"


def test_an_empty_answer_carries_no_token(misbehave: Misbehave) -> None:
    def serve(c: socket.socket, _: int) -> None:
        while request(c):
            c.sendall(HEAD + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    assert outcomes(shoot(misbehave(serve))) == ["no_tokens"] * 4


def test_what_is_no_http_at_all_is_malformed(misbehave: Misbehave) -> None:
    def serve(c: socket.socket, _: int) -> None:
        request(c)
        c.sendall(b"SSH-2.0-OpenSSH\r\n")
        time.sleep(0.2)

    assert outcomes(shoot(misbehave(serve))) == ["malformed"] * 4


def test_bundled_tokens_are_spread_and_said_so(misbehave: Misbehave) -> None:
    """Two pieces of text, usage of four at the end: two tokens each, `allocated`."""

    def serve(c: socket.socket, _: int) -> None:
        while request(c):
            c.sendall(HEAD + event("ab") + event("cd") + END)

    data = shoot(misbehave(serve))
    assert outcomes(data) == ["ok"] * 4
    assert data.chunk_tokens.tolist() == [2] * 8
    assert set(data.requests["tokens_arose"].tolist()) == {2}


def test_the_end_of_a_response_may_come_in_pieces(misbehave: Misbehave) -> None:
    def serve(c: socket.socket, _: int) -> None:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while request(c):
            whole = HEAD + event("a") + event("b") + event("c") + event("d") + END
            for cut in range(len(whole) - 9, len(whole) + 1):
                c.sendall(whole[:cut] if cut == len(whole) - 9 else whole[cut - 1 : cut])
                time.sleep(0.003)

    data = shoot(misbehave(serve))
    assert outcomes(data) == ["ok"] * 4
    assert tokens_of(data) == 16


def test_a_server_that_refuses_is_said_before_the_load() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = Server(engine="endpoint", base_url=f"http://127.0.0.1:{port}/v1", served_model="m")
    with pytest.raises(BenchError, match="refused"):
        shoot(server)


def test_a_server_that_goes_away_ends_every_request(misbehave: Misbehave) -> None:
    """It answers once per connection and then listens no more: the rest are lost, none hangs."""
    gone = threading.Event()

    def serve(c: socket.socket, _: int) -> None:
        request(c)
        if not gone.is_set():
            gone.set()
            c.sendall(HEAD + event("a") + event("b") + event("c") + event("d") + END)

    data = shoot(misbehave(serve), count=12, slots=2)
    assert len(outcomes(data)) == 12
    assert outcomes(data).count("ok") == 1
    assert outcomes(data).count("connection") == 11


def test_a_server_that_is_busy_is_counted_and_not_asked_again(misbehave: Misbehave) -> None:
    """429 and 503 with Retry-After: a failure of the load, one request each; its quick end is no
    latency, it counts with the deadline of an answer that never came."""
    asked: list[int] = []

    def serve(c: socket.socket, _: int) -> None:
        while request(c):
            asked.append(1)
            if len(asked) % 2:
                c.sendall(b"HTTP/1.1 429 Busy\r\nRetry-After: 30\r\nContent-Length: 4\r\n\r\nbusy")
            else:
                c.sendall(HEAD + event("a") + event("b") + event("c") + event("d") + END)

    data = shoot(misbehave(serve), count=8, slots=1)
    assert outcomes(data) == ["http_error", "ok"] * 4
    assert len(asked) == 8
    assert data.errors[0] == "HTTP 429: busy"
    slo = SloSpec(ttft_ms=1, tpot_ms=1)
    part = Steady(data, Window(start_ns=0, end_ns=2**62), slo, 0, deadline_ms=5e3)
    for series in (ttft_ms, e2e_ms, tpot_ms):
        assert np.sort(series(part))[4:].tolist() == [5e3] * 4
        assert np.sort(series(part))[3] < 1e3
    assert len(itl_ms(part)) == 12


def test_a_role_without_text_is_no_first_token(misbehave: Misbehave) -> None:
    """The role comes at once, the first word when the server has gone on: TTFT is the word's."""
    spoken: list[int] = []

    def serve(c: socket.socket, _: int) -> None:
        while request(c):
            c.sendall(HEAD + delta({"role": "assistant", "content": ""}))
            time.sleep(0.05)
            spoken.append(now_ns())
            c.sendall(delta({"content": "w"}))
            c.sendall(delta({"content": ""}, usage=1) + b"0\r\n\r\n")

    data = shoot(misbehave(serve), count=2, slots=1)
    assert outcomes(data) == ["ok", "ok"]
    assert data.chunk_tokens.tolist() == [1, 1]
    assert (data.requests["first_read_ns"] < spoken).all()
    assert (data.chunk_ns >= spoken).all()


def test_a_letter_cut_in_two_and_chunks_packed_together(misbehave: Misbehave) -> None:
    """The bytes of é arrive in two reads, the rest in one: four tokens, in order, none twice."""
    body = b'data: {"choices":[{"index":0,"text":"\xc3\xa9"}]}\n\n'
    first = b"%x\r\n%s\r\n" % (len(body), body)
    cut = first.index(b"\xc3") + 1

    def serve(c: socket.socket, _: int) -> None:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while request(c):
            c.sendall(HEAD + first[:cut])
            time.sleep(0.02)
            c.sendall(first[cut:] + event("b") + event("c") + event("d") + END)

    data = shoot(misbehave(serve), count=2, slots=1)
    assert outcomes(data) == ["ok", "ok"]
    assert tokens_of(data) == 8
    assert (data.requests["first_read_ns"] < data.chunk_ns[[0, 4]]).all()
    assert len(set(data.chunk_ns[:4].tolist())) <= 2


def test_a_later_turn_is_never_sent_before_its_gap_is_over(misbehave: Misbehave) -> None:
    """A loop's own timers fire up to a millisecond early."""

    def serve(c: socket.socket, _: int) -> None:
        while request(c):
            c.sendall(HEAD + event("a") + event("b") + event("c") + event("d") + END)

    turns = tuple(
        PlannedRequest(
            index=i,
            prompt=[5],
            input_tokens=1,
            output_tokens=4,
            session=i // 5,
            gap_ns=10_300_000 if i % 5 else 0,
        )
        for i in range(40)
    )
    point = LoadPoint(index=0, repeat=0, mode="closed", concurrency=4)
    data = send_load(misbehave(serve), point, turns, timeout_s=5.0)
    r = data.requests
    assert outcomes(data) == ["ok"] * 40
    assert (r["sent_ns"] >= r["scheduled_ns"]).all()
    later = r["index"] % 5 > 0
    before = np.flatnonzero(later) - 1
    assert (r["sent_ns"][later] - r["end_ns"][before] >= 10_300_000).all()


def test_a_stray_byte_on_an_idle_connection_costs_the_connection_and_nothing_else(
    misbehave: Misbehave,
) -> None:
    """What comes after the end of a response belongs to no request: the next one goes elsewhere."""

    def serve(c: socket.socket, _: int) -> None:
        while request(c):
            c.sendall(HEAD + event("a") + event("b") + event("c") + event("d") + END + b"JUNK")

    data = shoot(misbehave(serve), count=6, slots=2)
    assert outcomes(data) == ["ok"] * 6
    assert tokens_of(data) == 24
