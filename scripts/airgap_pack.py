"""Pack a working vLLM and this project, in slices, for a host without network.

    python scripts/airgap_pack.py --out DIR [--python 3.12] [--slice-mib 60]

Fetches the wheels that `constraints/airgap-*.txt` pin for the *host's* Python (pip resolves nothing
and takes no dependencies), builds those that have a source distribution only and this project's
own, leaves out what constraints/airgap-leave-out.txt names, and cuts all of it into slices. Run it
again to go on where it was: what is fetched and what is cut is kept when its hash is right.
Carry DIR's slices, its manifest.json and its airgap_install.py.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from airgap_install import FORMAT, MANIFEST, sha256_of, whole

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "constraints" / "airgap-vllm-0.26.0.txt"
QUALITY = ROOT / "constraints" / "airgap-quality.txt"
LEAVE_OUT = ROOT / "constraints" / "airgap-leave-out.txt"
OLDEST = 11
"""The oldest Python that bench runs on is 3.OLDEST."""
_PLATFORMS = tuple(
    f"{name}_x86_64"
    for name in (*(f"manylinux_2_{n}" for n in range(39, 4, -1)), "manylinux2014", "manylinux1")
)


@dataclass(frozen=True, kw_only=True)
class Pins:
    """What a pin file says: `name==version` to pack, what the host has, what must import."""

    packed: tuple[str, ...] = ()
    host: tuple[str, ...] = ()
    check: tuple[str, ...] = ()


def read_pins(text: str) -> Pins:
    """The pins of a file; `# host: …` and `# check: …` are read, other comments are not."""
    packed: list[str] = []
    marked: dict[str, list[str]] = {"host": [], "check": []}
    for line in text.splitlines():
        mark = re.match(r"#\s*(host|check):\s*(.*)", line)
        if mark:
            marked[mark[1]] += mark[2].split()
        elif pin := line.partition("#")[0].strip():
            if "==" not in pin:
                raise SystemExit(f"{pin!r} is no pin: write name==version.")
            packed.append(pin)
    return Pins(packed=tuple(packed), host=tuple(marked["host"]), check=tuple(marked["check"]))


def normalised(name: str) -> str:
    """A distribution's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def cached(pin: str, folder: Path) -> Path | None:
    """The wheel of a pin that was fetched or built before."""
    name, _, version = pin.partition("==")
    for path in sorted(folder.glob("*.whl")):
        parts = path.name.split("-")
        if normalised(parts[0]) == normalised(name) and parts[1].partition("+")[0] == version:
            return path
    return None


def fetch(pins: Sequence[str], folder: Path, python: str, extra: Sequence[str] = ()) -> list[Path]:
    """The wheels of all pins for that Python: fetched at once, else one by one, else built."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [pin for pin in pins if cached(pin, folder) is None]
    if wanted and not _download(wanted, folder, python, extra):
        for pin in wanted:
            if cached(pin, folder) is None and not _download([pin], folder, python, extra):
                print(f"building {pin}: it has no wheel for Python {python}", file=sys.stderr)
                _build(pin, folder, extra)
    found = {pin: cached(pin, folder) for pin in pins}
    absent = [pin for pin, path in found.items() if path is None]
    if absent:
        raise SystemExit(f"no wheel of {', '.join(absent)} in {folder}.")
    return [path for path in found.values() if path is not None]


def _download(pins: Sequence[str], folder: Path, python: str, extra: Sequence[str]) -> bool:
    words = ["download", "--no-deps", "--only-binary", ":all:", "--implementation", "cp"]
    words += ["--python-version", python, "--dest", str(folder), *extra]
    for platform in _PLATFORMS:
        words += ["--platform", platform]
    return _pip([*words, *pins]).returncode == 0


def _build(pin: str, folder: Path, extra: Sequence[str]) -> None:
    done = _pip(["wheel", "--no-deps", "--wheel-dir", str(folder), *extra, pin])
    built = cached(pin, folder)
    if done.returncode or built is None:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        raise SystemExit(f"{pin} could be neither fetched nor built: {' '.join(last)}")
    if not built.name.endswith("-none-any.whl"):
        raise SystemExit(f"{built.name} is built for this machine's Python, not the host's.")


def _pip(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def own_wheel(folder: Path) -> Path:
    """This project's wheel, built afresh from the checkout."""
    for old in folder.glob("selfhost_bench-*.whl"):
        old.unlink()
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"this project's wheel cannot be built: {done.stderr.strip()[-300:]}")
    return next(folder.glob("selfhost_bench-*.whl"))


def trimmed(wheel: Path, patterns: Sequence[str], folder: Path) -> Path:
    """The wheel without the files that a pattern names, RECORD rewritten; itself if none does."""
    with zipfile.ZipFile(wheel) as source:
        names = [i.filename for i in source.infolist()]
        gone = {n for n in names if any(fnmatch(n, p) for p in patterns)}
        if not gone:
            return wheel
        target = folder / wheel.name
        mark = target.with_suffix(".left-out")
        wanted = hashlib.sha256("\n".join(sorted(gone)).encode()).hexdigest()
        if target.is_file() and mark.is_file() and mark.read_text() == wanted:
            return target
        folder.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
            for info in source.infolist():
                if info.filename in gone:
                    continue
                data = source.read(info)
                if info.filename.endswith(".dist-info/RECORD"):
                    data = _without(data, gone)
                out.writestr(info, data, zipfile.ZIP_DEFLATED, 9)
        part.replace(target)
        mark.write_text(wanted)
        return target


def _without(record: bytes, gone: set[str]) -> bytes:
    rows = [row for row in csv.reader(io.StringIO(record.decode())) if row and row[0] not in gone]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def patterns_for(python: str, text: str) -> list[str]:
    """What a leave-out file names; `{python}` stands for every CPython but the host's."""
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    own = "3" + python.partition(".")[2]
    others = [f"3{minor}" for minor in range(8, 20) if f"3{minor}" != own]
    return [
        pattern.replace("{python}", other)
        for pattern in filter(None, lines)
        for other in (others if "{python}" in pattern else [""])
    ]


def cut(files: Sequence[Path], out: Path, slice_bytes: int) -> list[dict[str, Any]]:
    """Write the files, one after the other, as slices; those that stand already are kept."""
    out.mkdir(parents=True, exist_ok=True)
    pieces = []
    for number, content in enumerate(_blocks(files, slice_bytes), 1):
        path = out / f"slice-{number:03}.bin"
        digest = hashlib.sha256(content).hexdigest()
        piece = {"name": path.name, "bytes": len(content), "sha256": digest}
        if not whole(path, piece):
            part = path.with_suffix(".part")
            part.write_bytes(content)
            part.replace(path)
        pieces.append(piece)
    for stale in set(out.glob("slice-*.bin")) - {out / str(p["name"]) for p in pieces}:
        stale.unlink()
    return pieces


def _blocks(files: Sequence[Path], size: int) -> Iterator[bytes]:
    """The concatenated files in blocks of `size` bytes, the last one shorter."""
    waiting = bytearray()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(size - len(waiting)):
                waiting += block
                if len(waiting) == size:
                    yield bytes(waiting)
                    waiting.clear()
    if waiting:
        yield bytes(waiting)


def write_pack(
    files: Sequence[Path],
    out: Path,
    *,
    python: str,
    slice_bytes: int,
    pins: Pins,
    left_out: Sequence[str] = (),
) -> dict[str, Any]:
    """Slices, manifest and installer of these wheels in `out`; the manifest."""
    manifest = {
        "format": FORMAT,
        "python": python,
        "host": list(pins.host),
        "check": list(pins.check),
        "left_out": list(left_out),
        "files": [
            {"name": p.name, "bytes": p.stat().st_size, "sha256": sha256_of(p)} for p in files
        ],
        "slices": cut(files, out, slice_bytes),
    }
    (out / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(Path(__file__).with_name("airgap_install.py"), out / "airgap_install.py")
    return manifest


def main(argv: list[str] | None = None) -> int:
    """Fetch, build, trim, cut."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--python", default="3.12", help="the host's Python, as 3.12")
    parser.add_argument("--slice-mib", type=float, default=60.0)
    parser.add_argument("--pins", type=Path, action="append", help="pin files, repeatable")
    parser.add_argument("--leave-out", type=Path, default=LEAVE_OUT)
    parser.add_argument(
        "--pip", action="append", default=[], help="an argument for pip, repeatable"
    )
    given = parser.parse_args(argv)
    if not re.fullmatch(r"3\.\d+", given.python) or given.slice_mib <= 0:
        parser.error("--python is written as 3.12 and --slice-mib is above 0")
    if int(given.python.partition(".")[2]) < OLDEST:
        parser.error(f"--python {given.python}: bench needs 3.{OLDEST} or newer on the host")
    files = given.pins or [PINS, QUALITY]
    pins = read_pins("\n".join(path.read_text(encoding="utf-8") for path in files))
    work = given.out / ".work" / given.python  # a wheel of one Python is none of another's
    wheels = fetch(pins.packed, work / "fetched", given.python, given.pip)
    patterns = patterns_for(given.python, given.leave_out.read_text(encoding="utf-8"))
    wheels = [trimmed(w, patterns, work / "trimmed") for w in wheels]
    # What changes most comes last, so that a change of this project changes the last slice alone.
    wheels = [*sorted(wheels, key=lambda w: -w.stat().st_size), own_wheel(work)]
    manifest = write_pack(
        wheels,
        given.out,
        python=given.python,
        slice_bytes=round(given.slice_mib * 2**20),
        pins=pins,
        left_out=patterns,
    )
    total = sum(p["bytes"] for p in manifest["slices"]) / 2**20
    print(f"{len(wheels)} wheels, {total:.1f} MiB, {len(manifest['slices'])} slices in {given.out}")
    print(f"carry the slices, {MANIFEST} and airgap_install.py; {work} is a cache and stays here")
    return 0


if __name__ == "__main__":
    sys.exit(main())
