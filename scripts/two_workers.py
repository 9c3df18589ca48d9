"""How the load client scales to a second worker, on a machine of two cores or more.

    python scripts/two_workers.py [ROUNDS]

One worker with a server on one core, against two workers with two servers on two: all is doubled,
so that a machine of two cores can tell. One answer of the truth server, 200 tokens, is taken down
and given to every request out of the kernel's memory (sendfile), for the truth server itself would
take most of a core. A round is one worker on the first core, two on both, one on the second, and
then the same with a program that has nothing to share, a checksum of memory: it tells what the
second core was worth at the time. Prints tokens per second, their ratio, and the checksum's; exit
code 1 when the median of the ratios is below 1.8. A load takes some ten seconds: of short ones
the opening of connections is a part.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import socket
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from asked_help import answer_help

from bench.engines.truth import serve_truth
from bench.traffic.worker import request_bytes
from bench.traffic.workers import send_load
from bench.traffic.workload import generate
from bench.values.record import LoadPoint, PlannedRequest, PointData
from bench.values.server import Server
from bench.values.spec import SloSpec, TruthSpec, WorkloadSpec
from bench.web.http import CHUNKED_END

STREAMS = 64
"""For each core."""
OUTPUT_TOKENS = 200
REQUESTS = 20_000
LEAST = 1.8
CHECKSUMS_S = 2.0
CORES = sorted(os.sched_getaffinity(0))[:2]
WORKLOAD = WorkloadSpec(
    name="two", input_tokens=64, output_tokens=OUTPUT_TOKENS, slo=SloSpec(ttft_ms=1e9, tpot_ms=1e9)
)


def main() -> int:
    """Alternate rounds of one worker and of two."""
    if len(CORES) < 2:
        print("two cores are needed", file=sys.stderr)
        return 2
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    requests = tuple(generate(WORKLOAD, REQUESTS, seed=(0,), vocab_size=None))
    answer = taken_down(requests[0])
    ratios = []
    for _ in range(rounds):
        times, one, two = scaled(lambda cores: rate(answer, requests, cores))
        machine, _, _ = scaled(checksums)
        print(
            f"one worker {one:>9,.0f} tokens/s, two {two:>9,.0f}: {times:.2f} times "
            f"(a checksum: {machine:.2f})",
            flush=True,
        )
        ratios.append(times)
    middle = statistics.median(ratios)
    print(f"median {middle:.2f} times, wanted {LEAST}")
    return 0 if middle >= LEAST else 1


def scaled(measure: Callable[[list[int]], float]) -> tuple[float, float, float]:
    """(how many times as fast two cores are as one, the rate of one, the rate of two)."""
    first = measure(CORES[:1])
    two = measure(CORES)
    one = (first + measure(CORES[1:])) / 2
    return two / one, one, two


def checksums(cores: list[int]) -> float:
    """Checksums per second of a process on each core, all at once."""
    context = multiprocessing.get_context("fork")
    together, done = context.Barrier(len(cores)), context.SimpleQueue()
    processes = [
        context.Process(target=checksum, args=(core, together, done), daemon=True) for core in cores
    ]
    for process in processes:
        process.start()
    total = sum(done.get() for _ in processes)
    for process in processes:
        process.join()
    return float(total)


def checksum(core: int, together: Any, done: Any) -> None:
    """Take checksums of a mebibyte for as long as a round's load takes, about."""
    os.sched_setaffinity(0, {core})
    memory = os.urandom(1 << 20)
    together.wait()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < CHECKSUMS_S:
        zlib.crc32(memory)
        count += 1
    done.put(count / (time.perf_counter() - began))


def taken_down(request: PlannedRequest) -> bytes:
    """What the truth server answers, byte for byte."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serve_truth(TruthSpec(ttft_ms=0, itl_ms=0), Path(folder), lambda _: None) as server,
    ):
        port = int(server.base_url.rpartition(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(request_bytes(server, request))
            data = b""
            while not data.endswith(CHUNKED_END):
                data += sock.recv(1 << 16)
    return data


def rate(answer: bytes, requests: tuple[PlannedRequest, ...], cores: list[int]) -> float:
    """Tokens per second from the first request sent to the last byte."""
    point = LoadPoint(index=0, repeat=0, mode="closed", concurrency=STREAMS * len(cores))
    with replaying(answer, cores) as port:
        server = Server(
            engine="truth",
            base_url=f"http://127.0.0.1:{port}/v1",
            served_model="truth",
            client_cores=tuple(cores),
        )
        data: PointData = send_load(server, point, requests, timeout_s=300, workers=len(cores))
    tokens = int(data.chunk_tokens.sum())
    assert tokens == len(requests) * OUTPUT_TOKENS, f"{tokens} tokens came"
    span_ns = int(data.requests["end_ns"].max() - data.requests["sent_ns"].min())
    return tokens / span_ns * 1e9


@contextlib.contextmanager
def replaying(answer: bytes, cores: list[int]) -> Iterator[int]:
    """The port of servers, a process for each core, that give `answer` to every request."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    listener.setblocking(False)
    start = multiprocessing.get_context("fork").Process
    processes = [
        start(target=replay, args=(listener, answer, {core}), daemon=True) for core in cores
    ]
    for process in processes:
        process.start()
    try:
        yield listener.getsockname()[1]
    finally:
        for process in processes:
            process.terminate()
            process.join()
        listener.close()


def replay(listener: socket.socket, answer: bytes, cores: set[int]) -> None:
    """Serve for ever. A request comes whole in one read: it is shorter than a packet of loopback,
    and its client waits for the answer before it sends the next."""
    os.sched_setaffinity(0, cores)
    kept = os.memfd_create("answer")
    os.write(kept, answer)
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    socks: dict[int, socket.socket] = {}
    left: dict[int, int] = {}
    while True:
        for fd, mask in epoll.poll():
            if fd == listener.fileno():
                try:
                    sock, _ = listener.accept()
                except BlockingIOError:  # another one took it
                    continue
                sock.setblocking(False)
                socks[sock.fileno()] = sock
                epoll.register(sock, select.EPOLLIN)
                continue
            if mask & (select.EPOLLHUP | select.EPOLLERR):
                epoll.unregister(fd)
                socks.pop(fd).close()
                continue
            if mask & select.EPOLLIN:
                if not take(socks[fd]):
                    epoll.unregister(fd)
                    socks.pop(fd).close()
                    continue
                left[fd] = len(answer)
            left[fd] -= give(fd, kept, len(answer) - left[fd], left[fd])
            epoll.modify(fd, select.EPOLLOUT if left[fd] else select.EPOLLIN)


def take(sock: socket.socket) -> bytes:
    """A request; empty where the client has gone."""
    try:
        return sock.recv(1 << 16)
    except OSError:
        return b""


def give(fd: int, kept: int, at: int, count: int) -> int:
    """Send what the socket takes of the kept answer; how many bytes that were."""
    try:
        return os.sendfile(fd, kept, at, count)
    except BlockingIOError:
        return 0


if __name__ == "__main__":
    answer_help(__doc__)
    sys.exit(main())
