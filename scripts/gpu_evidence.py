"""The evidence that a GPU is wanted for: steps in order of value, each on disk before the next.

    python scripts/gpu_evidence.py --out DIR [--list] [--only NAME,…] [--from NAME]
           [--limit-s 560] [--step-s 470] [--gpu h100-sxm] [--checkpoints DIR] [--rehearse]

Each step is a process with a time limit. DIR keeps what each left; a step that is done is not done
again, so a call that was cut off is resumed by the next. No step is started that is not expected to
end within --limit-s; --retry takes failed steps up again. The end of every call packs DIR into
DIR/carry/*.tar.gz, pieces small enough to be carried back. `--rehearse` runs every step on the CPU
build with the tiny model and small numbers. Exit code 0: all chosen steps are done; 1: not yet.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.codec import encode
from bench.compose import compose, run_spec
from bench.derive import derive
from bench.engines.guard import GuardedProcess
from bench.errors import BenchError
from bench.evidence import grouped, level
from bench.fit.fit import fit
from bench.meters.gpus import list_gpus
from bench.store import list_runs, load_run

ROOT = Path(__file__).resolve().parents[1]
LEVELS = (1, 16, 64, 256)
START_S = 100.0  # a first start of the engine: import, load, compile, capture
SMALL, MOE, LARGE = (
    "deepseek-r1-distill-llama-8b", "qwen3-30b-a3b", "deepseek-r1-distill-llama-70b"
)  # fmt: skip
VARIANTS = (
    ("8b-bf16", SMALL, "none"), ("8b-fp8", SMALL, "fp8"), ("8b-awq", SMALL, "awq"),
    ("8b-gptq", SMALL, "gptq"), ("moe-bf16", MOE, "none"), ("moe-fp8", MOE, "fp8"),
    ("70b-w4", LARGE, "gptq"), ("70b-fp8", LARGE, "fp8"),
)  # fmt: skip
ANSWERS_NO = 3
CARRY_BYTES = 15 * 2**20


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
        f"model={model}", f"quant={quant}", f"gpu={gpu}", "gpus=1", "model.weights=dummy",
        "workload=chat-1k-1k", "engine.max_model_len=4096", "load=closed", "load.calibrate=false",
        "load.requests_per_slot=2", "load.min_requests=2", "load.warmup_requests=1",
    ]  # fmt: skip


def variant_steps(gpu: str, out: Path, limit_s: float) -> list[Step]:
    """Every variant that fits, its levels in as few starts as the limit allows."""
    found = []
    for name, model, quant in VARIANTS:
        words = dummy(model, quant, gpu)
        levels = []
        spec = run_spec(compose(words), detect_gpus=False)
        for concurrency in LEVELS:
            report = fit(replace(spec, load=replace(spec.load, concurrency=(concurrency,))))
            if report.fits:
                levels.append(level(report, concurrency, 1024))
        for part in grouped(levels, START_S, limit_s):
            chosen = [x.concurrency for x in part.levels]
            command = bench(
                *words, f"load.concurrency={chosen}".replace(" ", ""),
                f"load.duration_s={part.duration_s}", f"results_dir={out / 'results'}",
            )  # fmt: skip
            label = "+".join(map(str, chosen))
            found.append(Step(name=f"{name}-c{label}", command=command, estimate_s=part.estimate_s))
    return found


def gpu_steps(gpu: str, out: Path, limit_s: float, checkpoints: Path | None) -> list[Step]:
    """All steps in order of value: sensors, the first variant, parity, overhead, then the rest."""
    variants = variant_steps(gpu, out, limit_s)
    first = [s for s in variants if s.name.startswith(VARIANTS[0][0])]
    busiest = first.pop() if len(first) > 1 else None
    words = dummy(SMALL, "none", gpu)
    parity = script("parity.py", SMALL, "64", "128", "3", *words[1:])
    overhead = script(
        "sampler_overhead.py", "--out", str(out / "sampler_overhead.json"), "--requests", "128",
        *words, "load.concurrency=[64]",
    )  # fmt: skip
    return [
        Step(name="selfcheck", command=script("gpu_selfcheck.py", "--out", str(out / "selfcheck")),
             estimate_s=330),
        *first,
        Step(name="parity", command=parity, estimate_s=START_S + 230),
        Step(name="overhead", command=overhead, estimate_s=START_S + 200),
        *quality_steps(out, checkpoints, ["gpu=" + gpu, "gpus=1"], 100),
        *([busiest] if busiest else []),
        *(s for s in variants if s not in first and s is not busiest),
        prediction(out),
    ]  # fmt: skip


def quality_steps(
    out: Path, checkpoints: Path | None, more: Sequence[str], estimate_s: float
) -> list[Step]:
    """The tiny model as it is and, where checkpoints were carried, quantised: speed and quality."""
    folder = checkpoints or ROOT / "checkpoints"
    there = [q for q in ("gptq", "awq") if any(folder.glob(f"tiny/{q}*"))]
    place = (f"results_dir={out / 'results'}", f"checkpoints_dir={folder}")
    return [
        Step(name=f"quality-{q}", estimate_s=estimate_s, command=bench(
            "model=tiny", f"quant={q}", "quality=tiny", "load.calibrate=false", *more, *place,
        ))
        for q in ("none", *there)
    ]  # fmt: skip


def prediction(out: Path) -> Step:
    """Prediction against measurement, from what is stored: no GPU is used."""
    return Step(name="prediction", estimate_s=20,
                command=script("gpu_evidence.py", "--out", str(out), "--predict"))  # fmt: skip


def rehearsal_steps(out: Path) -> list[Step]:
    """The same steps on the CPU build with the tiny model and small numbers."""
    small = ["load.requests=8", "load.repeats=2", "load.calibrate=false"]
    place = f"results_dir={out / 'results'}"
    return [
        Step(name="selfcheck", estimate_s=60, command=script(
            "gpu_selfcheck.py", "--rehearse", "--out", str(out / "selfcheck"))),
        Step(name="tiny-dummy-c1+4", estimate_s=90, command=bench(
            "model=tiny", "model.weights=dummy", *small, "load.concurrency=[1,4]", place)),
        Step(name="parity", estimate_s=120, command=script("parity.py", "tiny", "4", "64", "2")),
        Step(name="overhead", estimate_s=90, command=script(
            "sampler_overhead.py", "--out", str(out / "sampler_overhead.json"), "--rounds", "2",
            "--requests", "64", "model=tiny", "load.concurrency=[4]")),
        *quality_steps(out, None, [*small, "load.concurrency=[4]", "quality.limit=20"], 120),
        prediction(out),
    ]  # fmt: skip


def predict(out: Path) -> dict[str, Any]:
    """Per stored run: errors of the fit, and per load point MBU, MFU and the rate."""
    found = {}
    for path in list_runs(str(out / "results")):
        run = load_run(path)
        measured = derive(run)
        found[f"{path.parent.name}/{path.name}"] = {
            "valid": measured.valid,
            "fit_errors": encode(measured.fit_errors),
            "points": {
                p.point.label: {n: encode(p.metrics[n]) for n in (
                    "output_tokens_per_s", "mbu", "mfu", "ceiling_tokens_per_s") if n in p.metrics}
                for p in measured.points
            },
        }  # fmt: skip
    return found


def state_of(out: Path, step: Step) -> dict[str, Any]:
    """What an earlier call noted of a step; {} when it never ran."""
    path = out / "steps" / f"{step.name}.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def perform(step: Step, out: Path, limit_s: float) -> dict[str, Any]:
    """Run one step within its limit, and note how it ended before anything else happens."""
    folder = out / "steps"
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}  # fmt: skip
    log = folder / f"{step.name}.log"
    log.write_text("")
    code: int | None = None
    # Guarded: however this program ends, no step is left behind on the GPU.
    with GuardedProcess(step.command, env=env, log_path=log) as process:
        while code is None and time.monotonic() - began < limit_s:
            time.sleep(0.2)
            code = process.poll()
    took_s = round(time.monotonic() - began, 1)
    # A step that answers no (3) has been done: to repeat it would be to choose among answers.
    status = "done" if code in (0, ANSWERS_NO) else "timeout" if code is None else "failed"
    note = {"status": status, "exit": code, "took_s": took_s, "estimate_s": step.estimate_s,
            "command": list(step.command)}  # fmt: skip
    part = folder / f"{step.name}.part"
    part.write_text(json.dumps(note, indent=1) + "\n")
    part.replace(folder / f"{step.name}.json")
    return note


def pack(out: Path) -> list[Path]:
    """Everything but the models, in pieces of `CARRY_BYTES`, flat and few: DIR/carry/."""
    folder = out / "carry"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    whole = folder / "evidence.tar.gz"
    with tarfile.open(whole, "w:gz") as tar:
        for path in sorted(p for p in out.rglob("*") if p.is_file()):
            inside = path.relative_to(out)
            if inside.parts[0] != "carry" and "model" not in inside.parts:
                tar.add(path, arcname=str(inside))
    if whole.stat().st_size <= CARRY_BYTES:
        return [whole]
    pieces: list[Path] = []
    with whole.open("rb") as file:
        while block := file.read(CARRY_BYTES):
            pieces.append(folder / f"evidence.tar.gz.{len(pieces):02}")
            pieces[-1].write_bytes(block)
    whole.unlink()
    return pieces


def chosen(steps: Sequence[Step], only: str | None, since: str | None) -> list[Step]:
    """The steps that were asked for; SystemExit for a name that there is not."""
    names = [s.name for s in steps]
    for name in filter(None, [*(only or "").split(","), since]):
        if not any(n.startswith(name) for n in names):
            raise SystemExit(f"no step {name!r}; there are {', '.join(names)}")
    if only:
        return [s for s in steps if s.name.startswith(tuple(only.split(",")))]
    first = next((i for i, n in enumerate(names) if since and n.startswith(since)), 0)
    return list(steps[first:])


def show(steps: Sequence[Step], out: Path) -> None:
    """The steps with their state, and what fits into the first minutes."""
    total = 0.0
    for step in steps:
        state = state_of(out, step)
        total += state.get("took_s", step.estimate_s)
        print(f"{step.name:24} {state.get('status', '–'):8} {step.estimate_s:5.0f} s expected, "
              f"{total / 60:5.1f} min in all")  # fmt: skip


def detected() -> str:
    """The conf name of the first GPU here; SystemExit without one."""
    found = list_gpus()
    if not found.devices:
        raise SystemExit(f"no GPU here ({found.reason}): --rehearse, or --list --gpu NAME.")
    name: str = run_spec(compose(["gpu=auto"])).gpu.name
    return name


def go(steps: Sequence[Step], out: Path, limit_s: float, step_s: float, retry: bool) -> int:
    """Run what is not done and fits into the time left; 0 when all is done."""
    began, left = time.monotonic(), 0
    for step in steps:
        status = state_of(out, step).get("status")
        if status == "done" and step.name != "prediction":
            continue
        remaining_s = limit_s - (time.monotonic() - began)
        if (status in ("failed", "timeout") and not retry) or step.estimate_s > remaining_s:
            print(f"{step.name}: {status or 'left for the next call'}", flush=True)
            left += 1
            continue
        note = perform(step, out, min(step_s, remaining_s))
        print(f"{step.name}: {note['status']} in {note['took_s']:.0f} s", flush=True)
        left += note["status"] != "done"
    for piece in pack(out):
        print(f"{piece} {piece.stat().st_size / 2**20:.1f} MiB")
    return 1 if left else 0


def main(argv: list[str] | None = None) -> int:
    """Choose, list or run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--from", dest="since")
    parser.add_argument("--limit-s", type=float, default=560.0, help="time of this call")
    parser.add_argument("--step-s", type=float, default=470.0, help="time of one step")
    parser.add_argument("--gpu", help="plan for this one instead of the one here")
    parser.add_argument("--checkpoints", type=Path)
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--retry", action="store_true")
    parser.add_argument("--predict", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    out = given.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    if given.predict:
        (out / "prediction.json").write_text(json.dumps(predict(out), indent=1) + "\n")
        return 0
    try:
        steps = rehearsal_steps(out) if given.rehearse else gpu_steps(
            given.gpu or detected(), out, given.step_s, given.checkpoints)  # fmt: skip
    except BenchError as error:
        print(f"gpu_evidence: {error}", file=sys.stderr)
        return error.exit_code
    steps = chosen(steps, given.only, given.since)
    if given.list:
        show(steps, out)
        return 0
    return go(steps, out, given.limit_s, given.step_s, given.retry)


if __name__ == "__main__":
    sys.exit(main())
