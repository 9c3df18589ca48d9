"""A TCP connection whose every read says when the kernel received it.

A program that waits for its core stamps late; the kernel stamps on arrival, whoever has the core.
Linux hands that stamp out with `recvmsg` on sockets that ask for it (SO_TIMESTAMPNS), on
CLOCK_REALTIME; `bench.web.stamps` puts those of a load on CLOCK_MONOTONIC. A read that takes up
several packets at once has the stamp of the last, so a stamp is never early and never later than
the program's own.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from typing import Protocol

from bench.web.poll import Poll

_SO_TIMESTAMPNS = 35
TIMESPEC_BYTES = 16
_READ_BYTES = 1 << 16
_ANCILLARY_BYTES = socket.CMSG_SPACE(TIMESPEC_BYTES)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


_REMEDIES = {
    errno.EMFILE: "raise ulimit -n, or load.workers",
    errno.ENFILE: "raise sysctl fs.file-max",
    errno.EADDRNOTAVAIL: (
        "no local port is free; wait a minute for old ones, or widen "
        "sysctl net.ipv4.ip_local_port_range"
    ),
}


def explained(error: OSError) -> str:
    """What a connection could not be made for, with the remedy where it is this machine's."""
    text = os.strerror(error.errno) if error.errno else str(error)
    remedy = _REMEDIES.get(error.errno or 0)
    return text if remedy is None else f"{text}: {remedy}"


class Reader(Protocol):
    """Whom a wire hands its reads to."""

    def received(self, data: bytes, arrived: bytes) -> None:
        """Bytes, and the kernel's stamp of them as it came: empty where there is none."""

    def connection_lost(self, error: Exception | None) -> None:
        """The other side closed, or the connection broke."""

    def resume_writing(self) -> None:
        """The socket has taken what it did not take at once."""


class Wire:
    """One connected socket: the part of an asyncio transport that a load client and a server of
    known timing use."""

    __slots__ = ("_fd", "_poll", "_reader", "_received", "_recvmsg", "_sock", "_unsent")

    def __init__(self, poll: Poll, sock: socket.socket, reader: Reader) -> None:
        self._poll = poll
        self._sock = sock
        self._fd = sock.fileno()
        self._reader = reader
        self._received = reader.received
        self._recvmsg = sock.recvmsg
        self._unsent: memoryview | None = None
        poll.add_reader(self._fd, self._readable)

    def write(self, data: bytes | memoryview) -> None:
        """Send now what the socket takes, the rest as soon as it takes more: never a copy, unless
        something waits already."""
        if self._unsent is not None:
            self._unsent = memoryview(b"".join((self._unsent, data)))
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            lost = error
            self._poll.soon(lambda: self._lost(lost))
            return
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self._poll.add_writer(self._fd, self._writable)

    def abort(self) -> None:
        """Close at once. A reset leaves no port behind that would wait for a minute."""
        if self._fd < 0:
            return
        self._poll.remove_reader(self._fd)
        self._fd = -1
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._sock.close()

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self._fd < 0

    def is_full(self) -> bool:
        """Whether bytes wait for the socket to take them."""
        return self._unsent is not None

    def _readable(self) -> None:
        try:
            data, ancillary, _, _ = self._recvmsg(_READ_BYTES, _ANCILLARY_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        if data:
            self._received(data, ancillary[0][2] if ancillary else b"")
        else:
            self._lost(None)

    def _writable(self) -> None:
        rest, self._unsent = self._unsent, None
        if rest is not None:
            self.write(rest)
            if self._unsent is None:
                self._reader.resume_writing()

    def _lost(self, error: Exception | None) -> None:
        if self._fd >= 0:
            self.abort()
            self._reader.connection_lost(error)


def prepare(sock: socket.socket) -> None:
    """Never wait, send at once, and have the kernel stamp what arrives."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


async def connect(
    loop: asyncio.AbstractEventLoop,
    addresses: list[tuple[socket.AddressFamily, tuple[object, ...]]],
) -> socket.socket:
    """A socket connected to the first of `addresses` that answers; raises the last one's OSError"""
    problem = OSError("the host has no address")
    for family, address in addresses:
        sock = socket.socket(family, socket.SOCK_STREAM)
        prepare(sock)
        try:
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            problem = OSError(error.errno, explained(error))
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise problem


def arrival_ns(raw: bytes, seen_ns: int, offset_ns: int) -> int:
    """One stamp of the kernel on CLOCK_MONOTONIC, never after `seen_ns`, which stands in for none.

    `offset_ns` is realtime − monotonic now.
    """
    if len(raw) != TIMESPEC_BYTES:
        return seen_ns
    seconds: int
    nanoseconds: int
    seconds, nanoseconds = struct.unpack("qq", raw)
    return min(seconds * 1_000_000_000 + nanoseconds - offset_ns, seen_ns)
