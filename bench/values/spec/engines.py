"""The options of each engine, told apart by `kind`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.values.spec.limits import require, require_port, require_wait


@dataclass(frozen=True, kw_only=True)
class ContainedSpec:
    """An engine that `container` may run in `image`: `mounts` are further PLACE:TARGET or
    PLACE:TARGET:ro, `shm_gib` None shares the host's memory, `container_args` come before it."""

    container: Literal["docker", "podman", "apptainer", "enroot"] | None = None
    image: str | None = None
    mounts: tuple[str, ...] = ()
    shm_gib: float | None = None
    container_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(
            (self.container is None) == (self.image is None),
            "container and image belong together: give both or neither",
        )
        require(self.shm_gib is None or self.shm_gib > 0, "shm_gib must be above 0")


@dataclass(frozen=True, kw_only=True)
class VllmSpec(ContainedSpec):
    """vLLM as a subprocess. None leaves the choice to vLLM; `args` are appended verbatim.

    `enforce_eager` None compiles on GPUs and not on a CPU, where that takes minutes. With
    `container` it runs in `image`, whose interpreter is `python`: `mounts` are further PLACE:TARGET
    or PLACE:TARGET:ro, `shm_gib` None shares the host's memory, `container_args` come before it.
    """

    kind: Literal["vllm"] = "vllm"
    port: int | None = None
    dtype: str | None = None
    max_model_len: int | None = None
    gpu_memory_utilization: float = 0.9
    tensor_parallel_size: int | None = None
    enforce_eager: bool | None = None
    cpu_kv_cache_gib: int = 1
    start_timeout_s: float = 1800.0
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    python: str = "python3"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.gpu_memory_utilization <= 1, "gpu_memory_utilization must be in (0, 1]")
        for key in ("max_model_len", "tensor_parallel_size", "cpu_kv_cache_gib"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"{key} must be at least 1")
        require_port(self.port)
        require_wait(self.start_timeout_s)


@dataclass(frozen=True, kw_only=True)
class EndpointSpec:
    """Any OpenAI-compatible server already running. The key is read from `api_key_env`, never
    stored, and neither are the values of `extra_headers`. `api` auto and `prompt` None ask the
    server; so does `ignore_eos` None. `temperature` None sends none. `metrics_url` auto looks
    beside /v1, null reads none, and several replicas' are summed. `tls_verify` false or a `ca_file`
    takes a certificate that nobody signed. `extra_body` goes into every request. `launch` names
    this start of a server that does not tell when its process began: comparisons count launches
    (`bench.compare.launches`). `weights` and `kv_cache_dtype` are the formats that it keeps both
    in, in the words of `bench.sizing.precision`; None is not known, and bounds by the smallest that
    there is. `expects_model` is the model that it has to serve, or the server's alias of it: the
    one that was typed as model=NAME where null; another one is refused before any load. `serves`
    and `version` are the engine that serves there and its version, for a server that does not
    say them; what it says stands. `speculative` is whether it decodes more than one token per
    pass, which none says."""

    kind: Literal["endpoint"] = "endpoint"
    base_url: str = "http://127.0.0.1:8000/v1"
    served_model: str | None = None
    api: Literal["auto", "completions", "chat"] = "auto"
    prompt: Literal["token_ids", "text"] | None = None
    vocab_size: int | None = None
    temperature: float | None = 0.0
    ignore_eos: bool | None = None
    max_tokens_field: str | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    metrics_url: str | tuple[str, ...] | None = "auto"
    tls_verify: bool = True
    ca_file: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    start_timeout_s: float = 30.0
    launch: str | None = None
    weights: str | None = None
    kv_cache_dtype: str | None = None
    expects_model: str | None = None
    serves: str | None = None
    version: str | None = None
    speculative: bool | None = None

    def __post_init__(self) -> None:
        require(self.vocab_size is None or self.vocab_size >= 1, "vocab_size must be at least 1")
        require_wait(self.start_timeout_s)


@dataclass(frozen=True, kw_only=True)
class TruthSpec:
    """The built-in server that emits tokens on an exact schedule; 0 means as fast as it can."""

    kind: Literal["truth"] = "truth"
    ttft_ms: float = 50.0
    itl_ms: float = 10.0
    tokens_per_chunk: int = 1
    slots: int | None = None
    port: int | None = None
    start_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        for key in ("ttft_ms", "itl_ms"):
            require(0 <= getattr(self, key) <= 86_400_000, f"{key} must be in [0, 86,400,000]")
        require(self.tokens_per_chunk >= 1, "tokens_per_chunk must be at least 1")
        require(self.slots is None or self.slots >= 1, "slots must be at least 1")
        require_port(self.port)
        require_wait(self.start_timeout_s)


@dataclass(frozen=True, kw_only=True)
class TransformersSpec(ContainedSpec):
    """`transformers serve` as a subprocess. None leaves the choice to it; `args` go to the end of
    its command. `command` are the words that start it instead of the `transformers` of this
    environment, or of `image`. `dtype` None is float32 on a CPU and auto on GPUs."""

    kind: Literal["transformers"] = "transformers"
    command: tuple[str, ...] = ()
    port: int | None = None
    dtype: str | None = None
    continuous_batching: bool = True
    max_batch_tokens: int | None = None
    kv_blocks: int | None = None
    attention: str | None = None
    start_timeout_s: float = 900.0
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_counts(self, "max_batch_tokens", "kv_blocks")
        require_port(self.port)
        require_wait(self.start_timeout_s)


@dataclass(frozen=True, kw_only=True)
class LlamacppSpec(ContainedSpec):
    """llama.cpp's server as a subprocess, of a GGUF file. Every slot holds one request of at most
    `context` tokens (the command's -c is their product). `command` are the words that start it
    instead of a `llama-server` on the PATH or, where there is none, the Python wheel.

    `prompt_cache` False computes every prompt anew, as engines do whose prompts are all different.
    `kv_type` is both caches' format. `gpu_layers` None puts all layers on the GPUs (the output is
    one of them), but for the routed experts of the first `cpu_moe_layers`. `threads` None: as many
    as the engine has cores here.
    """

    kind: Literal["llamacpp"] = "llamacpp"
    command: tuple[str, ...] = ()
    port: int | None = None
    slots: int | None = None
    context: int | None = None
    prompt_cache: bool = False
    kv_type: str | None = None
    threads: int | None = None
    batch_tokens: int | None = None
    gpu_layers: int | None = None
    cpu_moe_layers: int | None = None
    start_timeout_s: float = 900.0
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_counts(self, "slots", "context", "threads", "batch_tokens", "cpu_moe_layers")
        require(self.gpu_layers is None or self.gpu_layers >= 0, "gpu_layers must be at least 0")
        require(
            self.kv_type is None or self.kv_type in LLAMACPP_KV_TYPES,
            f"kv_type must be one of {', '.join(LLAMACPP_KV_TYPES)}",
        )
        require_port(self.port)
        require_wait(self.start_timeout_s)


LLAMACPP_KV_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "iq4_nl", "q4_1", "q4_0")


@dataclass(frozen=True, kw_only=True)
class SglangSpec(ContainedSpec):
    """SGLang as a subprocess. None leaves the choice to it; `args` go to the end of its command.
    `command` are the words that start it instead of the `sglang serve` on the PATH.

    `mem_fraction` is of the whole GPU: weights and cache; `prefix_cache` False is its
    --disable-radix-cache.
    """

    kind: Literal["sglang"] = "sglang"
    command: tuple[str, ...] = ()
    port: int | None = None
    dtype: str | None = None
    kv_cache_dtype: str | None = None
    mem_fraction: float | None = None
    max_running_requests: int | None = None
    chunked_prefill_tokens: int | None = None
    context: int | None = None
    prefix_cache: bool = True
    start_timeout_s: float = 1800.0
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_counts(self, "max_running_requests", "chunked_prefill_tokens", "context")
        share = self.mem_fraction
        require(share is None or 0 < share <= 1, "mem_fraction must be in (0, 1]")
        require_port(self.port)
        require_wait(self.start_timeout_s)


@dataclass(frozen=True, kw_only=True)
class TrtllmSpec(ContainedSpec):
    """TensorRT-LLM's `trtllm-serve`, PyTorch backend, as a subprocess; its YAML is written for it.
    `command` are the words that start it instead of the `trtllm-serve` on the PATH.

    `free_fraction` is of what is free once the weights are loaded (vLLM's is of the whole GPU).
    """

    kind: Literal["trtllm"] = "trtllm"
    command: tuple[str, ...] = ()
    port: int | None = None
    free_fraction: float | None = None
    kv_cache_dtype: str | None = None
    max_batch_size: int | None = None
    max_num_tokens: int | None = None
    max_seq_len: int | None = None
    prefix_cache: bool = True
    chunked_prefill: bool = True
    cuda_graphs: bool = True
    start_timeout_s: float = 1800.0
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_counts(self, "max_batch_size", "max_num_tokens", "max_seq_len")
        share = self.free_fraction
        require(share is None or 0 < share <= 1, "free_fraction must be in (0, 1]")
        require_port(self.port)
        require_wait(self.start_timeout_s)


def _check_counts(spec: object, *keys: str) -> None:
    for key in keys:
        value = getattr(spec, key)
        require(value is None or value >= 1, f"{key} must be at least 1")


@dataclass(frozen=True, kw_only=True)
class NoneSpec:
    """No engine: quality alone is scored in-process, no speed is measured."""

    kind: Literal["none"] = "none"


OtherSpec = TransformersSpec | LlamacppSpec | SglangSpec | TrtllmSpec
"""Engines besides vLLM that are started here."""

EngineSpec = VllmSpec | OtherSpec | EndpointSpec | TruthSpec | NoneSpec
