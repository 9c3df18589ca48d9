"""Predictions on this machine's processor, put to the test with runs of one's own.

`python scripts/predict_proof.py [tiny] [dummy-360m] [dummy-1b] [--results DIR]`: per model two runs
(fewest and most in flight), a refit on both, and a third run in between, which keeps the prediction
made before it began. Prints measured beside predicted; exit 1 when a figure of the third lies
outside its 80 % band, whatever the measured interval reaches. Loads that the machine's other work
moved are withheld and prove nothing: run it on a quiet one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.derive import derive
from bench.report.predict_table import error_line
from bench.store import find_run, load_run

# The shape of SmolLM2-360M: 0.36 B parameters, grouped-query attention, tied embeddings.
SHAPE_360M: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 960,
    "intermediate_size": 2560,
    "num_hidden_layers": 32,
    "num_attention_heads": 15,
    "num_key_value_heads": 5,
    "head_dim": 64,
    "vocab_size": 49152,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# 1.0 B parameters: Llama 3.2 1B's layers with the vocabulary of SmolLM2.
SHAPE_1B = SHAPE_360M | {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
SHAPES = {"dummy-360m": SHAPE_360M, "dummy-1b": SHAPE_1B}


@dataclass(frozen=True, kw_only=True)
class Case:
    """In flight: of both runs of the refit, and of the third; the words of each run."""

    few: int
    many: int
    between: int
    words: tuple[str, ...] = ()
    least: int = 12
    waves: int = 8

    def run(self, in_flight: int) -> list[str]:
        """The words of a run: at least so many requests, and so many for each in flight."""
        count = max(self.least, self.waves * in_flight)
        requests = [f"load.requests={count}"] if self.words else []
        return [*self.words, *requests, f"load.concurrency=[{in_flight}]"]


CASES = {
    "tiny": Case(few=8, many=48, between=20),
    "dummy-360m": Case(
        few=2,
        many=8,
        between=4,
        words=("workload.input_tokens=24", "workload.output_tokens=16", "load.warmup_requests=8"),
    ),
    # 4 GB in float32: some steps a second on one core.
    "dummy-1b": Case(
        few=1,
        many=8,
        between=3,
        words=(
            *("workload.input_tokens=8", "workload.output_tokens=6", "load.warmup_requests=2"),
            # Its start computes as many tokens at once as it admits: 2 TFLOP for 1,024.
            *("engine.max_model_len=64", "engine.args=[--max-num-batched-tokens,128]"),
        ),
        least=4,
        waves=4,
    ),
}


def bench(*words: str) -> None:
    """One command of the product, its output shown."""
    print("$ bench", *words, flush=True)
    subprocess.run([sys.executable, "-m", "bench.cli", *words], check=True)


def measured(name: str, in_flight: int, results: Path, groups: Path) -> Path:
    """A run of one load point; its folder."""
    bench(
        *("run", "--config-dir", str(groups), f"model={name}", "workload=chat-short"),
        *(*CASES[name].run(in_flight), f"results_dir={results}"),
    )
    return Path(find_run("latest", str(results)))


def proof(name: str, results: Path, groups: Path) -> bool:
    """Whether every predicted figure of the third run lay inside its band."""
    case = CASES[name]
    runs = [measured(name, n, results, groups) for n in (case.few, case.many)]
    bench("predict", "--refit", *map(str, runs), f"results_dir={results}")
    third = measured(name, case.between, results, groups)
    bench("show", str(third))
    run = load_run(third)
    errors = derive(run).prediction_errors
    for note in ((run.prediction or {}).get("points") or [{}])[0].get("notes", ()):
        print(f"{name}: {note}")
    for e in errors:
        print(f"{name} {error_line(e)}")
    inside, touched = sum(e.inside for e in errors), sum(e.overlaps is True for e in errors)
    print(
        f"{name}: {inside} of {len(errors)} measured values inside their 80 % bands; the 95 % "
        f"intervals of {touched} overlap them (that proves nothing)"
    )
    return bool(errors) and inside == len(errors)


def groups_of(folder: Path) -> Path:
    """The dummy models as a config group."""
    (folder / "model").mkdir(exist_ok=True)
    for name, shape in SHAPES.items():
        spec = {
            "name": name,
            "weights": "dummy",
            "max_context_tokens": 2048,
            "licence": {"name": "Apache-2.0"},
            "config": shape,
        }
        (folder / "model" / f"{name}.yaml").write_text(yaml.safe_dump(spec))
    return folder


def main() -> int:
    """Prove what was asked for, all by default."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(CASES))
    parser.add_argument("--results", type=Path)
    asked = parser.parse_args()
    unknown = sorted(set(asked.models) - set(CASES))
    if unknown:
        parser.error(f"no model {', '.join(unknown)} here; there are {', '.join(CASES)}")
    with tempfile.TemporaryDirectory() as folder:
        groups = groups_of(Path(folder))
        results = asked.results or groups / "results"
        good = [proof(name, results, groups) for name in asked.models]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
