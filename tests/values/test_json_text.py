"""JSON that leaves this package has neither NaN nor infinity, and levels have one home."""

from __future__ import annotations

import ast
import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.values.confidence import ALPHA, normal_quantile, t_quantile
from bench.values.json_text import json_text

BENCH = Path(__file__).parents[2] / "bench"
SOURCES = {path: ast.parse(path.read_text()) for path in sorted(BENCH.rglob("*.py"))}


@dataclass(frozen=True)
class _Score:
    value: float
    parts: tuple[float, ...]


def test_what_is_not_finite_is_null() -> None:
    """lm-eval scores an empty corpus as infinity, and vLLM's gauges start as NaN."""
    found = json_text({"a": _Score(value=math.inf, parts=(1.5, math.nan)), "b": -math.inf})
    assert json.loads(found) == {"a": {"value": None, "parts": [1.5, None]}, "b": None}


def test_nothing_writes_json_that_may_hold_nan() -> None:
    wrong = []
    for path, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dump", "json.dumps"):
                said = {k.arg: ast.unparse(k.value) for k in node.keywords}
                if said.get("allow_nan") != "False":
                    wrong.append(f"{path.relative_to(BENCH)}:{node.lineno}")
    assert not wrong, f"use bench.values.json_text: {wrong}"


def test_levels_and_their_quantiles_are_said_once() -> None:
    """Four modules had a 0.05 of their own, and 1.96 stood in three lengths."""
    assert pytest.approx(0.05) == ALPHA
    assert normal_quantile() == pytest.approx(1.959964, abs=1e-6)
    assert normal_quantile(0.90) == pytest.approx(1.644854, abs=1e-6)
    assert t_quantile(2.0) == pytest.approx(4.302653, abs=1e-6)
    assert t_quantile(3) < t_quantile(2.5) < t_quantile(2)
    assert t_quantile(math.inf) == normal_quantile()
    home = BENCH / "values" / "confidence.py"
    for path, tree in SOURCES.items():
        names = {n.name for i in ast.walk(tree) if isinstance(i, ast.ImportFrom) for n in i.names}
        assert path == home or not names & {"stdtrit"}, path
        numbers = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
        assert not {n for n in numbers if isinstance(n, float) and 1.959 < n < 1.961}, path
