"""The options of each engine, told apart by `kind`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.values.spec.limits import require, require_port, require_wait


@dataclass(frozen=True, kw_only=True)
class VllmSpec:
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
    container: Literal["docker", "podman", "apptainer", "enroot"] | None = None
    image: str | None = None
    python: str = "python3"
    mounts: tuple[str, ...] = ()
    shm_gib: float | None = None
    container_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(
            (self.container is None) == (self.image is None),
            "container and image belong together: give both or neither",
        )
        require(self.shm_gib is None or self.shm_gib > 0, "shm_gib must be above 0")
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
    in, in the words of `bench.fit.precision`; None is not known, and bounds by the smallest that
    there is. `expects_model` is the model that it has to serve: the one that was typed as
    model=NAME."""

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
class NoneSpec:
    """No engine: quality alone is scored in-process, no speed is measured."""

    kind: Literal["none"] = "none"


EngineSpec = VllmSpec | EndpointSpec | TruthSpec | NoneSpec
