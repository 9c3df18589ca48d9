"""What servers that misbehave are made of: the pieces of an answer, and how to load them."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

from bench.traffic.workers import send_load
from bench.values.record import OUTCOMES, LoadPoint, PlannedRequest, PointData
from bench.values.server import Server

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
Serve = Callable[[socket.socket, int], None]
Misbehave = Callable[[Serve], Server]


def event(text: str) -> bytes:
    """One streamed completion chunk, framed as an HTTP chunk."""
    body = b'data: {"choices":[{"index":0,"text":"%s"}]}\n\n' % text.encode()
    return b"%x\r\n%s\r\n" % (len(body), body)


def delta(said: dict[str, str], usage: int | None = None) -> bytes:
    """One streamed chat chunk, framed as an HTTP chunk."""
    message: dict[str, object] = {"choices": [{"index": 0, "delta": said}]}
    if usage is not None:
        message["usage"] = {"prompt_tokens": 2, "completion_tokens": usage}
    body = b"data: %s\n\n" % json.dumps(message).encode()
    return b"%x\r\n%s\r\n" % (len(body), body)


USAGE = (
    b'data: {"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":4}}\n\ndata: [DONE]\n\n'
)
END = b"%x\r\n%s\r\n0\r\n\r\n" % (len(USAGE), USAGE)


def request(connection: socket.socket) -> bytes:
    """One whole request from the connection; empty when the client has gone."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    wanted = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < wanted:
        part = connection.recv(65536)
        if not part:
            return b""
        body += part
    return head + body


def shoot(
    server: Server,
    count: int = 4,
    slots: int = 2,
    timeout_s: float = 5.0,
    prompt: str | None = None,
) -> PointData:
    """Send `count` requests of four tokens."""
    requests = tuple(
        PlannedRequest(index=i, prompt=prompt or [5, 6], input_tokens=2, output_tokens=4)
        for i in range(count)
    )
    point = LoadPoint(index=0, repeat=0, mode="closed", concurrency=slots)
    return send_load(server, point, requests, timeout_s=timeout_s)


def outcomes(data: PointData) -> list[str]:
    return [OUTCOMES[code] for code in data.requests["outcome"]]


def tokens_of(data: PointData) -> int:
    return int(data.chunk_tokens.sum())
