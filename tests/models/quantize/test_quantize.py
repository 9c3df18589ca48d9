"""`bench quantize` for real: four checkpoints, how they were made, and that they are of use.

llm-compressor's environment is set up once (about a minute); a checkpoint takes seconds.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bench.assets
from bench.config.compose import compose, run_spec
from bench.host.provenance import file_hashes
from bench.models.checkpoints import RECORD, with_local_checkpoints
from bench.models.weights import resolve_weights

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).parents[3]
TINY = Path(bench.assets.__file__).parent / "models" / "tiny"
FORMATS = {
    "awq": "pack-quantized",
    "gptq": "pack-quantized",
    "int8": "int-quantized",
    "fp8": "float-quantized",
}
BITS = {"awq": 4, "gptq": 4, "int8": 8, "fp8": 8}
CHOICES = ("quality=tiny", "quality.tasks=[tiny_facts_mc]", "quality.limit=500")


def python(*words: str) -> str:
    """What `python WORDS` prints on stdout; it must succeed."""
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def bench_json(*words: str) -> Any:
    """What `bench WORDS --json` prints."""
    return json.loads(python("-m", "bench.cli", *words, "--json"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The folder of the four checkpoints and what `bench quantize` said of each."""
    folder = tmp_path_factory.mktemp("checkpoints")
    small = ("calibration.samples=8", "calibration.max_tokens=64", "seed=3")
    return {
        "folder": folder,
        **{
            quant: bench_json(
                "quantize", "model=tiny", f"quant={quant}", *small, f"checkpoints_dir={folder}"
            )
            for quant in FORMATS
        },
    }


@pytest.mark.parametrize("quant", FORMATS)
def test_a_checkpoint_is_made_and_its_making_is_on_record(made: dict[str, Any], quant: str) -> None:
    path, said = Path(made[quant]["checkpoint"]), made[quant]
    record = json.loads((path / RECORD).read_text())
    assert record == {k: v for k, v in said.items() if k != "checkpoint"}
    config = json.loads((path / "config.json").read_text())["quantization_config"]
    assert config["format"] == FORMATS[quant]
    (weights,) = (group["weights"] for group in config["config_groups"].values())
    assert weights["num_bits"] == BITS[quant]
    assert record["seed"] == 3
    assert record["calibration_texts"] == (0 if quant == "fp8" else 8)
    assert record["calibration_tokens"] <= 8 * 64
    recipe = json.dumps(record["recipe"], sort_keys=True).encode()
    assert record["recipe_sha256"] == hashlib.sha256(recipe).hexdigest()
    assert record["source_sha256"] == file_hashes(TINY)
    assert record["sha256"] == {k: v for k, v in file_hashes(path).items() if k != RECORD}
    smaller = {4: 0.55, 8: 0.75}[BITS[quant]]  # the output head and the embedding stay as they are
    sizes = [(where / "model.safetensors").stat().st_size for where in (path, TINY)]
    assert sizes[0] < smaller * sizes[1]


def test_a_made_checkpoint_is_found_and_not_made_twice(made: dict[str, Any]) -> None:
    where = f"checkpoints_dir={made['folder']}"
    for quant in FORMATS:
        spec = with_local_checkpoints(run_spec(compose(["model=tiny", f"quant={quant}", where])))
        assert resolve_weights(spec.model, spec.quant).location == made[quant]["checkpoint"]
    again = subprocess.run(
        [sys.executable, "-m", "bench.cli", "quantize", "model=tiny", "quant=fp8", where],
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 2
    assert "is there already: use it with quant=fp8" in again.stderr


def test_four_bits_are_scored_in_process_and_have_no_speed(
    made: dict[str, Any], tmp_path: Path
) -> None:
    where = (f"checkpoints_dir={made['folder']}", f"results_dir={tmp_path}")
    for quant in ("gptq", "awq"):
        words = ("engine=none", f"quant={quant}", *CHOICES[:2], "quality.limit=40", *where)
        found = bench_json(*words)
        scores = {s["metric"]: s["value"] for s in found["quality"]["scores"]}
        assert scores["acc"] > 0.8
        assert found["quality"]["backend"] == "hf"
        assert found["load_points"] == []


def test_the_controls_of_the_verdict(made: dict[str, Any], tmp_path: Path) -> None:
    """3-bit round-to-nearest is worse with p < 1 %; INT8, served by a real vLLM, is not worse."""
    damaged = tmp_path / "rtn3"
    python(str(ROOT / "scripts" / "rtn_control.py"), str(TINY), str(damaged))
    where = (f"checkpoints_dir={made['folder']}", f"results_dir={tmp_path / 'results'}")
    runs = [
        bench_json(*words, *CHOICES, *where)
        for words in (
            ("engine=none",),
            ("engine=none", f"model.weights={damaged}"),
            (
                "engine=vllm",
                "quant=int8",
                "gpus=0",
                "load.concurrency=[2]",
                "load.requests=8",
                "load.repeats=1",
                "load.calibrate=false",
            ),
        )
    ]
    assert runs[2]["quality"]["backend"] == "endpoint"
    stored = json.loads((Path(runs[2]["run"]) / "run.json").read_text())
    weights = "model.safetensors"
    assert stored["provenance"]["weights_sha256"][weights] == made["int8"]["sha256"][weights]
    compared = bench_json("compare", *(r["run"] for r in runs))
    _, rtn3, int8 = compared["rows"]
    verdicts = {
        (row["name"], c["metric"]): (c["verdict"], c["p_holm"])
        for row in (rtn3, int8)
        for c in row["quality"]
        if c["primary"]
    }
    assert "quality_worse" in rtn3["codes"]
    verdict, p = verdicts[rtn3["name"], "p_right"]
    assert verdict == "worse"
    assert p < 0.01
    assert "quality_not_worse" in int8["codes"]
    assert {verdicts["int8", m][0] for m in ("acc", "p_right")} == {"not_worse"}
    assert min(verdicts["int8", m][1] for m in ("acc", "p_right")) > 0.05
    assert any("Int8" in name for name in int8["kernel"]["names"])
