"""One HTTP exchange under a total deadline and a size limit. Standard library, no redirects.

A socket's own timeout counts from the last byte, so a server that drips one byte a second never
reaches it, and a body without an end fills the memory. Here the whole exchange ends at a deadline
(a timer shuts the socket down, whatever is being waited for), and no more than `limit_bytes` of
body are read.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LIMIT_BYTES = 16 * 2**20
"""The largest body that is read: ten times what vLLM's /metrics has with every histogram."""

_CHUNK = 65_536


class FetchError(OSError):
    """No usable answer: the text says why in a few words ("no end within 5 s")."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back: `headers` with lower-case names, `body` as bytes, at most the limit."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The body as text; what is no UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")


def fetch(
    url: str,
    *,
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float,
    limit_bytes: int = LIMIT_BYTES,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """GET `url`, or POST `data` to it; FetchError when it has not ended after `timeout_s`."""
    parts = urlsplit(url)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port, timeout_s, context)
    over = threading.Event()
    sockets: list[socket.socket] = []

    def end() -> None:
        over.set()
        # Shutting down wakes whoever waits on the socket; closing alone would not.
        for held in sockets:
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    try:
        connection.connect()
        # The connection lets go of its socket when an answer ends with the connection: hold it.
        sockets.append(connection.sock)
        path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        connection.request("GET" if data is None else "POST", path, data, dict(headers or {}))
        reply = connection.getresponse()
        body = _read(reply, limit_bytes)
        if over.is_set():
            raise FetchError(f"no end within {timeout_s:g} s")
        found = {name.lower(): value for name, value in reply.headers.items()}
        return Answer(status=reply.status, body=body, headers=found)
    except FetchError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        # The socket's own time-out (a TimeoutError that the kernel did not number) is as long as
        # the deadline: which of the two comes first is chance.
        if over.is_set() or (isinstance(error, TimeoutError) and error.errno is None):
            raise FetchError(f"no end within {timeout_s:g} s") from error
        raise FetchError(_said(error)) from error
    finally:
        timer.cancel()
        connection.close()


def _said(error: Exception) -> str:
    """What went wrong in a few words: without the number of the error, never empty."""
    if type(error) is http.client.BadStatusLine:  # its text is what came instead
        return f"no HTTP answer: {str(error)[:20]!r}"
    if isinstance(error, http.client.HTTPException):
        return f"no HTTP answer: {type(error).__name__}"
    return str(error).partition("] ")[2] or str(error) or type(error).__name__


def _connection(
    scheme: str, host: str, port: int | None, timeout_s: float, context: ssl.SSLContext | None
) -> http.client.HTTPConnection:
    if scheme == "https":
        context = context or ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
    return http.client.HTTPConnection(host, port, timeout=timeout_s)


def _read(reply: http.client.HTTPResponse, limit_bytes: int) -> bytes:
    """The body to its end; FetchError beyond the limit."""
    body = bytearray()
    while chunk := reply.read1(_CHUNK):
        body += chunk
        if len(body) > limit_bytes:
            raise FetchError(f"more than {limit_bytes:,} bytes")
    if reply.length:  # what Content-Length still promises: read1 ends without a word
        raise FetchError(f"cut off {reply.length:,} bytes before its end")
    return bytes(body)
