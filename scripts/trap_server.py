"""A server with traps for benchmarks, one behaviour a path prefix, to see what results reveal.

    python scripts/trap_server.py PORT       -> http://127.0.0.1:PORT/<trap>/v1

Truth: the first token after 30 ms, then one every 5 ms, as many as asked for. Traps: `good` none;
`bundle` sends eight tokens a chunk; `half` ends at half the length; `errors` answers each tenth
request with status 500; `drift` grows slower by 1 % of its pace with every request.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from asked_help import answer_help

TRAPS = ("good", "bundle", "half", "errors", "drift")
WORD = " the"
FIRST_S, STEP_S = 0.030, 0.005
BUNDLE = 8


class Server:
    """Counts the requests of each trap."""

    def __init__(self) -> None:
        self.asked = dict.fromkeys(TRAPS, 0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *fields = head.decode("latin-1").split("\r\n")
                named = {k.lower(): v.strip() for k, _, v in (f.partition(":") for f in fields)}
                body = await reader.readexactly(int(named.get("content-length", 0)))
                path = line.split(" ")[1].strip("/").split("/")
                await self.answer(path, json.loads(body) if body else {}, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(
        self, path: list[str], body: dict[str, Any], writer: asyncio.StreamWriter
    ) -> None:
        """What the trap of this path says."""
        trap = path[0]
        if trap not in TRAPS or not body:
            listed = {"object": "list", "data": [{"id": "tiny", "object": "model"}]}
            await _reply(writer, listed if trap in TRAPS else {"ok": True})
            return
        self.asked[trap] += 1
        if trap == "errors" and self.asked[trap] % 10 == 0:
            await _reply(writer, {"error": {"message": "overloaded"}}, "500 Error")
            return
        tokens = int(body.get("max_completion_tokens") or body.get("max_tokens") or 16)
        tokens = max(1, tokens // 2) if trap == "half" else tokens
        slower = 1.0 + 0.01 * self.asked[trap] if trap == "drift" else 1.0
        await self.stream(writer, body, "chat" in path, tokens, trap, slower)

    async def stream(
        self,
        writer: asyncio.StreamWriter,
        body: dict[str, Any],
        chat: bool,
        tokens: int,
        trap: str,
        slower: float,
    ) -> None:
        """Tokens on the schedule, then the usage, as vLLM sends them."""
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        writer.write(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
        loop = asyncio.get_running_loop()
        start, sent = loop.time(), 0
        usage = {"prompt_tokens": _prompt_tokens(body), "completion_tokens": tokens}
        usage["total_tokens"] = sum(usage.values())
        while sent < tokens:
            n = min(tokens - sent, BUNDLE if trap == "bundle" else 1)
            due = start + slower * (FIRST_S + (sent + n - 1) * STEP_S)
            await asyncio.sleep(max(0.0, due - loop.time()))
            sent += n
            said = {"delta": {"content": WORD * n}} if chat else {"text": WORD * n}
            reason = ("stop" if trap == "half" else "length") if sent == tokens else None
            _event(writer, {"choices": [{"index": 0, **said, "finish_reason": reason}]}, chat)
            await writer.drain()
        _event(writer, {"choices": [], "usage": usage}, chat)
        _chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def _prompt_tokens(body: dict[str, Any]) -> int:
    prompt = body.get("prompt")
    if isinstance(prompt, list):
        return len(prompt)
    return len(str(prompt or body.get("messages")).split())


def _event(writer: asyncio.StreamWriter, said: dict[str, Any], chat: bool) -> None:
    kind = "chat.completion.chunk" if chat else "text_completion"
    message = {"id": "x", "object": kind, "created": 1, "model": "tiny", **said}
    _chunk(writer, f"data: {json.dumps(message)}\n\n".encode())


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


async def _reply(writer: asyncio.StreamWriter, said: object, status: str = "200 OK") -> None:
    body = json.dumps(said).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    writer.write(f"{head}\r\n\r\n".encode() + body)
    await writer.drain()


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.start_server(Server().serve, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    answer_help(__doc__)
    asyncio.run(main(int(sys.argv[1])))
