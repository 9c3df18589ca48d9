"""Imports go one way. The table is the plan of the house: each wing and the wings it may know."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"

# What every wing may know: values, and the data that is shipped with the package.
EVERYWHERE = {"values", "assets", "__init__"}
NEIGHBOURS: dict[str, set[str]] = {
    "values": set(),
    "assets": set(),
    "__init__": {"api"},  # on first use
    "web": set(),
    "foreign": {"measure"},  # files of others
    # a room each: what touches the world, or turns what was seen into numbers
    "store": set(),
    "nodes": set(),  # other machines: what is started there, and their clocks
    "sweep": {"store"},
    "measure": set(),
    "quality": set(),
    "models": set(),
    "host": set(),
    "evaluators": {"web"},
    "engines": {"models", "nodes", "web"},
    "meters": {"foreign", "models", "nodes", "web"},
    "power": {"measure"},
    "money": {"measure"},
    "trend": {"money"},  # what dated values do over time
    "traffic": {"engines", "foreign", "host", "measure", "meters", "nodes", "web"},
    "config": {"meters", "models", "money"},
    "sizing": {"config", "measure"},
    "predict": {"sizing", "measure", "money"},
    "claims": {"config", "sizing", "measure", "money", "trend"},
    "compare": {"measure", "power", "quality"},
    # the stories
    "derive": {"sizing", "traffic", "measure", "power", "predict", "quality"},
    "preflight": {"config", "engines", "evaluators", "sizing", "traffic", "meters", "models"},
    "run": {
        *("config", "derive", "engines", "evaluators", "host"),
        *("traffic", "measure", "meters", "models", "nodes", "predict", "preflight", "store"),
        "sweep",
    },
    # what verbs and programs both ask
    "ask": {"config", "sizing", "preflight", "money", "trend"},
    # what people see: prints, and never measures
    "report": {
        *("claims", "compare", "sizing", "foreign", "measure", "power", "predict", "quality"),
        *("sweep", "money", "trend"),
    },
    "cli": {
        *("ask", "claims", "compare", "config", "derive", "engines", "sizing", "foreign", "host"),
        "traffic",
        *("measure", "meters", "models", "power", "predict", "preflight", "report", "run", "store"),
        "sweep",
        *("money", "trend", "web"),
    },
    # the same for programs
    "api": {"ask", "config", "derive", "sizing", "measure", "report", "store", "sweep", "money"},
}


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


def wing(name: str) -> str:
    """`bench.traffic.client.Client` -> `traffic`; `bench.__version__` -> `__init__`."""
    first = name.split(".")[1]
    return first if (BENCH / first).is_dir() or (BENCH / f"{first}.py").exists() else "__init__"


MODULES = sorted(BENCH.rglob("*.py"))


def wings() -> dict[str, set[str]]:
    """Each wing and the wings that it really imports."""
    found: dict[str, set[str]] = {}
    for path in MODULES:
        own = path.relative_to(BENCH).with_suffix("").parts[0]
        known = {wing(name) for name in imports(path) if name.startswith("bench.")}
        found.setdefault(own, set()).update(known - {own})
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(BENCH)))
def test_a_wing_knows_its_neighbours_only(path: Path) -> None:
    own = path.relative_to(BENCH).with_suffix("").parts[0]
    assert own in NEIGHBOURS, f"{own}: a new wing; say here which wings it may know"
    known = {wing(name) for name in imports(path) if name.startswith("bench.")}
    wrong = known - NEIGHBOURS[own] - EVERYWHERE - {own}
    assert not wrong, f"{own} must not import {sorted(wrong)}"


def test_the_plan_has_no_circle_and_no_arrow_that_nobody_needs() -> None:
    list(TopologicalSorter(NEIGHBOURS).static_order())  # raises CycleError
    real = wings()
    assert {w: NEIGHBOURS[w] - real.get(w, set()) for w in NEIGHBOURS if w in real} == {
        w: set() for w in real
    }


def test_the_map_of_the_readme_names_every_wing() -> None:
    text = (BENCH.parent / "README.md").read_text(encoding="utf-8")
    shown = text[text.index("\n## Map\n") : text.index("\n## Add things\n")]
    named = {w for w in NEIGHBOURS if f"{w}/" in shown or f"{w}.py" in shown}
    assert named == NEIGHBOURS.keys() - {"__init__"}


def test_only_the_command_line_and_the_configuration_know_hydra() -> None:
    knowing = {
        path.relative_to(BENCH).as_posix()
        for path in MODULES
        if any(name.split(".")[0] in ("hydra", "omegaconf") for name in imports(path))
    }
    assert knowing == {"cli/verbs/run.py", "config/compose.py"}


def test_what_an_installation_leaves_out_is_not_needed() -> None:
    """scipy is for the tests, and pandas, an extra, for the tables of `import bench` alone."""
    knowing = {
        (path.relative_to(BENCH).as_posix(), package)
        for path in MODULES
        for package in {name.split(".")[0] for name in imports(path)} & {"scipy", "pandas"}
    }
    assert knowing == {("api.py", "pandas")}
