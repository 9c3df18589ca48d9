"""README's table of results is what the stored runs give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.compose import compose, run_spec
from bench.metrics import Measurement, Metric, PointMeasurement
from bench.provenance import anchor
from bench.record import LoadPoint, Run
from bench.report.results_table import BEGIN, END, NOTHING, Stored, put, results_table
from bench.store import list_runs, load_run

ROOT = Path(__file__).parents[2]


def stored(concurrency: int = 64, **changes: object) -> Stored:
    words = ["model=deepseek-r1-distill-llama-8b", "quant=fp8", "gpu=h100-sxm", "gpus=1",
             "model.weights=dummy"]  # fmt: skip
    spec = run_spec(compose(words), detect_gpus=False)
    rate = Metric(value=3600.0, unit="tokens/s", ci_low=3500.0, ci_high=3700.0)
    point = PointMeasurement(
        point=LoadPoint(index=0, repeat=0, mode="closed", concurrency=concurrency), requests=9,
        window_s=(60.0,), findings=(),
        metrics={"output_tokens_per_s": rate, "mbu": Metric(value=0.614, unit="1")},
    )  # fmt: skip
    run = Run(spec=spec, anchor=anchor(), status="complete")
    run = replace(run, **changes)  # type: ignore[arg-type]
    return Stored(run=run, measurement=Measurement(points=(point,), findings=()))


def test_a_row_has_interval_share_and_price_and_says_what_was_not_measured() -> None:
    # 2.00 and 6.88 $/h over 3,600 tokens/s x 3,600 s: 0.154 and 0.531 $/M tokens.
    row = results_table([stored()]).splitlines()[2]
    labels = "| deepseek-r1-distill-llama-8b* | fp8 | 1× NVIDIA H100 80 GB SXM5 | c64 |"
    assert row == f"{labels} 3,600 ± 100 | – | 61% | – | – | – | – | – | 0.154 to 0.531 |"


def test_rows_stand_in_the_order_of_their_load_and_random_weights_are_named() -> None:
    table = results_table([stored(256), stored(16)])
    assert table.index("| c16 |") < table.index("| c256 |")
    assert "random weights" in table


def test_failed_runs_and_runs_without_a_gpu_are_no_results() -> None:
    cpu = stored()
    cpu = replace(cpu, run=replace(cpu.run, spec=replace(cpu.run.spec, gpus=0)))
    assert results_table([stored(status="failed"), cpu]) == NOTHING
    assert results_table([]) == NOTHING


def test_the_table_goes_between_the_markers_and_nowhere_else() -> None:
    text = f"a\n{BEGIN}\nold\n{END}\nb\n"
    assert put(text, "new") == f"a\n{BEGIN}\nnew\n{END}\nb\n"
    with pytest.raises(ValueError, match="markers are missing"):
        put("nothing", "new")


def test_readme_shows_what_the_stored_runs_give() -> None:
    from bench.derive import derive

    runs = [load_run(p) for p in list_runs(str(ROOT / "results" / "evidence"))]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = results_table([Stored(run=r, measurement=derive(r)) for r in runs])
    assert put(readme, table) == readme, "run python scripts/readme_results.py"
