"""A published number as data: who said it, under which conditions, and what would decide it.

What a source leaves unsaid is null. A null never equals a value, so that nothing is compared with
a number whose conditions nobody knows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from bench.claims.gpu_words import read_gpu
from bench.values.figure import first_day
from bench.values.spec import SloSpec


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise ValueError(text)


def _bounded(owner: object, keys: tuple[str, ...], *, low: float, above: bool = False) -> None:
    """ValueError for a given number below `low` (or at it, where `above`), infinite or none."""
    for key in keys:
        value = getattr(owner, key)
        if value is None:
            continue
        _require(math.isfinite(value), f"{key} must be a finite number, not {value}")
        enough = value > low if above else value >= low
        bound = "above" if above else "at least"
        _require(enough, f"{key} must be {bound} {low:g}, not {value:g}")


@dataclass(frozen=True, kw_only=True)
class Stated:
    """The number as stated. `high` ends a range that begins with `value`; `.inf` is "unlimited".

    `tolerance` is the relative slack that the source's own wording ("~") allows. The rounding of
    a number as written (half a unit of its last decimal; 0.5 from 10 on) is allowed anyway, unless
    it is a limit.
    """

    value: float | None
    unit: str
    high: float | None = None
    relation: Literal["about", "at_least", "at_most", "below"] = "about"
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        _require(0 <= self.tolerance < 1, "tolerance must be in [0, 1)")
        for key in ("value", "high"):
            given = getattr(self, key)
            _require(given is None or not math.isnan(given), f"{key} must be a number, not nan")
        if self.high is not None:
            _require(self.value is not None, "high needs a value, the beginning of the range")
            _require(self.high >= (self.value or 0.0), "high must not be below value")

    @property
    def band(self) -> tuple[float, float]:
        """The range that counts as the stated number, slack included."""
        low = self.value if self.value is not None else float("nan")
        high = low if self.high is None else self.high
        about = self.relation == "about"  # a limit is where it is
        return (
            low - max(abs(low) * self.tolerance, half_unit(low) if about else 0.0),
            high + max(abs(high) * self.tolerance, half_unit(high) if about else 0.0),
        )


def half_unit(value: float | None, *, whole: bool = True) -> float:
    """Half of the last decimal that a number is written with: 0.05 of 2.7. With `whole`, 0.5 of
    whole numbers from 10 on; below that they are counts and exact."""
    text = "" if value is None or math.isinf(value) or math.isnan(value) else repr(float(value))
    if not text or "e" in text:
        return 0.0
    if float(text) == round(float(text)):
        return 0.5 if whole and abs(float(text)) >= 10 else 0.0
    return 0.5 * float(10.0 ** -len(text.partition(".")[2]))


FROM_ONE = (
    *("nodes", "racks", "gpus_per_node", "host_cpu_count", "tokens_per_pass"),
    *("input_tokens", "output_tokens", "concurrency", "context_tokens"),
)
ABOVE_ZERO = (
    *("kv_bits", "interactivity_tokens_per_s", "usd_per_gpu_h"),
    *("rate_per_s", "gpu_memory_gb"),
)
"""Conditions whose number has a lowest value."""


Named = Literal["model", "quant", "gpu", "engine"]


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Under what the number holds. The keys without a default must be written, null if unsaid.

    `quant` is a name of conf/quant, or the source's word. `gpu` and `form_factor` together name
    an entry of conf/gpu (h100 and sxm: h100-sxm). `architecture` names a model of conf/model with
    the same shape, for the bounds, where the model itself has no entry. A host without GPU is
    `gpu: cpu` and needs `host_cpu` and `host_cpu_count`; `engine_cores` of them are the engine's,
    all where that is unsaid, and the others the load client's.

    For bounds: `kv_bits` per cache element; `offload` whether weights or cache may lie in host
    memory or on disk; `prefix_reuse` whether parts of prompts were taken from a cache;
    `tokens_per_pass` the mean tokens of a speculative step (acceptance length); `phase` the nodes
    of a disaggregated deployment that the number is about (`both`: no such split);
    `interactivity_tokens_per_s` the rate that every user still gets; `scenario` one of MLPerf's;
    `power_scope` what a power or energy covers; `usd_per_gpu_h` the rent behind a cost per token.

    `gpus` is all of them. A rack is `form_factor: nvl72` (72 GPUs where `gpus` is unsaid, times
    `racks`); several nodes are `nodes` of `gpus_per_node`.

    `unlisted` are the keys whose name is the source's own and in no catalogue: any other name that
    is unknown is taken for a misspelt one (`bench.claims.named`).
    """

    model: str | None
    quant: str | None
    gpu: str | None
    form_factor: str | None
    gpus: int | None
    engine: str | None
    engine_version: str | None
    input_tokens: int | None
    output_tokens: int | None
    concurrency: int | None
    rate_per_s: float | None = None
    slo: SloSpec | None = None
    context_tokens: int | None = None
    dataset: str | None = None
    speculative: bool | None = None
    architecture: str | None = None
    gpu_memory_gb: float | None = None
    host_cpu: str | None = None
    host_cpu_count: int | None = None
    engine_cores: int | None = None
    kv_bits: float | None = None
    offload: bool | None = None
    prefix_reuse: bool | None = None
    tokens_per_pass: float | None = None
    phase: Literal["both", "prefill", "decode"] | None = None
    interactivity_tokens_per_s: float | None = None
    nodes: int | None = None
    scenario: Literal["offline", "server", "interactive", "single_stream"] | None = None
    power_scope: Literal["gpu", "node", "facility"] | None = None
    usd_per_gpu_h: float | None = None
    racks: int | None = None
    gpus_per_node: int | None = None
    unlisted: tuple[Named, ...] = ()

    def __post_init__(self) -> None:
        _bounded(self, FROM_ONE, low=1)
        _bounded(self, ("gpus",), low=0)
        _bounded(self, ABOVE_ZERO, low=0, above=True)
        engine, host = self.engine_cores, self.host_cpu_count
        _require(
            engine is None or (host is not None and 1 <= engine <= host),
            "engine_cores must be between 1 and host_cpu_count",
        )

    @property
    def deployed(self) -> Conditions:
        """The same with the GPU in the catalogue's words, and racks and nodes as a number of GPUs;
        ValueError where they disagree."""
        gpu, form, memory = self.gpu, self.form_factor, self.gpu_memory_gb
        gpus = self.nodes * self.gpus_per_node if self.nodes and self.gpus_per_node else None
        if gpu is not None:
            words = read_gpu(gpu, form)
            gpu, form, memory = words.gpu, words.form_factor, memory or words.memory_gb
            if words.together is not None:
                gpus = gpus or self.gpus or words.together * (self.racks or 1)
        _require(
            None in (gpus, self.gpus) or gpus == self.gpus,
            f"gpus is {self.gpus}, but nodes or racks come to {gpus}",
        )
        return replace(
            self,
            gpu=gpu,
            form_factor=form,
            gpu_memory_gb=memory,
            gpus=gpus if self.gpus is None else self.gpus,
        )

    @property
    def own_cores(self) -> int | None:
        """The host's cores that the load client has to itself; None where the source does not say
        how many there are."""
        if self.host_cpu_count is None:
            return None
        return self.host_cpu_count - (self.engine_cores or self.host_cpu_count)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What somebody else measured, with its conditions; one number alone proves nothing."""

    value: float
    unit: str
    source: str
    as_of: str
    conditions: Conditions
    metric: str | None = None

    def __post_init__(self) -> None:
        first_day(self.as_of)
        _bounded(self, ("value",), low=0)


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One point of a published curve: a value at a concurrency or at a rate per user."""

    value: float
    concurrency: int | None = None
    interactivity_tokens_per_s: float | None = None

    def __post_init__(self) -> None:
        _bounded(self, ("value",), low=0)
        _bounded(self, ("concurrency",), low=1)
        _bounded(self, ("interactivity_tokens_per_s",), low=0, above=True)

    def of(self, conditions: Conditions) -> Conditions:
        """The claim's conditions at this point."""
        _require(
            self.concurrency is not None or self.interactivity_tokens_per_s is not None,
            "a point of a curve needs concurrency or interactivity_tokens_per_s",
        )
        at = self.interactivity_tokens_per_s or conditions.interactivity_tokens_per_s
        return replace(
            conditions,
            concurrency=self.concurrency or conditions.concurrency,
            interactivity_tokens_per_s=at,
        )


def _measurable(stated: Stated | None) -> None:
    """ValueError for a number that no metric takes: each is a rate, a time, an energy, a cost or a
    share, and none of them is negative."""
    for value in () if stated is None else (stated.value, stated.high):
        _require(value is None or value >= 0, f"stated.value {value} is negative: no metric is")


@dataclass(frozen=True, kw_only=True)
class Also:
    """Another number that the source states of the same run."""

    metric: str
    stated: Stated

    def __post_init__(self) -> None:
        _measurable(self.stated)


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A model served on hardware. `metric` is a name of bench's metrics and `definition` the
    source's own words for it; a null metric claims only that the model runs there. `also` are
    more numbers of the same run, held against their bounds and against each other."""

    kind: Literal["serving"] = "serving"
    conditions: Conditions
    metric: str | None
    definition: str | None
    stated: Stated | None
    reports: tuple[Report, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    also: tuple[Also, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "conditions", self.conditions.deployed)
        _require(
            self.metric is None or self.stated is not None or bool(self.curve),
            "stated is missing: metric needs it (or a curve)",
        )
        _measurable(self.stated)
        for point in self.curve:
            point.of(self.conditions)  # raises where a point contradicts itself


RATIOS = {"x": "x", "×": "x", "times": "x", "fold": "x", "%": "%", "percent": "%", "pct": "%"}


@dataclass(frozen=True, kw_only=True)
class Speedup:
    """A ratio or percentage over a baseline: the same metric under two sets of conditions.

    `unit` of `stated` is x (2.7 times) or % (170 % more; of a time or energy, 63 % less, with or
    without a minus). `baseline_value`
    and `value` are the two numbers where the source gives them, in the metric's unit.
    """

    kind: Literal["speedup"] = "speedup"
    conditions: Conditions
    baseline: Conditions
    metric: str
    definition: str | None
    stated: Stated
    value: float | None = None
    baseline_value: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "conditions", self.conditions.deployed)
        object.__setattr__(self, "baseline", self.baseline.deployed)
        unit = RATIOS.get(self.stated.unit.strip().casefold())
        _require(unit is not None, "stated.unit of a speed-up must be x or %")
        _bounded(self, ("value", "baseline_value"), low=0, above=True)
        if unit == "x":
            _measurable(self.stated)
        object.__setattr__(self, "stated", replace(self.stated, unit=unit or "x"))


@dataclass(frozen=True, kw_only=True)
class Term:
    """One input of a calculation: a number, a price of the book (`provider/model kind`), or a
    figure of the cost model (the path in the answer to tco and overrides). `tolerance` is the
    relative slack of a "~"; a number with decimals has that of its rounding anyway."""

    unit: str
    value: float | None = None
    price: str | None = None
    tco: str | None = None
    overrides: tuple[str, ...] = ()
    figure: tuple[str, ...] = ()
    source: str = ""
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        given = [k for k in ("value", "price", "tco") if getattr(self, k) is not None]
        _require(len(given) == 1, "exactly one of value, price and tco must be given")
        _require(
            self.price is None or len(self.price.split()) == 2,
            "price must be 'provider/model kind'",
        )
        _require(self.tco is None or bool(self.figure), "figure must say which number of the tco")
        finite = self.value is None or math.isfinite(self.value)
        _require(finite, f"value must be a finite number, not {self.value}")
        _require(0 <= self.tolerance < 1, "tolerance must be in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class Calculation:
    """`own` recomputes with the claim's own inputs and `sourced` with checked ones: either can
    refute. `fuller` asks what was left out, and informs."""

    what: str
    formula: str
    terms: Mapping[str, Term]
    basis: Literal["own", "sourced", "fuller"] = "own"
    unit: str | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """A number that follows from others: bills, break-evens, ratios, capacities."""

    kind: Literal["arithmetic"] = "arithmetic"
    stated: Stated
    calculations: tuple[Calculation, ...]
    settle_with: str | None = None

    def __post_init__(self) -> None:
        _require(bool(self.calculations), "calculations needs at least one entry")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a dated source says of the same thing."""

    source: str
    as_of: str
    value: float | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        first_day(self.as_of)
        _require((self.value is None) != (self.text is None), "give either value or text")
        finite = self.value is None or math.isfinite(self.value)
        _require(finite, f"value must be a finite number, not {self.value}")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing said, a number or a word, and where to look it up: a field of conf/model
    (`catalogue`), a price of the book, cited references, or a figure of `bench trend --json` (its
    kind, then the path to value, low and high) whose interval decides."""

    what: str
    stated: Stated | None = None
    text: str | None = None
    catalogue: tuple[str, ...] = ()
    price: str | None = None
    trend: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    note: str | None = None

    def __post_init__(self) -> None:
        _require((self.stated is None) != (self.text is None), "give either stated or text")
        _require(len(self.catalogue) in (0, 2), "catalogue must be [model, field]")


@dataclass(frozen=True, kw_only=True)
class Rent:
    """A range of $/GPU-hour for GPUs at a tier, held against dated offers of the price book."""

    gpus: tuple[str, ...]
    tier: Literal["on_demand", "reserved", "spot"]
    stated: Stated

    def __post_init__(self) -> None:
        _measurable(self.stated)


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """Something published elsewhere: a price, a licence, a size, a rank."""

    kind: Literal["lookup"] = "lookup"
    items: tuple[Item, ...] = ()
    rent: Rent | None = None

    def __post_init__(self) -> None:
        _require(bool(self.items) or self.rent is not None, "items needs at least one entry")


@dataclass(frozen=True, kw_only=True)
class Absent:
    """Why the subject of a claim cannot be examined at all (no such model, weights withheld)."""

    what: str
    why: str
    source: str
    as_of: str

    def __post_init__(self) -> None:
        first_day(self.as_of)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One published number. `name` is the file's, or file/key where a file holds several."""

    name: str
    who: str
    where: str
    as_of: str
    quote: str
    says: Serving | Speedup | Arithmetic | Lookup
    url: str | None = None
    absent: Absent | None = None
    note: str | None = None
    tags: tuple[str, ...] = field(default=())
    file: str | None = None
    """Where it was read from, when it is not one of the catalogue's."""

    @property
    def asked_by(self) -> str:
        """The word that names it to `bench claim`."""
        if self.file is None:
            return self.name
        _, _, one_of_several = self.name.partition("/")
        return f"{self.file}/{one_of_several}" if one_of_several else self.file

    def __post_init__(self) -> None:
        first_day(self.as_of)
        for key in ("who", "where", "quote"):
            _require(bool(getattr(self, key).strip()), f"{key} must say something")
