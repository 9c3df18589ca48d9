"""The hot path: send prebuilt bytes, stamp what arrives, keep it; nothing else until the run ends.

One `Client` lives in one process and one event loop. It parses nothing while it measures: it only
looks for the byte pattern that ends a chunked response. `bench.traffic.worker` parses afterwards.
"""

from __future__ import annotations

import asyncio
import heapq
import socket
import ssl
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from bench.values.clock import AbsoluteTimer, now_ns, realtime_offset_ns
from bench.web import wire
from bench.web.http import CHUNKED_END, Frame, MalformedError, frame
from bench.web.poll import Poll

_CONNECTS_AT_ONCE = 128
_DONE = (b"[DONE]\n\n\r\n", b"[DONE]\n\n", b"[DONE]\r\n\r\n\r\n", b"[DONE]\r\n\r\n")
_ORDINARY = b"}\n\n\r\n"
"""How nearly every read ends: an event, whole in its chunk, and no [DONE]."""
_DONE_WAIT_S = 0.25
"""How long the end of a response may come after [DONE] before the answer counts as whole."""
_SWEEP_NS = 100_000_000


@dataclass(slots=True)
class Shot:
    """One request on its way: prebuilt bytes in, stamped reads out.

    `stamps` say when the client looked at each read, `arrived` hold the kernel's own stamps of
    them, raw (see `bench.web.wire`).
    """

    index: int
    session: int
    body: bytes
    gap_ns: int
    arrival_ns: int  # absolute; 0 in a closed loop
    next: Shot | None = None
    scheduled_ns: int = 0
    sent_ns: int = 0
    end_ns: int = 0
    stamps: list[int] = field(default_factory=list)
    arrived: list[bytes] = field(default_factory=list)
    reads: list[bytes] = field(default_factory=list)
    outcome: str = ""  # "" = the bytes decide, after the run
    error: str = ""


class Stream(asyncio.Protocol):
    """One connection; carries one request at a time. Over TLS it is an asyncio protocol."""

    __slots__ = (
        "arrived",
        "chunked",
        "client",
        "head",
        "reads",
        "retried",
        "shot",
        "stamps",
        "transport",
    )

    def __init__(self, client: Client) -> None:
        self.client = client
        self.transport: asyncio.Transport | wire.Wire | None = None
        self.shot: Shot | None = None
        self.stamps: list[int] = []
        self.arrived: list[bytes] = []
        self.reads: list[bytes] = []
        self.head: Frame | None = None
        self.chunked = False
        self.retried = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport; TCP_NODELAY is the loop's default."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class, same methods

    def fire(self, shot: Shot) -> None:
        """Send `shot` now."""
        assert self.transport is not None
        self.shot = shot
        self.stamps = shot.stamps
        self.arrived = shot.arrived
        self.reads = shot.reads
        self.head = None
        self.chunked = False
        if not shot.sent_ns:
            shot.sent_ns = now_ns()
        self.transport.write(shot.body)

    def data_received(self, data: bytes) -> None:
        """What TLS has deciphered: when its bytes arrived is not known."""
        self.received(data, b"")

    def received(self, data: bytes, arrived: bytes) -> None:
        """Stamp, keep, and see whether the response ends here."""
        stamp = now_ns()
        self.stamps.append(stamp)
        self.arrived.append(arrived)
        self.reads.append(data)
        # Backwards it is looked for in half the time.
        if self.chunked and data.endswith(_ORDINARY) and data.rfind(CHUNKED_END) < 0:
            return
        head = self.head
        if head is None:
            if self.shot is None:
                self._drop()  # bytes nobody asked for: this connection can't be trusted
                self.client.lost(self)
                return
            head = self._parse_head()
            if head is None:
                return
        if head.head.chunked:
            if CHUNKED_END in data:
                self._finish(stamp, keep=data.endswith(CHUNKED_END))
            elif data[0] in b"\r\n0" or data.endswith(b"\r\n\r\n"):
                self._check_split_end(stamp)
        elif head.end is not None and sum(map(len, self.reads)) >= head.end:
            self._finish(stamp, keep=True)
        if self.shot is not None and data.endswith(_DONE):
            self._await_end(stamp)

    def _await_end(self, stamp: int) -> None:
        """[DONE] has come but not the end of the response: some servers never send it."""
        if self.client.ends_at_done:
            self._finish(stamp, keep=False)
        else:
            shot = self.shot
            self.client.poll.soon(lambda: self._end_at_done(shot, stamp), _DONE_WAIT_S)

    def _end_at_done(self, shot: Shot | None, stamp: int) -> None:
        if shot is not None and self.shot is shot:
            self.client.ends_at_done = True
            self._finish(stamp, keep=False)

    def connection_lost(self, error: Exception | None) -> None:
        """The server closed: a whole response without a length, a stale keep-alive, or a loss."""
        self.transport = None
        shot = self.shot
        if shot is None:
            self.client.lost(self)
        elif self.reads or self.retried:
            shot.outcome = "" if error is None and self._ends_with_close() else "connection"
            shot.error = str(error or "the server closed the connection")
            self._finish(now_ns(), keep=False)
        else:
            # A server may close an idle connection at the moment it is used again. One retry, as
            # every HTTP client does; the first attempt's send time stands.
            self.retried = True
            self.client.reconnects += 1
            self.client.reconnect(self, shot)

    def resume_writing(self) -> None:
        """Nothing waits for that: a request is sent once."""

    def fail(self, outcome: str, text: str) -> None:
        """End the current request as `outcome` and give the connection up."""
        assert self.shot is not None
        self.shot.outcome = outcome
        self.shot.error = text
        self._finish(now_ns(), keep=False)

    def _parse_head(self) -> Frame | None:
        try:
            self.head = frame(b"".join(self.reads))
        except MalformedError as error:
            self.fail("malformed", str(error))
        self.chunked = self.head is not None and self.head.head.chunked
        return self.head

    def _check_split_end(self, stamp: int) -> None:
        """The terminator may be split over reads, or carry trailers: look closer."""
        tail = b"".join(self.reads[-8:])
        if CHUNKED_END in tail[-(len(self.reads[-1]) + 7) :]:
            self._finish(stamp, keep=tail.endswith(CHUNKED_END))
        elif b"\r\n0\r\n" in tail or tail.startswith(b"0\r\n"):
            try:
                whole = frame(b"".join(self.reads))
            except MalformedError as error:
                self.fail("malformed", str(error))
                return
            if whole is not None and whole.complete:
                self._finish(stamp, keep=False)

    def _ends_with_close(self) -> bool:
        return (
            self.head is not None and not self.head.head.chunked and self.head.head.length is None
        )

    def _finish(self, stamp: int, *, keep: bool) -> None:
        shot = self.shot
        assert shot is not None
        shot.end_ns = stamp
        self.shot = None
        head, self.head = self.head, None
        self.chunked = False
        self.retried = False
        if not keep or (head is not None and not head.head.keep_alive):
            self._drop()
        self.client.finished(self, shot)

    def _drop(self) -> None:
        if self.transport is not None:
            self.transport.abort()
            self.transport = None


class Client:
    """Drives shots over connections: `closed` keeps every slot busy, `open` follows arrivals.

    Both return when every request has ended; `finished_shots` then holds them all.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        timeout_s: float,
        tls: ssl.SSLContext | None = None,
        ends_at_done: bool = False,
        on_sweep: Callable[[Client], None] | None = None,
    ) -> None:
        self.host = host
        self.on_sweep = on_sweep
        self.port = port
        self.tls = tls
        self.ends_at_done = ends_at_done
        self.timeout_ns = int(timeout_s * 1e9)
        self.finished_shots: list[Shot] = []
        self.reconnects = 0
        self.in_flight = 0
        self.loop_lag_ns: list[int] = []
        self.offsets_ns = [realtime_offset_ns()]
        self._loop = asyncio.get_running_loop()
        self._addresses: list[tuple[socket.AddressFamily, tuple[object, ...]]] = []
        self._streams: set[Stream] = set()
        self._idle: deque[Stream] = deque()
        self._queue: deque[Shot] = deque()
        self._held: deque[Shot] = deque()
        self._max_in_flight = 0
        # Not `call_later`: it fires up to a millisecond early.
        self._later: list[tuple[int, int, Shot]] = []
        self.poll = Poll(self._loop, self._may_stay)
        self._later_timer = AbsoluteTimer(self.poll, self._launch_later)
        self._arrivals = AbsoluteTimer(self.poll, self._dispatch)
        self._sweep_timer = AbsoluteTimer(self.poll, self._sweep)
        self._sweep_due_ns = 0
        self._draining = False
        self._pending = 0
        self._closed_loop = False
        self._until_ns = 0
        self._last_heads = 0
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._connecting = asyncio.Semaphore(_CONNECTS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self, count: int) -> None:
        """Open connections before the run, so that connecting is not part of the load.

        Raises OSError when the server refuses or the machine has no ports or descriptors left.
        """

        async def one() -> None:
            async with self._connecting:
                self._idle.append(await self._connect())

        await asyncio.gather(*(one() for _ in range(count)))

    async def closed(
        self, shots: list[Shot], slots: int, start_ns: int, *, until_ns: int = 0, at_least: int = 0
    ) -> None:
        """Keep `slots` requests in flight from `start_ns` until `shots` (session heads) run out.

        `until_ns` above 0 ends the sending then, provided that `at_least` heads were sent.
        """
        self._closed_loop = True
        self._until_ns = until_ns
        self._last_heads = len(shots) - at_least
        self._pending = _count(shots)
        self._queue.extend(shots)
        await self._sleep_until(start_ns)
        for _ in range(slots):
            self._take_next()
        await self._drain()

    async def open(self, shots: list[Shot], *, max_in_flight: int = 0) -> None:
        """Send each of `shots` (session heads) at its `arrival_ns`, however busy the server is.

        `max_in_flight` above 0 holds back what would exceed it; its scheduled time stands.
        """
        self._max_in_flight = max_in_flight
        self._pending = _count(shots)
        self._queue.extend(shots)
        self._dispatch()
        await self._drain()

    def finished(self, stream: Stream, shot: Shot) -> None:
        """A request has ended: keep it, and give its connection and its turn to the next."""
        self.finished_shots.append(shot)
        self.in_flight -= 1
        self._pending -= 1
        if stream.transport is not None:
            self._idle.append(stream)
        else:
            self._streams.discard(stream)
        if self._held:
            self._send(self._held.popleft())
        if shot.next is not None:
            self._after(shot, shot.next)
        elif self._closed_loop:
            self._take_next()
        if self._pending == 0 and not self._done.done():
            self._done.set_result(None)

    def lost(self, stream: Stream) -> None:
        """An idle connection was closed by the server."""
        self._streams.discard(stream)
        if stream in self._idle:
            self._idle.remove(stream)

    def reconnect(self, stream: Stream, shot: Shot) -> None:
        """Send `shot` again over a fresh connection."""
        self._streams.discard(stream)
        self._spawn(self._connect_and_fire(shot, retried=True))

    def _after(self, shot: Shot, follower: Shot) -> None:
        """A session's next turn starts its gap after the previous turn ended."""
        due = shot.end_ns + follower.gap_ns
        if follower.gap_ns == 0:
            self._launch(follower, due)
            return
        heapq.heappush(self._later, (due, follower.index, follower))
        self._later_timer.set(self._later[0][0])

    def _launch_later(self) -> None:
        later = self._later
        while later and later[0][0] <= now_ns():
            due, _, shot = heapq.heappop(later)
            self._launch(shot, due)
        if later:
            self._later_timer.set(later[0][0])

    def _take_next(self) -> None:
        if not self._queue:
            return
        now = now_ns()
        if self._until_ns and now >= self._until_ns and len(self._queue) <= self._last_heads:
            self._pending -= _count(self._queue)
            self._queue.clear()
            return
        self._launch(self._queue.popleft(), now)

    def _dispatch(self) -> None:
        queue = self._queue
        while queue and queue[0].arrival_ns <= now_ns():
            shot = queue.popleft()
            self._launch(shot, shot.arrival_ns)
        if queue:
            self._arrivals.set(queue[0].arrival_ns)

    def _launch(self, shot: Shot, scheduled_ns: int) -> None:
        shot.scheduled_ns = scheduled_ns
        if self._max_in_flight and self.in_flight >= self._max_in_flight:
            self._held.append(shot)
        else:
            self._send(shot)

    def _send(self, shot: Shot) -> None:
        self.in_flight += 1
        while self._idle:
            stream = self._idle.pop()
            if stream.transport is not None and not stream.transport.is_closing():
                stream.fire(shot)
                return
            self._streams.discard(stream)
        self._spawn(self._connect_and_fire(shot))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect_and_fire(self, shot: Shot, *, retried: bool = False) -> None:
        try:
            async with asyncio.timeout(self.timeout_ns / 1e9), self._connecting:
                stream = await self._connect()
        except OSError as error:
            timed_out = isinstance(error, TimeoutError) and not error.errno
            shot.outcome = "timeout" if timed_out else "connection"
            shot.error = f"connect: {error.strerror or 'no answer'}"
            shot.end_ns = now_ns()
            shot.sent_ns = shot.sent_ns or shot.end_ns
            self.finished(Stream(self), shot)
            return
        stream.retried = retried
        stream.fire(shot)

    async def _connect(self) -> Stream:
        if self.tls is not None:
            _, stream = await self._loop.create_connection(
                lambda: Stream(self), self.host, self.port, ssl=self.tls
            )
        else:
            stream = Stream(self)
            sock = await wire.connect(self._loop, await self._resolved())
            stream.transport = wire.Wire(self.poll, sock, stream)
        self._streams.add(stream)
        return stream

    async def _resolved(self) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
        """The host's addresses, looked up once: no name is resolved while the load runs."""
        if not self._addresses:
            found = await self._loop.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
            self._addresses = [(family, address) for family, _, _, _, address in found]
        return self._addresses

    async def _sleep_until(self, when_ns: int) -> None:
        reached = self._loop.create_future()
        timer = AbsoluteTimer(self._loop, lambda: reached.set_result(None))
        timer.set(when_ns)
        await reached
        timer.close()

    async def _drain(self) -> None:
        """Wait for the last response; meanwhile enforce deadlines and watch the loop's own lag."""
        self._draining = True
        self._sweep_again()
        await self._done
        self.offsets_ns.append(realtime_offset_ns())
        for stream in list(self._streams):
            if stream.transport is not None:
                stream.transport.abort()
        for timer in (self._later_timer, self._sweep_timer, self._arrivals):
            timer.close()
        self.poll.close()

    def _may_stay(self) -> bool:
        """Whether the event loop has nothing to do: no connection to be made, no end to be told."""
        return self._draining and self.tls is None and not self._tasks and not self._done.done()

    def _sweep_again(self) -> None:
        self._sweep_due_ns = now_ns() + _SWEEP_NS
        self._sweep_timer.set(self._sweep_due_ns)

    def _sweep(self) -> None:
        self.loop_lag_ns.append(max(0, now_ns() - self._sweep_due_ns))
        self.offsets_ns.append(realtime_offset_ns())
        self._expire()
        if self.on_sweep is not None:
            self.on_sweep(self)
        self._sweep_again()

    def _expire(self) -> None:
        deadline = now_ns() - self.timeout_ns
        for stream in list(self._streams):
            shot = stream.shot
            if shot is not None and shot.sent_ns < deadline:
                stream.fail("timeout", f"no end after {self.timeout_ns / 1e9:g} s")


def _count(shots: Iterable[Shot]) -> int:
    total = 0
    for shot in shots:
        link: Shot | None = shot
        while link is not None:
            total += 1
            link = link.next
    return total
