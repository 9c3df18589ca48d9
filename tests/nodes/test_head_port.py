"""Who reaches the head's port: those that hold the run's key, and nobody else."""

from __future__ import annotations

import socket
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection

import pytest

from bench.nodes.wire import Listener, call_head

KEY = b"k" * 32


def accepted(listener: Listener, *hello: tuple[str, int]) -> list[Connection | None]:
    return [listener.accept(h, 10.0) for h in hello]


def test_a_node_is_let_in_behind_strangers() -> None:
    listener = Listener("127.0.0.1", KEY)
    place = ("127.0.0.1", listener.port)
    loud, silent = socket.create_connection(place), socket.create_connection(place)
    loud.sendall(b"GET / HTTP/1.1\r\n\r\n" * 20)
    found: list[Connection | None] = []
    waiting = threading.Thread(target=lambda: found.extend(accepted(listener, ("node", 2))))
    waiting.start()
    with call_head(*place, KEY, ("node", 2)) as node:
        waiting.join()
        head = found[0]
        assert head is not None
        with head:
            node.send([1, "two"])
            assert head.recv() == [1, "two"]
    for sock in (loud, silent):
        sock.close()
    listener.close()


def test_another_key_opens_nothing() -> None:
    listener = Listener("127.0.0.1", KEY)
    found: list[Connection | None] = []
    waiting = threading.Thread(target=lambda: found.append(listener.accept(("node", 1), 1.0)))
    waiting.start()
    with pytest.raises((AuthenticationError, EOFError, OSError)):
        call_head("127.0.0.1", listener.port, b"x" * 32, ("node", 1))
    waiting.join()
    assert found == [None]
    listener.close()


def test_connections_wait_for_who_asks_for_them() -> None:
    """The second node joins first; neither is taken for the other."""
    listener = Listener("127.0.0.1", KEY)
    calls = []
    for number in (2, 1):
        caller = threading.Thread(
            target=lambda n=number: calls.append(
                call_head("127.0.0.1", listener.port, KEY, ("node", n))
            )
        )
        caller.start()
    first, second = accepted(listener, ("node", 1), ("node", 2))
    assert first is not None
    assert second is not None
    first.send("to one")
    second.send("to two")
    while len(calls) < 2:
        pass
    assert sorted(c.recv() for c in calls) == ["to one", "to two"]
    for connection in (first, second, *calls):
        connection.close()
    listener.close()
