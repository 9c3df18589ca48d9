"""Fit against a real vLLM: serves a model on this machine's CPU and prints prediction beside
measurement. `python scripts/fit_check.py [tiny] [dummy-1b]`; exit 1 when weights are off by more
than 2 % or KV tokens by more than 5 %.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import urllib.request
from pathlib import Path

from asked_help import answer_help

from bench.engines.vllm import VllmEngine
from bench.meters.process_memory import GIB, private_gib
from bench.models.model_config import read_config
from bench.sizing.against_measured import MeasuredMemory, compare_fit
from bench.sizing.fit import fit
from bench.values.fit_error import FitError
from bench.values.server import Progress, Server
from bench.values.spec import (
    GpuSpec,
    Licence,
    LoadSpec,
    ModelSpec,
    QuantSpec,
    RunSpec,
    SloSpec,
    VllmSpec,
    WorkloadSpec,
)

TOLERANCES = {"weights": 0.02, "KV cache": 0.05}
# The shape of Llama-3.2-1B: 1.24 B parameters, grouped-query attention, tied embeddings.
LLAMA_1B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "bos_token_id": 128000,
    "eos_token_id": 128001,
}


def model(name: str) -> ModelSpec:
    licence = Licence(name="Apache-2.0")
    if name == "dummy-1b":
        return ModelSpec(
            name=name, weights="dummy", config=LLAMA_1B, max_context_tokens=8192, licence=licence
        )
    directory = Path(__file__).parents[1] / "bench/assets/models" / name
    config = read_config(directory)
    return ModelSpec(
        name=name,
        weights=str(directory),
        config=config,
        max_context_tokens=int(config["max_position_embeddings"]),
        licence=licence,
    )


def run_spec(name: str) -> RunSpec:
    return RunSpec(
        model=model(name),
        quant=QuantSpec(name="none", title="as published"),
        gpu=GpuSpec(name="cpu", title="CPU", kind="cpu"),
        gpus=0,
        engine=VllmSpec(
            args=("--worker-extension-cls", "fit_probe.WeightBytes"),
            env={"VLLM_SERVER_DEV_MODE": "1", "PYTHONPATH": str(Path(__file__).parent)},
        ),
        workload=WorkloadSpec(
            name="check",
            input_tokens=256,
            output_tokens=64,
            slo=SloSpec(ttft_ms=1000, tpot_ms=1000),
        ),
        load=LoadSpec(),
    )


def measure(server: Server) -> MeasuredMemory:
    """Weights from the worker, cache size from /metrics and the log, memory from the kernel."""
    base = server.base_url.removesuffix("/v1")
    body = json.dumps({"method": "loaded_weights"}).encode()
    request = urllib.request.Request(
        f"{base}/collective_rpc", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        loaded = json.load(response)["results"][0]
    with urllib.request.urlopen(f"{base}/metrics", timeout=60) as response:
        metrics = response.read().decode()
    info = re.search(r'^vllm:cache_config_info\{.*kv_cache_size_tokens="(\d+)"', metrics, re.M)
    log = server.log_path.read_text(errors="replace") if server.log_path else ""
    logged = re.search(r"KV cache size: ([\d,]+) tokens", log)
    tokens = {int(m.group(1).replace(",", "")) for m in (info, logged) if m}
    if len(tokens) != 1:
        raise SystemExit(f"log and /metrics do not agree on the cache: {sorted(tokens)}")
    return MeasuredMemory(
        weights_gib=loaded["bytes"] / GIB,
        kv_tokens=tokens.pop(),
        peak_gib=private_gib(server.pid or 0),
        weights_source="parameters in the worker, before repacking",
        kv_source="log and vllm:cache_config_info",
        peak_source="private memory of the engine's processes, now",
    )


def show(name: str, errors: tuple[FitError, ...]) -> bool:
    print(f"\n{name}")
    good = True
    for e in errors:
        limit = TOLERANCES.get(e.quantity)
        passed = limit is None or (e.error is not None and abs(e.error) <= limit)
        good &= passed
        verdict = "not bounded" if limit is None else ("ok" if passed else "OUT OF TOLERANCE")
        measured = "not measured" if e.measured is None else f"{e.measured:>14,.4f}"
        error = "" if e.error is None else f"{e.error:+.2%}"
        print(
            f"  {e.quantity:12} predicted {e.predicted:>14,.4f} measured {measured} {e.unit:7}"
            f"{error:>8}  {verdict}  ({e.source})"
        )
    return good


def check(name: str) -> bool:
    spec = run_spec(name)
    report = fit(spec)
    with tempfile.TemporaryDirectory() as directory:

        def progress(_: Progress) -> None:
            return None

        with VllmEngine().serve(spec, Path(directory), progress) as server:
            return show(name, compare_fit(report, measure(server)))


def main() -> int:
    names = sys.argv[1:] or ["tiny", "dummy-1b"]
    results = [check(name) for name in names]
    return 0 if all(results) else 1


if __name__ == "__main__":
    answer_help(__doc__)
    raise SystemExit(main())
