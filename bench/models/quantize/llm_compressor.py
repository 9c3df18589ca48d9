"""llm-compressor as a subprocess in its own environment: weights and a recipe in, files out."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import bench.assets
from bench.models.quantize import environment, oneshot
from bench.models.quantize.spec import CalibrationSpec, QuantizeSpec
from bench.models.weights import Weights
from bench.values.errors import BenchError, InputError
from bench.values.json_text import json_text
from bench.values.server import Progress, ProgressCallback

_ENDS_S = 10.0


def quantize(
    spec: QuantizeSpec, weights: Weights, output: Path, progress: ProgressCallback
) -> dict[str, Any]:
    """Write the quantised checkpoint into `output`; what was done, as plain data.

    InputError when the quantisation has no recipe; BenchError, naming the log, when it fails.
    """
    job = job_of(spec, weights, output)
    python = environment.ready(progress)
    output.mkdir(parents=True)
    # Beside the checkpoint: the folder itself is to hold nothing that no engine reads.
    job_path = output.with_name(output.name + ".job.json")
    log_path = output.with_name(output.name + ".log")
    job["result"] = str(output.with_name(output.name + ".result.json"))
    job_path.write_text(json_text(job))
    _run([str(python), oneshot.__file__, str(job_path)], log_path, weights, progress)
    result: dict[str, Any] = json.loads(Path(job["result"]).read_text())
    for path in (job_path, Path(job["result"])):
        path.unlink()
    return result


def job_of(spec: QuantizeSpec, weights: Weights, output: Path) -> dict[str, Any]:
    """What the subprocess is told; plain data."""
    if spec.quant.recipe is None:
        raise InputError(
            f"quant.recipe of {spec.quant.name!r} is missing: bench quantize makes the "
            "quantisations whose conf/quant file holds one."
        )
    if weights.location is None:
        raise InputError("dummy weights cannot be quantised: there is nothing to keep.")
    calibration = spec.calibration
    return {
        "model": weights.location,
        "revision": weights.revision,
        "output": str(output),
        "recipe": json_text(spec.quant.recipe),  # JSON is YAML, which it is read as
        "calibrated": needs_calibration(spec),
        "seed": spec.seed,
        "calibration": {
            "file": None if calibration.file is None else str(calibration_file(calibration)),
            "dataset": calibration.dataset,
            "split": calibration.split,
            "column": calibration.column,
            "samples": calibration.samples,
            "max_tokens": calibration.max_tokens,
        },
    }


def needs_calibration(spec: QuantizeSpec) -> bool:
    """Whether the recipe measures activations: everything but plain rounding does."""
    stages = (spec.quant.recipe or {}).values()
    return {name for stage in stages for group in stage.values() for name in group} != {
        "QuantizationModifier"
    }


def calibration_file(calibration: CalibrationSpec) -> Path:
    """The file of texts; InputError when it is not there."""
    name = str(calibration.file)
    if name.startswith("bundled:"):
        root = Path(bench.assets.__file__).parent / "calibration"
        return root / name.removeprefix("bundled:")
    path = Path(name).expanduser().absolute()
    if not path.is_file():
        raise InputError(f"calibration.file: {path} is not a file of texts, one JSON per line.")
    return path


def _run(command: list[str], log_path: Path, weights: Weights, progress: ProgressCallback) -> None:
    env = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    if weights.is_local:
        env.setdefault("HF_HUB_OFFLINE", "1")
    began_s = time.monotonic()
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env)
        try:
            while process.poll() is None:
                lines = log_path.read_text(errors="replace").splitlines()
                said = [line for line in lines if line.startswith("bench: ")]
                progress(
                    Progress(
                        phase="quantising",
                        elapsed_s=time.monotonic() - began_s,
                        detail=said[-1].removeprefix("bench: ") if said else "starting",
                    )
                )
                time.sleep(0.5)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(_ENDS_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
    if process.returncode != 0:
        text = log_path.read_text(errors="replace")
        errors = [line for line in text.splitlines() if "Error" in line]
        cause = errors[-1].strip() if errors else f"exit {process.returncode}"
        raise BenchError(f"llm-compressor failed: {cause[:300]}. Log: {log_path}")
