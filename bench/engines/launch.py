"""What every engine that is started here shares: a port, a log, a clock, and proof of readiness."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.engines import container
from bench.engines.exchange import Target
from bench.engines.failures import classify, message_of
from bench.engines.guard import GuardedProcess
from bench.engines.over_nodes import Parts
from bench.engines.probe import Capabilities, LoadingError, probe, wait_ready
from bench.engines.still_serves import why_not
from bench.values.cores import split
from bench.values.errors import BenchError, EngineError, InputError
from bench.values.interpreter import installed
from bench.values.redact import redacted_text
from bench.values.server import Progress, ProgressCallback, Server
from bench.values.spec import ContainedSpec, OtherSpec, RunSpec

_DYING_S = 10.0  # how long an engine that failed its first request is given to say why


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How an engine is started and asked: `command` and what the environment has beyond our own.

    `model` is the name to ask for, `wanted` what the probe is told (`bench.engines.probe.Wanted`).
    `counters` and `gauges` are paths below the server's root; None: those of /metrics, if there.
    `folders` are what a container has to see of this machine, read-only and at their own places.
    """

    command: Sequence[str]
    port: int
    model: str
    timeout_s: float
    env: Mapping[str, str] = field(default_factory=dict)
    wanted: Mapping[str, Any] = field(default_factory=dict)
    counters: str | None = None
    gauges: str | None = None
    folders: Sequence[str] = ()
    grace_s: float = 10.0


@contextlib.contextmanager
def launched(
    kind: str, launch: Launch, spec: RunSpec, run_dir: Path, progress: ProgressCallback
) -> Iterator[Server]:
    """The server of `launch`, in its container where the run names one, proven ready; EngineError,
    classified, when there is none or it dies.

    The caller adds what only its engine tells (`dataclasses.replace`).
    """
    log_path = run_dir / "engine.log"
    target = Target(base_url=f"http://127.0.0.1:{launch.port}/v1", timeout_s=launch.timeout_s)
    cores, client_cores = split(spec.load.own_cores)
    env = {**os.environ, **launch.env}
    engine, name = _contained(spec), container.name_of(run_dir)
    command, removal = tuple(launch.command), tuple[str, ...]()
    if engine is not None:
        command = container.inside(
            command,
            engine,
            name=name,
            gpus=spec.gpus,
            folders=launch.folders,
            env=launch.env,
            around=os.environ,
            cores=cores,
        )
        removal = container.removal(engine, name)
    with (
        clean_afterwards(log_path),
        GuardedProcess(
            command,
            env=env,
            log_path=log_path,
            cores=cores,
            grace_s=launch.grace_s,
            afterwards=removal,
        ) as process,
    ):
        start = Launched(process, log_path, launch.timeout_s, progress)
        found = start.wait(target, launch.model, **launch.wanted)
        process.remember()
        server = replace(
            found,
            engine=kind,
            argv=command,
            image=None if engine is None else container.image_facts(engine),
            pid=(engine and container.main_pid(engine, name)) or process.pid,
            log_path=log_path,
            startup_s=start.elapsed_s(),
            client_cores=client_cores,
            metrics_url=_below(target, launch.counters) or found.metrics_url,
            gauges_url=_below(target, launch.gauges),
        )
        try:
            yield server
        except BenchError as error:
            if server.is_alive() and listens(launch.port):
                raise
            raise start.death() from error  # what failed did so because the engine was gone
        if not server.is_alive() or why_not(target, server) is not None:
            raise start.death()


def _contained(spec: RunSpec) -> ContainedSpec | None:
    """The engine's options where it runs in a container, whose program has to be here."""
    engine = spec.engine
    if not isinstance(engine, ContainedSpec) or engine.container is None:
        return None
    container.check_program(engine)
    return engine


def _below(target: Target, path: str | None) -> str | None:
    return None if path is None else f"{target.root_url}{path}"


def program(
    engine: OtherSpec, names: Sequence[str], remedy: str, in_image: str | None = None
) -> tuple[str, ...]:
    """The words that start an engine: those that were given, or the first program found on PATH
    or beside this Python; in a container, where this machine's programs are none, `in_image` or the
    first name.

    EngineError(code="engine_not_installed") with the remedy where there is none.
    """
    command = engine.command
    if engine.container is not None:
        return command or (in_image or names[0],)
    if command:
        given = installed(command[0])
        if given is None:
            raise InputError(f"engine.command: {command[0]!r} is no program on this machine.")
        return (given, *command[1:])
    for name in names:
        found = installed(name)
        if found is not None:
            return (found,)
    raise EngineError(
        f"{names[0]} is neither on the PATH nor beside this Python. {remedy}, or name it with "
        "engine.command=[FILE].",
        code="engine_not_installed",
    )


class Launched:
    """One engine under observation: its log, its clock and its process."""

    def __init__(
        self,
        process: GuardedProcess,
        log_path: Path,
        timeout_s: float,
        progress: ProgressCallback,
        parts: Parts | None = None,
    ) -> None:
        self.process = process
        self.log_path = log_path
        self.timeout_s = timeout_s
        self.progress = progress
        self.parts = parts
        self.began_s = time.monotonic()

    def elapsed_s(self) -> float:
        return time.monotonic() - self.began_s

    def wait(self, target: Target, model: str, **wanted: Any) -> Capabilities:
        """The server's capabilities once it has generated; EngineError, classified, if it won't.

        A server that answers 503 is loading, and asked again. Keywords are those of
        `bench.engines.probe.Wanted`.
        """

        def attempt() -> Capabilities:
            try:
                return probe(target, served_model=model, **wanted)
            except LoadingError as error:
                raise EngineError(str(error), code="unreachable") from error

        try:
            return wait_ready(attempt, self.tick)
        except EngineError as error:
            if error.log_path is not None:
                raise
            # It answered, but wrongly: the cause is in the log, often only once it has died.
            deadline = time.monotonic() + _DYING_S
            while self.process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            failure = classify(self.log(), self.process.poll())
            if failure.code == "engine_failed":
                raise EngineError(str(error), code=error.code, log_path=self.log_path) from error
            raise EngineError(failure.line, code=failure.code, log_path=self.log_path) from error

    def tick(self) -> None:
        """Show progress; raise when the engine has died or its time is up."""
        self.progress(
            Progress(
                phase="starting engine", elapsed_s=self.elapsed_s(), detail=last_line(self.log_path)
            )
        )
        if self.parts is not None:
            self.parts.check()
        code = self.process.poll()
        if code is not None:
            failure = classify(self.log(), code)
            raise EngineError(failure.line, code=failure.code, log_path=self.log_path)
        if self.elapsed_s() > self.timeout_s:
            raise EngineError(
                f"the engine was not ready within {self.timeout_s:g} s. "
                "Raise engine.start_timeout_s, or see what it was doing.",
                code="start_timeout",
                log_path=self.log_path,
            )

    def death(self) -> EngineError:
        """Why the engine ended by itself after it was ready, once its whole tree is gone."""
        if self.parts is not None:
            self.parts.check()
        deadline = time.monotonic() + 2 * _DYING_S
        while (code := self.process.poll()) is None and time.monotonic() < deadline:
            time.sleep(0.1)
        failure = classify(self.log(), code)
        how = "died" if code is not None else "no longer answered"
        text = f"the engine {how} during the run: {failure.line}"
        return EngineError(text, code=failure.code, log_path=self.log_path)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")


def claim_port(wanted: int | None, host: str = "127.0.0.1") -> int:
    """A port on `host` that nobody listens on: `wanted`, or one that the system picks.

    vLLM binds with SO_REUSEPORT, so that a second one would start beside a first and share its
    requests: the port has to be found taken before the start.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe_socket:
        # Lets a port be taken whose last connections are still in TIME_WAIT; a listener refuses.
        probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe_socket.bind((host, wanted or 0))
        except OSError as error:
            raise EngineError(
                f"engine.port: {wanted} cannot be used ({error.strerror}). Free it, choose "
                "another, or leave engine.port unset to have a free one picked.",
                code="port_in_use",
            ) from error
        return int(probe_socket.getsockname()[1])


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Whether anybody takes connections on `host`:`port`; a dying engine closes it first."""
    try:
        socket.create_connection((host, port), timeout=2.0).close()
    except OSError:
        return False
    return True


def log_text(server: Server) -> str:
    """What the engine has said until now."""
    return "" if server.log_path is None else server.log_path.read_text(errors="replace")


def last_line(log_path: Path) -> str:
    """The last line of the log that says something, without vLLM's prefix; "" for none."""
    with log_path.open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - 4096))
        lines = log.read().decode("utf-8", "replace").replace("\r", "\n").splitlines()
    said = [text for text in map(message_of, lines) if any(c.isalnum() for c in text)]
    return redacted_text(said[-1][:200]) if said else ""


@contextlib.contextmanager
def clean_afterwards(log_path: Path) -> Iterator[None]:
    """Take keys out of a log that the engine wrote itself: vLLM prints the flags it was given."""
    try:
        yield
    finally:
        redact_log(log_path)


def redact_log(log_path: Path) -> None:
    """The log without what is a key; unchanged where there is none."""
    with contextlib.suppress(OSError):
        text = log_path.read_text(errors="surrogateescape")
        clean = redacted_text(text)
        if clean != text:
            log_path.write_text(clean, errors="surrogateescape")
