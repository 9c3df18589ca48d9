"""The engine inside a container: the words that start it there, and those that remove it by name.

docker and podman give it the host's network and IPC (or `shm_gib` of shared memory), so that ports
and shared memory are those of an engine without a container; apptainer and enroot share both.
Their options are those of `docker run`, `podman run`, `apptainer exec` and `enroot start`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.values import ending
from bench.values.errors import EngineError
from bench.values.json_text import json_text
from bench.values.spec import ContainedSpec, VllmSpec

PREFIX = "bench-"
OWNER = "bench.owner"
"""The label that names the process whose death makes a container a leftover."""

DAEMONS = ("docker", "podman")
"""Those whose containers are no children of ours, and may outlive us."""

_CACHES = ("HF_HOME", "HF_HUB_CACHE", "VLLM_CACHE_ROOT", "TRITON_CACHE_DIR")
_TIMEOUT_S = 10.0


def name_of(run_dir: Path) -> str:
    """The container's name: that of the run, so that a leftover tells whose it is."""
    safe = "".join(c if c.isalnum() or c in "_.-" else "-" for c in run_dir.name)
    return f"{PREFIX}{run_dir.parent.name}-{safe}-{os.getpid()}"


def inside(
    command: Sequence[str],
    engine: ContainedSpec,
    *,
    name: str,
    gpus: int,
    folders: Sequence[str] = (),
    env: Mapping[str, str],
    around: Mapping[str, str],
    cores: Sequence[int] = (),
) -> tuple[str, ...]:
    """`command` as the container engine starts it; for vLLM, whose first word is this environment's
    Python, with the image's own.

    `folders` are mounted read-only at their own places, `env` is what the engine gets beside the
    image's own environment, `around` the harness's: its caches are mounted, and its choice of
    GPUs is kept.
    """
    assert engine.image is not None
    caches = {key: around[key] for key in _CACHES if key in around}
    caches.setdefault("HF_HOME", str(Path("~/.cache/huggingface").expanduser()))
    mounts = [f"{folder}:{folder}:ro" for folder in folders]
    mounts += [f"{folder}:{folder}" for folder in dict.fromkeys(caches.values())]
    mounts += list(engine.mounts)
    chosen = around.get("CUDA_VISIBLE_DEVICES")
    build = {"docker": _docker, "podman": _podman, "apptainer": _apptainer, "enroot": _enroot}
    settings = {**caches, **env}
    if engine.container in DAEMONS and gpus:
        settings.pop("CUDA_VISIBLE_DEVICES", None)  # those that are let in are numbered anew
    words = build[engine.container or ""](
        engine, name=name, gpus=gpus, mounts=mounts, env=settings, chosen=chosen, cores=cores
    )
    inside = list(command[1:])
    if inside[:1] == ["-P"]:  # an image's Python may be older, and its working folder is its own
        del inside[0]
    start = engine.python if isinstance(engine, VllmSpec) else command[0]
    return (*words, start, *inside)


def _docker(
    engine: ContainedSpec,
    *,
    name: str,
    gpus: int,
    mounts: Sequence[str],
    env: Mapping[str, str],
    chosen: str | None,
    cores: Sequence[int],
) -> list[str]:
    boards = [] if not gpus else ["--gpus", f'"device={chosen}"' if chosen else "all"]
    return [*_run("docker", engine, name, mounts, env, cores), *boards, *_image(engine)]


def _podman(
    engine: ContainedSpec,
    *,
    name: str,
    gpus: int,
    mounts: Sequence[str],
    env: Mapping[str, str],
    chosen: str | None,
    cores: Sequence[int],
) -> list[str]:
    asked = (chosen.split(",") if chosen else ["all"]) if gpus else []
    boards = [word for one in asked for word in ("--device", f"nvidia.com/gpu={one}")]
    return [*_run("podman", engine, name, mounts, env, cores), *boards, *_image(engine)]


def _run(
    program: str,
    engine: ContainedSpec,
    name: str,
    mounts: Sequence[str],
    env: Mapping[str, str],
    cores: Sequence[int],
) -> list[str]:
    # podman's --init needs a program that its packages only recommend; `rm --force` ends it as well
    init = ["--init"] if program == "docker" else []
    words = [program, "run", "--rm", *init, "--name", name, "--network", "host"]
    shared = ["--ipc", "host"] if engine.shm_gib is None else ["--shm-size", f"{engine.shm_gib:g}g"]
    words += shared
    words += ["--label", f"{OWNER}={json_text(ending.writer())}"]
    words += ["--cpuset-cpus", ",".join(map(str, cores))] if cores else []
    for mount in mounts:
        words += ["--volume", mount]
    for key, value in env.items():
        words += ["--env", f"{key}={value}"]
    return [*words, *engine.container_args, "--entrypoint", ""]


def _image(engine: ContainedSpec) -> list[str]:
    """The image; for podman a folder is the root of a file system."""
    assert engine.image is not None
    is_root = engine.container == "podman" and engine.image.startswith("/")
    return ["--rootfs", engine.image] if is_root else [engine.image]


def _apptainer(
    engine: ContainedSpec,
    *,
    name: str,
    gpus: int,
    mounts: Sequence[str],
    env: Mapping[str, str],
    chosen: str | None,
    cores: Sequence[int],
) -> list[str]:
    words = ["apptainer", "exec", "--no-home", *(["--nv"] if gpus else [])]
    for mount in mounts:
        words += ["--bind", mount]
    for key, value in env.items():
        words += ["--env", f"{key}={value}"]
    return [*words, *engine.container_args, str(engine.image)]


def _enroot(
    engine: ContainedSpec,
    *,
    name: str,
    gpus: int,
    mounts: Sequence[str],
    env: Mapping[str, str],
    chosen: str | None,
    cores: Sequence[int],
) -> list[str]:
    words = ["enroot", "start"]
    for mount in mounts:
        place, _, rest = mount.partition(":")
        target, _, mode = rest.partition(":")
        words += ["--mount", ":".join((place, target or place, *([mode] if mode else [])))]
    boards = {"NVIDIA_VISIBLE_DEVICES": chosen or "all"} if gpus else {}
    for key, value in {**env, **boards}.items():
        words += ["--env", f"{key}={value}"]
    return [*words, *engine.container_args, str(engine.image)]


def removal(engine: ContainedSpec, name: str) -> tuple[str, ...]:
    """The command that removes the container by its name; () where its processes are children of
    the one that was started, and end with it."""
    if engine.container not in DAEMONS:
        return ()
    return removal_words(engine.container or "", name)


def removal_words(program: str, name: str) -> tuple[str, ...]:
    """How a program removes a container at once; podman alone would wait ten seconds first."""
    at_once = ("--time", "0") if program == "podman" else ()
    return (program, "rm", "--force", *at_once, "--volumes", name)


def main_pid(engine: ContainedSpec, name: str) -> int | None:
    """The engine's process as the host sees it; None where the container's client is its parent."""
    if engine.container not in DAEMONS:
        return None
    words = (engine.container, "inspect", "--format", "{{.State.Pid}}", name)
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
        return int(done.stdout.strip()) or None
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def check_program(engine: ContainedSpec) -> None:
    """EngineError when the container engine is not on this machine."""
    kind = getattr(engine, "kind", "engine")
    if engine.container is not None and shutil.which(engine.container) is None:
        raise EngineError(
            f"engine.container={engine.container}: there is no {engine.container} on this machine. "
            f"Install it, or leave engine.container unset to serve with this machine's {kind}.",
            code="engine_not_installed",
        )


def image_facts(engine: ContainedSpec) -> dict[str, Any] | None:
    """Name, id and digest of the image that serves, as the container engine tells them; of a file
    its SHA-256. A value is None where it is not known: a folder has no digest. None without one."""
    if engine.container is None or engine.image is None:
        return None
    found: dict[str, Any] = {"program": engine.container, "name": engine.image}
    file = Path(engine.image)
    if engine.container not in DAEMONS or engine.image.startswith("/"):
        digest = f"sha256:{_sha256(file)}" if file.is_file() else None
        return {**found, "id": None, "digest": digest}
    words = (engine.container, "image", "inspect", engine.image)
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
        told = json.loads(done.stdout)[0]
        names = [str(one) for one in told.get("RepoDigests") or ()]
        digest = told.get("Digest") or (names[0].rpartition("@")[2] if names else None)
        return {**found, "id": told.get("Id"), "digest": digest}
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, AttributeError):
        return {**found, "id": None, "digest": None}


def _sha256(file: Path) -> str:
    with file.open("rb") as read:
        return hashlib.file_digest(read, "sha256").hexdigest()
