"""The scores that bench stores against those of lm-eval's own command line, to the last digit.

    python scripts/lm_eval_parity.py [--limit N]

Serves the bundled tiny model with vLLM (or takes --base-url), scores it as `bench quality=…` does,
then by `python -m lm_eval run` over the endpoint (local-completions) and in-process (hf), from the
same checkpoint and on the same items. Exit 1 where any accuracy differs in any digit. Prints also
by how much log-likelihoods differ, which batching and the order of sums may move.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.config.compose import compose, run_spec
from bench.engines import load_engine
from bench.evaluators import lm_eval
from bench.evaluators.process import environment
from bench.evaluators.tasks import folders
from bench.models.weights import resolve_weights
from bench.values.server import Server
from bench.values.spec import RunSpec

TASKS = ("tiny_facts_mc", "tiny_facts_gen")
Scores = dict[tuple[str, str], float]
Logliks = dict[tuple[str, int], tuple[float, ...]]


def main() -> int:
    """Score three ways and print them side by side; 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-url", help="of a server of the tiny model; default: start one")
    parser.add_argument("--limit", type=int)
    args = parser.parse_args()
    spec: RunSpec = run_spec(
        compose(
            ["gpus=0", "gpu=cpu", "quality=tiny", f"quality.tasks=[{','.join(TASKS)}]"]
            + ([f"quality.limit={args.limit}"] if args.limit else [])
        )
    )
    with tempfile.TemporaryDirectory() as name:
        if args.base_url:
            path = resolve_weights(spec.model, spec.quant).location
            length = spec.model.max_context_tokens
            server = Server(
                engine="vllm",
                base_url=args.base_url,
                served_model=spec.model.name,
                max_model_len=length,
                model_path=path,
            )
            return compare(spec, server, Path(name))
        with load_engine("vllm").serve(spec, Path(name), lambda _: None) as server:
            return compare(spec, server, Path(name))


def compare(spec: RunSpec, server: Server, folder: Path) -> int:
    """The three ways on one server; 1 unless every score is the same float."""
    scored = lm_eval.score(spec, server, folder / "bench", lambda _: None)
    ours = {(s.task, s.metric): s.value for s in scored.result.scores}
    choices = {(i.task, i.doc_id): i.logliks for i in scored.items if i.logliks}
    endpoint = {
        "model": "local-completions",
        "model_args": f"model={server.served_model},base_url={server.base_url}/completions,"
        f"tokenizer={server.model_path},num_concurrent=16,max_length={server.max_model_len},"
        "tokenizer_backend=huggingface,add_bos_token=True",
    }
    in_process = {
        "model": "hf",
        "model_args": f"pretrained={server.model_path},dtype=float32",
        "device": "cpu",
        "batch_size": "16",
    }
    same = True
    for title, words in (("endpoint", endpoint), ("in-process", in_process)):
        theirs, their_choices = plain(spec, server, words, folder / title)
        apart = max(
            abs(a - b)
            for key in choices
            for a, b in zip(choices[key], their_choices[key], strict=True)
        )
        for (task, metric), value in sorted(theirs.items()):
            mine = ours[task, metric]
            same &= mine == value
            mark = "same" if mine == value else "DIFFERENT"
            print(f"{task:16} {metric:12} bench {mine!r:20} lm-eval {title:10} {value!r:20} {mark}")
        print(f"log-likelihoods differ from lm-eval {title} by at most {apart:.2g} nats")
    return 0 if same else 1


def plain(
    spec: RunSpec, server: Server, words: dict[str, str], folder: Path
) -> tuple[Scores, Logliks]:
    """lm-eval's own command line: (score per task and metric, log-likelihoods per choice item)."""
    command = [sys.executable, "-m", "lm_eval", "run", "--tasks", ",".join(TASKS)]
    command += ["--include_path", folders(spec.quality)[0], "--seed", "0"]
    command += ["--log_samples", "--output_path", str(folder)]
    command += [part for key, value in words.items() for part in (f"--{key}", value)]
    if spec.quality.limit:
        command += ["--limit", str(spec.quality.limit)]
    env = environment(folder, server, spec.quality) | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"lm-eval failed: {done.stderr.strip().splitlines()[-1]}")
    (path,) = folder.rglob("results_*.json")
    results: dict[str, Any] = json.loads(path.read_text())
    scores = {
        (task, key.partition(",")[0]): float(value)
        for task, values in results["results"].items()
        for key, value in values.items()
        if key.partition(",")[2] and "_stderr" not in key and isinstance(value, float)
    }
    logliks = {}
    for sample in path.parent.glob("samples_tiny_facts_mc_*.jsonl"):
        for row in map(json.loads, sample.read_text().splitlines()):
            given = tuple(float(pair[0]) for pair in row["filtered_resps"])
            logliks["tiny_facts_mc", row["doc_id"]] = given
    return scores, logliks


if __name__ == "__main__":
    sys.exit(main())
