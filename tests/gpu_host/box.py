"""The box that a GPU host is rehearsed in: stand-ins for driver and engine round bench itself."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vllm_starts

from bench.derive import derive
from bench.report.document import run_document
from bench.store import load_run

HERE = Path(__file__).parent
MODEL = f"model={vllm_starts.LLAMA_8B}"
ENGINE = "vllm.entrypoints.openai.api_server"
LOAD = ("load.calibrate=false", "load.concurrency=[4]", "workload.output_tokens=32")
SHORT = ("load.duration_s=null", "load.requests=16", "load.repeats=1", "meter.idle_s=1", *LOAD)
TRUTH = "bench.engines.truth_server"
LONG = ("load.duration_s=33", "load.repeats=1", "meter.idle_s=6", *LOAD)
BOARD_W = 300.0
RUNBOOK = HERE.parents[1] / "docs" / "gpu-runbook.md"


@dataclass(frozen=True)
class Box:
    """A folder that holds the stand-ins, and what runs in it leave; what some of them `said`."""

    folder: Path
    said: dict[str, str] = field(default_factory=dict)

    def env(self, name: str, boards: int, **more: str) -> dict[str, str]:
        """The environment of a machine with so many boards, on all of which its engine computes."""
        orders = self.folder / f"orders-{name}"
        if not orders.exists():
            engine = TRUTH if name.startswith("truth") else ENGINE
            each = [f"running {b} compute 70000 {engine}\n" for b in range(boards)]
            same = f"boards {boards}\nwatts * {BOARD_W:.0f}\n"
            orders.write_text(same + "".join(each))
        path = (self.folder / "package", HERE.parents[1], HERE)
        env = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
        return {
            **env,
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "LD_LIBRARY_PATH": str(self.folder / "library"),
            "NVML_STANDIN": str(orders),
            "VLLM_STANDIN_ITL_MS": "30",
            **more,
        }

    def start(self, results: str, boards: int, *words: str, **more: str) -> subprocess.Popen[str]:
        """`bench` with these words, its results in a folder of their own.

        A key that comes again, as where the runbook's load is made shorter, has its last value.
        """
        last = {w.partition("=")[0] if "=" in w else w: w for w in words}
        kept = [w for w in words if "=" not in w or last[w.partition("=")[0]] == w]
        command = [sys.executable, "-m", "bench.cli", *kept]
        if results:
            command.append(f"results_dir={self.folder / results}")
        return subprocess.Popen(
            command,
            env=self.env(results, boards, **more),
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def bench(self, results: str, boards: int, *words: str, **more: str) -> tuple[int, str]:
        """The same, waited for: exit code and what it said."""
        process = self.start(results, boards, *words, **more)
        said, _ = process.communicate()
        return process.returncode, said

    def selfcheck(self) -> subprocess.Popen[str]:
        """scripts/gpu_selfcheck.py on the driver's library, its load on the processor."""
        script = HERE.parents[1] / "scripts" / "gpu_selfcheck.py"
        command = [sys.executable, str(script), "--rehearse", "--driver"]
        return subprocess.Popen(
            [*command, "--out", str(self.folder / "selfcheck")],
            env=self.env("selfcheck", 1),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def document(self, results: str, quant: str) -> dict[str, Any]:
        """The one run of a folder and quantisation, derived."""
        (path,) = (self.folder / results).glob(f"*/{quant}-*")
        run = load_run(path)
        return run_document(run, derive(run))


def commands() -> dict[str, tuple[str, ...]]:
    """The runbook's own words after `bench`, by the number of their step."""
    found: dict[str, tuple[str, ...]] = {}
    step = ""
    for line in RUNBOOK.read_text().splitlines():
        if line.startswith("## "):
            step = line[3:].partition(".")[0]
        elif line.startswith("    $ ") and ("bench" in line or "python" in line):
            words = shlex.split(line[6:])
            inner = words[words.index("bench") + 1 :] if "bench" in words else words
            found[step] = tuple(inner[: inner.index("&&")] if "&&" in inner else inner)
    return found
