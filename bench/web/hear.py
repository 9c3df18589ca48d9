"""One streamed answer, heard to its end: what a probe asks with. Blocking, under one deadline."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.web.fetch import LIMIT_BYTES, FetchError
from bench.web.http import Frame, MalformedError, frame

_HANGS_AFTER_S = 0.5
"""A connection still open so long after [DONE] will not be closed by the server."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A whole answer. `hangs`: after its [DONE] the connection stayed open; `took_s` to its end."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    hangs: bool = False
    took_s: float = 0.0

    def header(self, name: bytes) -> str:
        """A header's value, empty where there is none."""
        return self.headers.get(name, b"").decode("latin1")


class SilentError(FetchError):
    """The deadline passed before the answer ended."""


def hear(
    url: str, request: bytes, *, timeout_s: float, context: ssl.SSLContext | None = None
) -> Heard:
    """Send `request` and read the answer to its end; FetchError when none comes whole."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    began_s = time.monotonic()
    until_s = began_s + timeout_s
    data = b""
    done_s = 0.0
    try:
        raw = socket.create_connection(
            (parts.hostname or "", parts.port or (443 if tls else 80)), timeout=timeout_s
        )
        with contextlib.ExitStack() as opened:
            sock = opened.enter_context(raw)
            if tls:  # it takes the descriptor over, and has to be closed itself
                made = context or ssl.create_default_context()
                sock = opened.enter_context(_shaken(made, raw, parts.hostname, timeout_s))
            sock.sendall(request)
            while True:
                left_s = (done_s + _HANGS_AFTER_S if done_s else until_s) - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError
                sock.settimeout(left_s)
                part = sock.recv(1 << 16)
                data += part
                if len(data) > LIMIT_BYTES:
                    raise FetchError(f"more than {LIMIT_BYTES:,} bytes")
                found = frame(data, closed=not part)
                if found is not None and found.complete:
                    return _heard(data, found, began_s)
                if not part:
                    break
                if b"[DONE]" in data[-32:]:
                    done_s = done_s or time.monotonic()
    except SilentError:
        raise
    except TimeoutError as error:
        found = frame(data) if done_s else None
        if found is None:
            began = "it began to answer, and " if data else ""
            raise SilentError(f"{began}no end within {timeout_s:g} s") from error
        return _heard(data, found, began_s, hangs=True)
    except (OSError, MalformedError) as error:
        if isinstance(error, FetchError):
            raise
        raise FetchError(str(error).partition("] ")[2] or str(error) or "closed") from error
    found = frame(data, closed=True) if data else None
    if found is not None and b"[DONE]" in data[-64:]:
        return _heard(data, found, began_s)
    when = "before the answer ended" if data else "without a word"
    raise FetchError(f"the server closed the connection {when}")


def _shaken(
    context: ssl.SSLContext, raw: socket.socket, host: str | None, timeout_s: float
) -> ssl.SSLSocket:
    """The socket once TLS is agreed on; SilentError where the other side does not take part."""
    try:
        return context.wrap_socket(raw, server_hostname=host)
    except TimeoutError as error:
        raise SilentError(f"no TLS within {timeout_s:g} s") from error


def _heard(data: bytes, found: Frame, began_s: float, *, hangs: bool = False) -> Heard:
    return Heard(
        status=found.head.status,
        headers=found.head.headers,
        body=found.body(data),
        hangs=hangs,
        took_s=time.monotonic() - began_s,
    )
