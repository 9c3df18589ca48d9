"""What a run is asked to be: the typed form of the composed configuration.

Every class is a frozen value. Limits are checked on construction and raise ValueError with the
field's name; `codec.decode` adds the path and turns it into an InputError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise ValueError(text)


def _require_port(port: int | None) -> None:
    _require(
        port is None or 1 <= port <= 65535, "port must be in [1, 65535], or null for a free one"
    )


@dataclass(frozen=True, kw_only=True)
class Licence:
    """Who may use the weights for what; `restrictions` is None when there is none known."""

    name: str
    url: str | None = None
    gated: bool = False
    commercial: bool | None = None
    restrictions: str | None = None
    verified: bool = True


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Published weights of one model in one quantisation.

    `quantization_config` is what its config.json carries, where it differs from the general one of
    the quantisation (other groups, blocks or unquantised layers).
    """

    repo: str
    revision: str = "main"
    source: str = ""
    verified: bool = True
    note: str | None = None
    quantization_config: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class OtherFormat:
    """Published weights that no `conf/quant` describes: their size bounds what memory must hold."""

    name: str
    size_gb: float
    engine: str
    source: str
    as_of: str


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model. `config` holds the fields of its Hugging Face config.json that matter here.

    `weights` is `hub` (the checkpoint of the chosen quantisation), `bundled` (shipped with this
    package), `dummy` (random weights of the right shape: speed, memory and power, no quality) or
    the path of a local directory.
    """

    name: str
    repo: str | None = None
    path: str | None = None
    weights: str = "hub"
    native_dtype: str = "bfloat16"
    max_context_tokens: int
    total_params_b: float | None = None
    active_params_b: float | None = None
    licence: Licence
    checkpoints: Mapping[str, Checkpoint] = field(default_factory=dict)
    other_formats: tuple[OtherFormat, ...] = ()
    siblings: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    as_of: str = ""
    verified: bool = True
    note: str | None = None

    def __post_init__(self) -> None:
        _require(self.max_context_tokens > 0, "max_context_tokens must be above 0")


@dataclass(frozen=True, kw_only=True)
class QuantSpec:
    """A weight quantisation. `hf_quantization_config` is what its checkpoints carry, so that
    dummy-weight models are quantised the same way; None for the checkpoint's native dtype.
    `recipe` is llm-compressor's, for `bench quantize`; None where it makes none."""

    name: str
    title: str
    weight_bits: float | None = None
    activation_bits: int | None = None
    group_size: int | None = None
    hf_quantization_config: Mapping[str, Any] | None = None
    recipe: Mapping[str, Any] | None = None
    source: str = ""
    as_of: str = ""


@dataclass(frozen=True, kw_only=True)
class Price:
    """A range of prices seen in $/GPU-hour."""

    low_usd_per_gpu_h: float | None = None
    high_usd_per_gpu_h: float | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class GpuSpec:
    """One GPU's published limits; dense TFLOP/s, None where the hardware has no such unit.

    Where published figures of a bandwidth differ, `bandwidth_gb_s` plans and
    `bandwidth_most_gb_s` bounds. `host_link_gb_s` is one direction of the link to host memory,
    `cache_mb` the last on-chip cache.

    `memory_gib` is NVML's total; CUDA, whose total engines take their share of, reports
    `cuda_reserved_gib` less (None: not known for this one).
    """

    name: str
    title: str
    kind: Literal["gpu", "cpu", "auto"] = "gpu"
    memory_gb: float | None = None
    memory_gib: float | None = None
    cuda_reserved_gib: float | None = None
    bandwidth_gb_s: float | None = None
    bandwidth_most_gb_s: float | None = None
    bf16_tflops: float | None = None
    fp8_tflops: float | None = None
    fp4_tflops: float | None = None
    int8_tops: float | None = None
    int4_tops: float | None = None
    host_link_gb_s: float | None = None
    cache_mb: float | None = None
    power_w: float | None = None
    nvlink_gb_s: float | None = None
    compute_capability: str | None = None
    nvml_names: tuple[str, ...] = ()
    price: Price = field(default_factory=Price)
    source: str = ""
    as_of: str = ""
    verified: bool = True
    unverified_fields: tuple[str, ...] = ()
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class VllmSpec:
    """vLLM as a subprocess. None leaves the choice to vLLM; `args` are appended verbatim.

    `enforce_eager` None compiles on GPUs and not on a CPU, where that takes minutes.
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

    def __post_init__(self) -> None:
        _require(0 < self.gpu_memory_utilization <= 1, "gpu_memory_utilization must be in (0, 1]")
        for key in ("max_model_len", "tensor_parallel_size", "cpu_kv_cache_gib"):
            value = getattr(self, key)
            _require(value is None or value >= 1, f"{key} must be at least 1")
        _require_port(self.port)
        _require(self.start_timeout_s > 0, "start_timeout_s must be above 0")


@dataclass(frozen=True, kw_only=True)
class EndpointSpec:
    """Any OpenAI-compatible server already running. The key is read from `api_key_env`, never
    stored, and neither are the values of `extra_headers`. `api` auto and `prompt` None ask the
    server; so does `ignore_eos` None. `temperature` None sends none. `metrics_url` auto looks
    beside /v1, null reads none, and several replicas' are summed. `tls_verify` false or a `ca_file`
    takes a certificate that nobody signed. `extra_body` goes into every request.
    `launch` names this start of a server that does not tell when its process began: comparisons
    count launches (`bench.compare.launches`)."""

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

    def __post_init__(self) -> None:
        _require(self.vocab_size is None or self.vocab_size >= 1, "vocab_size must be at least 1")
        _require(self.start_timeout_s > 0, "start_timeout_s must be above 0")


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
        _require(self.ttft_ms >= 0, "ttft_ms must be at least 0")
        _require(self.itl_ms >= 0, "itl_ms must be at least 0")
        _require(self.tokens_per_chunk >= 1, "tokens_per_chunk must be at least 1")
        _require(self.slots is None or self.slots >= 1, "slots must be at least 1")
        _require_port(self.port)
        _require(self.start_timeout_s > 0, "start_timeout_s must be above 0")


@dataclass(frozen=True, kw_only=True)
class NoneSpec:
    """No engine: quality alone is scored in-process, no speed is measured."""

    kind: Literal["none"] = "none"


EngineSpec = VllmSpec | EndpointSpec | TruthSpec | NoneSpec


MOST_TOKENS = 10_485_760
"""The longest context that any listed model claims: a longer request is a typing error."""

MOST_IN_FLIGHT = 60_000
"""One client address has about so many ports to one server."""


@dataclass(frozen=True, kw_only=True)
class LengthSpec:
    """A distribution of token counts. normal: mean, std; lognormal: median, sigma (of the log)."""

    dist: Literal["fixed", "normal", "lognormal", "uniform"]
    mean: float | None = None
    std: float | None = None
    median: float | None = None
    sigma: float | None = None
    min: int = 1
    max: int | None = None

    def __post_init__(self) -> None:
        needed = {
            "fixed": ("mean",),
            "normal": ("mean", "std"),
            "lognormal": ("median", "sigma"),
            "uniform": ("max",),
        }[self.dist]
        missing = [key for key in needed if getattr(self, key) is None]
        _require(not missing, f"{', '.join(missing)} is needed when dist is {self.dist}")
        negative = [key for key in needed if getattr(self, key) < 0]
        _require(not negative, f"{', '.join(negative)} must be at least 0")
        _require(self.min >= 1, "min must be at least 1")
        _require(self.max is None or self.max >= self.min, "max must be at least min")


@dataclass(frozen=True, kw_only=True)
class SloSpec:
    """What a user accepts: the given percentile of TTFT and of TPOT stays within the limits."""

    ttft_ms: float
    tpot_ms: float
    percentile: float = 99.0

    def __post_init__(self) -> None:
        _require(0 < self.percentile <= 100, "percentile must be in (0, 100]")
        _require(self.ttft_ms > 0, "ttft_ms must be above 0")
        _require(self.tpot_ms > 0, "tpot_ms must be above 0")


@dataclass(frozen=True, kw_only=True)
class WorkloadSpec:
    """What the requests look like. Lengths are token counts or distributions of them.

    `file` takes the requests from a JSONL file instead (`bench.load.workload_file`); the lengths
    given here then stand in for those that the file leaves open, and for what is typical.
    """

    name: str
    input_tokens: int | LengthSpec
    output_tokens: int | LengthSpec
    slo: SloSpec
    shared_prefix_tokens: int = 0
    shared_prefix_count: int = 1
    turns: int = 1
    turn_gap_s: float = 0.0
    file: str | None = None
    file_format: Literal["sharegpt", "messages", "trace"] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        for key in ("input_tokens", "output_tokens"):
            value = getattr(self, key)
            if isinstance(value, int):
                _require(value >= 1, f"{key} must be at least 1")
                _require(value <= MOST_TOKENS, f"{key} must be at most {MOST_TOKENS:,}")
        _require(self.shared_prefix_tokens >= 0, "shared_prefix_tokens must be at least 0")
        if isinstance(self.input_tokens, int):
            text = f"shared_prefix_tokens must be below input_tokens ({self.input_tokens})"
            _require(self.shared_prefix_tokens < self.input_tokens, text)
        _require(self.turns >= 1, "turns must be at least 1")
        _require(self.turn_gap_s >= 0, "turn_gap_s must be at least 0")
        _require(self.shared_prefix_count >= 1, "shared_prefix_count must be at least 1")


@dataclass(frozen=True, kw_only=True)
class LoadSpec:
    """How hard the server is pushed.

    `requests` counts per load point and repeat. None: an open loop sends rate times `duration_s`; a
    closed loop goes on for `duration_s` (None: `bench.load.plan`) and for at least `min_requests`
    and `requests_per_slot` times the concurrency.

    `ramp` rises from the first of two rates to the second. `slo` and `saturate` search `over` rates
    or concurrencies for the highest load that holds, `resolution` apart; two values given bound the
    search, one starts it. `max_in_flight` makes an open loop wait, as a pool of connections does.
    With `arrival: trace`, rates rescale the trace's time; without any it keeps its own pace.
    `precision` (3%) adds repeats until the 95 % interval of the output rate is as narrow, or until
    `max_repeats` or `budget_s` is spent. A repeat that something besides the engine disturbed is
    replaced, at most `max_retries` times a load point (None: `bench.load.again`).
    `own_cores` of this host are the client's alone (None: see `bench.preflight`).
    """

    mode: Literal["closed", "open", "ramp", "slo", "saturate"] = "closed"
    concurrency: tuple[int, ...] = (1, 4, 16)
    rate_per_s: tuple[float, ...] = ()
    arrival: Literal["constant", "poisson", "gamma", "trace"] = "poisson"
    burstiness: float = 1.0
    requests: int | None = None
    requests_per_slot: int = 8
    min_requests: int = 16
    duration_s: float | None = None
    max_in_flight: int | None = None
    over: Literal["rate", "concurrency"] = "rate"
    resolution: float = 0.05
    repeats: int = 3
    precision: float | str | None = None
    max_repeats: int = 12
    budget_s: float | None = None
    max_retries: int | None = None
    warmup_requests: int = 8
    request_timeout_s: float = 600.0
    workers: int | None = None
    own_cores: int | None = None
    generator: Literal["bench", "vllm"] = "bench"
    calibrate: bool = True
    max_error_rate: float = 0.01

    def __post_init__(self) -> None:
        _require(all(c >= 1 for c in self.concurrency), "concurrency must be at least 1")
        possible = all(c <= MOST_IN_FLIGHT for c in self.concurrency)
        _require(possible, f"concurrency must be at most {MOST_IN_FLIGHT:,}")
        _require(all(r > 0 for r in self.rate_per_s), "rate_per_s must be above 0")
        _require(self.requests is None or self.requests >= 1, "requests must be at least 1")
        _require(self.requests_per_slot >= 2, "requests_per_slot must be at least 2")
        _require(self.repeats >= 1, "repeats must be at least 1")
        self._check_precision()
        _require(self.warmup_requests >= 0, "warmup_requests must be at least 0")
        _require(self.request_timeout_s > 0, "request_timeout_s must be above 0")
        _require(self.duration_s is None or self.duration_s > 0, "duration_s must be above 0")
        _require(self.burstiness > 0, "burstiness must be above 0")
        _require(self.workers is None or self.workers >= 1, "workers must be at least 1")
        own = self.own_cores
        _require(own is None or own >= 0, "own_cores must not be negative")
        _require(0 <= self.max_error_rate <= 1, "max_error_rate must be in [0, 1]")
        if self.mode == "closed":
            _require(bool(self.concurrency), "concurrency needs at least one value")
        rates = self.rate_per_s
        if self.mode == "open" and self.arrival != "trace":
            _require(bool(rates), "rate_per_s needs at least one value in an open loop")
        if self.mode == "ramp":
            _require(len(rates) == 2, "rate_per_s needs two values in a ramp: from and to")
        if self.mode in ("slo", "saturate"):
            self._check_search()
        most = self.max_in_flight
        _require(most is None or most >= 1, "max_in_flight must be at least 1")

    @property
    def precision_share(self) -> float | None:
        """The half width asked for, as a share; None where none is."""
        if self.precision is None:
            return None
        text = str(self.precision).strip()
        try:
            return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            return -1.0

    def _check_precision(self) -> None:
        share = self.precision_share
        _require(share is None or 0 < share < 1, "precision must be a share like 3% or 0.03")
        _require(2 <= self.max_repeats <= 12, "max_repeats must be in [2, 12]")
        _require(self.budget_s is None or self.budget_s > 0, "budget_s must be above 0")
        _require(
            self.max_retries is None or 0 <= self.max_retries <= 10,
            "max_retries must be in [0, 10]",
        )
        plain = share is None or self.mode in ("closed", "open")
        _require(plain, "precision is for closed and open loops; a search repeats by itself")

    def _check_search(self) -> None:
        _require(0.005 <= self.resolution <= 1, "resolution must be in [0.005, 1]")
        _require(self.arrival != "trace", "arrival must not be trace in a search over rates")
        _require(self.generator == "bench", "generator must be bench in a search")
        if self.mode == "saturate":
            _require(self.over == "rate", "over must be rate when mode is saturate")
        name = "rate_per_s" if self.over == "rate" else "concurrency"
        bounds: tuple[float, ...] = getattr(self, name)
        _require(len(bounds) <= 2, f"{name} takes two bounds or one start in a search")
        _require(len(bounds) < 2 or bounds[0] < bounds[1], f"{name} must rise: low, high")


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """`force` starts the engine although the fit says it cannot work (recorded in the Run).

    `vllm_version` counts as that version of vLLM does; None: the pinned one.
    """

    force: bool = False
    vllm_version: str | None = None


@dataclass(frozen=True, kw_only=True)
class QualitySpec:
    """Which lm-eval tasks are scored, after the metered window, and how.

    `num_fewshot` None leaves it to each task; `fewshot` sets it task by task. `samples` repeats the
    whole evaluation with seeds 0, 1, …: for sampled generations. `backend` auto asks the server and
    takes `hf` (in-process, from the served checkpoint) where it gives no prompt log-probabilities.
    `margin` is the recovery (variant ÷ baseline) above which quality counts as not worse.
    `think_end` is the tag that closes a reasoning model's thinking: what follows it is scored.
    """

    name: str = "none"
    tasks: tuple[str, ...] = ()
    num_fewshot: int | None = None
    fewshot: Mapping[str, int] = field(default_factory=dict)
    limit: int | None = None
    backend: Literal["auto", "endpoint", "chat", "hf"] = "auto"
    tokenizer: str | None = None
    chat_template: bool = False
    system_instruction: str | None = None
    think_end: str | None = None
    gen_kwargs: Mapping[str, Any] = field(default_factory=dict)
    samples: int = 1
    concurrency: int = 16
    task_dir: str | None = None
    run_generated_code: bool = False
    hf_dtype: str | None = None
    hf_batch_size: int = 16
    margin: float = 0.99
    timeout_s: float = 86400.0
    source: str = ""

    def __post_init__(self) -> None:
        _require(self.samples >= 1, "samples must be at least 1")
        _require(self.concurrency >= 1, "concurrency must be at least 1")
        _require(self.limit is None or self.limit >= 1, "limit must be at least 1")
        _require(0 < self.margin < 1, "margin must be in (0, 1)")
        _require(self.timeout_s > 0, "timeout_s must be above 0")


@dataclass(frozen=True, kw_only=True)
class MeterSpec:
    """What meters power and memory. `auto` takes NVML, else RAPL, else nothing, and says why.

    `replay` plays the recorded trace at `path` again, `synthetic` makes up boards that draw
    `watts`: both are labelled so and are no measurement. `idle_s` is how long each idle baseline is
    watched (None: 10 s with NVML, 5 s with RAPL).
    """

    kind: Literal["auto", "nvml", "rapl", "replay", "synthetic", "none"] = "auto"
    path: str | None = None
    period_s: float = 0.05
    slow_period_s: float = 0.5
    idle_s: float | None = None
    watts: float = 400.0

    def __post_init__(self) -> None:
        _require(0 < self.period_s <= 0.2, "period_s must be in (0, 0.2]")
        _require(self.period_s <= self.slow_period_s <= 1, "slow_period_s must be in [period_s, 1]")
        _require(self.idle_s is None or self.idle_s >= 0, "idle_s must be at least 0")
        _require(self.watts >= 0, "watts must be at least 0")


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that defines one run; stored whole in run.json."""

    model: ModelSpec
    quant: QuantSpec
    gpu: GpuSpec
    gpus: int
    engine: EngineSpec
    workload: WorkloadSpec
    load: LoadSpec
    fit: FitOptions = field(default_factory=FitOptions)
    meter: MeterSpec = field(default_factory=MeterSpec)
    quality: QualitySpec = field(default_factory=QualitySpec)
    seed: int = 0
    results_dir: str = "results"
    checkpoints_dir: str = "checkpoints"

    def __post_init__(self) -> None:
        _require(self.gpus >= 0, "gpus must be at least 0")
        _require(self.seed >= 0, "seed must be at least 0")
