"""Imports go one way: cli -> verbs -> run -> adapters, pure modules, reports -> values."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "bench"

VALUES = {
    "__init__", "assets", "clock", "codec", "errors",
    "finding", "machine", "record", "server", "spec", "trace", "units",
}  # fmt: skip
# Pure modules that adapters may use, because they know nothing but values.
SHARED = {"cores", "schedule", "weights"}
ADAPTERS = {"engines", "evaluators", "load", "meters", "provenance", "quantizers", "store"} | {
    "checkpoints"
}
RUN = {"calibrate", "drive", "preflight", "run"}  # put adapters and pure modules together
LEVELS = {"cli": 0, "verbs": 1, "run": 2, "adapter": 3, "report": 3, "pure": 3, "shared": 4}


def layer(part: str) -> str:
    """The layer of a top-level module or package of bench."""
    named = {
        "cli": "cli",
        "compose": "cli",
        "arguments": "cli",
        "commands": "cli",
        "launch": "cli",
        "__main__": "cli",
        "verbs": "verbs",
        "report": "report",
    }
    sets = {"value": VALUES, "shared": SHARED, "adapter": ADAPTERS, "run": RUN}
    return named.get(part) or next((name for name, parts in sets.items() if part in parts), "pure")


def allowed(importer: str, imported: str) -> bool:
    """Whether one top-level part of bench may import another."""
    a, b = layer(importer), layer(imported)
    if importer == imported or b == "value":
        return True
    if a in ("value", "shared"):
        return False
    if a == b:  # adapters are strangers to each other; pure modules build on each other
        return a != "adapter"
    if a == "report":
        return b in ("pure", "shared")
    return LEVELS[a] < LEVELS[b]


def imports(path: Path) -> set[str]:
    """Dotted names of every module that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by full name, so that layers can be read"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part_of(name: str) -> str:
    """`bench.load.client.Client` -> `load`; `bench.__version__` -> `__init__`."""
    first = name.split(".")[1]
    return first if (BENCH / first).is_dir() or (BENCH / f"{first}.py").exists() else "__init__"


MODULES = sorted(BENCH.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(BENCH)))
def test_imports_follow_the_layers(path: Path) -> None:
    importer = path.relative_to(BENCH).with_suffix("").parts[0]
    names = {part_of(name) for name in imports(path) if name.startswith("bench.")}
    wrong = {name for name in names if not allowed(importer, name)}
    assert not wrong, f"{importer} ({layer(importer)}) must not import {sorted(wrong)}"


def test_only_the_command_line_knows_hydra() -> None:
    knowing = {
        path.relative_to(BENCH).as_posix()
        for path in MODULES
        if any(name.split(".")[0] in ("hydra", "omegaconf") for name in imports(path))
    }
    assert knowing == {"launch.py", "compose.py"}


def test_the_rule_forbids_what_it_should() -> None:
    assert not allowed("engines", "metrics")
    assert not allowed("metrics", "store")
    assert not allowed("load", "engines")
    assert not allowed("report", "meters")
    assert not allowed("run", "verbs")
    assert not allowed("spec", "catalogue")
    assert allowed("run", "engines")
    assert allowed("load", "schedule")
    assert allowed("tco", "prices")
