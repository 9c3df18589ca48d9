"""What the evidence program does, in order of value: each step one process with an estimate."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.compare.gpu_time import grouped, level
from bench.config.compose import compose, run_spec
from bench.models.checkpoints import RECORD, folder_of
from bench.predict.answer import predictions
from bench.predict.question import question
from bench.sizing.fit import fit
from bench.values.spec import RunSpec

ROOT = Path(__file__).resolve().parents[1]
LEVELS = (1, 16, 64, 256)
BESIDE = 64
"""The load at which variants are set side by side first: busy, and no client is its limit."""

QUICK = ("workload=chat-short", "load=closed", "load.concurrency=[16]", "load.duration_s=10")
"""For the tiny model, whose speed proves nothing: its quality is what is asked."""

START_S = 100.0  # a first start of the engine: import, load, compile, capture
SMALL, MOE, LARGE = (
    "deepseek-r1-distill-llama-8b",
    "qwen3-30b-a3b",
    "deepseek-r1-distill-llama-70b",
)
VARIANTS = (
    ("8b-bf16", SMALL, "none"),
    ("8b-fp8", SMALL, "fp8"),
    ("8b-awq", SMALL, "awq"),
    ("8b-gptq", SMALL, "gptq"),
    ("moe-bf16", MOE, "none"),
    ("moe-fp8", MOE, "fp8"),
    ("70b-w4", LARGE, "gptq"),
    ("70b-fp8", LARGE, "fp8"),
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One process: its name, command, and how long it is expected to take."""

    name: str
    command: tuple[str, ...]
    estimate_s: float


def bench(*words: str) -> tuple[str, ...]:
    """The command line of this checkout's `bench`."""
    return (sys.executable, "-m", "bench.cli", *words)


def script(name: str, *words: str) -> tuple[str, ...]:
    """One of the scripts beside this one."""
    return (sys.executable, str(ROOT / "scripts" / name), *words)


def dummy(model: str, quant: str, gpu: str) -> list[str]:
    """The words for a model of that shape with random weights on one GPU."""
    return [
        f"model={model}",
        f"quant={quant}",
        f"gpu={gpu}",
        "gpus=1",
        "model.weights=dummy",
        "workload=chat-1k-1k",
        "engine.max_model_len=4096",
        "load=closed",
        "load.calibrate=false",
        "load.requests_per_slot=2",
        "load.min_requests=2",
        "load.warmup_requests=1",
    ]


def variant_steps(gpu: str, out: Path, limit_s: float) -> list[Step]:
    """Every variant that fits, its levels in as few starts as the limit allows."""
    found = []
    for name, model, quant in VARIANTS:
        words = dummy(model, quant, gpu)
        levels = []
        spec = run_spec(compose(words), detect_gpus=False)
        for concurrency in LEVELS:
            at = replace(spec, load=replace(spec.load, concurrency=(concurrency,)))
            if fit(at).fits:
                levels.append(level(concurrency, 1024, predicted_rate(at)))
        for part in grouped(levels, START_S, limit_s):
            chosen = [x.concurrency for x in part.levels]
            command = bench(
                *words,
                f"load.concurrency={chosen}".replace(" ", ""),
                f"load.duration_s={part.duration_s}",
                f"results_dir={out / 'results'}",
            )
            label = "+".join(map(str, chosen))
            found.append(Step(name=f"{name}-c{label}", command=command, estimate_s=part.estimate_s))
    return found


def predicted_rate(spec: RunSpec) -> float:
    """The predicted output rate of a run's load (tokens/s)."""
    found = predictions(question(spec), spec.load)
    return found[0].figures["output_tokens_per_s"].value


def levels_of(step: Step) -> list[int]:
    """The concurrencies of a variant's step, by its name."""
    return [int(word) for word in step.name.rpartition("-c")[2].split("+")]


def gpu_steps(gpu: str, out: Path, limit_s: float, checkpoints: Path | None) -> list[Step]:
    """All steps in order of value: sensors, variants side by side at one load, parity, the rest."""
    variants = variant_steps(gpu, out, limit_s)
    beside = [s for s in variants if s.name.startswith("8b-") and BESIDE in levels_of(s)]
    words = dummy(SMALL, "none", gpu)
    parity = script(
        "parity.py", "--out", str(out / "parity.json"), SMALL, "64", "128", "4", *words[1:]
    )
    overhead = script(
        "sampler_overhead.py",
        "--out",
        str(out / "sampler_overhead.json"),
        "--requests",
        "64",
        *words,
        "load.concurrency=[64]",
    )
    return [
        Step(
            name="selfcheck",
            command=script("gpu_selfcheck.py", "--out", str(out / "selfcheck")),
            estimate_s=330,
        ),
        *beside[:2],
        Step(name="parity", command=parity, estimate_s=START_S + 310),
        *beside[2:],
        Step(name="overhead", command=overhead, estimate_s=START_S + 215),
        *quality_steps(out, checkpoints, ["gpu=" + gpu, "gpus=1", *QUICK], START_S + 80),
        *(s for s in variants if s not in beside),
        prediction(out),
    ]


def quality_steps(
    out: Path, checkpoints: Path | None, more: Sequence[str], estimate_s: float
) -> list[Step]:
    """The tiny model as it is and, where checkpoints were carried, quantised: speed and quality."""
    folder = (checkpoints or ROOT / "checkpoints").absolute()
    there = [q for q in ("gptq", "awq") if (folder_of(str(folder), "tiny", q) / RECORD).is_file()]
    place = (f"results_dir={out / 'results'}", f"checkpoints_dir={folder}")
    return [
        Step(
            name=f"quality-{q}",
            estimate_s=estimate_s,
            command=bench(
                "model=tiny",
                f"quant={q}",
                "quality=tiny",
                "load.calibrate=false",
                *more,
                *place,
            ),
        )
        for q in ("none", *there)
    ]


def prediction(out: Path) -> Step:
    """Prediction against measurement, from what is stored: no GPU is used."""
    return Step(
        name="prediction",
        estimate_s=20,
        command=script("gpu_evidence.py", "--out", str(out), "--predict"),
    )


def rehearsal_steps(out: Path, checkpoints: Path | None = None) -> list[Step]:
    """The same steps on the CPU build with the tiny model and small numbers."""
    small = ["load.requests=8", "load.repeats=2", "load.calibrate=false"]
    place = f"results_dir={out / 'results'}"
    return [
        Step(
            name="selfcheck",
            estimate_s=60,
            command=script("gpu_selfcheck.py", "--rehearse", "--out", str(out / "selfcheck")),
        ),
        Step(
            name="tiny-dummy-c1+4",
            estimate_s=90,
            command=bench(
                "model=tiny", "model.weights=dummy", *small, "load.concurrency=[1,4]", place
            ),
        ),
        Step(
            name="parity",
            estimate_s=200,
            command=script("parity.py", "--out", str(out / "parity.json"), "tiny", "4", "64", "2"),
        ),
        Step(
            name="overhead",
            estimate_s=90,
            command=script(
                "sampler_overhead.py",
                "--out",
                str(out / "sampler_overhead.json"),
                "--rounds",
                "2",
                "--requests",
                "64",
                "model=tiny",
                "load.concurrency=[4]",
            ),
        ),
        *quality_steps(out, checkpoints, [*small, "load.concurrency=[4]", "quality.limit=20"], 120),
        prediction(out),
    ]


if __name__ == "__main__":
    print(__doc__)
