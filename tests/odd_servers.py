"""A server of many tempers, one for each path prefix, on a schedule of its own.

A script says when which bytes of an answer's body are handed over; whatever it leaves alone is the
truth: the first token after FIRST_S, then one every STEP_S, as many as `max_tokens` says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

FIRST_S, STEP_S = 0.012, 0.002
Event = tuple[float, bytes]
"""When, in seconds after the request, and which bytes of the body."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request: its number, from 1, at this mode; whether it is of a load, not of the probe."""

    number: int
    body: Mapping[str, Any]
    chat: bool

    @property
    def tokens(self) -> int:
        return int(self.body.get("max_tokens") or self.body.get("max_completion_tokens") or 16)

    @property
    def options(self) -> Mapping[str, Any]:
        found = self.body.get("stream_options") or {}
        assert isinstance(found, Mapping)
        return found

    @property
    def prompt_tokens(self) -> int:
        prompt = self.body.get("prompt")
        if prompt is None:
            prompt = self.body["messages"][-1]["content"]
        return len(prompt) if isinstance(prompt, list) else len(prompt.split())


def event(message: Any) -> bytes:
    """A message as one event."""
    text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


DONE = event("[DONE]")


def piece(ask: Ask, text: str = "a", key: str = "content", **choice: Any) -> dict[str, Any]:
    """A chunk with a piece of text."""
    said = {"delta": {key: text}} if ask.chat else {"text": text}
    return {"id": f"x-{ask.number}", "choices": [{"index": 0, **said, **choice}]}


def usage(ask: Ask, completion: Any, prompt: Any = None, **more: Any) -> dict[str, Any]:
    """A usage of so many tokens."""
    asked = ask.prompt_tokens if prompt is None else prompt
    return {"prompt_tokens": asked, "completion_tokens": completion, **more}


def due_s(token: int) -> float:
    """When the token is there, counted from 0."""
    return FIRST_S + token * STEP_S


def end(ask: Ask, tokens: Any = None, finish: str = "length", **more: Any) -> bytes:
    """Finish, usage where it was asked for, and [DONE]."""
    parts = [event(piece(ask, "", finish_reason=finish))]
    if ask.options.get("include_usage"):
        counted = usage(ask, ask.tokens if tokens is None else tokens, **more)
        parts.append(event({"choices": [], "usage": counted}))
    return b"".join([*parts, DONE])


def plain(ask: Ask, make: Callable[[int], Any] | None = None, n: int | None = None) -> list[Event]:
    """A token a chunk, each made by `make`, and no end."""
    made = make or (lambda _: piece(ask))
    return [(due_s(k), event(made(k))) for k in range(ask.tokens if n is None else n)]


def whole(ask: Ask, make: Callable[[int], Any] | None = None) -> list[Event]:
    """The truth."""
    return [*plain(ask, make), (due_s(ask.tokens - 1), end(ask))]


@dataclass(frozen=True, kw_only=True)
class Odd:
    """A temper: what it answers to a completion, whom it refuses, how it frames its answer.

    `refuses` gives status, further header lines and body, or None; `packs` changes the bytes of
    one write (an event's) into what goes onto the socket.
    """

    answers: Callable[[Ask], list[Event]] = whole
    refuses: Callable[[Ask], tuple[int, str, bytes] | None] = lambda _: None
    models: tuple[int, Any] = (200, {"data": [{"id": "m"}]})
    head: str = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    packs: Callable[[bytes], list[bytes]] = lambda data: [data]
    page: Callable[[int], str] | None = None
    """/metrics after so many tokens."""
    key: str | None = None
    """What every request has to bring."""


@dataclass
class Host:
    """The running server: its address, and what each mode was asked."""

    modes: Mapping[str, Odd]
    port: int = 0
    asked: dict[str, list[Ask]] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    headers: dict[str, list[str]] = field(default_factory=dict)

    def url(self, mode: str, scheme: str = "http") -> str:
        """Where a mode answers."""
        return f"{scheme}://127.0.0.1:{self.port}/{mode}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self.exchange(reader, writer):
                    pass
        finally:
            writer.close()

    async def exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
        length = next(
            (x.split(":")[1] for x in head.split("\r\n") if x.lower().startswith("content-len")), 0
        )
        raw = await reader.readexactly(int(length))
        name, _, rest = head.split(" ", 2)[1].strip("/").partition("/")
        self.headers.setdefault(name, []).append(head)
        mode = self.modes[name]
        if mode.key is not None and f"Authorization: Bearer {mode.key}\r\n" not in head:
            writer.write(reply(401, "", b"{}"))
            return True
        if not rest.endswith("completions"):
            status, body = self.beside(name, mode, rest)
            writer.write(reply(status, "", body) if status else b"")
            return bool(status)
        asked = self.asked.setdefault(name, [])
        ask = Ask(
            number=len(asked) + 1, body=json.loads(raw), chat=rest.endswith("chat/completions")
        )
        asked.append(ask)
        refusal = mode.refuses(ask)
        if refusal is not None:
            if refusal[0]:
                writer.write(reply(*refusal))
            return bool(refusal[0])
        await self.play(mode, ask, writer)
        self.tokens[name] = self.tokens.get(name, 0) + ask.tokens
        return "chunked" in mode.head

    def beside(self, name: str, mode: Odd, rest: str) -> tuple[int, bytes]:
        if rest == "v1/models":
            return mode.models[0], json.dumps(mode.models[1]).encode()
        if rest == "metrics" and mode.page is not None:
            return 200, mode.page(self.tokens.get(name, 0)).encode()
        return 404, b"no such page"

    async def play(self, mode: Odd, ask: Ask, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        chunked = "chunked" in mode.head
        writer.write(f"HTTP/1.1 200 OK\r\n{mode.head}\r\n".encode())
        for when_s, data in mode.answers(ask):
            await asyncio.sleep(max(0.0, began_s + when_s - loop.time()))
            for part in mode.packs(data):
                writer.write(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
                if part is not data:
                    await asyncio.sleep(0.0005)
        writer.write(b"0\r\n\r\n" if chunked else b"")
        await writer.drain()


def reply(status: int, more: str, body: bytes) -> bytes:
    """A whole answer."""
    return f"HTTP/1.1 {status} X\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


@contextlib.contextmanager
def serving(modes: Mapping[str, Odd], **tls: Any) -> Iterator[Host]:
    """The modes on a port of this machine, in a thread of their own."""
    host = Host(modes)
    loop = asyncio.new_event_loop()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(host.serve, "127.0.0.1", 0, limit=1 << 24, **tls)

    server = loop.run_until_complete(start())
    host.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        rest = asyncio.all_tasks(loop)
        for task in rest:
            task.cancel()
        loop.run_until_complete(_ended(rest))
        loop.close()


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    """Once all have ended and their transports, which close one turn later."""
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.01)
