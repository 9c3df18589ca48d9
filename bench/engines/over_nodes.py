"""The parts of an engine on other machines, started before the head's own and gone with it."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bench.engines.failures import classify
from bench.nodes.hosts import words
from bench.values.errors import EngineError
from bench.values.json_text import json_text
from bench.values.redact import redacted_text
from bench.values.spec import NodesSpec

_STARTED_S = 60.0
_STOP_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Part:
    """What runs on one machine. `afterwards` is owed once it is gone (`bench.engines.guard`)."""

    host: str
    command: Sequence[str]
    env: Mapping[str, str]
    afterwards: Sequence[str] = ()


class Parts:
    """The parts on all other machines, alive from entry to exit; `pids` are theirs over there.

    Each one's log is `engine-node-N.log` in the run's folder. EngineError when one does not start.
    """

    def __init__(
        self, nodes: NodesSpec, parts: Sequence[Part], run_dir: Path, grace_s: float = 10.0
    ) -> None:
        self.pids: tuple[int, ...] = ()
        self._nodes = nodes
        self._parts = tuple(parts)
        self._run_dir = run_dir
        self._grace_s = grace_s
        self._running: list[tuple[Part, subprocess.Popen[bytes], Path]] = []

    def __enter__(self) -> Parts:
        try:
            for number, part in enumerate(self._parts, start=1):
                self._start(part, self._run_dir / f"engine-node-{number}.log")
            self.pids = tuple(_pid(process, part.host) for part, process, _ in self._running)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def check(self) -> None:
        """EngineError, with what its log says, when a part has ended."""
        for part, process, log_path in self._running:
            code = process.poll()
            if code is not None:
                failure = classify(log_path.read_text(errors="replace"), code)
                raise EngineError(
                    f"the engine's part on {part.host} ended: {failure.line}",
                    code=failure.code,
                    log_path=log_path,
                )

    def _start(self, part: Part, log_path: Path) -> None:
        assert self._nodes.address is not None
        command = words(self._nodes, part.host, "bench.engines.part", (self._nodes.address,))
        with log_path.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                start_new_session=True,
            )
        self._running.append((part, process, log_path))
        told = {
            "command": list(part.command),
            "env": dict(part.env),
            "folder": os.getcwd(),  # noqa: PTH109 -- as the other side will see it
            "afterwards": list(part.afterwards),
            "grace_s": self._grace_s,
        }
        assert process.stdin is not None
        with suppress(OSError):  # one that is gone says so when it is asked
            process.stdin.write(f"{json_text(told)}\n".encode())

    def _stop(self) -> None:
        for _, process, _ in self._running:
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.close()
        for _, process, log_path in self._running:
            try:
                process.wait(self._grace_s + _STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
            _clean(log_path)


def _pid(process: subprocess.Popen[bytes], host: str) -> int:
    """The command's process id on its machine, once it has begun."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], _STARTED_S)
    said = process.stdout.readline().strip() if ready else b""
    if not said.isdigit():
        code = process.poll()
        how = f"ended with {code}" if code is not None else "did not begin"
        raise EngineError(f"the engine's part on {host} {how}.", code="engine_failed")
    return int(said)


def _clean(log_path: Path) -> None:
    with suppress(OSError):
        text = log_path.read_text(errors="surrogateescape")
        if (clean := redacted_text(text)) != text:
            log_path.write_text(clean, errors="surrogateescape")


def free_port(address: str) -> int:
    """A port at `address` that nobody listens on now."""
    import socket

    with socket.create_server((address, 0)) as probe:
        return int(probe.getsockname()[1])
