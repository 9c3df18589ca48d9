"""Columns of `bench fit` with ≤ hold bounds; a plan is at the load that it names."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace

from fit_support import catalogue
from rich.console import Console

from bench.report.fit_table import print_report, print_table
from bench.sizing.fit import fit
from bench.values.spec import RunSpec


def test_a_column_holds_what_its_name_says(run_spec: Callable[..., RunSpec]) -> None:
    known = catalogue()
    plain = run_spec()
    spec = replace(plain, model=known.models["llama-3.1-8b"], gpu=known.gpus["h100-sxm"], gpus=1)
    found = fit(spec)
    screen = io.StringIO()
    print_table([found], Console(file=screen, width=220))
    lines = screen.getvalue().splitlines()
    head = next(line for line in lines if "user ≤" in line)
    row = next(line for line in lines if re.match(r"\s*none\s", line))
    cells = dict(
        zip(re.split(r"\s{2,}", head.strip()), re.split(r"\s{2,}", row.strip()), strict=True)
    )
    assert found.bound_tokens_per_s is not None
    assert found.plan_tokens_per_s is not None
    assert cells["user ≤"] == f"{found.bound_tokens_per_s_per_user:,.0f}"
    assert cells["output ≤"] == f"{found.bound_tokens_per_s:,.0f}"
    assert cells["plan at c"] == f"{found.plan_tokens_per_s:,.0f} c{found.plan_concurrency:,}"
    assert found.plan_concurrency <= found.max_concurrency
    assert "Columns with ≤ are bounds" in screen.getvalue()
    assert found.plan_tokens_per_s <= found.bound_tokens_per_s


def test_what_a_small_model_takes_is_not_nothing(run_spec: Callable[..., RunSpec]) -> None:
    """The bundled model: `weights 0.0`, and `one request of 128 tokens takes 0.00 GB`."""
    found = fit(run_spec())
    screen = io.StringIO()
    print_report(found, Console(file=screen, width=220))
    print_table([found], Console(file=screen, width=220))
    said = screen.getvalue()
    assert f"weights {found.weights_gib_per_gpu:.2g} + other" in said
    assert f"tokens takes {found.kv_gb_needed:.2g} GB" in said
    row = next(line for line in said.splitlines() if re.match(r"\s*none\s", line))
    assert f"{found.weights_gib_per_gpu:.2g}" in row.split()
