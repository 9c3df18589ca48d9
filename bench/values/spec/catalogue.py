"""What `conf/` lists to choose from: models with their checkpoints, quantisations, GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.values.spec.limits import require


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
        require(bool(self.name.strip()), "name must not be empty")
        require(self.max_context_tokens > 0, "max_context_tokens must be above 0")


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

    def __post_init__(self) -> None:
        require(bool(self.name.strip()), "name must not be empty")

    @property
    def is_gguf(self) -> bool:
        """Whether it is a file for llama.cpp, which no other engine's checkpoint folder holds."""
        return (self.hf_quantization_config or {}).get("quant_method") == "gguf"


@dataclass(frozen=True, kw_only=True)
class Price:
    """Rents in $/GPU-hour: the range listed on demand, and the least of each other tier. Where a
    file says none, those of the price book are put in (`bench.config.rents`)."""

    low_usd_per_gpu_h: float | None = None
    high_usd_per_gpu_h: float | None = None
    reserved_usd_per_gpu_h: float | None = None
    spot_usd_per_gpu_h: float | None = None
    note: str | None = None

    @property
    def tiers(self) -> tuple[float | None, float | None, float | None, float | None]:
        """Low and high on demand, least reserved, least spot."""
        on_demand = (self.low_usd_per_gpu_h, self.high_usd_per_gpu_h)
        return (*on_demand, self.reserved_usd_per_gpu_h, self.spot_usd_per_gpu_h)

    @property
    def known(self) -> bool:
        """Whether any rent is said."""
        return any(usd is not None for usd in self.tiers)


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

    def __post_init__(self) -> None:
        require(bool(self.name.strip()), "name must not be empty")


SAID_OF = (
    *(f"{group}.{key}" for group in ("model", "quant", "gpu") for key in ("source", "as_of")),
    *(f"{group}.{key}" for group in ("model", "gpu") for key in ("verified", "note")),
    "gpu.unverified_fields",
    "gpu.price",
    "quality.source",
    "workload.source",
)
"""Keys of a run that say where its figures are from and what is paid: an edit of the catalogue or
of the price book changes them, and nothing that is measured."""
