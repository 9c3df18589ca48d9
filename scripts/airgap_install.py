"""Install a pack of `airgap_pack.py` on a host without network: Python's own library and no pip.

    python3 airgap_install.py --from DIR --store STORE --prefix PREFIX [--check]

Slices come in DIR, one or many at a time, in any order: each is verified, kept in STORE, and what
is complete is installed. Run it again with the next ones, or after an interruption: it goes on
where it was. Exit code 0: all is installed; 1: slices are missing or something is wrong; 2: bad
input. Then `source PREFIX/env.sh`. `--check` imports what the pack names, in a Python of its own.
"""

from __future__ import annotations

import argparse
import base64
import csv
import ctypes
import hashlib
import importlib.metadata
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

MANIFEST = "manifest.json"
FORMAT = 1
_CHUNK = 1 << 20
# Every call of the driver that vllm 0.26.0's extension modules name.
_CUDA_CALLS = (
    "cuCtxGetCurrent cuCtxSetCurrent cuDeviceGetAttribute cuDevicePrimaryCtxRetain "
    "cuGetErrorString cuGetProcAddress_v2 cuMemAddressFree cuMemAddressReserve cuMemCreate "
    "cuMemGetAllocationGranularity cuMemMap cuMemRelease cuMemSetAccess cuMemUnmap "
    "cuPointerGetAttribute cuTensorMapEncodeTiled"
).split()


class PackError(Exception):
    """Something about the pack that the user can mend; the text says how."""


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a pack; PackError when there is none or it is of another format."""
    path = folder / MANIFEST
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PackError(f"{path} is no manifest ({error}): carry it with the slices.") from error
    if found.get("format") != FORMAT:
        raise PackError(f"{path} has format {found.get('format')}; this program reads {FORMAT}.")
    return found


def receive(sources: list[Path], store: Path) -> dict[str, Any]:
    """Copy whole slices into the store; the manifest of the pack. A damaged slice is an error."""
    store.mkdir(parents=True, exist_ok=True)
    for source in sources:
        if (source / MANIFEST).is_file() and source != store:
            shutil.copyfile(source / MANIFEST, store / MANIFEST)
    manifest = read_manifest(store)
    for piece in manifest["slices"]:
        kept = store / piece["name"]
        for source in sources:
            found = source / piece["name"]
            if whole(kept, piece) or not found.is_file() or source == store:
                continue
            part = kept.with_suffix(".part")
            shutil.copyfile(found, part)
            if sha256_of(part) != piece["sha256"]:
                part.unlink()
                raise PackError(f"{found} is damaged or of another pack: carry it again.")
            part.replace(kept)
    return manifest


def whole(path: Path, piece: dict[str, Any]) -> bool:
    """Whether a slice is there as the manifest describes it."""
    return (
        path.is_file()
        and path.stat().st_size == piece["bytes"]
        and sha256_of(path) == piece["sha256"]
    )


def assemble(manifest: dict[str, Any], store: Path, present: set[str], name: str) -> bytes | None:
    """One packed file out of the slices; None while one that it spans is missing."""
    start = 0
    for entry in manifest["files"]:
        if entry["name"] == name:
            break
        start += entry["bytes"]
    end, at, parts = start + entry["bytes"], 0, []
    for piece in manifest["slices"]:
        low, high = max(start, at), min(end, at + piece["bytes"])
        if low < high:
            if piece["name"] not in present:
                return None
            with (store / piece["name"]).open("rb") as file:
                file.seek(low - at)
                parts.append(file.read(high - low))
        at += piece["bytes"]
    content = b"".join(parts)
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise PackError(f"{name} does not have the hash that the manifest gives: pack it again.")
    return content


def install_wheel(content: bytes, prefix: Path) -> None:
    """Unpack a wheel, every file checked against the wheel's own RECORD."""
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        record = next(n for n in wheel.namelist() if n.endswith(".dist-info/RECORD"))
        hashes = {row[0]: row[1] for row in csv.reader(io.StringIO(wheel.read(record).decode()))}
        for info in wheel.infolist():
            if info.is_dir():
                continue
            data = wheel.read(info)
            wanted = hashes.get(info.filename, "")
            if wanted and wanted != record_hash(data):
                raise PackError(f"{info.filename} does not have the hash of the wheel's RECORD.")
            inside = place(info.filename)
            target, command = prefix / inside, inside.parts[0] == "bin"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(script(data) if command else data)
            if command or info.external_attr >> 16 & 0o111:
                target.chmod(0o755)


def record_hash(data: bytes) -> str:
    """The hash of a file as a wheel's RECORD writes it."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return "sha256=" + digest.rstrip(b"=").decode()


def place(name: str) -> Path:
    """Where a wheel's file goes below the prefix: site/, bin/ or, of a wheel's data, the rest."""
    parts = PurePosixPath(name).parts
    if ".." in parts or name.startswith("/"):
        raise PackError(f"a wheel wants to write outside of the prefix: {name}")
    if parts[0].endswith(".data"):
        kind, rest = parts[1], parts[2:]
        top = {"purelib": "site", "platlib": "site", "scripts": "bin", "data": ""}.get(kind, kind)
        return Path(top, *rest)
    return Path("site", *parts)


def script(data: bytes) -> bytes:
    """A packed script with the interpreter that installs it."""
    if not data.startswith(b"#!python"):
        return data
    return b"#!" + sys.executable.encode() + data[data.index(b"\n") :]


def install(manifest: dict[str, Any], store: Path, prefix: Path) -> list[str]:
    """Install every wheel that is complete and not yet installed; names of those still missing."""
    present = {p["name"] for p in manifest["slices"] if whole(store / p["name"], p)}
    done = prefix / ".installed"
    done.mkdir(parents=True, exist_ok=True)
    missing = []
    for entry in manifest["files"]:
        mark = done / entry["name"]
        if mark.is_file() and mark.read_text() == entry["sha256"]:
            continue
        content = assemble(manifest, store, present, entry["name"])
        if content is None:
            missing.append(entry["name"])
            continue
        if entry["name"].endswith(".whl"):
            install_wheel(content, prefix)
        else:
            target = prefix / "files" / entry["name"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(entry["sha256"])
    write_environment(prefix)
    return missing


def write_environment(prefix: Path) -> None:
    """`env.sh`, and a `bench` command that runs with the interpreter that installed it."""
    home = prefix.absolute()
    (home / "bin").mkdir(exist_ok=True)
    (home / "env.sh").write_text(
        f'export PYTHONPATH="{home}/site${{PYTHONPATH:+:$PYTHONPATH}}"\n'
        f'export PATH="{home}/bin:$PATH"\n'
    )
    command = home / "bin" / "bench"
    command.write_text(f'#!/bin/sh\n. "{home}/env.sh"\nexec "{sys.executable}" -m bench.cli "$@"\n')
    command.chmod(0o755)


def environment(prefix: Path) -> dict[str, str]:
    """This process's environment with the prefix in front."""
    site = str(prefix.absolute() / "site")
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{site}:{path}" if path else site}


def lacking(manifest: dict[str, Any]) -> list[str]:
    """What the pack expects of the host and is not there, or is there in another version."""
    wrong, absent = [], []
    # Once each: several pin files may name the same.
    for needed in dict.fromkeys(manifest.get("host", [])):
        name, _, version = needed.partition("==")
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
            continue
        if version and found.partition("+")[0] != version:
            wrong.append(f"{name} is {found}, packed for {version}")
    if absent:
        # One line: a Python without any of them would fill the screen.
        verb = "is" if len(absent) == 1 else "are"
        wrong.insert(0, f"{', '.join(absent)} {verb} not there")
    return wrong


@contextmanager
def libcuda() -> Iterator[dict[str, str]]:
    """Environment in which compiled modules load: where no driver is, one that knows no device."""
    try:
        ctypes.CDLL("libcuda.so.1")
        missing = False
    except OSError:
        missing = True
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not missing or compiler is None:
        if missing:
            print("no driver and no C compiler here: modules that link to CUDA cannot load")
        yield {}
        return
    print("this host has no NVIDIA driver: libcuda.so.1 is stubbed for the check")
    source = "".join(f"int {name}(void) {{ return 100; }}\n" for name in _CUDA_CALLS)
    with tempfile.TemporaryDirectory() as folder:
        library = f"{folder}/libcuda.so.1"
        words = [compiler, "-shared", "-fPIC", "-xc", "-", "-Wl,-soname,libcuda.so.1"]
        subprocess.run([*words, "-o", library], input=source, text=True, check=True)
        old = os.environ.get("LD_LIBRARY_PATH")
        yield {"LD_LIBRARY_PATH": f"{folder}:{old}" if old else folder}


def check(manifest: dict[str, Any], prefix: Path) -> int:
    """Import every module that the pack names, in one fresh Python; the count of failures."""
    program = (
        "import importlib, json, sys\n"
        "for name in json.loads(sys.argv[1]):\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except Exception as error:\n"
        "        text = ' '.join(f'{type(error).__name__}: {error}'.split())\n"
        "        print('FAIL', name, text[:300], flush=True)\n"
        "    else:\n"
        "        print('ok', name, flush=True)\n"
    )
    names = manifest.get("check", [])
    command = [sys.executable, "-c", program, json.dumps(names)]
    with libcuda() as more:
        env = {**environment(prefix), **more}
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
    said = [s for s in done.stdout.splitlines() if s.startswith(("ok ", "FAIL "))]
    print("\n".join(said))
    failed = len(names) - sum(line.startswith("ok ") for line in said)
    print(f"{len(names) - failed} of {len(names)} modules import")
    return failed


def main(argv: list[str] | None = None) -> int:
    """Receive, install, say what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--from", dest="sources", action="append", type=Path, default=[])
    parser.add_argument("--store", type=Path, required=True, help="keeps the slices between calls")
    parser.add_argument("--prefix", type=Path, required=True, help="what is installed goes here")
    parser.add_argument("--check", action="store_true", help="import what the pack names")
    given = parser.parse_args(argv)
    for source in given.sources:
        if not source.is_dir():
            print(f"--from: {source} is no folder.", file=sys.stderr)
            return 2
    if not any((folder / MANIFEST).is_file() for folder in (*given.sources, given.store)):
        where = ", ".join(map(str, given.sources)) or given.store
        print(f"--from: {where} holds no {MANIFEST}: carry it with the slices.", file=sys.stderr)
        return 2
    try:
        manifest = receive(given.sources, given.store)
        here = ".".join(map(str, sys.version_info[:2]))
        if manifest["python"] != here:
            raise PackError(
                f"the pack is for Python {manifest['python']}, this is {here}: run it with "
                f"python{manifest['python']}, or pack again with --python {here}."
            )
        for text in lacking(manifest):
            print(f"warning: on this host {text}", file=sys.stderr)
        missing = install(manifest, given.store, given.prefix)
    except PackError as error:
        print(f"airgap_install: {error}", file=sys.stderr)
        return 1
    absent = [p["name"] for p in manifest["slices"] if not whole(given.store / p["name"], p)]
    installed = len(manifest["files"]) - len(missing)
    print(f"{installed} of {len(manifest['files'])} files are installed in {given.prefix}")
    if absent:
        print(f"still to be carried: {', '.join(absent)}")
    if missing:
        return 1
    return 1 if given.check and check(manifest, given.prefix) else 0


if __name__ == "__main__":
    sys.exit(main())
