"""What a cost question is: servers, power, people, demand, API terms, each figure with its source.

Every number is a Figure (value, source, as_of, how it arose, optional range); a bare number is
taken as an assumption without source. Limits raise ValueError with the field's name, which
`codec.decode` turns into an InputError with the whole path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bench.money.prices.book import PricesSpec
from bench.values.figure import Arose, Input, figure, limit
from bench.values.spec import ModelSpec

CPU = "cpu"
"""The gpu group's name for a host without GPU."""


@dataclass(frozen=True, kw_only=True)
class ServerSpec:
    """The unit that is bought or rented. `gpu` is the name its rent has in the price book; `gpus`
    0 is a host without GPU, rented as one unit."""

    name: str
    gpu: str
    gpus: int

    def __post_init__(self) -> None:
        limit(self, "gpus")
        if (self.gpu == CPU) != (self.gpus == 0):
            raise ValueError(
                f"gpus is {self.gpus} of gpu {self.gpu!r}: a host without GPU is "
                f"gpu {CPU!r} with gpus 0, and any other has at least 1"
            )

    @property
    def rented_unit(self) -> str:
        """What one hour of a rent is for."""
        return "GPU" if self.gpus else "server"


@dataclass(frozen=True, kw_only=True)
class OwnSpec:
    """What buying and hosting one server costs; colocation is billed on `provisioned_kw`."""

    capex_usd: Input
    install_fraction: Input
    residual_usd: Input
    life_months: Input
    wacc_per_year: Input
    colo_usd_per_kw_month: Input
    provisioned_kw: Input
    maintenance_usd_per_month: Input

    def __post_init__(self) -> None:
        limit(self, "capex_usd life_months", above=True)
        limit(self, "install_fraction residual_usd wacc_per_year colo_usd_per_kw_month")
        limit(self, "provisioned_kw maintenance_usd_per_month")
        life = figure(self.life_months)
        if life.value % 1 or life.low is not None:
            raise ValueError("life_months must be a whole number of months, without a range")
        paid = figure(self.capex_usd).value * (1 + figure(self.install_fraction).value)
        left = figure(self.residual_usd).value
        if left > paid:
            raise ValueError(
                f"capex_usd, ${paid:,.6g} with installation, is less than residual_usd, "
                f"${left:,.6g}: residual_usd must not exceed what the server cost (capex_usd is in "
                "$ for a whole server: thousands?)"
            )


@dataclass(frozen=True, kw_only=True)
class RentSpec:
    """Rent terms. `provider` None takes the cheapest dated offer; the spot figures are needed
    for a spot answer only: interruptions per hour, hours lost to each, share kept on demand."""

    provider: str | None = None
    spot_interruptions_per_h: Input | None = None
    spot_recovery_h: Input | None = None
    spot_on_demand_share: Input = 0.0

    def __post_init__(self) -> None:
        limit(self, "spot_interruptions_per_h spot_recovery_h")
        limit(self, "spot_on_demand_share", high=1)


@dataclass(frozen=True, kw_only=True)
class PowerSpec:
    """Power of one server at the wall and its price. A Run's NVML power covers GPU boards only:
    then `host_adder_w` (an assumption) is required, and the measured boards replace `load_w`.
    `gpu` and `gpus` say whose watts they are; None: of whichever server is asked about."""

    name: str
    gpu: str | None = None
    gpus: int | None = None
    load_w: Input | None = None
    idle_w: Input | None = None
    host_adder_w: Input | None = None
    pue: Input
    usd_per_kwh: Input

    def __post_init__(self) -> None:
        if (self.gpu is None) != (self.gpus is None):
            raise ValueError("gpu and gpus must be given together")
        limit(self, "gpus")
        limit(self, "load_w idle_w", above=True)
        limit(self, "host_adder_w usd_per_kwh")
        limit(self, "pue", low=1)
        known = self.load_w is not None and self.idle_w is not None
        if known and figure(self.idle_w or 0.0).value > figure(self.load_w or 0.0).value:
            raise ValueError("idle_w must not exceed load_w")


@dataclass(frozen=True, kw_only=True)
class PeopleSpec:
    """Staff and licences: full-time equivalents, yearly salary, loading factor (1.3 = +30 %).

    `fte` is what the service takes however large it is, `fte_per_server` what each server adds.
    """

    fte: Input
    fte_per_server: Input = 0.0
    salary_usd_per_year: Input
    loading: Input
    licences_usd_per_month: Input = 0.0

    def __post_init__(self) -> None:
        limit(self, "fte fte_per_server salary_usd_per_year licences_usd_per_month")
        limit(self, "loading", low=1)


@dataclass(frozen=True, kw_only=True)
class DemandSpec:
    """What is asked for. Either volume, peak and mix, or `trace`: a CSV of 168 hours of a week.
    `input_share` None without a trace takes the mix of the measured Runs."""

    mtok_per_month: Input | None = None
    input_share: Input | None = None
    peak_to_mean: Input | None = None
    trace: str | None = None
    cache_hit_rate: Input = 0.0
    growth_per_year: Input = 0.0

    def __post_init__(self) -> None:
        limit(self, "mtok_per_month", above=True)
        limit(self, "input_share cache_hit_rate", high=1)
        limit(self, "peak_to_mean", low=1)
        limit(self, "growth_per_year", low=-1, above=True)
        from_trace = ("mtok_per_month", "peak_to_mean", "input_share")
        given = [key for key in from_trace if getattr(self, key) is not None]
        if self.trace is not None and given:
            nulls = " ".join(f"tco.demand.{key}=null" for key in given)
            raise ValueError(f"trace gives {', '.join(given)} itself: add {nulls}")
        if self.trace is None and self.mtok_per_month is None:
            raise ValueError("mtok_per_month is missing (or give a trace)")
        if self.trace is None and self.peak_to_mean is None:
            raise ValueError("peak_to_mean is missing (or give a trace)")


@dataclass(frozen=True, kw_only=True)
class FleetSpec:
    """How servers are counted. `claimed_servers` fixes their number and ignores what they can
    serve: only for reproducing a claim of unlimited use."""

    headroom: Input = 0.85
    spares: Input = 0.0
    claimed_servers: int | None = None

    def __post_init__(self) -> None:
        limit(self, "headroom", high=1, above=True)
        limit(self, "spares")
        if figure(self.spares).value % 1:
            raise ValueError("spares must be a whole number of servers")
        if self.claimed_servers is not None and self.claimed_servers < 1:
            raise ValueError("claimed_servers must be at least 1")


@dataclass(frozen=True, kw_only=True)
class MixPoint:
    """Tokens per second that saturate one server at one mix."""

    input_tokens_per_s: float
    output_tokens_per_s: float


@dataclass(frozen=True, kw_only=True)
class ThroughputSpec:
    """Throughput without a Run. `relative_ci` is the half-width of its 95 % interval as a share,
    `relative_ends` both ends of one whose halves differ: [0.6, 1.9] of the throughput."""

    points: tuple[MixPoint, ...]
    source: str
    as_of: str
    arose: Arose = "quoted"
    relative_ci: float | None = None
    relative_ends: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        limit(self, "relative_ci")
        if self.relative_ends is None:
            return
        if self.relative_ci is not None:
            raise ValueError("relative_ci and relative_ends say the same thing: give one of them")
        low, high = self.relative_ends
        if not 0 < low <= 1 <= high:
            raise ValueError(
                "relative_ends must lie around 1, as shares of the throughput: [0.8, 1.3]"
            )
        if len(self.points) > 1:
            raise ValueError("relative_ends is of one point: with several give relative_ci")


@dataclass(frozen=True, kw_only=True)
class ApiSpec:
    """Terms on the API side. `compare` names `provider/model` keys; empty means all in the book.
    `decline_per_year` None takes the estimate from the price history of each API."""

    compare: tuple[str, ...] = ()
    discount: Input = 0.0
    decline_per_year: Input | None = 0.0
    batch_share: Input = 0.0
    batch_discount: Input | None = None
    long_context_share: Input = 0.0

    def __post_init__(self) -> None:
        limit(self, "batch_share long_context_share", high=1)
        limit(self, "discount batch_discount", high=1, below=True)  # 1 is a price of $0
        limit(self, "decline_per_year", low=-1, high=1, below=True)


@dataclass(frozen=True, kw_only=True)
class TaskQuality:
    """How often a task is answered correctly and what it takes in tokens."""

    pass_rate: Input
    input_tokens_per_task: Input
    output_tokens_per_task: Input

    def __post_init__(self) -> None:
        limit(self, "pass_rate", high=1, above=True)
        limit(self, "input_tokens_per_task output_tokens_per_task", above=True)


@dataclass(frozen=True, kw_only=True)
class QualitySpec:
    """Quality of the self-hosted model and of APIs by key; compared inside the margin only."""

    self_hosted: TaskQuality | None = None
    apis: Mapping[str, TaskQuality] = field(default_factory=dict)
    equivalence_margin: float = 0.02

    def __post_init__(self) -> None:
        limit(self, "equivalence_margin", high=1)


@dataclass(frozen=True, kw_only=True)
class UncertaintySpec:
    """The seeded Latin hypercube; the correlation is a rank correlation (Gaussian copula)."""

    draws: int = 10_000
    seed: int = 0
    throughput_power_correlation: float = 0.5

    def __post_init__(self) -> None:
        limit(self, "draws", low=10)
        limit(self, "seed")
        limit(self, "throughput_power_correlation", low=-1, high=1)


@dataclass(frozen=True, kw_only=True)
class TcoSpec:
    """One question: self-host this demand on these servers, or buy it. `basis` api takes no
    servers at all: `bench.money.api_bills` answers it."""

    name: str
    note: str | None = None
    use: Literal["commercial", "internal", "research"] = "commercial"
    basis: Literal["own", "on_demand", "reserved", "spot", "api"] = "own"
    server: ServerSpec
    own: OwnSpec | None = None
    rent: RentSpec = field(default_factory=RentSpec)
    people: PeopleSpec
    demand: DemandSpec
    fleet: FleetSpec = field(default_factory=FleetSpec)
    throughput: ThroughputSpec | None = None
    api: ApiSpec = field(default_factory=ApiSpec)
    quality: QualitySpec = field(default_factory=QualitySpec)
    uncertainty: UncertaintySpec = field(default_factory=UncertaintySpec)
    allow: tuple[Literal["invalid", "dummy", "replay", "synthetic", "implausible"], ...] = ()

    def __post_init__(self) -> None:
        if self.basis == "own" and self.own is None:
            raise ValueError(
                "own is missing: what buying a server costs; to ask without it, rent "
                "(tco.basis=on_demand) or take APIs alone (tco.basis=api)"
            )


@dataclass(frozen=True, kw_only=True)
class TcoRequest:
    """The three configuration groups of `bench tco`, and the model whose licence is checked.

    `known_gpus` are the names of the gpu group, so that a misspelt GPU is an error at once.
    """

    tco: TcoSpec
    prices: PricesSpec
    power: PowerSpec
    model: ModelSpec | None = None
    known_gpus: tuple[str, ...] = ()
