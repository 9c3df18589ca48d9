"""`import bench`: the names that Python programs use, and the documents that show them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stored_support import busy, document, stored

import bench
from bench.values.errors import InputError

GUIDE = Path(__file__).parents[1] / "docs" / "guide"


def test_importing_bench_imports_nothing_heavy() -> None:
    code = "import bench, sys; print(*sorted({'pandas', 'numpy', 'hydra'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    with pytest.raises(AttributeError, match=r"it has .*load"):
        bench.__getattr__("lod")


def test_no_package_takes_the_place_of_a_function() -> None:
    """`import bench.load` would make `bench.load` a module, wherever in a program it happens."""
    root = Path(bench.__file__).parent
    for name in bench.__all__:
        assert not (root / f"{name}.py").exists(), name
        assert not (root / name / "__init__.py").exists(), name


def test_a_stored_run_is_tables(tmp_path: Path) -> None:
    """Three repeats of 66 requests, one a second, ten chunks of two tokens 50 to 950 ms after
    sending: TTFT 50 ms, TPOT 900 / 18 = 50 ms."""
    path = stored(tmp_path, busy(100.0, 300.0))
    run = bench.load(path)
    assert [r.name for r in bench.runs(tmp_path)] == [run.name]
    assert len(run.requests) == 3 * 66
    assert run.requests["ttft_ms"].tolist() == pytest.approx([50.0] * 198)
    assert run.requests["tpot_ms"].tolist() == pytest.approx([50.0] * 198)
    assert set(run.requests["output_tokens"]) == {20}
    first = run.requests[run.requests["repeat"] == 0]
    assert np.diff(first["sent_s"]).tolist() == pytest.approx([1.0] * 65)
    point = document(path)["load_points"][0]
    said = {k: v for k, v in point.items() if isinstance(v, dict) and "arose" in v}
    for name, metric in said.items():
        value = run.points[name][0]
        assert np.isnan(value) if metric["value"] is None else value == metric["value"], name
    assert len(run.metrics) == len(said)
    assert set(run.findings.columns) == {"load", "code", "severity", "text"}


def test_without_pandas_its_absence_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.load(stored(tmp_path, busy(100.0, 300.0)))
    monkeypatch.setattr("bench.api.find_spec", lambda name: None)
    for table in ("points", "metrics", "requests", "findings"):
        with pytest.raises(InputError, match=r"pip install 'selfhost-bench\[pandas\]'"):
            getattr(run, table)
    assert run.valid  # figures need no table


def test_what_fits_is_what_the_command_line_says() -> None:
    (report,) = bench.fit(model="tiny", gpu="cpu")
    assert report.fits
    with pytest.raises(InputError, match="there is no such model"):
        bench.fit(model="llama3.1-8b")
    with pytest.raises(InputError, match="is no KEY=VALUE"):
        bench.fit("tiny")


def test_what_is_no_choice_is_said() -> None:
    """What a text, a mapping or a name in a run's place would otherwise be taken apart into."""
    with pytest.raises(InputError, match=r"write keys=\['power.usd_per_kwh=0.2'\]"):
        bench.tco(tco="worked-example", keys="power.usd_per_kwh=0.2")
    with pytest.raises(InputError, match=r"type its keys, 'engine.KEY=VALUE'"):
        bench.fit(model="tiny", engine={"max_model_len": 8})
    with pytest.raises(InputError, match=r"bench.tco\(bench.load\('latest'\)\)"):
        bench.tco("latest")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"5 is no name of a run: bench.load\('latest'\)"):
        bench.load(5)  # type: ignore[arg-type]


def test_what_a_token_costs() -> None:
    """The worked example: 1.526 $/M tokens."""
    answer = bench.tco(tco="worked-example")
    assert float(answer.levels.loaded.blended) == pytest.approx(1.526, abs=5e-4)
    with pytest.raises(InputError, match="really"):
        bench.tco(tco="worked-example", keys=["power.usd_per_kwh=30"])


def test_the_python_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells of its notebook run in order on a stored run; tests/test_guide.py holds the two
    alike."""
    stored(tmp_path / "results", busy(100.0, 300.0))
    monkeypatch.chdir(tmp_path)
    cells = json.loads((GUIDE / "python.ipynb").read_text("utf-8"))["cells"]
    blocks = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    assert len(blocks) >= 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "python.ipynb", "exec"), names)
    assert names["cheapest"] == "openai/gpt-5-mini"
