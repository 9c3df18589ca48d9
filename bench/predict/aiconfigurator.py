"""AIConfigurator's answer to the same question, from an installation in an environment of its own.

It is asked through its command line (`aiconfigurator cli estimate`, the words below), on the CPU;
nothing of it is imported. Its answer is somebody else's claim: no band.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.predict.question import Question
from bench.values.errors import InputError
from bench.values.json_text import json_text

NAME = "aiconfigurator"
SYSTEMS = {
    "h100-sxm": "h100_sxm",
    "h100-pcie": "h100_pcie",
    "h200-sxm": "h200_sxm",
    "b200-sxm": "b200_sxm",
    "b300-sxm": "b300_sxm",
    "gb200": "gb200",
    "gb300": "gb300",
    "a100-80gb-sxm": "a100_sxm",
    "a100-80gb-pcie": "a100_pcie",
    "l40s": "l40s",
    "l4": "l4",
}
GEMMS = {"fp8": "fp8", "awq": "int4_wo", "gptq": "int4_wo"}
"""Its names of weight formats; `none` leaves the choice to it, as the model is published."""
BACKENDS = {"vllm": "vllm", "tensorrt-llm": "trtllm"}
TIMEOUT_S = 120.0
_FIGURES = {
    "output_tokens_per_s": r"tokens/s:\s+([\d,.]+)",
    "ttft_mean_ms": r"TTFT:\s+([\d,.]+) ms",
    "tpot_mean_ms": r"TPOT:\s+([\d,.]+) ms",
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What it says at one load: figures by the names of metrics, and whose data it rests on."""

    concurrency: int
    figures: Mapping[str, float]
    backend: str


def argv(command: str, asked: Question, concurrency: int, config_dir: str) -> list[str]:
    """Its command line; InputError for a GPU or format that it has no name for here."""
    spec = asked.spec
    if spec.gpu.name not in SYSTEMS:
        raise InputError(
            f"gpu={spec.gpu.name}: {NAME} has no data of it. It knows {', '.join(SYSTEMS)}."
        )
    if spec.quant.name != "none" and spec.quant.name not in GEMMS:
        raise InputError(
            f"quant={spec.quant.name}: {NAME} is asked about none, {', '.join(GEMMS)} here."
        )
    per_replica = max(1, round(concurrency / asked.replicas))
    words = {
        "--model-path": config_dir,
        "--system": SYSTEMS[spec.gpu.name],
        "--backend": BACKENDS.get(asked.engine, "vllm"),
        "--isl": str(round(asked.input_tokens)),
        "--osl": str(round(asked.output_tokens)),
        "--batch-size": str(per_replica),
        "--tp-size": str(asked.per_replica),
    }
    if spec.model.config and asked.served.geometry.experts:
        words["--moe-tp-size"] = str(asked.per_replica)
    if spec.quant.name in GEMMS:
        words["--gemm-quant-mode"] = GEMMS[spec.quant.name]
    flat = [part for pair in words.items() for part in pair]
    return [command, "cli", "estimate", *flat, "--no-color"]


def parse(text: str, concurrency: int) -> Answer:
    """Its printed estimate; InputError with its last line where there is none."""
    found = {}
    for name, pattern in _FIGURES.items():
        match = re.search(pattern, text)
        if match:
            found[name] = float(match.group(1).replace(",", ""))
    backend = re.search(r"Backend:\s+(\S+(?: \([^)]*\))?)", text)
    if "output_tokens_per_s" not in found:
        said = [line for line in text.strip().splitlines() if line.strip()]
        raise InputError(
            f"{NAME} gave no estimate: {said[-1][:300] if said else 'it said nothing'}"
        )
    return Answer(
        concurrency=concurrency, figures=found, backend=backend.group(1) if backend else "?"
    )


def ask(command: str, asked: Question, concurrency: int) -> Answer:
    """Its answer (some 15 s); InputError where it is not installed or has none."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json_text(dict(asked.spec.model.config)))
        words = argv(command, asked, concurrency, folder)
        try:
            done = subprocess.run(
                words,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
                env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""},
            )
        except FileNotFoundError as error:
            raise InputError(
                f"{command!r} is not there: python -m venv aic && aic/bin/pip install {NAME}, "
                "then --command aic/bin/aiconfigurator."
            ) from error
        except subprocess.TimeoutExpired as error:
            raise InputError(f"{NAME} gave no answer within {TIMEOUT_S:g} s.") from error
    said = done.stdout + "\n" + done.stderr
    return parse(done.stdout if "tokens/s:" in done.stdout else said, concurrency)


def as_claim(asked: Question, answer: Answer, day: str) -> dict[str, Any]:
    """The answer as a claim file's content: its words, its conditions, its number."""
    spec, rate = asked.spec, answer.figures["output_tokens_per_s"]
    others = (("ttft_mean_ms", "TTFT"), ("tpot_mean_ms", "TPOT"))
    times = ", ".join(
        f"{word} {answer.figures[key]:,.1f} ms" for key, word in others if key in answer.figures
    )
    version = re.search(r"\(([^)]*)\)", answer.backend)
    name, _, form = spec.gpu.name.rpartition("-")
    plain = form not in ("sxm", "pcie", "nvl")
    return {
        "who": NAME,
        "where": f"{NAME} cli estimate, run here, backend {answer.backend}",
        "as_of": day,
        "quote": f"tokens/s: {rate:,.2f} ({times})",
        "note": "a prediction of another program, made here; it states no uncertainty",
        "tags": ["predicted"],
        "says": {
            "kind": "serving",
            "conditions": {
                "model": spec.model.name,
                "quant": spec.quant.name,
                "gpu": spec.gpu.name if plain else name,
                "form_factor": None if plain else form,
                "gpus": spec.gpus,
                "engine": asked.engine,
                "engine_version": version.group(1) if version else None,
                "input_tokens": round(asked.input_tokens),
                "output_tokens": round(asked.output_tokens),
                "concurrency": answer.concurrency,
            },
            "metric": "output_tokens_per_s",
            "definition": "tokens/s of the estimate (aggregated serving)",
            "stated": {"value": rate, "unit": "tokens/s", "relation": "about", "tolerance": 0.1},
        },
    }
