"""A sampler on every other machine of a run: its lines come back over the words that started it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.meters.node import here
from bench.nodes.hosts import words
from bench.nodes.joined import Node
from bench.values.errors import BenchError, InputError
from bench.values.json_text import json_text
from bench.values.node_clock import CLOCK_FILE
from bench.values.spec import NodesSpec, RunSpec
from bench.values.telemetry_nodes import folder_of

_STOP_S = 5.0


def of_nodes(nodes: Sequence[Node]) -> dict[str, Any]:
    """What a run's other machines are, for its provenance; {} where there are none."""
    found = [{"host": node.host, **node.ask(here)} for node in nodes]
    return {"nodes": found} if found else {}


def check_nodes(spec: RunSpec, nodes: Sequence[Node]) -> None:
    """InputError where a machine is not like the head, or lacks what its part needs."""
    if not nodes:
        return
    mine = here()
    each = spec.gpus // spec.nodes.serving
    seen = {g["uuid"]: "this machine" for g in mine["gpus"]}
    for node in nodes:
        its = node.ask(here)
        if its["bench"] != mine["bench"]:
            raise InputError(
                f"nodes: {node.host} has bench {its['bench']}, here is {mine['bench']}."
            )
        if not spec.nodes.engine:
            continue
        served_by_vllm = spec.engine.kind == "vllm" and spec.engine.container is None
        if served_by_vllm and its["vllm"] != mine["vllm"]:
            raise InputError(f"nodes: {node.host} has vLLM {its['vllm']}, here is {mine['vllm']}.")
        if spec.engine.kind == "vllm" and len(its["gpus"]) < each:
            why = f" ({its['no_gpus']})" if its["no_gpus"] else ""
            raise InputError(
                f"gpus={spec.gpus} over {spec.nodes.serving} nodes are {each} on each, but "
                f"{node.host} has {len(its['gpus'])}{why}."
            )
        for board in its["gpus"]:
            if board["uuid"] in seen:
                raise InputError(f"nodes: {node.host} and {seen[board['uuid']]} are one machine.")
            seen[board["uuid"]] = node.host


@contextmanager
def sampled(
    nodes: Sequence[Node], spec: NodesSpec, telemetry: Path, config: Mapping[str, Any], file: str
) -> Iterator[None]:
    """Meter every node for as long as the context lasts; its clock is asked before and after.

    BenchError when one's sampler does not begin.
    """
    with ExitStack() as stack:
        begun = []
        for node in nodes:
            folder = folder_of(telemetry, node.number, node.host)
            folder.mkdir(exist_ok=True)
            node.clock_file = folder / CLOCK_FILE
            node.clock_file.unlink(missing_ok=True)
            node.ask_clock()
            told = json_text({**config, "place": f"{node.host}-"})
            command = words(spec, node.host, "bench.meters.sampler", ("-", told))
            begun.append(
                (node, folder, stack.enter_context(_sampler(command, folder / file, folder)))
            )
        for node, folder, process in begun:
            _wait(node.host, process, folder, folder / file, spec.join_timeout_s)
        try:
            yield
        finally:
            for node, _, _ in begun:
                with suppress(BenchError, OSError):  # one that is gone, or a full disk
                    node.ask_clock()


@contextmanager
def _sampler(
    command: Sequence[str], target: Path, folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with target.open("wb") as lines, (folder / "sampler.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=lines, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(
    host: str, process: subprocess.Popen[bytes], folder: Path, target: Path, timeout_s: float
) -> None:
    """Until the header stands."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with target.open("rb") as lines:
            first = lines.readline()
        if first.endswith(b"\n"):
            if first.startswith(b"failed "):
                said = first.decode(errors="replace").removeprefix("failed ").strip()
                raise BenchError(f"node {host}: {said}")
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    log = (folder / "sampler.log").read_text(errors="replace").strip().splitlines()
    said = f": {log[-1][:200]}" if log else ""
    raise BenchError(f"node {host}: the power sampler did not start{said}")
