"""One quantisation with llm-compressor, run by its own environment's Python: `oneshot.py JOB.json`.

Standard library and that environment's packages alone: this package is not installed there, since
llm-compressor and vLLM pin different versions of the same libraries. The job names model, output,
recipe, calibration and seed; a line `bench: …` on stdout says what is being done.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("llmcompressor", "compressed-tensors", "transformers", "torch", "datasets")


def main() -> None:
    """Quantise, save the compressed checkpoint, and write what was done as result.json."""
    job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    began_s = time.monotonic()
    say("loading llm-compressor")
    _seed(job["seed"])
    output = Path(job["output"])
    from transformers import AutoModelForCausalLM, AutoTokenizer

    say("loading the model")
    where = {"revision": job["revision"]} if job["revision"] else {}
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype="auto", **where)
    tokenizer = AutoTokenizer.from_pretrained(job["model"], **where)
    texts = _texts(job["calibration"]) if job["calibrated"] else []
    compressed = _compress(model, tokenizer, texts, job)
    say("writing the checkpoint")
    compressed.save_pretrained(output, save_compressed=True)
    tokenizer.save_pretrained(output)
    result = {
        "seconds": time.monotonic() - began_s,
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "calibration_texts": len(texts),
        "calibration_tokens": sum(
            min(len(tokenizer(t).input_ids), job["calibration"]["max_tokens"]) for t in texts
        ),
    }
    Path(job["result"]).write_text(json.dumps(result, allow_nan=False))


def say(text: str) -> None:
    """One line of progress for whoever started this."""
    print(f"bench: {text}", flush=True)


def _seed(seed: int) -> None:
    import torch

    random.seed(seed)
    torch.manual_seed(seed)


def _texts(calibration: dict[str, Any]) -> list[str]:
    """The calibration texts: a JSON-lines file's, or those of a data set on the hub."""
    if calibration["file"]:
        lines = Path(calibration["file"]).read_text(encoding="utf-8").splitlines()
        texts = [json.loads(line)[calibration["column"]] for line in lines if line.strip()]
    else:
        from datasets import load_dataset

        data = load_dataset(calibration["dataset"], split=calibration["split"])
        texts = [row[calibration["column"]] for row in data]
    if len(texts) > calibration["samples"]:
        texts = random.sample(texts, calibration["samples"])
    return [text if isinstance(text, str) else json.dumps(text, allow_nan=False) for text in texts]


def _compress(model: Any, tokenizer: Any, texts: list[str], job: dict[str, Any]) -> Any:
    import torch
    from datasets import Dataset
    from llmcompressor import oneshot

    if not torch.accelerator.is_available():
        _leave_memory_unpinned()
    options: dict[str, Any] = {}
    if texts:
        length = job["calibration"]["max_tokens"]
        rows = [
            tokenizer(t, truncation=True, max_length=length, return_attention_mask=True)
            for t in texts
        ]
        options = {
            "dataset": Dataset.from_list([dict(row) for row in rows]),
            "num_calibration_samples": len(texts),
            "max_seq_length": length,
            "shuffle_calibration_samples": False,
        }
    say(f"quantising ({len(texts)} calibration texts)")
    return oneshot(model=model, tokenizer=tokenizer, recipe=job["recipe"], **options)


def _leave_memory_unpinned() -> None:
    """AWQ pins its cache without asking whether there is an accelerator to pin it for."""
    cache = importlib.import_module("llmcompressor.pipelines.cache").IntermediatesCache
    cache.pin_memory = lambda self, batch_index, input_names=None: None


if __name__ == "__main__":
    main()
