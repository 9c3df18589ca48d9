"""The built-in truth server as an engine: tests, calibration and a demo in seconds."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from bench import __version__
from bench.engines.exchange import Target
from bench.engines.guard import GuardedProcess
from bench.engines.launch import claim_port, last_line
from bench.engines.probe import probe, wait_ready
from bench.engines.still_serves import why_not
from bench.engines.truth_server import UNPACED
from bench.values.cores import split
from bench.values.errors import EngineError
from bench.values.interpreter import python
from bench.values.server import Progress, ProgressCallback, Server
from bench.values.spec import RunSpec, TruthSpec

MODEL = "truth"
_TICK_S = 0.05
"""How often it is asked whether it is there: it starts in a third of a second."""


def argv(engine: TruthSpec, port: int, host: str = "127.0.0.1") -> tuple[str, ...]:
    """The command that serves the schedule of `engine` on `host`:`port`."""
    words = python("-m", "bench.engines.truth_server")
    words += ["--host", host, "--port", str(port)]
    words += ["--model", MODEL, "--ttft-ms", str(engine.ttft_ms), "--itl-ms", str(engine.itl_ms)]
    words += ["--tokens-per-chunk", str(engine.tokens_per_chunk)]
    if engine.slots is not None:
        words += ["--slots", str(engine.slots)]
    return tuple(words)


class TruthEngine:
    """Serves the exact schedule of a TruthSpec; see `bench.values.server.Engine`."""

    def serve(
        self, spec: RunSpec, run_dir: Path, progress: ProgressCallback
    ) -> AbstractContextManager[Server]:
        assert isinstance(spec.engine, TruthSpec)
        return serve_truth(
            spec.engine,
            run_dir,
            progress,
            own_cores=spec.load.own_cores,
            host=spec.nodes.listens_on,
        )


@contextlib.contextmanager
def serve_truth(
    engine: TruthSpec,
    run_dir: Path,
    progress: ProgressCallback,
    *,
    own_cores: int | None = None,
    host: str = "127.0.0.1",
) -> Iterator[Server]:
    """A ready truth server that leaves the client `own_cores`; EngineError when it does not answer
    in time."""
    cores, client_cores = split(own_cores)
    port = claim_port(engine.port, host)
    command = argv(engine, port, host)
    log_path = run_dir / "engine.log"
    began_s = time.monotonic()
    with GuardedProcess(
        command, env=dict(os.environ), log_path=log_path, grace_s=2.0, cores=cores
    ) as process:

        def tick() -> None:
            elapsed_s = time.monotonic() - began_s
            detail = last_line(log_path)
            progress(Progress(phase="starting engine", elapsed_s=elapsed_s, detail=detail))
            if process.poll() is not None or elapsed_s > engine.start_timeout_s:
                silent = process.poll() is None and detail.startswith("listening")
                why = "it listens and is not reached: is the loopback interface up?"
                raise EngineError(
                    f"the truth server did not start: {why if silent else detail}",
                    code="engine_failed",
                    log_path=log_path,
                )

        # What it can do is asked without pace: a schedule of seconds would outlast the start.
        root = f"http://{host}:{port}"
        target = Target(base_url=f"{root}{UNPACED}/v1", timeout_s=engine.start_timeout_s)
        found = wait_ready(lambda: probe(target, served_model=MODEL), tick, tick_s=_TICK_S)
        server = Server(
            engine="truth",
            base_url=f"{root}/v1",
            served_model=found.served_model,
            usage=found.usage,
            prompt=found.prompt,
            ignore_eos=found.ignore_eos,
            max_model_len=found.max_model_len,
            engine_version=__version__,
            argv=command,
            pid=process.pid,
            log_path=log_path,
            client_cores=client_cores,
            metrics_url=f"{root}/metrics",
            startup_s=time.monotonic() - began_s,
        )
        yield server
        why = why_not(target, server)
        if why is not None:
            how = "no longer answered" if process.poll() is None else "died"
            raise EngineError(
                f"the truth server {how} during the run: {why}",
                code="engine_failed",
                log_path=log_path,
            )
