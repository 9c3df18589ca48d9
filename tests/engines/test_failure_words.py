"""Wordings of failed starts as people reported them: each has its kind, and a remedy of ours.

Words of vLLM, PyTorch, NCCL, CUDA, Triton, safetensors and the hub, from public reports; numbers
and names in them are changed.
"""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from bench.engines.failure_kinds import KINDS
from bench.engines.failures import classify
from bench.values.spec import (
    LlamacppSpec,
    ModelSpec,
    QuantSpec,
    RunSpec,
    SglangSpec,
    TransformersSpec,
    TrtllmSpec,
    VllmSpec,
)

WORDS = (
    # NCCL and what is behind it
    (
        "host:2777:5429 [0] misc/shmutils.cc:113 NCCL WARN Error while creating shared memory "
        "segment /dev/shm/nccl-v2jS20 (size 9637888)\nRuntimeError: NCCL error: unhandled system "
        "error (run with NCCL_DEBUG=INFO for details)",
        "shared_memory",
    ),
    (
        "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1970, unhandled "
        "system error (run with NCCL_DEBUG=INFO for details), NCCL version 2.20.5",
        "nccl",
    ),
    (
        "ncclSystemError: System call (e.g. socket, malloc) or external library call failed or "
        "device error.",
        "nccl",
    ),
    ("RuntimeError: NCCL error: unhandled cuda error (run with NCCL_DEBUG=INFO)", "nccl"),
    ("RuntimeError: NCCL error: invalid usage (run with NCCL_DEBUG=WARN for details)", "nccl"),
    (
        "h:1:9 [1] init.cc:416 NCCL WARN Duplicate GPU detected : rank 1 and rank 0 both on CUDA "
        "device 1b000",
        "too_few_devices",
    ),
    (
        "h:9:9 [0] include/alloc.h:178 NCCL WARN Cuda failure 2 'out of memory'",
        "out_of_memory",
    ),
    ("h:9:9 [0] NCCL WARN Cuda failure 'peer access is not supported'", "peer_access"),
    (
        "RuntimeError: CUDA error: peer access is not supported between these two devices",
        "peer_access",
    ),
    ("Failed: Cuda error custom_all_reduce.cuh:453 'invalid argument'", "peer_access"),
    (
        "[rank1]:[E ProcessGroupNCCL.cpp:616] [Rank 1] Watchdog caught collective operation "
        "timeout: WorkNCCL(SeqNum=1, OpType=ALLREDUCE)",
        "nccl",
    ),
    (
        "torch.distributed.DistNetworkError: The client socket has timed out after 600s",
        "rendezvous",
    ),
    ("RuntimeError: Gloo connectFullMesh failed with ../gloo/transport/tcp/pair.cc", "rendezvous"),
    (
        "RuntimeError: unable to open shared memory object </torch_1> in read-write mode",
        "shared_memory",
    ),
    # boards, drivers, libraries
    (
        "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the "
        "device",
        "unsupported_gpu",
    ),
    (
        "NVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current "
        "PyTorch installation.",
        "unsupported_gpu",
    ),
    ("RuntimeError: CUDA error: invalid device function", "unsupported_gpu"),
    ("RuntimeError: FlashAttention only supports Ampere GPUs or newer.", "unsupported_gpu"),
    ("RuntimeError: GPUs with compute capability below 7.0 are not supported.", "unsupported_gpu"),
    (
        "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. "
        "Your Tesla T4 GPU has compute capability 7.5. You can use float16 instead",
        "dtype_unsupported",
    ),
    (
        "ValueError: type fp8e4nv not supported in this architecture. The supported fp8 dtypes are "
        "('fp8e4b15', 'fp8e5')",
        "dtype_unsupported",
    ),
    (
        "ValueError: The quantization method fp8 is not supported for the current GPU. Minimum "
        "capability: 89. Current capability: 75.",
        "unsupported_quantisation",
    ),
    (
        "ValueError: FP8 KV cache is not supported by the Triton attention backend on A100; "
        "requires SM89+. Re-run with --kv-cache-dtype auto.",
        "kv_cache_dtype",
    ),
    (
        "RuntimeError: The NVIDIA driver on your system is too old (found version 11040). Please "
        "update your GPU driver",
        "driver_too_old",
    ),
    (
        "RuntimeError: CUDA driver version is insufficient for CUDA runtime version",
        "driver_too_old",
    ),
    (
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 803: system has "
        "unsupported display driver / cuda driver combination",
        "driver_too_old",
    ),
    (
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 804: forward "
        "compatibility was attempted on non supported HW",
        "driver_too_old",
    ),
    (
        "RuntimeError: CUDA error: the provided PTX was compiled with an unsupported toolchain.",
        "driver_too_old",
    ),
    (
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 802: system not yet "
        "initialized",
        "fabric_manager",
    ),
    ("nvidia-fabricmanager is not running; NVLink fabric state is In Progress", "fabric_manager"),
    ("NVRM: Xid (PCI:0000:1b:00): 79, pid=1234, GPU has fallen off the bus.", "gpu_fault"),
    ("RuntimeError: CUDA error: uncorrectable ECC error encountered", "gpu_fault"),
    ("pynvml.NVMLError_GpuIsLost: GPU is lost", "gpu_fault"),
    (
        "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory",
        "no_driver",
    ),
    (
        "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA "
        "GPU",
        "no_driver",
    ),
    ("RuntimeError: Failed to infer device type, please set VLLM_LOGGING_LEVEL=DEBUG", "no_driver"),
    ("AssertionError: Torch not compiled with CUDA enabled", "no_driver"),
    (
        "ImportError: libcudart.so.13: cannot open shared object file: No such file or directory",
        "cuda_libraries",
    ),
    ("ImportError: libnvJitLink.so.12: version libnvJitLink.so.12 not found", "cuda_libraries"),
    (
        "ImportError: /x/vllm/_C.abi3.so: undefined symbol: _ZN3c104cuda9SetDeviceEi",
        "cuda_libraries",
    ),
    (
        "RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable",
        "device_busy",
    ),
    ("RuntimeError: CUDA error: an illegal memory access was encountered", "kernel_fault"),
    ("RuntimeError: CUDA error: device-side assert triggered", "kernel_fault"),
    ("RuntimeError: Cannot re-initialize CUDA in forked subprocess.", "forked_cuda"),
    # memory
    ("RuntimeError: CUDA error: out of memory", "out_of_memory"),
    ("RuntimeError: CUDA driver error: out of memory", "out_of_memory"),
    (
        "RuntimeError: CUDA out of memory occurred when warming up sampler with 256 dummy "
        "requests.",
        "out_of_memory",
    ),
    ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", "out_of_memory"),
    (
        "ValueError: The model's max seq len (4096) is larger than the maximum number of tokens "
        "that can be stored in KV cache (3664). Try increasing `gpu_memory_utilization` or "
        "decreasing `max_model_len` when initializing the engine.",
        "kv_cache_too_small",
    ),
    (
        "ValueError: To serve at least one request with the models's max seq len (262144), (24.00 "
        "GiB KV cache is needed, which is larger than the available KV cache memory (13.69 GiB).",
        "kv_cache_too_small",
    ),
    (
        "ValueError: max_num_seqs (1024) exceeds available Mamba cache blocks (113).",
        "kv_cache_too_small",
    ),
    (
        "AssertionError: Error in memory profiling. Initial free memory 77.0 GiB, current free "
        "memory 78.1 GiB.",
        "memory_moved",
    ),
    (
        "ValueError: max_num_batched_tokens (2048) is smaller than max_model_len (32768).",
        "batch_too_small",
    ),
    (
        "ValueError: User-specified max_model_len (40000) is greater than the derived "
        "max_model_len "
        "(max_position_embeddings=32768 or model_max_length=None in model's config.json).",
        "context_too_long",
    ),
    # shards
    (
        "ValueError: The output_size of gate's and up's weight = 192 is not divisible by weight "
        "quantization block_n = 128.",
        "quant_blocks",
    ),
    (
        "ValueError: Weight input_size_per_partition = 9472 is not divisible by weight "
        "quantization "
        "block_k = 128.",
        "quant_blocks",
    ),
    (
        "ValueError: Weight output_size_per_partition = 3424 is not divisible by "
        "min_thread_n = 64. Consider reducing tensor_parallel_size",
        "quant_blocks",
    ),
    (
        "ValueError: Total number of attention heads (40) must be divisible by tensor parallel "
        "size (3).",
        "parallelism",
    ),
    (
        "ValueError: Tensor parallel size (8) cannot be larger than the number of available GPUs "
        "(4).",
        "too_few_devices",
    ),
    ("RuntimeError: CUDA error: invalid device ordinal", "too_few_devices"),
    # the checkpoint and the hub
    (
        "safetensors_rust.SafetensorError: Error while deserializing header: "
        "MetadataIncompleteBuffer",
        "weights_damaged",
    ),
    (
        "safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, "
        "file not fully covered",
        "weights_damaged",
    ),
    ("_pickle.UnpicklingError: invalid load key, 'v'.", "weights_damaged"),
    (
        "ValueError: The repository for /m contains custom code which must be executed to "
        "correctly "
        "load the model. Please pass the argument `trust_remote_code=True`",
        "remote_code",
    ),
    (
        "OSError: Can't load tokenizer for 'org/m'. If you were trying to load it from the Hub, "
        "make sure you don't have a local directory with the same name.",
        "tokenizer",
    ),
    (
        "ValueError: Couldn't instantiate the backend tokenizer from one of: (1) a `tokenizers` "
        "library serialization file",
        "tokenizer",
    ),
    (
        "Exception: data did not match any variant of untagged enum ModelWrapper at line 1 "
        "column 2",
        "tokenizer",
    ),
    ("OSError: [Errno 28] No space left on device", "disk_full"),
    (
        "RuntimeError: Data processing error: I/O error: No space left on device (os error 28)",
        "disk_full",
    ),
    (
        "huggingface_hub.errors.HfHubHTTPError: 401 Client Error: Unauthorized for url: "
        "https://h/m",
        "gated_weights",
    ),
    (
        "huggingface_hub.errors.HfHubHTTPError: 403 Forbidden: Please enable access to "
        "public gated "
        "repositories in your fine-grained token settings",
        "gated_weights",
    ),
    (
        "huggingface_hub.errors.HfHubHTTPError: 429 Client Error: Too Many Requests for url",
        "hub_rate_limit",
    ),
    (
        "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='h', port=443): Max retries "
        "exceeded with url: /m (NameResolutionError: Failed to resolve 'h')",
        "hub_unreachable",
    ),
    # kernels
    (
        "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 131072, "
        "Hardware limit: 101376. Reducing block sizes or `num_stages` may help.",
        "triton_resources",
    ),
    (
        "RuntimeError: Failed to find C compiler. Please specify via CC environment variable.",
        "no_compiler",
    ),
    (
        "RuntimeError: Could not find nvcc and default cuda_home='/usr/local/cuda' doesn't exist",
        "no_compiler",
    ),
    ("ValueError: No valid attention backend found for cuda with head_size=72", "attention"),
    ("ValueError: Head size 80 is not supported by PagedAttention.", "attention"),
    (
        "KeyError: 'layers.0.mlp.experts.w13_weight_scale'",
        "wrong_shape",
    ),
    ("PermissionError: [Errno 13] Permission denied: '/root/.cache'", "permission"),
    ("OSError: [Errno 24] Too many open files", "too_many_files"),
    ("ModuleNotFoundError: No module named 'flashinfer'", "missing_package"),
    # tried once the kinds stood: whether they hold beyond the words that they were made from
    ("RuntimeError: NCCL Error 2: unhandled system error", "nccl"),
    ("RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling", "out_of_memory"),
    (
        "torch.cuda.DeferredCudaCallError: CUDA call failed lazily at initialization with error: "
        "device >= 0 && device < num_gpus INTERNAL ASSERT FAILED",
        "too_few_devices",
    ),
    ("AttributeError: '_OpNamespace' '_C' object has no attribute 'rms_norm'", "cuda_libraries"),
    ("ValueError: Ray does not allocate any GPUs on the driver node.", "ray"),
    ("RuntimeError: Failed to initialize NVML: Driver/library version mismatch", "driver_too_old"),
    (
        "torch.multiprocessing.spawn.ProcessExitedException: process 1 terminated with "
        "signal SIGBUS",
        "shared_memory",
    ),
    ("OSError: Error no file named pytorch_model.bin found in directory /m", "missing_weights"),
    (
        "ValueError: Tokenizer class QwenTokenizer does not exist or is not currently imported.",
        "tokenizer",
    ),
    ("RuntimeError: Unable to find a suitable FP8 MoE backend", "unsupported_quantisation"),
    ("Worker failed with exitcode: -9", "out_of_memory"),
    ("OSError: You are trying to access a gated repo.", "gated_weights"),
    # a second set, tried before it was looked at: what it missed, and its nearest neighbours
    (
        "h:5:5 [1] NCCL INFO NET/Plugin: Plugin load returned 2 : libnccl-net.so: cannot open "
        "shared object file: No such file or directory\nRuntimeError: NCCL error: unhandled system "
        "error (run with NCCL_DEBUG=INFO for details)",
        "nccl",
    ),
    (
        "h:1:2 [5] misc/ibvwrap.cc:183 NCCL WARN Call to ibv_reg_dmabuf_mr failed with error "
        "Cannot allocate memory\nRuntimeError: NCCL error: unhandled system error",
        "nccl",
    ),
    (
        "cupy_backends.cuda.libs.nccl.NcclError: NCCL_ERROR_SYSTEM_ERROR: unhandled system error "
        "(run with NCCL_DEBUG=INFO for details)",
        "nccl",
    ),
    (
        "triton.compiler.errors.OutOfResources: out of resource: threads, Required: 2048, Hardware "
        "limit: 1024\n[W423 14:42:53.2 ProcessGroupNCCL.cpp:1497] Warning: WARNING: "
        "destroy_process_group() was not called before program exit",
        "triton_resources",
    ),
    (
        "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda failure 802 "
        "'system not yet initialized'",
        "fabric_manager",
    ),
    (
        "ValueError: Selected backend FLASHMLA is not valid for this configuration. Reason: "
        "['compute capability not supported']",
        "attention",
    ),
    (
        "ptxas /tmp/x.ptx, line 5; error   : Feature '.bf16' requires .target sm_80 or higher",
        "dtype_unsupported",
    ),
    (
        "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=13.0, please update "
        "your driver to a newer version",
        "driver_too_old",
    ),
    (
        "ImportError: /usr/lib/x86_64-linux-gnu/libcuda.so.1: undefined symbol: cuMemCreate",
        "driver_too_old",
    ),
    ("RuntimeError: CUDA Setup failed despite GPU being available.", "cuda_libraries"),
    (
        "ValueError: The input size is not aligned with the quantized weight shape. This can be "
        "caused by too large tensor parallel size.",
        "quant_blocks",
    ),
    ("AttributeError: 'CachedXTokenizer' object has no attribute 'specials'", "tokenizer"),
    (
        "Exception: data did not match any variant of untagged enum PyPreTokenizerTypeWrapper at "
        "line 9 column 3",
        "tokenizer",
    ),
    (
        "RuntimeError: unable to mmap 4976698672 bytes from file </m/model-00001-of-00004"
        ".safetensors>: Invalid argument (22)",
        "weights_damaged",
    ),
    ("ValueError: Marlin does not support weight_bits = uint8.", "unsupported_quantisation"),
    (
        "AssertionError: DeepGEMM backend is not supported on this GPU",
        "unsupported_quantisation",
    ),
    ("torch.AcceleratorError: CUDA error: uncorrectable NVLink error detected", "gpu_fault"),
    ("torch.AcceleratorError: CUDA error: the launch timed out and was terminated", "kernel_fault"),
    ("RuntimeError: No CUDA GPUs are available", "too_few_devices"),
)

FORMS = (
    "{}",
    "(EngineCore pid=812) ERROR 11-26 10:00:01 [core.py:1189] {}",
    "(Worker_TP1 pid=90) ERROR 11-26 10:00:01 [multiproc_executor.py:870] {}",
    "ERROR 04-26 01:59:07 worker_base.py:157] {}",
    "[rank1]: {}",
    "2026-06-28T06:11:52.685300953Z (LLMRayActor pid=20770) ERROR 06-28 06:11:45 worker.py:145] {}",
)
"""How one message stands in a log of 0.4 to 0.33, in a container, of a rank."""


@pytest.mark.parametrize(("words", "code"), WORDS, ids=[w[:40] for w, _ in WORDS])
def test_reported_words(words: str, code: str) -> None:
    for form in FORMS:
        log = "\n".join(form.format(line) for line in words.splitlines())
        failure = classify(f"INFO 11-26 10:00:00 [x.py:1] starting\n{log}\n", 1)
        assert failure.code == code, form
        assert failure.text
        assert "\n" not in failure.line


def keys() -> set[str]:
    """Every key that a remedy may name."""
    own = {f.name for f in fields(RunSpec)} | {"gpu", "workload"}
    specs = (VllmSpec, LlamacppSpec, SglangSpec, TransformersSpec, TrtllmSpec)
    engine = {f"engine.{f.name}" for spec in specs for f in fields(spec)}
    return (
        own
        | engine
        | {f"model.{f.name}" for f in fields(ModelSpec)}
        | {f"quant.{f.name}" for f in fields(QuantSpec)}
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.code)
def test_every_remedy_names_a_key_that_there_is(kind: object) -> None:
    remedy = getattr(kind, "remedy")  # noqa: B009
    named = set(
        re.findall(r"\b(?:engine|model)\.\w+|\bgpus\b|\bquant\b|\bmodel\b|\bengine=", remedy)
    )
    assert named, remedy
    real = keys() | {"engine="}
    assert named <= real, named - real


def test_source_in_a_traceback_and_dumped_settings_are_not_the_error() -> None:
    """They name trust_remote_code, kv_cache_dtype and tokenizers in every start that fails."""
    log = """
(EngineCore pid=1) ERROR 11-26 10:00:01 [core.py:9] Traceback (most recent call last):
(EngineCore pid=1) ERROR 11-26 10:00:01 [core.py:9]   File "/x/core.py", line 9, in run
(EngineCore pid=1) ERROR 11-26 10:00:01 [core.py:9]     config = get(model, trust_remote_code=True)
(EngineCore pid=1) ERROR 11-26 10:00:01 [core.py:9]              ^^^^^^^^^^^^
(EngineCore pid=1) ERROR 11-26 10:00:01 [dump.py:5] Dumping input data for V1 LLM engine (v0.32.0) \
with config: trust_remote_code=True, kv_cache_dtype=auto, libcuda.so
pydantic_core.ValidationError: 1 validation error for VllmConfig
  Value error, nothing known [type=value_error, input_value=Args({'trust_remote_code': True})]
"""
    found = classify(log, 1)
    assert (found.code, found.text) == ("bad_configuration", "nothing known")


def test_an_exception_without_its_source_line_is_seen() -> None:
    log = 'Traceback (most recent call last):\n  File "<frozen runpy>", line 88, in _run_code\n'
    assert classify(log + "OSError: [Errno 98] Address already in use\n", 1).code == "port_in_use"


def test_a_death_by_signal() -> None:
    assert classify("loading\n", 135).code == "shared_memory"
    assert classify("loading\n", -9).code == "out_of_memory"
