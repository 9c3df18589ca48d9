"""A server that emits tokens on an exact schedule and reports what it really did.

It speaks the OpenAI completions protocol as vLLM does (chunked SSE, running usage), so the load
client cannot tell the difference. First token `ttft_ms` after the kernel had the request's last
byte, then one chunk every `itl_ms`; 0 means as fast as the socket takes them, and so does a path
that begins with /unpaced. With `slots`, requests beyond that number wait in line, which gives it a
knee like a real engine's.

GET /truth/log returns what was done: per request when the kernel received it and when each chunk
was handed to the socket, in CLOCK_MONOTONIC ns. GET /metrics gives vLLM's counters.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import heapq
import json
import resource
import signal
import socket
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import uvloop

from bench.values.clock import AbsoluteTimer, now_ns, realtime_offset_ns
from bench.values.json_text import json_text
from bench.web.poll import Poll
from bench.web.wire import Wire, arrival_ns, prepare

UNPACED = "/unpaced"
_BACKLOG = 4096
_OFFSET_AGE_NS = 50_000_000
_BATCH_CHUNKS = 16
"""Chunks per write when sending as fast as possible: fewer system calls, same bytes."""
_CREATED = 1_700_000_000
_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_FIRST_CHOICE = b'{"index":0,"text":"'
_PIECE = b' truth","logprobs":null,"finish_reason":null,"stop_reason":null}]'
_LAST = b' truth","logprobs":null,"finish_reason":"length","stop_reason":null}]'
_USAGE = b',"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d}'
_TAIL = b"0\r\n\r\n"
_HEAD_END = b"\r\n\r\n"


@dataclass(slots=True)
class Job:
    """One request being answered."""

    connection: Connection
    number: int
    name: str
    prompt_tokens: int
    output_tokens: int
    usage: str
    received_ns: int
    ttft_ns: int
    itl_ns: int
    before: bytes  # what each of its events begins with
    sent: int = 0
    due_ns: int = 0
    stamps_ns: list[int] = field(default_factory=list)


class TruthServer:
    """All state of the server; one event loop, no locks."""

    def __init__(
        self, *, ttft_ms: float, itl_ms: float, tokens_per_chunk: int, slots: int | None, model: str
    ) -> None:
        self.ttft_ns = round(ttft_ms * 1e6)
        self.itl_ns = round(itl_ms * 1e6)
        self.per_chunk = tokens_per_chunk
        self.slots = slots
        self.model = model
        self.running = 0
        self.waiting: deque[Job] = deque()
        self.finished: deque[Job] = deque(maxlen=200_000)
        self.generated_tokens = 0
        self.prompt_tokens = 0
        self._heap: list[tuple[int, int, Job]] = []
        self._numbers = 0
        self.poll = Poll(asyncio.get_running_loop(), lambda: False)
        self._timer = AbsoluteTimer(self.poll, self._tick)
        self._offset = realtime_offset_ns()
        self._words = model.encode()

    def listen(self, host: str, port: int) -> socket.socket:
        """Take connections from now on."""
        listener = socket.create_server((host, port), backlog=_BACKLOG)
        listener.setblocking(False)
        self.poll.add_reader(listener.fileno(), lambda: self._accept(listener))
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                sock, _ = listener.accept()
                prepare(sock)
                connection = Connection(self)
                connection.wire = Wire(self.poll, sock, connection)

    def received_ns(self, arrived: bytes, seen_ns: int) -> int:
        """When the kernel had what `arrived` is the stamp of."""
        if seen_ns - self._offset[0] > _OFFSET_AGE_NS:
            self._offset = realtime_offset_ns()
        return arrival_ns(arrived, seen_ns, self._offset[1])

    def admit(
        self, connection: Connection, body: dict[str, Any], name: str, stamp: int, *, paced: bool
    ) -> None:
        """Take a request in: run it now or put it in line."""
        prompt = body.get("prompt", body.get("messages", ""))
        options = body.get("stream_options") or {}
        usage = "continuous" if options.get("continuous_usage_stats") else "final"
        self._numbers += 1
        job = Job(
            connection=connection,
            number=self._numbers,
            name=name,
            prompt_tokens=max(1, len(prompt) if isinstance(prompt, list) else len(prompt) // 5),
            output_tokens=int(body.get("max_tokens", 16)),
            usage=usage if options.get("include_usage") else "none",
            received_ns=stamp,
            ttft_ns=self.ttft_ns if paced else 0,
            itl_ns=self.itl_ns if paced else 0,
            before=b'data: {"id":"cmpl-%d","object":"text_completion","created":%d,"model":"%s",'
            b'"choices":[%s' % (self._numbers, _CREATED, self._words, _FIRST_CHOICE),
        )
        connection.job = job
        if self.slots is not None and self.running >= self.slots:
            self.waiting.append(job)
        else:
            self._start(job, stamp)

    def abandoned(self, job: Job) -> None:
        """The client went away: its slot is free again."""
        job.connection.job = None
        if job in self.waiting:
            self.waiting.remove(job)
        else:
            job.sent = job.output_tokens  # the heap's next look at it does nothing
            self._release()

    def _start(self, job: Job, stamp: int) -> None:
        self.running += 1
        self.prompt_tokens += job.prompt_tokens
        job.due_ns = stamp + job.ttft_ns
        heapq.heappush(self._heap, (job.due_ns, job.number, job))
        if self._heap[0][2] is job:
            self._timer.set(job.due_ns)

    def _release(self) -> None:
        self.running -= 1
        if self.waiting:
            self._start(self.waiting.popleft(), now_ns())

    def _tick(self) -> None:
        """Send everything that is due. The schedule is absolute: a late tick never shifts it.

        What falls due meanwhile waits for the next tick: requests have to be read, too.
        """
        heap = self._heap
        until = now_ns()
        while heap and heap[0][0] <= until:
            job = heap[0][2]
            if job.connection.job is not job:
                heapq.heappop(heap)
                continue
            if job.itl_ns == 0:
                heapq.heappop(heap)
                self._burst(job)
                continue
            self._emit(job)
            if job.connection.job is job:
                job.due_ns += job.itl_ns
                heapq.heapreplace(heap, (job.due_ns, job.number, job))
            else:
                heapq.heappop(heap)
        if heap:
            self._timer.set(heap[0][0])

    def _emit(self, job: Job) -> None:
        """Write one chunk, and the end of the response with the last one."""
        data = self._chunk(job)
        if job.sent >= job.output_tokens:
            data += self._end(job)
        job.stamps_ns.append(now_ns())
        job.connection.wire.write(data)
        if job.sent >= job.output_tokens:
            self._finish(job)

    def _burst(self, job: Job) -> None:
        """Write chunks until the socket is full; `Connection.resume_writing` continues."""
        wire = job.connection.wire
        while job.connection.job is job and not wire.is_closing():
            if wire.is_full():
                return
            parts: list[bytes] = []
            while job.sent < job.output_tokens and len(parts) < _BATCH_CHUNKS:
                parts.append(self._chunk(job))
            last = job.sent >= job.output_tokens
            if last:
                parts.append(self._end(job))
            job.stamps_ns.extend([now_ns()] * (len(parts) - last))
            wire.write(b"".join(parts))
            if last:
                self._finish(job)
            else:  # let the other streams have their turn
                job.due_ns = now_ns()
                heapq.heappush(self._heap, (job.due_ns, job.number, job))
                self._timer.set(job.due_ns)
                return

    def resume(self, job: Job) -> None:
        """The socket has room again."""
        heapq.heappush(self._heap, (now_ns(), job.number, job))
        self._timer.set(1)

    def _finish(self, job: Job) -> None:
        self.finished.append(job)
        job.connection.job = None
        self._release()

    def _chunk(self, job: Job) -> bytes:
        tokens = min(self.per_chunk, job.output_tokens - job.sent)
        first = job.sent == 0
        job.sent += tokens
        self.generated_tokens += tokens
        event = job.before + (_LAST if job.sent >= job.output_tokens else _PIECE)
        if job.usage == "continuous":
            event += _USAGE % (job.prompt_tokens, job.prompt_tokens + job.sent, job.sent)
        event += b"}\n\n"
        chunk = b"%x\r\n%s\r\n" % (len(event), event)
        return _HEAD + chunk if first else chunk

    def _end(self, job: Job) -> bytes:
        events = b""
        if job.usage != "none":
            usage = _USAGE % (job.prompt_tokens, job.prompt_tokens + job.sent, job.sent)
            events = b"%s%s}\n\n" % (job.before[: -len(_FIRST_CHOICE)] + b"]", usage)
        events += b"data: [DONE]\n\n"
        return b"%x\r\n%s\r\n%s" % (len(events), events, _TAIL)

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """(status, content type, body) of a GET."""
        if path == "/v1/models":
            data: list[dict[str, Any]] = [
                {
                    "id": self.model,
                    "object": "model",
                    "owned_by": "bench-truth",
                    "max_model_len": 1 << 20,
                }
            ]
            return 200, "application/json", json_text({"object": "list", "data": data}).encode()
        if path in ("/health", "/ping"):
            return 200, "text/plain", b""
        if path == "/metrics":
            return 200, "text/plain; version=0.0.4", self._metrics().encode()
        if path == "/truth/log":
            log = [
                {"name": j.name, "received_ns": j.received_ns, "stamps_ns": j.stamps_ns}
                for j in self.finished
            ]
            return 200, "application/json", json_text(log).encode()
        return 404, "application/json", b'{"error":{"message":"no such path"}}'

    def _metrics(self) -> str:
        label = f'{{engine="0",model_name="{self.model}"}}'
        rows = (
            ("vllm:generation_tokens_total", "counter", self.generated_tokens),
            ("vllm:prompt_tokens_total", "counter", self.prompt_tokens),
            ("vllm:num_preemptions_total", "counter", 0),
            ("vllm:num_requests_running", "gauge", self.running),
            ("vllm:num_requests_waiting", "gauge", len(self.waiting)),
        )
        return "".join(f"# TYPE {n} {kind}\n{n}{label} {float(v)}\n" for n, kind, v in rows)


class Connection:
    """Reads requests off one connection; answers them in turn."""

    wire: Wire

    def __init__(self, server: TruthServer) -> None:
        self.server = server
        self.buffer = b""
        self.job: Job | None = None

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the request that nobody waits for any more."""
        if self.job is not None:
            self.server.abandoned(self.job)

    def resume_writing(self) -> None:
        """The socket drains again."""
        if self.job is not None and self.job.itl_ns == 0:
            self.server.resume(self.job)

    def received(self, data: bytes, arrived: bytes) -> None:
        """Collect a request; its clock starts when the kernel had the last of it."""
        stamp = self.server.received_ns(arrived, now_ns())
        self.buffer += data
        end = self.buffer.find(_HEAD_END)
        if end < 0:
            return
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        total = end + 4 + int(headers.get("content-length", 0))
        if len(self.buffer) < total:
            return
        body, self.buffer = self.buffer[end + 4 : total], self.buffer[total:]
        self._handle(method, path, headers, body, stamp)

    def _handle(
        self, method: str, path: str, headers: dict[str, str], body: bytes, stamp: int
    ) -> None:
        if method == "GET":
            self._reply(*self.server.answer(path.removeprefix(UNPACED)))
            return
        try:
            request = json.loads(body)
        except ValueError:
            self._reply(400, "application/json", b'{"error":{"message":"body is not JSON"}}')
            return
        if not request.get("stream"):
            self._reply(*self._whole(request))
            return
        name, paced = headers.get("x-request-id", ""), not path.startswith(UNPACED)
        self.server.admit(self, request, name, stamp, paced=paced)

    def _whole(self, request: dict[str, Any]) -> tuple[int, str, bytes]:
        """A response in one piece, at once (used by readiness probes)."""
        count = int(request.get("max_tokens", 16))
        choice = {"index": 0, "text": " truth" * count, "finish_reason": "length"}
        usage = {"prompt_tokens": 1, "completion_tokens": count, "total_tokens": count + 1}
        reply = {"object": "text_completion", "choices": [choice], "usage": usage}
        return 200, "application/json", json_text(reply).encode()

    def _reply(self, status: int, kind: str, body: bytes) -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        self.wire.write(head.encode() + body)


async def serve(args: argparse.Namespace) -> None:
    """Listen until SIGTERM."""
    server = TruthServer(
        ttft_ms=args.ttft_ms,
        itl_ms=args.itl_ms,
        tokens_per_chunk=args.tokens_per_chunk,
        slots=args.slots,
        model=args.model,
    )
    listener = server.listen(args.host, args.port)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print(f"listening on {args.host}:{args.port}", flush=True)
    await stopped.wait()
    listener.close()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="truth")
    parser.add_argument("--ttft-ms", type=float, default=50.0)
    parser.add_argument("--itl-ms", type=float, default=10.0)
    parser.add_argument("--tokens-per-chunk", type=int, default=1)
    parser.add_argument("--slots", type=int, default=None)
    args = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        uvloop.run(serve(args))
    except (OSError, OverflowError) as error:
        why = str(getattr(error, "strerror", None) or error).rstrip(".")
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            why = "something listens there already: stop it, or take another --port"
        parser.exit(1, f"truth server: cannot listen on {args.host}:{args.port}: {why}.\n")


if __name__ == "__main__":
    main()
