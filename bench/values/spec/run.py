"""A whole run: what is chosen, and what is asked of fit, meters and quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.values.spec.catalogue import GpuSpec, ModelSpec, QuantSpec
from bench.values.spec.engines import EngineSpec
from bench.values.spec.limits import require, require_name
from bench.values.spec.load import MOST_PROMPT_TOKENS, LoadSpec, WorkloadSpec
from bench.values.spec.nodes import NodesSpec


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """`force` starts the engine although the fit says it cannot work (recorded in the Run).

    `vllm_version` counts as that version of vLLM does; None: the pinned one. `host_gb_per_s` is
    the host's memory bandwidth, for layers that llama.cpp keeps there; None: the fastest host's.
    """

    force: bool = False
    vllm_version: str | None = None
    host_gb_per_s: float | None = None

    def __post_init__(self) -> None:
        host = self.host_gb_per_s
        require(host is None or 0 < host <= 100_000, "host_gb_per_s must be in (0, 100,000]")


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
        require(self.samples >= 1, "samples must be at least 1")
        require(self.concurrency >= 1, "concurrency must be at least 1")
        require(self.limit is None or self.limit >= 1, "limit must be at least 1")
        require(0 < self.margin < 1, "margin must be in (0, 1)")
        require(self.timeout_s > 0, "timeout_s must be above 0")


@dataclass(frozen=True, kw_only=True)
class MeterSpec:
    """What meters power and memory. `auto` takes NVML, else RAPL, else nothing, and says why.

    `replay` plays the recorded telemetry at `path` again, `synthetic` makes up boards that draw
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
        require(0 < self.period_s <= 0.2, "period_s must be in (0, 0.2]")
        require(self.period_s <= self.slow_period_s <= 1, "slow_period_s must be in [period_s, 1]")
        require(self.idle_s is None or self.idle_s >= 0, "idle_s must be at least 0")
        require(self.watts >= 0, "watts must be at least 0")


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
    nodes: NodesSpec = field(default_factory=NodesSpec)
    quality: QualitySpec = field(default_factory=QualitySpec)
    seed: int = 0
    results_dir: str = "results"
    checkpoints_dir: str = "checkpoints"

    def __post_init__(self) -> None:
        require(
            0 <= self.gpus <= 100_000,
            "gpus must be at least 0 and at most 100,000: 0 on a host without GPUs (gpu=cpu), else "
            "gpus=1 or more",
        )
        require(bool(self.results_dir.strip()), "results_dir= names no folder")
        require(0 <= self.seed < 2**63, "seed must be at least 0 and below 2^63")
        for group in ("model", "quant", "workload"):
            require_name(getattr(self, group).name, f"{group}.name")
        length = self.workload.input_tokens
        longest = length if isinstance(length, int) else length.max or length.min
        asked = (self.load.requests or 0) * longest
        require(
            asked <= MOST_PROMPT_TOKENS,
            f"load.requests and workload.input_tokens ask for {asked:,} prompt tokens at each "
            f"load point, at most {MOST_PROMPT_TOKENS:,}",
        )
