"""lm-eval's process: started, watched, ended with its parent, and explained when it fails."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.evaluators.sandbox import sandboxed
from bench.values.errors import BenchError
from bench.values.interpreter import python
from bench.values.json_text import json_text
from bench.values.server import Progress, ProgressCallback, Server
from bench.values.spec import QualitySpec

_ENDS_S = 10.0  # how long lm-eval may take to end when it is told to
_STOPPED = 65  # harness.STOPPED; that module imports lm-eval


def run_lm_eval(
    config: Mapping[str, Any],
    where: Path,
    server: Server,
    quality: QualitySpec,
    progress: ProgressCallback,
) -> None:
    """One call to its end, its output in lm_eval.log; BenchError, in one line, when it fails."""
    where = where.absolute()  # the sandbox has another working folder
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(parents=True)
    (where / "config.yaml").write_text(json_text(config, indent=1))
    log_path = where / "lm_eval.log"
    command = python("-m", "bench.evaluators.harness", "run")
    command += ["--config", str(where / "config.yaml")]
    env = environment(where, server, quality)
    if quality.run_generated_code:
        own = [p for p in (server.model_path, quality.task_dir) if p is not None]
        command = sandboxed(command, where, own, env)
    began_s = time.monotonic()
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # closed when this process dies: then lm-eval ends too
            stdout=log,
            stderr=subprocess.STDOUT,
            env=env,
        )
        try:
            while process.poll() is None:
                elapsed_s = time.monotonic() - began_s
                if elapsed_s > quality.timeout_s:
                    raise BenchError(
                        f"quality took longer than {quality.timeout_s:g} s: raise "
                        f"quality.timeout_s or set quality.limit. Log: {log_path}"
                    )
                said = last_line(log_path)
                progress(Progress(phase="scoring quality", elapsed_s=elapsed_s, detail=said))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.5)
        finally:
            _end(process)
    if process.returncode != 0:
        raise BenchError(f"{cause(log_path, process.returncode)} Log: {log_path}")


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_ENDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def environment(where: Path, server: Server, quality: QualitySpec) -> dict[str, str]:
    """What lm-eval's process is given beyond this one's environment."""
    env = {**os.environ, "BENCH_QUALITY_DIR": str(where), "TOKENIZERS_PARALLELISM": "false"}
    if quality.think_end is not None:
        env["BENCH_THINK_END"] = quality.think_end
    if quality.run_generated_code:
        env["HF_ALLOW_CODE_EVAL"] = "1"  # the second confirmation, which the metric itself wants
    said = server.headers.get("Authorization", "")
    bearer = said.removeprefix("Bearer ") if said.startswith("Bearer ") else ""
    if bearer:
        env["OPENAI_API_KEY"] = bearer  # by way of the environment: never written down
    more = {k: v for k, v in server.headers.items() if k != "Authorization" or not bearer}
    if more:
        env["BENCH_EXTRA_HEADERS"] = json_text(more)
    if server.ca_file is not None:
        env |= {"REQUESTS_CA_BUNDLE": server.ca_file, "SSL_CERT_FILE": server.ca_file}
    return env


def last_line(log_path: Path) -> str:
    """The last thing that lm-eval said, a progress bar's newest state included."""
    with log_path.open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - 2048))
        text = log.read().decode("utf-8", "replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else ""


def cause(log_path: Path, returncode: int) -> str:
    """Why lm-eval failed, in one line."""
    text = log_path.read_text(errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line.removeprefix("bench: ") for line in lines if line.startswith("bench: ")]
    if returncode == _STOPPED and own:
        return own[-1]
    errors = [line for line in lines if "Error" in line.split(":")[0] or "Error:" in line]
    said = (errors or lines or ["it said nothing"])[-1]
    return f"lm-eval failed (exit {returncode}): {said[:300]}."
