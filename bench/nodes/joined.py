"""The head's side: an agent on every other machine, for as long as the run."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from bench.nodes.agent import END
from bench.nodes.hosts import words
from bench.nodes.wire import Listener
from bench.values.clock import now_ns
from bench.values.errors import BenchError, InputError
from bench.values.node_clock import Offset, measured
from bench.values.spec import NodesSpec

T = TypeVar("T")
_CHILD_S = 60.0
_STOP_S = 5.0


class Node:
    """One other machine. `offsets` are what was learned of its clock so far, oldest first; they are
    written to `clock_file`, too, once that is set."""

    def __init__(self, host: str, number: int, head: Connection, listener: Listener) -> None:
        self.host = host
        self.number = number
        self.offsets: list[Offset] = []
        self.clock_file: Path | None = None
        self._head = head
        self._listener = listener

    def ask(self, function: Callable[..., T], *arguments: Any) -> T:
        """What a function says there; BenchError where the node is gone, or it raised."""
        try:
            self._head.send(("ask", function, arguments))
            kind, said = self._head.recv()
        except (OSError, EOFError) as error:
            raise BenchError(
                f"node {self.host} is gone: nothing answers there any more."
            ) from error
        if kind == "raised":
            raise BenchError(f"node {self.host}: {said}")
        answer: T = said
        return answer

    def start(self, function: Callable[..., None], *arguments: Any) -> Connection:
        """A connection to a process of its own on the node that runs `function(connection, …)`."""
        try:
            self._head.send(("start", function, arguments))
        except OSError as error:
            raise BenchError(
                f"node {self.host} is gone: nothing answers there any more."
            ) from error
        found = self._listener.accept(("child", self.number), _CHILD_S)
        if found is None:
            raise BenchError(f"node {self.host}: nothing could be started there.")
        return found

    def end_started(self) -> None:
        """End what was started there; one that is gone has ended it."""
        with contextlib.suppress(OSError, EOFError):
            self._head.send(END)
            self._head.recv()

    def ask_clock(self) -> Offset:
        """Its clock now, remembered."""
        found = measured(lambda: self.ask(now_ns))
        self.offsets.append(found)
        if self.clock_file is not None:
            # A disk that is full is said by what writes the run itself.
            with contextlib.suppress(OSError), self.clock_file.open("a") as file:
                print(json.dumps(asdict(found), allow_nan=False), file=file)
        return found


@contextlib.contextmanager
def joined(nodes: NodesSpec) -> Iterator[tuple[Node, ...]]:
    """An agent on every machine but this one, or () where it is alone.

    BenchError, with the last line that the start left, when one does not join in time.
    """
    if not nodes.others:
        yield ()
        return
    assert nodes.address is not None
    key = secrets.token_bytes(32)
    with contextlib.ExitStack() as stack:
        try:
            listener = Listener(nodes.address, key)
        except OSError as error:
            raise BenchError(
                f"nodes.address: {nodes.address} is no address of this machine ({error.strerror})."
            ) from error
        stack.callback(listener.close)
        agents = []
        for number, host in enumerate(nodes.others, start=1):
            said = stack.enter_context(tempfile.TemporaryFile())
            place = (nodes.address, str(listener.port), str(number))
            command = words(nodes, host, "bench.nodes.agent", place)
            process = stack.enter_context(_started(command, said.fileno(), host))
            assert process.stdin is not None
            with contextlib.suppress(OSError):  # one that is gone says below why
                os.write(process.stdin.fileno(), f"{key.hex()}\n".encode())
            agents.append((number, host, process, said))
        found = []
        for number, host, process, said in agents:
            head = _joins(listener, number, process, nodes.join_timeout_s)
            if head is None:
                said.seek(0)
                raise BenchError(_why_not(host, process, said.read(), nodes))
            stack.callback(head.close)
            found.append(Node(host, number, head, listener))
        yield tuple(found)


@contextlib.contextmanager
def _started(command: Sequence[str], log: int, host: str) -> Iterator[subprocess.Popen[bytes]]:
    """A start word's process; it ends with its stdin."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        raise InputError(
            f"nodes.start: {command[0]!r} cannot be run here ({error.strerror}), so nothing starts "
            f"on {host}."
        ) from error
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _joins(
    listener: Listener, number: int, process: subprocess.Popen[bytes], timeout_s: float
) -> Connection | None:
    """The agent's connection; None once its start has ended, or time is up."""
    waited_s = 0.0
    while waited_s < timeout_s and process.poll() is None:
        found = listener.accept(("node", number), 0.5)
        if found is not None:
            return found
        waited_s += 0.5
    return listener.accept(("node", number), 0.1)


def _why_not(host: str, process: subprocess.Popen[bytes], said: bytes, nodes: NodesSpec) -> str:
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    code = process.poll()
    how = (
        f"did not join within {nodes.join_timeout_s:g} s" if code is None else f"ended with {code}"
    )
    last = f": {lines[-1].strip()[:200]}" if lines else ""
    return (
        f"nodes: {host} {how}{last}. It has to reach {nodes.address} and to have bench at "
        "nodes.python."
    )
