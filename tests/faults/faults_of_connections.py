"""Faults of connections (kind 1) and of the engine's metrics (kind 4)."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

from fault import Place, fault
from misbehaving import END, HEAD, Serve, event, outcomes, request, shoot
from said import bench, refused

from bench.meters import engine_stats

RESET = struct.pack("ii", 1, 0)


def ends_as(serve: Serve, outcome: str, timeout_s: float = 20.0) -> Callable[[Place], None]:
    """Six requests to such a server all end as `outcome`, long before the deadline."""

    def do(place: Place) -> None:
        began_s = time.monotonic()
        data = shoot(place.misbehave(serve), count=6, slots=2, timeout_s=timeout_s)
        assert outcomes(data) == [outcome] * 6, outcomes(data)
        if outcome != "timeout":
            assert time.monotonic() - began_s < timeout_s, "only the deadline ended it"

    return do


def answering(*parts: bytes, reset: bool = False, wait_s: float = 0.0) -> Serve:
    """Answers every request with these parts, then closes or resets."""

    def serve(c: socket.socket, _: int) -> None:
        request(c)
        for part in parts:
            c.sendall(part)
            time.sleep(wait_s)
        if reset:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    return serve


WHOLE = event("a") + event("b") + event("c") + event("d")
FAILS = b'data: {"error": {"message": "no", "code": 500}}\n\n'
CONNECTIONS: dict[str, tuple[Serve, str]] = {
    "reset right behind data": (answering(HEAD + event("a"), reset=True), "connection"),
    "reset behind the head": (answering(HEAD, reset=True), "connection"),
    "reset behind many chunks": (answering(HEAD + event("a") * 500, reset=True), "connection"),
    "reset a moment after data": (
        answering(HEAD + event("a"), reset=True, wait_s=0.02),
        "connection",
    ),
    "reset before any byte": (answering(reset=True), "connection"),
    "reset behind a whole answer": (answering(HEAD + WHOLE + END, reset=True), "ok"),
    "closed in mid-stream": (answering(HEAD + event("a")), "connection"),
    "closed in the middle of a chunk": (answering(HEAD + event("a")[:-9]), "connection"),
    "closed in the head": (answering(HEAD[:40]), "connection"),
    "no HTTP at all": (answering(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "malformed"),
    "a chunk of negative size": (answering(HEAD + b"-5\r\nabc\r\n"), "malformed"),
    "a chunk of 2^64 bytes": (answering(HEAD + b"1" + b"0" * 17 + b"\r\n"), "malformed"),
    "an error in the stream": (
        answering(HEAD + b"%x\r\n%s\r\n0\r\n\r\n" % (len(FAILS), FAILS)),
        "server_error",
    ),
}
for _name, (_serve, _outcome) in CONNECTIONS.items():
    fault(1, _name, f"ends as {_outcome} at once, its slot is free")(ends_as(_serve, _outcome))


@fault(1, "silence", "ends at the deadline")
def _(place: Place) -> None:
    def serve(c: socket.socket, _: int) -> None:
        request(c)
        time.sleep(9)

    ends_as(serve, "timeout", 0.4)(place)


@fault(1, "one byte at a time", "ends at the deadline, however alive it looks")
def _(place: Place) -> None:
    def serve(c: socket.socket, _: int) -> None:
        request(c)
        c.sendall(HEAD)
        for byte in event("a") * 50:
            c.sendall(bytes([byte]))
            time.sleep(0.01)

    ends_as(serve, "timeout", 0.4)(place)


def metrics_served(body: Callable[[socket.socket], None]) -> Callable[[Place], None]:
    """The engine's metrics are not measured then, within seconds and megabytes."""

    def do(place: Place) -> None:
        def serve(c: socket.socket, _: int) -> None:
            c.recv(4096)
            body(c)

        url = place.misbehave(serve).base_url.removesuffix("/v1") + "/metrics"
        began_s = time.monotonic()
        assert engine_stats.read(url) is None
        assert time.monotonic() - began_s < 30

    return do


OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


def _drip(c: socket.socket) -> None:
    c.sendall(OK)
    for _ in range(100):
        c.sendall(b"#")
        time.sleep(0.1)


def _endless(c: socket.socket) -> None:
    c.sendall(OK)
    while True:
        c.sendall(b"# a comment that goes on\n" * 4000)


METRICS: dict[str, Callable[[socket.socket], None]] = {
    "garbage": lambda c: c.sendall(OK + b"vllm:x{ 1 2 3 {{\n"),
    "no HTTP": lambda c: c.sendall(b"\x16\x03\x01\x00\xff garbage\r\n\r\n"),
    "a head without an end": lambda c: c.sendall(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 5000),
    "a line of a megabyte": lambda c: c.sendall(OK + b"vllm:x " * 150_000),
    "cut short": lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nvllm:x 1\n"),
    "closed at once": lambda c: None,
    "HTTP 500": lambda c: c.sendall(b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n"),
    "another encoding": lambda c: c.sendall(OK + "vllm:x 1".encode("utf-16")),
    "dripping": _drip,
    "endless": _endless,
}
LONG = b"# TYPE vllm:x counter\nvllm:x_total %s\nvllm:y 2\n" % (b"9" * 400)


@fault(4, "metrics: a number of 400 digits", "left out, the rest is read")
def _(place: Place) -> None:
    assert engine_stats.parse(LONG.decode()) == {"y": 2.0}


for _name, _body in METRICS.items():
    fault(4, f"metrics: {_name}", "not measured, no traceback, in bounded time")(
        metrics_served(_body)
    )


def probed(body: Callable[[socket.socket], None]) -> Callable[[Place], None]:
    """The probe of such a server ends at its deadline or its limit, with one line."""

    def do(place: Place) -> None:
        def serve(c: socket.socket, _: int) -> None:
            request(c) if b"POST" in c.recv(4, socket.MSG_PEEK) else c.recv(4096)
            body(c)

        url = place.misbehave(serve).base_url
        named = ("engine=endpoint", "gpus=0", f"engine.base_url={url}", "engine.served_model=m")
        said = bench(*named, "engine.start_timeout_s=0.2", f"results_dir={place.folder}")
        refused(said, 1)
        assert said.took_s < 20

    return do


def _long_line(c: socket.socket) -> None:
    c.sendall(OK + b"data: ")
    while True:
        c.sendall(b"x" * 2**20)


PROBED: dict[str, Callable[[socket.socket], None]] = {
    "no HTTP": METRICS["no HTTP"],
    "a head without an end": METRICS["a head without an end"],
    "closed at once": METRICS["closed at once"],
    "dripping": _drip,
    "endless": _endless,
    "a line without an end": _long_line,
}
for _name, _body in PROBED.items():
    fault(4, f"probe: {_name}", "one line, exit 1, in bounded time")(probed(_body))
