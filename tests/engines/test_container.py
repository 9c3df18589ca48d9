"""The engine in a container: the words for each, and a real one that is gone after SIGKILL."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.engines.container import check_program, inside, name_of, removal
from bench.engines.residue import leftovers, remove
from bench.values import ending
from bench.values.errors import EngineError, InputError
from bench.values.spec import RunSpec, VllmSpec

COMMAND = ("/venv/bin/python", "-P", "-m", "vllm.entrypoints.openai.api_server", "--port", "8000")
SERVED = ["python3", *COMMAND[2:]]  # -P is of this machine


def words(
    kind: Any, *, gpus: int = 2, around: dict[str, str] | None = None, **keys: Any
) -> list[str]:
    engine = VllmSpec(container=kind, image="vllm/vllm-openai:v1", **keys)
    found = list(
        inside(
            COMMAND,
            engine,
            name="bench-m-r-1",
            gpus=gpus,
            folders=["/models/m"],
            env={"A": "1"},
            around={"HF_HOME": "/hf", **(around or {})},
        )
    )
    if "--label" in found:  # whose it is: the process ids of this test
        at = found.index("--label")
        owner = json.loads(found.pop(at + 1).removeprefix("bench.owner="))
        assert owner["pid"] == os.getpid()
        del found[at]
    return found


def test_docker() -> None:
    assert words("docker", mounts=("/data:/d:ro",)) == [
        *("docker", "run", "--rm", "--init", "--name", "bench-m-r-1", "--network", "host"),
        *("--ipc", "host", "--volume", "/models/m:/models/m:ro", "--volume", "/hf:/hf"),
        *("--volume", "/data:/d:ro", "--env", "HF_HOME=/hf", "--env", "A=1"),
        *("--entrypoint", "", "--gpus", "all", "vllm/vllm-openai:v1", *SERVED),
    ]


def test_docker_lets_in_the_boards_that_were_chosen_and_numbers_them_anew() -> None:
    chosen = words("docker", around={"CUDA_VISIBLE_DEVICES": "2,3"}, shm_gib=16.0)
    assert chosen[chosen.index("--gpus") + 1] == '"device=2,3"'
    assert not any("CUDA_VISIBLE_DEVICES" in w for w in chosen)
    assert chosen[chosen.index("--shm-size") + 1] == "16g"
    assert "--ipc" not in chosen
    assert "--gpus" not in words("docker", gpus=0)


def test_podman_takes_devices_by_cdi_and_a_folder_as_root() -> None:
    chosen = words("podman", around={"CUDA_VISIBLE_DEVICES": "0,1"})
    assert [w for w in chosen if w.startswith("nvidia.com")] == [
        "nvidia.com/gpu=0",
        "nvidia.com/gpu=1",
    ]
    assert "nvidia.com/gpu=all" in words("podman")
    engine = VllmSpec(container="podman", image="/roots/vllm")
    asked = inside(COMMAND, engine, name="n", gpus=0, env={}, around={})
    assert list(asked[asked.index("--rootfs") :]) == ["--rootfs", "/roots/vllm", *SERVED]


def test_apptainer() -> None:
    assert words("apptainer", container_args=("--cleanenv",)) == [
        *("apptainer", "exec", "--no-home", "--nv", "--bind", "/models/m:/models/m:ro"),
        *("--bind", "/hf:/hf", "--env", "HF_HOME=/hf", "--env", "A=1", "--cleanenv"),
        *("vllm/vllm-openai:v1", *SERVED),
    ]


def test_enroot() -> None:
    assert words("enroot", around={"CUDA_VISIBLE_DEVICES": "1"}, gpus=1) == [
        *("enroot", "start", "--mount", "/models/m:/models/m:ro", "--mount", "/hf:/hf"),
        *("--env", "HF_HOME=/hf", "--env", "A=1", "--env", "NVIDIA_VISIBLE_DEVICES=1"),
        *("vllm/vllm-openai:v1", *SERVED),
    ]


def test_what_is_removed_by_name() -> None:
    made = {
        kind: removal(VllmSpec(container=kind, image="i"), "n")
        for kind in ("docker", "podman", "apptainer", "enroot")
    }
    assert made["docker"] == ("docker", "rm", "--force", "--volumes", "n")
    assert made["podman"] == ("podman", "rm", "--force", "--time", "0", "--volumes", "n")
    assert made["apptainer"] == made["enroot"] == ()
    assert removal(VllmSpec(), "n") == ()


def test_names_are_the_runs_and_legal(tmp_path: Path) -> None:
    name = name_of(tmp_path / "tiny" / "none+x-x0-2026")
    assert name == f"bench-tiny-none-x-x0-2026-{os.getpid()}"


def test_an_image_without_a_container_is_refused(run_spec: Callable[..., RunSpec]) -> None:
    with pytest.raises(InputError, match="belong together"):
        run_spec(engine_keys={"image": "i"})


def test_a_container_engine_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineError, match="no apptainer on this machine"):
        check_program(VllmSpec(container="apptainer", image="i"))


def root_of(folder: Path) -> Path:
    """An empty root of a file system; /usr is mounted into it."""
    root = folder / "root"
    for name in ("usr", "tmp", "proc", "sys", "dev", "etc", "run", "var"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    return root


OWNER = """
import os, sys, time
from pathlib import Path
from bench.engines.container import inside, removal
from bench.engines.guard import GuardedProcess
from bench.values.spec import VllmSpec
root, log = sys.argv[1:]
args = ("-v", "/usr:/usr:ro", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
engine = VllmSpec(container="podman", image=root, python="/bin/sleep", container_args=args)
name = f"bench-test-{os.getpid()}"
command = inside(("python", "600"), engine, name=name, gpus=0, env={}, around={"HF_HOME": root})
with GuardedProcess(command, env=os.environ, log_path=Path(log), grace_s=1.0,
                    afterwards=removal(engine, name)):
    time.sleep(600)
"""


def listed() -> str:
    asked = ("podman", "ps", "--all", "--format", "{{.Names}} {{.State}}")
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout


def with_podman(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if any(shutil.which(name) is None for name in ("podman", "runc")) or os.geteuid() != 0:
        pytest.skip("no podman with runc, or no root, is here (apt-get install podman runc)")
    (folder / "containers.conf").write_text('[engine]\nruntime = "runc"\n')
    monkeypatch.setenv("CONTAINERS_CONF", str(folder / "containers.conf"))


def test_a_real_container_is_removed_by_its_name_after_sigkill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_podman(tmp_path, monkeypatch)
    log = tmp_path / "engine.log"
    words = [sys.executable, "-c", OWNER, str(root_of(tmp_path)), str(log)]
    owner = subprocess.Popen(words, start_new_session=True)
    name = f"bench-test-{owner.pid}"
    try:
        deadline = time.monotonic() + 60
        while f"{name} Up" not in listed():
            if "Error" in (said := log.read_text() if log.exists() else ""):
                pytest.skip(f"podman cannot run a container here: {said.strip()[-200:]}")
            assert time.monotonic() < deadline, said
            time.sleep(0.2)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        deadline = time.monotonic() + 60
        while name in listed():
            assert time.monotonic() < deadline, listed()
            time.sleep(0.2)
    finally:
        owner.kill()
        subprocess.run(("podman", "rm", "--force", name), capture_output=True, check=False)


def test_a_real_container_whose_owner_has_ended_is_a_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that run, the one whose owner is gone goes, and the other stays."""
    with_podman(tmp_path, monkeypatch)
    args = ("-v", "/usr:/usr:ro", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
    root = str(root_of(tmp_path))
    engine = VllmSpec(container="podman", image=root, python="/bin/sleep", container_args=args)
    child = subprocess.Popen(["sleep", "60"])
    dead = ending.writer(child.pid)
    child.kill()
    child.wait()
    names = [f"bench-left-{os.getpid()}-{n}" for n in ("dead", "mine")]
    running = []
    try:
        for name, owner in zip(names, (dead, ending.writer()), strict=True):
            monkeypatch.setattr(ending, "writer", lambda pid=None, owner=owner: owner)
            words = inside(
                ("python", "60"), engine, name=name, gpus=0, env={}, around={"HF_HOME": root}
            )
            monkeypatch.undo()
            with_podman(tmp_path, monkeypatch)
            with (tmp_path / f"{name}.log").open("w") as log:
                running.append(subprocess.Popen(words, stdout=log, stderr=log))
        deadline = time.monotonic() + 60
        while not all(f"{name} Up" in listed() for name in names):
            said = "".join((tmp_path / f"{name}.log").read_text() for name in names)
            if "Error" in said:
                pytest.skip(f"podman cannot run a container here: {said.strip()[-200:]}")
            assert time.monotonic() < deadline, said
            time.sleep(0.2)
        found = [one for one in leftovers(str(tmp_path)) if one.path.name in names]
        assert [str(one.path) for one in found] == [f"podman/{names[0]}"]
        assert remove(found) == []
        assert names[0] not in listed()
        assert f"{names[1]} Up" in listed()
    finally:
        for name in names:
            words = removal(VllmSpec(container="podman", image="i"), name)
            subprocess.run(words, capture_output=True, check=False)
        for process in running:
            process.wait(30)
