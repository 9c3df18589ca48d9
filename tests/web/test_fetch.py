"""A server that drips, floods or babbles ends at the deadline or the limit, with a few words."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from bench.meters import engine_stats, engine_watch
from bench.web.fetch import FetchError, fetch

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@contextmanager
def server(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server that answers each connection with `answer`, until the test is over."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def one(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.recv(65_536)
                answer(connection, over)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=one, args=(listening.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/metrics"
        over.set()
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def drip(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(OK + b"\r\n")
    while not over.wait(0.02):
        connection.sendall(b"x")


def drip_head(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not over.wait(0.02):
        connection.sendall(b"X")


def endless(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(OK + b"\r\n")
    while not over.is_set():
        connection.sendall(b"x" * 65_536)


def silent(_: socket.socket, over: threading.Event) -> None:
    over.wait(30)


def said(body: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def answer(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(body)

    return answer


@pytest.mark.parametrize("answer", [drip, drip_head, silent])
def test_what_never_ends_ends_at_the_deadline(
    answer: Callable[[socket.socket, threading.Event], None],
) -> None:
    with server(answer) as url, pytest.raises(FetchError, match=r"no end within 0\.3 s"):
        fetch(url, timeout_s=0.3)


def test_a_flood_is_cut_at_the_limit() -> None:
    with server(endless) as url, pytest.raises(FetchError, match="more than 1,000,000 bytes"):
        fetch(url, timeout_s=20, limit_bytes=1_000_000)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\x00\xff\x16\x03",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        OK + b"Content-Length: 100\r\n\r\nshort",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_said_in_a_few_words(reply: bytes) -> None:
    with server(said(reply)) as url, pytest.raises(FetchError) as caught:
        fetch(url, timeout_s=5)
    assert str(caught.value)


def test_a_whole_answer_comes_whole() -> None:
    with server(said(OK + b"Content-Length: 3\r\n\r\nyes")) as url:
        answer = fetch(url, timeout_s=5)
    assert (answer.status, answer.text) == (200, "yes")
    assert answer.headers["content-type"] == "text/plain"


@pytest.mark.parametrize(
    "text",
    ["vllm:generation_tokens_total{", "vllm:x{a=b} 1", "<html>nothing</html>", "vllm:x 1 2 3 4"],
)
def test_garbage_for_metrics_is_not_measured(text: str) -> None:
    with server(said(OK + b"\r\n" + text.encode())) as url:
        assert "vllm:x" not in (engine_stats.read(url) or {})
        assert engine_watch.read(url) is None


def test_counters_that_are_no_numbers_are_not_measured() -> None:
    text = "vllm:generation_tokens_total NaN\nvllm:prompt_tokens_total 7\n"
    found = engine_stats.parse(text)
    assert found == {"prompt_tokens_total": 7.0}
    assert engine_watch.gauges_in("vllm:num_requests_running x\nvllm:num_requests_waiting 2") == {
        "waiting": 2.0
    }


def test_a_dripping_metrics_page_costs_its_timeout_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_watch, "_TIMEOUT_S", 0.2)
    began = time.monotonic()
    with server(drip) as url:
        assert engine_watch.read(url) is None
    assert time.monotonic() - began < 20  # without a deadline it never came back
