"""The evidence that a GPU is wanted for: steps in order of value, each on disk before the next.

    python scripts/gpu_evidence.py --out DIR [--list] [--only NAME,…] [--from NAME]
           [--limit-s 560] [--step-s 470] [--gpu h100-sxm] [--checkpoints DIR] [--rehearse]

Each step is a process with a time limit. DIR keeps what each left; a step that is done is not done
again, so a call that was cut off is resumed by the next. No step is started that is not expected to
end within --limit-s. A step that answers no has been done; one that cannot say, or whose run is
withheld, is `unclear`: --retry takes it up again, as it does what failed, and keeps what was said
before. The end of every call packs DIR into DIR/carry/, pieces small enough to be carried back.
`--rehearse` runs every step on the CPU build with the tiny model and small numbers, without a limit
for the call; what is measured there proves nothing, so an unclear answer is as good as any.
Exit code 0: all chosen steps are done; 1: not yet.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tarfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from gpu_steps import ROOT, Step, gpu_steps, rehearsal_steps

from bench.compare.gpu_time import EXIT_CODES
from bench.config.compose import compose, run_spec
from bench.derive import derive
from bench.engines.guard import GuardedProcess
from bench.meters.gpus import list_gpus
from bench.store import list_runs, load_run
from bench.values.codec import encode
from bench.values.errors import BenchError

CARRY_BYTES = 15 * 2**20
LIMIT_S = 560.0
Status = Literal["done", "unclear", "failed", "timeout"]


def predict(out: Path) -> dict[str, Any]:
    """Per stored run: errors of fit and prediction, and per load point MBU, MFU and the rate."""
    found = {}
    for path in list_runs(str(out / "results")):
        run = load_run(path)
        measured = derive(run)
        found[f"{path.parent.name}/{path.name}"] = {
            "valid": measured.valid,
            "fit_errors": encode(measured.fit_errors),
            "prediction_errors": encode(measured.prediction_errors),
            "points": {
                p.point.label: {
                    n: encode(p.metrics[n])
                    for n in ("output_tokens_per_s", "mbu", "mfu", "plan_tokens_per_s")
                    if n in p.metrics
                }
                for p in measured.points
            },
        }
    return found


def state_of(out: Path, step: Step) -> dict[str, Any]:
    """What an earlier call noted of a step; {} when it never ran."""
    path = out / "steps" / f"{step.name}.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def perform(step: Step, out: Path, limit_s: float, *, rehearse: bool = False) -> dict[str, Any]:
    """Run one step within its limit, and note how it ended before anything else happens."""
    folder = out / "steps"
    folder.mkdir(parents=True, exist_ok=True)
    put_aside(folder, step.name)
    stored = set(list_runs(str(out / "results")))
    began = time.monotonic()
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    log = folder / f"{step.name}.log"
    log.write_text("")
    code: int | None = None
    # Guarded: however this program ends, no step is left behind on the GPU.
    with GuardedProcess(step.command, env=env, log_path=log) as process:
        while code is None and time.monotonic() - began < limit_s:
            time.sleep(0.2)
            code = process.poll()
    took_s = round(time.monotonic() - began, 1)
    why = withheld(p for p in list_runs(str(out / "results")) if p not in stored)
    answer = {v: k for k, v in EXIT_CODES.items()}.get(code) if code is not None else None
    if answer == "yes" and why:
        answer = "unclear"
    status: Status = "timeout" if code is None else "failed" if answer is None else "done"
    if answer == "unclear" and not rehearse:
        status = "unclear"
    note = {
        "status": status,
        "answer": answer,
        "withheld": why,
        "exit": code,
        "took_s": took_s,
        "estimate_s": step.estimate_s,
        "command": list(step.command),
    }
    part = folder / f"{step.name}.part"
    part.write_text(json.dumps(note, indent=1) + "\n")
    part.replace(folder / f"{step.name}.json")
    return note


def put_aside(folder: Path, name: str) -> None:
    """Keep what an earlier try of a step said: another is no way to choose among answers."""
    there = [p for p in (folder / f"{name}.json", folder / f"{name}.log") if p.is_file()]
    if len(there) < 2:
        return  # never ended: there is nothing that it said
    number = 1 + len(list((folder / "earlier").glob(f"{name}.*.json")))
    (folder / "earlier").mkdir(exist_ok=True)
    for path in there:
        path.replace(folder / "earlier" / f"{name}.{number}{path.suffix}")


def withheld(runs: Iterable[Path]) -> list[str]:
    """What withholds a figure of these runs: `run load: code`, one each."""
    found = []
    for path in runs:
        try:
            measured = derive(load_run(path))
        except BenchError as error:
            found.append(f"{path.name}: {error}")
            continue
        places = [("", measured.findings), *((p.point.label, p.findings) for p in measured.points)]
        found += [
            f"{path.name} {label}: {f.code}".replace(" :", ":")
            for label, findings in places
            for f in findings
            if f.severity == "fail"
        ]
    return found


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
        print(
            f"{step.name:24} {state.get('status', '–'):8} {step.estimate_s:5.0f} s expected, "
            f"{total / 60:5.1f} min in all"
        )


def detected() -> str:
    """The conf name of the first GPU here; SystemExit without one."""
    found = list_gpus()
    if not found.devices:
        raise SystemExit(f"no GPU here ({found.reason}): --rehearse, or --list --gpu NAME.")
    name: str = run_spec(compose(["gpu=auto"])).gpu.name
    return name


def go(
    steps: Sequence[Step],
    out: Path,
    limit_s: float,
    step_s: float,
    *,
    retry: bool = False,
    rehearse: bool = False,
) -> int:
    """Run what is not done and fits into the time left; 0 when all is done."""
    began, left = time.monotonic(), 0
    for step in steps:
        status = state_of(out, step).get("status")
        if status == "done" and step.name != "prediction":
            continue
        remaining_s = limit_s - (time.monotonic() - began)
        if (status not in (None, "done") and not retry) or step.estimate_s > remaining_s:
            print(f"{step.name}: {status or 'left for the next call'}", flush=True)
            left += 1
            continue
        note = perform(step, out, min(step_s, remaining_s), rehearse=rehearse)
        said = {"no": ", the answer is no", "unclear": ", the answer is unclear"}.get(
            str(note["answer"]), ""
        )
        print(f"{step.name}: {note['status']} in {note['took_s']:.0f} s{said}", flush=True)
        for why in note["withheld"]:
            print(f"  withheld: {why}", flush=True)
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
    parser.add_argument(
        "--limit-s", type=float, help=f"time of this call: {LIMIT_S:g}; a rehearsal has no limit"
    )
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
        steps = (
            rehearsal_steps(out, given.checkpoints)
            if given.rehearse
            else gpu_steps(given.gpu or detected(), out, given.step_s, given.checkpoints)
        )
    except BenchError as error:
        print(f"gpu_evidence: {error}", file=sys.stderr)
        return error.exit_code
    steps = chosen(steps, given.only, given.since)
    if given.list:
        show(steps, out)
        return 0
    limit_s = given.limit_s or (math.inf if given.rehearse else LIMIT_S)
    return go(steps, out, limit_s, given.step_s, retry=given.retry, rehearse=given.rehearse)


if __name__ == "__main__":
    sys.exit(main())
