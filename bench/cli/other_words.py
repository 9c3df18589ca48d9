"""Flags of other programs (`vllm serve`, `vllm bench serve`, genai-perf) as the keys here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_BY_KEY: Mapping[str, str] = {
    "gpus={}": "tp tensor-parallel-size tensor-parallel tp-size num-gpus",
    "load.concurrency=[{}]": "max-concurrency concurrency num-users users",
    "load.requests={}": "num-prompts num-requests request-count",
    "load=open load.rate_per_s=[{}]": "request-rate rate qps rps",
    "load.burstiness={}": "burstiness",
    "workload.input_tokens={}": "random-input-len input-len isl prompt-tokens",
    "workload.output_tokens={}": "random-output-len output-len osl output-tokens max-tokens",
    "workload.file={}": "dataset-path input-file",
    "quant={}": "quantization",
    "engine={}": "backend",
    "engine=endpoint engine.base_url={}": "base-url url u",
    "engine=endpoint engine.base_url=http://127.0.0.1:{}/v1": "port",
    "engine=endpoint engine.base_url=http://{}:8000/v1": "host",
    "engine=endpoint engine.served_model={}": "served-model-name",
    "engine.max_model_len={}": "max-model-len",
    "engine.gpu_memory_utilization={}": "gpu-memory-utilization",
    "engine.dtype={}": "dtype",
    "engine.args=[--max-num-seqs,{}]": "max-num-seqs",
    "engine.args=[--max-num-batched-tokens,{}]": "max-num-batched-tokens",
    "engine.args=[--pipeline-parallel-size,{}]": "pipeline-parallel-size pp",
    "engine.args=[--data-parallel-size,{}]": "data-parallel-size dp",
    "engine.args=[--kv-cache-dtype,{}]": "kv-cache-dtype",
    "results_dir={}": "result-dir output-dir",
    "load.repeats={}": "repeats num-runs",
    "load.duration_s={}": "duration",
}
_KEY_OF = {flag: key for key, flags in _BY_KEY.items() for flag in flags.split()}
_JSON = ("format", "output", "output-format", "o")


def other_flag(flag: str, following: Sequence[str]) -> str:
    """A clause for a flag of another program, with its value; empty for any other."""
    name, _, value = flag.lstrip("-").partition("=")
    name = name.replace("_", "-")
    value = value or next((w for w in following[:1] if not w.startswith("-")), "")
    if name in _JSON and value.casefold() == "json":
        return " JSON is typed --json."
    if name == "model" and "/" in value:
        local = value.startswith(("/", ".", "~"))
        return f" Keys have no dashes: model.{'path' if local else 'repo'}={value}."
    key = _KEY_OF.get(name)
    if key is None:
        return ""
    if name == "request-rate" and value.casefold() == "inf":
        return " All at once is a closed loop here: load.concurrency=[N] load.requests=N."
    return f" Here that is {key.format(value or '…')}."
