"""What vLLM 0.32.0 prints when it starts on GPUs, and when it does not.

Every line has the format of the pinned version's own source (`SOURCES` says which file; a test
holds each against the installed package). The figures are of recorded starts on H100s, the rows of
tests/data/evidence/engine-logs.jsonl that `row` names; what depends on the utilisation or the
number of boards is computed from them as vLLM does: budget less weights, activations, NCCL and
graphs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

TOTAL_GIB = 79.19
"""What torch sees of an 80 GB H100 in those logs."""
VERSION = "0.32.0+rehearsal"


@dataclass(frozen=True, kw_only=True)
class Start:
    """One recorded start: weights, activations, NCCL and graphs in GiB on one board; bytes of KV
    cache per token over all boards; the kernels that were chosen."""

    row: str
    weights_gib: float
    activation_gib: float = 1.89
    non_torch_gib: float = 0.25
    graphs_gib: float = 0.91
    kv_bytes_per_token: int = 131_072
    kernel: str | None = None
    moe: str | None = None
    quantization: str = "None"


LLAMA_8B = "deepseek-r1-distill-llama-8b"
STARTS = {
    (LLAMA_8B, "bf16"): Start(row="L15", weights_gib=14.99),
    (LLAMA_8B, "fp8"): Start(
        row="L17",
        weights_gib=8.49,
        graphs_gib=0.87,
        kernel="CutlassFP8ScaledMMLinearKernel",
        quantization="compressed-tensors",
    ),
    (LLAMA_8B, "w4"): Start(
        row="L40",
        weights_gib=5.38,
        graphs_gib=0.96,
        kernel="MarlinLinearKernel",
        quantization="compressed-tensors",
    ),
    ("qwen3-30b-a3b", "bf16"): Start(
        row="L37",
        weights_gib=56.88,
        activation_gib=2.68,
        non_torch_gib=0.27,
        graphs_gib=1.41,
        kv_bytes_per_token=98_304,
        moe="TRITON",
    ),
}
NCCL_GIB = 2.07
"""What several boards need beside (rows L21, L30, L36)."""


def precision_of(repository: str) -> str:
    """How a checkpoint's name says that it is stored."""
    name = repository.lower()
    if "fp8" in name:
        return "fp8"
    return "w4" if any(w in name for w in ("w4a16", "awq", "gptq", "int4")) else "bf16"


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What the engine says of one board, and of the cache over all."""

    weights_gib: float
    kv_gib: float
    kv_tokens: int


def memory(start: Start, boards: int, utilisation: float) -> Memory:
    """The engine's own arithmetic on the figures of a recorded start."""
    weights = start.weights_gib / boards
    other = start.activation_gib + (NCCL_GIB if boards > 1 else start.non_torch_gib)
    kv_gib = TOTAL_GIB * utilisation - weights - other - start.graphs_gib
    tokens = kv_gib * 2**30 * boards / start.kv_bytes_per_token
    return Memory(weights_gib=weights, kv_gib=kv_gib, kv_tokens=int(tokens) // 16 * 16)


SOURCES = {
    "core.py:133": "v1/engine/core.py",
    "core.py:395": "v1/engine/core.py",
    "core.py:1510": "v1/engine/core.py",
    "parallel_state.py:2350": "distributed/parallel_state.py",
    "pynccl.py:148": "distributed/device_communicators/pynccl.py",
    "cuda.py:507": "platforms/cuda.py",
    "__init__.py:798": "model_executor/kernels/linear/__init__.py",
    "default_loader.py:502": "model_executor/model_loader/default_loader.py",
    "weight_utils.py:1109": "model_executor/model_loader/weight_utils.py",
    "gpu_model_runner.py:5040": "v1/worker/gpu_model_runner.py",
    "gpu_model_runner.py:5149": "v1/worker/gpu_model_runner.py",
    "gpu_model_runner.py:6581": "v1/worker/gpu_model_runner.py",
    "backends.py:1167": "compilation/backends.py",
    "monitor.py:20": "compilation/monitor.py",
    "gpu_worker.py:760": "v1/worker/gpu_worker.py",
    "kv_cache_utils.py:2327": "v1/core/kv_cache_utils.py",
    "entry.py:140": "entrypoints/launchers/api_server/entry.py",
    "multiproc_executor.py:953": "v1/executor/multiproc_executor.py",
}
FORMATS = {
    "core.py:133": "Initializing a V1 LLM engine (v%s) with config: %s",
    "core.py:395": (
        "init engine (profile, create kv cache, warmup model) took %.2f s (compilation: %.2f s)"
    ),
    "core.py:1510": "EngineCore failed to start.",
    "parallel_state.py:2350": (
        "rank %s in world size %s is assigned as DP rank %s, PP rank %s, PCP rank %s, TP rank %s, "
        "ETP rank %s, EP rank %s, EPLB rank %s"
    ),
    "pynccl.py:148": "vLLM is using nccl==%s",
    "cuda.py:507": "Using %s attention backend out of potential backends: %s.",
    "__init__.py:798": "Selected %s for %s",
    "default_loader.py:502": "Loading weights took %.2f seconds",
    "weight_utils.py:1109": (
        "Filesystem type for checkpoints: %s. Checkpoint size: %.2f GiB. Available RAM: %.2f GiB."
    ),
    "gpu_model_runner.py:5040": "Starting to load model %s...",
    "gpu_model_runner.py:5149": "Model loading took %s GiB memory and %.6f seconds",
    "gpu_model_runner.py:6581": "Graph capturing finished in %.0f secs, took %.2f GiB",
    "backends.py:1167": "%sDynamo bytecode transform time: %.2f s",
    "monitor.py:20": "%storch.compile took %.2f s in total",
    "gpu_worker.py:760": "Available KV cache memory: %s GiB",
    "kv_cache_utils.py:2327": (
        "%s KV cache size: %s tokens, Maximum concurrency for %s tokens per request: %.2fx"
    ),
    "entry.py:140": "Starting vLLM server on %s",
    "multiproc_executor.py:953": "WorkerProc failed to start.",
}


def said(process: str, place: str, *values: object, level: str = "INFO") -> str:
    """One line as the engine's logger prints it."""
    message = FORMATS[place] % values
    return f"({process} pid={4242}) {level} 11-26 12:00:00 [{place}] {message}"


def start_lines(
    start: Start,
    *,
    model: str,
    boards: int,
    utilisation: float,
    context: int,
    port: int,
    replicas: int = 1,
) -> Iterator[str]:
    """The log of a start that works, `boards` being those of one of the data-parallel replicas:
    each replica has a core of its own, which says what the others say."""
    for replica in range(replicas):
        core = f"EngineCore_DP{replica}" if replicas > 1 else "EngineCore"
        yield from _core_lines(start, core, model, boards, utilisation, context)
    yield said("APIServer", "entry.py:140", f"http://127.0.0.1:{port}")


def _core_lines(
    start: Start, core: str, model: str, boards: int, utilisation: float, context: int
) -> Iterator[str]:
    """What one engine core and its workers print."""
    found = memory(start, boards, utilisation)
    worker = "Worker_TP0" if boards > 1 else core
    config = (
        f"model='{model}', speculative_config=None, trust_remote_code=False, dtype=torch.bfloat16, "
        f"max_seq_len={context}, load_format=auto, tensor_parallel_size={boards}, "
        f"pipeline_parallel_size=1, quantization={start.quantization}, enforce_eager=False, "
        "kv_cache_dtype=auto, device_config=cuda, seed=0"
    )
    yield said(core, "core.py:133", VERSION, config)
    for rank in range(boards):
        name = f"Worker_TP{rank}" if boards > 1 else core
        ranks = (rank, boards, 0, 0, 0, rank, rank, "N/A", "N/A")
        yield said(name, "parallel_state.py:2350", *ranks)
    if boards > 1:
        yield said(worker, "pynccl.py:148", "2.28.9")
    yield said(worker, "gpu_model_runner.py:5040", model)
    yield said(worker, "cuda.py:507", "FLASH_ATTN", "['FLASH_ATTN', 'FLASHINFER', 'TRITON_ATTN']")
    if start.kernel is not None:
        yield said(worker, "__init__.py:798", start.kernel, "CompressedTensorsW8A8Fp8")
    if start.moe is not None:
        yield f"({worker} pid=4242) INFO 11-26 12:00:00 [unquantized.py:1] Using {start.moe} " + (
            "Unquantized MoE backend out of potential backends: ['TRITON']."
        )
    yield said(worker, "weight_utils.py:1109", "EXT4", start.weights_gib, 900.0)
    yield said(worker, "default_loader.py:502", 3.04)
    yield said(worker, "gpu_model_runner.py:5149", f"{found.weights_gib:.2f}", 4.1)
    yield said(worker, "backends.py:1167", "", 6.2)
    yield said(worker, "monitor.py:20", "", 18.21)
    yield said(worker, "gpu_worker.py:760", f"{found.kv_gib:.2f}")
    times = found.kv_tokens / context
    tokens = (f"{found.kv_tokens:,}", f"{context:,}")
    yield said(core, "kv_cache_utils.py:2327", "GPU", *tokens, times)
    yield said(worker, "gpu_model_runner.py:6581", 9, start.graphs_gib)
    yield said(core, "core.py:395", 41.5, 18.2)


FAILURES = {
    "out_of_memory": (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 112.00 MiB. GPU 0 has a "
        "total capacity of 79.19 GiB of which 75.06 MiB is free."
    ),
    "kv_cache_too_small": (
        "ValueError: To serve at least one request with the model's max seq len (131072), 16.0 GiB "
        "KV cache is needed, which is larger than the available KV cache memory (9.1 GiB)."
    ),
    "nccl": "RuntimeError: NCCL error: unhandled cuda error (run with NCCL_DEBUG=INFO for details)",
    "shared_memory": (
        "torch.distributed.DistBackendError: NCCL error in: NCCLUtils.cpp:94, unhandled system "
        "error, NCCL version 2.28.9. Last error: Error while creating shared memory segment "
        "/dev/shm/nccl-EoOvZr (size 7340384)"
    ),
    "unsupported_gpu": (
        "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the "
        "device"
    ),
    "unsupported_quantisation": (
        "ValueError: Failed to find a kernel that can implement the ScaledMM linear layer. Reasons:"
    ),
    "gated_weights": (
        "huggingface_hub.errors.GatedRepoError: 401 Client Error. Cannot access gated repo for url "
        "https://huggingface.co/org/m/resolve/main/config.json."
    ),
    "fabric_manager": (
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 802: system not yet "
        "initialized"
    ),
    "driver_too_old": (
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12040)."
    ),
}


def failure_lines(kind: str, boards: int) -> Iterator[str]:
    """The log of a start that does not: the cause in a worker, and the wrappers around it."""
    worker = "Worker_TP1" if boards > 1 else "EngineCore"
    place = "multiproc_executor.py:953" if boards > 1 else "core.py:1510"
    yield said(worker, place, level="ERROR")
    head = f"({worker} pid=4242) ERROR 11-26 12:00:00 [{place}] "
    yield head + "Traceback (most recent call last):"
    yield head + '  File "site-packages/vllm/v1/worker/gpu_worker.py", line 510, in init_device'
    yield head + "    self.model_runner = make(vllm_config, trust_remote_code=True)"
    yield head + FAILURES[kind]
    yield "(APIServer pid=1) Traceback (most recent call last):"
    yield (
        "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. "
        "Failed core proc(s): {'EngineCore': 1}"
    )
