"""README's table of results is what the stored runs give."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stored_support as made_up
from power_support import at, edited

from bench.config.compose import compose, run_spec
from bench.host.provenance import anchor
from bench.measure.measurement import Measurement, PointMeasurement
from bench.measure.metrics import Metric
from bench.report.results_table import BEGIN, END, NOTHING, Stored, put, results_table
from bench.values.record import LoadPoint, Run
from bench.values.telemetry import ENGINE, Reading, reading_line

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import readme_results  # noqa: E402

RENT = ["gpu.price.low_usd_per_gpu_h=2.00", "gpu.price.high_usd_per_gpu_h=6.88"]
"""Typed, so that a price of tomorrow changes nothing here."""


def stored(concurrency: int = 64, **changes: object) -> Stored:
    words = [
        "model=deepseek-r1-distill-llama-8b",
        "quant=fp8",
        "gpu=h100-sxm",
        "gpus=1",
        "model.weights=dummy",
        *RENT,
    ]
    spec = run_spec(compose(words), detect_gpus=False)
    rate = Metric(value=3600.0, unit="tokens/s", ci_low=3500.0, ci_high=3700.0)
    point = PointMeasurement(
        point=LoadPoint(index=0, repeat=0, mode="closed", concurrency=concurrency),
        requests=9,
        window_s=(60.0,),
        findings=(),
        metrics={"output_tokens_per_s": rate, "mbu": Metric(value=0.614, unit="1")},
    )
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
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme_results.table_of(ROOT / "results" / "evidence")
    assert put(readme, table) == readme, "run python scripts/readme_results.py"


def made_up_run(results: Path, quant: str, load_w: float, weights_gib: float, source: str) -> None:
    """A run as it would be stored: 20 tokens/s at `load_w`, 70 GiB taken by the engine, its cache
    of 40 GiB half full."""
    words = ["model=deepseek-r1-distill-llama-8b", "model.weights=dummy", f"quant={quant}", *RENT]
    facts = {"weights_gib": weights_gib, "kv_cache_gib": 40.0}
    path = made_up.stored(
        results, made_up.busy(100.0, load_w), overrides=words, source=source, facts=facts
    )
    power = path / "telemetry" / "power.jsonl"

    def loaded(line: dict[str, Any]) -> dict[str, Any]:
        if line["k"] != "memory":
            return line
        used = 2**30 * (1 if line["t"] < at(8.5) else 71)
        return {**line, "v": {**line["v"], "used_bytes": used}}

    power.write_text("\n".join(edited(power.read_text().splitlines(), loaded)) + "\n")
    uses = [Reading(t_ns=at(s), half_ns=0, values={"kv_use": 0.5}) for s in range(20, 250)]
    lines = [reading_line("engine", ENGINE, use) for use in uses]
    (path / "telemetry" / "engine.jsonl").write_text("\n".join(lines) + "\n")


def test_runs_from_the_disk_fill_every_column(tmp_path: Path) -> None:
    """An evidence folder that was made up: what a real one will be shown as."""
    made_up_run(tmp_path, "none", 600.0, 15.0, "nvml")
    made_up_run(tmp_path, "fp8", 300.0, 8.5, "nvml")
    rows = [line.split(" | ") for line in readme_results.table_of(tmp_path).splitlines()]
    fp8, bf16 = (row for row in rows if row[0].startswith("| deepseek"))
    # 600 W and 300 W at 20 tokens/s; weights + (70 - weights - 40) + half of 40 GiB.
    assert (bf16[1], fp8[1]) == ("none", "fp8")
    assert [row[4] for row in (bf16, fp8)] == ["20.0 ± 0", "20.0 ± 0"]
    energies = [float(row[9].split(" ± ")[0]) for row in (bf16, fp8)]
    assert energies == pytest.approx([30.0, 15.0], rel=1e-3)
    assert [row[10] for row in (bf16, fp8)] == ["15.0", "8.50"]
    assert [row[11] for row in (bf16, fp8)] == ["50.0", "50.0"]
    # 2.00 and 6.88 $/h for 72,000 tokens an hour.
    assert [row[12] for row in (bf16, fp8)] == ["27.8 to 95.6 |"] * 2
    plans = [float(row[5]) for row in (bf16, fp8)]
    assert 1.5 < plans[1] / plans[0] < 2  # half the bytes, but for what stays in 16 bits
    assert "–" not in bf16 + fp8


@pytest.mark.parametrize("source", ["synthetic", "replay"])
def test_a_board_that_was_made_up_has_no_energy_and_no_need(tmp_path: Path, source: str) -> None:
    made_up_run(tmp_path, "none", 600.0, 15.0, source)
    (row,) = [
        line.split(" | ")
        for line in readme_results.table_of(tmp_path).splitlines()
        if line.startswith("| deepseek")
    ]
    assert row[4] == "20.0 ± 0"
    assert (row[9], row[11]) == ("–", "–")


def test_results_from_elsewhere_are_shown_and_readme_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (ROOT / "README.md").read_bytes()
    made_up_run(tmp_path, "none", 600.0, 15.0, "nvml")
    assert readme_results.main(["--results", str(tmp_path)]) == 0
    assert "| none | 1× NVIDIA H100" in capsys.readouterr().out
    assert readme_results.main(["--check"]) == 0
    assert (ROOT / "README.md").read_bytes() == before
