"""The connections between the head and its nodes: TCP, both sides holding one key.

The key is made for the run and travels over the words that start the agents (stdin), so whoever
else reaches the head's port is turned away before anything that he sends is read.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any, Protocol

_HANDSHAKE_S = 2.0
_CONNECT_S = 10.0


class Wire(Protocol):
    """What both sides do with a connection."""

    def send(self, obj: Any, /) -> None:
        """Send a value."""

    def recv(self) -> Any:
        """The next value; EOFError at the end."""


def call_head(address: str, port: int, key: bytes, hello: tuple[str, int]) -> Connection:
    """A connection to the head that has said who calls. Raises OSError, AuthenticationError."""
    connection = _over(socket.create_connection((address, port), timeout=_CONNECT_S))
    answer_challenge(connection, key)
    deliver_challenge(connection, key)
    connection.send(hello)
    return connection


class Listener:
    """Where nodes reach the head: a port of its own at `address`, open for as long as the run."""

    def __init__(self, address: str, key: bytes) -> None:
        self._socket = socket.create_server((address, 0), backlog=256)
        self._key = key
        self._waiting: dict[tuple[str, int], list[Connection]] = {}
        self.port = int(self._socket.getsockname()[1])

    def accept(self, hello: tuple[str, int], timeout_s: float) -> Connection | None:
        """The next connection of one that says `hello`; None when none came in time."""
        deadline = time.monotonic() + timeout_s
        while not self._waiting.get(hello):
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._socket.settimeout(left)
            with contextlib.suppress(TimeoutError, OSError, EOFError, AuthenticationError):
                found = self._greeted(self._socket.accept()[0])
                if found is not None:
                    self._waiting.setdefault(found[0], []).append(found[1])
        return self._waiting[hello].pop(0)

    def _greeted(self, sock: socket.socket) -> tuple[tuple[str, int], Connection] | None:
        """Who calls; None for a stranger, who holds others up for two seconds at most."""
        connection = _over(sock, patience_s=_HANDSHAKE_S)
        try:
            deliver_challenge(connection, self._key)
            answer_challenge(connection, self._key)
            who = tuple(connection.recv())
        except (OSError, EOFError, AuthenticationError):
            connection.close()
            return None
        _be_patient(connection.fileno(), 0.0)
        return who, connection

    def close(self) -> None:
        """Nobody joins any more."""
        self._socket.close()


def _over(sock: socket.socket, patience_s: float = 0.0) -> Connection:
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    _be_patient(sock.fileno(), patience_s)
    return Connection(sock.detach())


def _be_patient(descriptor: int, seconds: float) -> None:
    """How long a read waits before it fails; 0: for ever."""
    with socket.socket(fileno=os.dup(descriptor)) as same:
        value = struct.pack("ll", int(seconds), 0)
        same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
