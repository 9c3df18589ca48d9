"""Builds the stand-in for libnvidia-ml.so.1 from its C source: a driver of any age."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml_standin.c")
LIBRARY = "libnvidia-ml.so.1"


def compiler() -> str | None:
    """A C compiler, where there is one."""
    return next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), None)


def build_all(folder: Path, without: Sequence[str]) -> Path:
    """The whole library in `folder`/whole; one that lacks a symbol in a folder of its name."""
    build(folder / "whole")
    for name in sorted(set(without) - {""}):
        build(folder / name, without=[name])
    return folder


def build(folder: Path, *, without: Sequence[str] = ()) -> Path:
    """The library in `folder`, without the symbols named: an older driver lacks some.

    Use it with LD_LIBRARY_PATH=`folder` and NVML_STANDIN=a file of orders.
    """
    found = compiler()
    if found is None:
        raise RuntimeError("no C compiler: install gcc, or leave out tests/gpu_host")
    folder.mkdir(parents=True, exist_ok=True)
    hidden = folder / "hidden.map"
    hidden.write_text("{ local: " + " ".join(f"{name};" for name in without) + " };\n")
    words = [found, "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden"]
    words += [f"-Wl,-soname,{LIBRARY}", "-o", str(folder / LIBRARY), str(SOURCE), "-lm"]
    if without:
        words.insert(-2, f"-Wl,--version-script={hidden}")
    subprocess.run(words, check=True, capture_output=True, text=True)
    return folder
