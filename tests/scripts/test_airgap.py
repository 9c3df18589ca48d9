"""Packing for a host without network: slices, hashes, resuming, leaving out, installing."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import airgap_install  # noqa: E402
import airgap_pack  # noqa: E402

HERE = ".".join(map(str, sys.version_info[:2]))


def make_wheel(folder: Path, name: str, files: dict[str, bytes], tag: str = "py3-none-any") -> Path:
    """A wheel of these files, its RECORD right."""
    info = f"{name}-1.0.dist-info"
    inside = dict(files)
    inside[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()
    inside[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nTag: {tag}\n".encode()
    rows = [[n, airgap_install.record_hash(d), str(len(d))] for n, d in inside.items()]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*rows, [f"{info}/RECORD", "", ""]])
    path = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for n, d in inside.items():
            wheel.writestr(n, d)
        wheel.writestr(f"{info}/RECORD", text.getvalue())
    return path


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """Two wheels in slices of 700 bytes: each spans several."""
    first = make_wheel(
        tmp_path,
        "engine_toy",
        {
            "engine_toy/__init__.py": b"VALUE = 42\n",
            "engine_toy/data.bin": bytes(range(256)) * 8,
            "engine_toy-1.0.data/scripts/toy": b"#!python\nprint('toy')\n",
        },
    )
    second = make_wheel(tmp_path, "own_toy", {"own_toy.py": b"from engine_toy import VALUE\n"})
    airgap_pack.write_pack(
        [first, second],
        tmp_path / "pack",
        python=HERE,
        slice_bytes=700,
        pins=airgap_pack.Pins(host=("numpy", "no-such-thing==1"), check=("engine_toy", "own_toy")),
    )
    return tmp_path / "pack"


def install(pack: Path, tmp_path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """The installer as it lies in the pack, in a Python of its own."""
    words = ["--from", str(pack), "--store", str(tmp_path / "store")]
    words += ["--prefix", str(tmp_path / "prefix"), *more]
    command = [sys.executable, "-I", str(pack / "airgap_install.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_the_host_lacks_is_one_line_and_each_is_named_once() -> None:
    manifest = {"host": ["no-torch==1", "numpy", "no-arrow", "no-arrow"]}
    assert airgap_install.lacking(manifest) == ["no-torch, no-arrow are not there"]
    assert airgap_install.lacking({"host": ["no-arrow", "no-arrow"]}) == ["no-arrow is not there"]
    assert airgap_install.lacking({"host": []}) == []


def test_a_pack_installs_into_an_empty_prefix_and_its_modules_import(
    pack: Path, tmp_path: Path
) -> None:
    done = install(pack, tmp_path, "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 files are installed" in done.stdout
    assert "2 of 2 modules import" in done.stdout
    assert "no-such-thing is not there" in done.stderr
    assert "numpy" not in done.stderr
    script = tmp_path / "prefix" / "bin" / "toy"
    assert subprocess.run([script], capture_output=True, text=True, check=True).stdout == "toy\n"


def test_every_slice_is_of_the_chosen_size_and_what_they_hold_is_what_was_packed(
    pack: Path, tmp_path: Path
) -> None:
    manifest = json.loads((pack / "manifest.json").read_text())
    sizes = [(pack / piece["name"]).stat().st_size for piece in manifest["slices"]]
    assert len(sizes) > 3
    assert set(sizes[:-1]) == {700}
    assert sizes[-1] <= 700
    whole = b"".join((pack / p["name"]).read_bytes() for p in manifest["slices"])
    wheels = [tmp_path / f["name"] for f in manifest["files"]]
    assert whole == b"".join(w.read_bytes() for w in wheels)


def test_slices_come_one_at_a_time_and_each_call_goes_on(pack: Path, tmp_path: Path) -> None:
    names = sorted(p.name for p in pack.glob("slice-*"))
    for name in reversed(names):
        carried = tmp_path / f"carried-{name}"
        carried.mkdir()
        for part in (name, "manifest.json", "airgap_install.py"):
            (carried / part).write_bytes((pack / part).read_bytes())
        done = install(carried, tmp_path)
        left = [n for n in names if n < name]
        assert done.returncode == (1 if left else 0), done.stdout + done.stderr
        if left:
            assert f"still to be carried: {', '.join(left)}" in done.stdout
    # The second wheel lies in the last slices: it was installed before the first slice came.
    assert (tmp_path / "prefix/site/engine_toy/data.bin").read_bytes() == bytes(range(256)) * 8


def test_what_is_installed_is_not_installed_again(pack: Path, tmp_path: Path) -> None:
    assert install(pack, tmp_path).returncode == 0
    kept = tmp_path / "prefix/site/own_toy.py"
    kept.write_text("changed = True\n")
    assert install(pack, tmp_path).returncode == 0
    assert kept.read_text() == "changed = True\n"
    (tmp_path / "prefix/.installed/own_toy-1.0-py3-none-any.whl").unlink()  # as if cut off there
    assert install(pack, tmp_path).returncode == 0
    assert kept.read_text() == "from engine_toy import VALUE\n"


def test_a_damaged_slice_is_refused_by_name(pack: Path, tmp_path: Path) -> None:
    damaged = pack / "slice-002.bin"
    data = bytearray(damaged.read_bytes())
    data[100] ^= 1
    damaged.write_bytes(data)
    done = install(pack, tmp_path)
    assert done.returncode == 1
    assert "slice-002.bin is damaged" in done.stderr
    assert not (tmp_path / "store/slice-002.bin").exists()


def test_another_python_is_refused(pack: Path, tmp_path: Path) -> None:
    manifest = json.loads((pack / "manifest.json").read_text())
    (pack / "manifest.json").write_text(json.dumps({**manifest, "python": "3.1"}))
    done = install(pack, tmp_path)
    assert done.returncode == 1
    assert "the pack is for Python 3.1" in done.stderr


def test_packing_again_keeps_the_slices_that_are_right(pack: Path, tmp_path: Path) -> None:
    first, second = pack / "slice-001.bin", pack / "slice-002.bin"
    stamp = first.stat().st_mtime_ns
    right = second.read_bytes()
    second.write_bytes(b"cut off")
    (pack / "slice-999.bin").write_bytes(b"of an earlier pack")
    manifest = json.loads((pack / "manifest.json").read_text())
    airgap_pack.cut([tmp_path / f["name"] for f in manifest["files"]], pack, 700)
    assert first.stat().st_mtime_ns == stamp
    assert second.read_bytes() == right
    assert not (pack / "slice-999.bin").exists()


def test_what_the_host_does_not_need_is_left_out_of_wheel_and_record(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path,
        "big",
        {
            "big/__init__.py": b"",
            "big/_fa2.abi3.so": b"x" * 5000,
            "big/_C.cpython-311-x.so": b"a",
            "big/_C.cpython-312-x.so": b"b",
        },
    )
    text = "big/_fa2.abi3.so  # older boards\nbig/_C.cpython-{python}-*.so\n\n# nothing\n"
    patterns = airgap_pack.patterns_for("3.12", text)
    small = airgap_pack.trimmed(wheel, patterns, tmp_path / "trimmed")
    kept = set(zipfile.ZipFile(small).namelist())
    assert {"big/__init__.py", "big/_C.cpython-312-x.so"} <= kept
    assert not {"big/_fa2.abi3.so", "big/_C.cpython-311-x.so"} & kept
    record = zipfile.ZipFile(small).read("big-1.0.dist-info/RECORD").decode()
    assert "_fa2" not in record
    assert "cpython-312" in record
    airgap_install.install_wheel(small.read_bytes(), tmp_path / "prefix")  # its RECORD still holds
    assert airgap_pack.trimmed(make_wheel(tmp_path, "tiny", {}), patterns, tmp_path).name == (
        "tiny-1.0-py3-none-any.whl"
    )


def test_a_wheel_cannot_write_outside_of_the_prefix(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "evil", {"../outside.py": b"x"})
    with pytest.raises(airgap_install.PackError, match="outside of the prefix"):
        airgap_install.install_wheel(wheel.read_bytes(), tmp_path / "prefix")


def test_wheels_are_fetched_for_the_host_and_a_source_distribution_is_built(tmp_path: Path) -> None:
    index = tmp_path / "index"
    index.mkdir()
    make_wheel(index, "for_312", {"for_312.py": b""}, tag="cp312-cp312-manylinux_2_28_x86_64")
    make_wheel(index, "for_310", {"for_310.py": b""}, tag="cp310-cp310-manylinux_2_28_x86_64")
    sdist(index, "only_source")
    own = ["--no-index", "--find-links", str(index)]
    pins = ["for-312==1.0", "only_source==1.0"]
    found = airgap_pack.fetch(pins, tmp_path / "cache", "3.12", own)
    assert [p.name for p in found] == [
        "for_312-1.0-cp312-cp312-manylinux_2_28_x86_64.whl",
        "only_source-1.0-py3-none-any.whl",
    ]
    with pytest.raises(SystemExit, match=r"for_310==1\.0 could be neither fetched nor built"):
        airgap_pack.fetch(["for_310==1.0"], tmp_path / "cache", "3.12", own)


_BACKEND = """
import zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "only_source-1.0-py3-none-any.whl"
    info = "only_source-1.0.dist-info"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        about = "Metadata-Version: 2.1\\nName: only_source\\nVersion: 1.0\\n"
        wheel.writestr(f"{info}/METADATA", about)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""


def sdist(folder: Path, name: str) -> None:
    """A source distribution with a build backend of its own, so that it needs nothing."""
    project = "[build-system]\nrequires = []\nbuild-backend = 'own'\nbackend-path = ['.']\n"
    info = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    files = {"own.py": _BACKEND, "pyproject.toml": project, "PKG-INFO": info}
    with tarfile.open(folder / f"{name}-1.0.tar.gz", "w:gz") as tar:
        for file, text in files.items():
            member = tarfile.TarInfo(f"{name}-1.0/{file}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))


def test_a_pack_for_another_python_takes_no_wheel_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are packed into one folder, as `--python` of the installer's advice does."""
    index = tmp_path / "index"
    index.mkdir()
    for tag in ("cp311", "cp312"):
        make_wheel(index, "toy", {"toy.py": tag.encode()}, tag=f"{tag}-{tag}-manylinux_2_28_x86_64")
    own = make_wheel(tmp_path, "own_toy", {"own_toy.py": b""})
    monkeypatch.setattr(airgap_pack, "own_wheel", lambda _: own)
    pins = tmp_path / "pins.txt"
    pins.write_text("toy==1.0\n")
    words = ["--out", str(tmp_path / "pack"), "--pins", str(pins), "--pip=--no-index"]
    for python in ("3.12", "3.11"):
        airgap_pack.main([*words, f"--pip=--find-links={index}", "--python", python])
        manifest = json.loads((tmp_path / "pack" / "manifest.json").read_text())
        tag = "cp" + python.replace(".", "")
        assert any(f"-{tag}-" in entry["name"] for entry in manifest["files"])


def test_bench_s_own_modules_that_a_check_imports_are_there() -> None:
    pins = airgap_pack.read_pins(airgap_pack.PINS.read_text(encoding="utf-8"))
    own = [name for name in pins.check if name.startswith("bench.")]
    assert own
    assert [name for name in own if importlib.util.find_spec(name) is None] == []


def test_the_pins_of_the_project_are_read() -> None:
    pins = airgap_pack.read_pins(airgap_pack.PINS.read_text(encoding="utf-8"))
    assert "vllm==0.26.0" in pins.packed
    assert "antlr4-python3-runtime==4.9.3" in pins.packed
    assert len(pins.packed) == 1 + 3 + 68
    assert "torch==2.11.0" in pins.host
    assert "vllm.entrypoints.openai.api_server" in pins.check
    locked = (ROOT / "constraints/cuda.txt").read_text(encoding="utf-8")
    for name in ("antlr4-python3-runtime", "hydra-core", "omegaconf"):
        pin = next(p for p in pins.packed if p.startswith(f"{name}=="))
        assert f"{pin} " in locked
    quality = airgap_pack.read_pins(airgap_pack.QUALITY.read_text(encoding="utf-8"))
    scored = (ROOT / "constraints/quality.txt").read_text(encoding="utf-8")
    assert "lm-eval==0.4.13" in quality.packed
    assert all(f"\n{pin} " in f"\n{scored}" for pin in quality.packed)
    with pytest.raises(SystemExit, match="write name==version"):
        airgap_pack.read_pins("vllm>=0.26\n")
