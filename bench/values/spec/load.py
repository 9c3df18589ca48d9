"""What is sent, and how: a workload's lengths and limits, and the load that is put on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.values.spec.limits import A_YEAR_S, require

MOST_TOKENS = 10_485_760
"""The longest context that any listed model claims: a longer request is a typing error."""

PRECISION_LEAST = 6
"""Repeats before the first look at the width of an interval that decides when to stop."""

MOST_IN_FLIGHT = 60_000
"""One client address has about so many ports to one server."""

MOST_PER_S = 1_000_000
"""Arrivals per second that a schedule is made for: a hundred times what one host can send."""

MOST_REQUESTS = 10_000_000
"""A million requests of 200 tokens take 10 GB while they are parsed."""

MOST_PROMPT_TOKENS = 2_000_000_000
"""Of all requests of a load point together: they are made before it begins, 8 bytes each."""

_MOST_OF_LOAD = {
    "requests": MOST_REQUESTS,
    "requests_per_slot": MOST_REQUESTS,
    "min_requests": MOST_REQUESTS,
    "warmup_requests": MOST_REQUESTS,
    "max_in_flight": MOST_REQUESTS,
    "repeats": 1_000,
    "workers": 1_024,
    "duration_s": A_YEAR_S,
    "budget_s": A_YEAR_S,
    "request_timeout_s": A_YEAR_S,
    "burstiness": 1_000_000,
}


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
        require(not missing, f"{', '.join(missing)} is needed when dist is {self.dist}")
        negative = [key for key in needed if getattr(self, key) < 0]
        require(not negative, f"{', '.join(negative)} must be at least 0")
        require(self.min >= 1, "min must be at least 1")
        require(self.max is None or self.max >= self.min, "max must be at least min")


@dataclass(frozen=True, kw_only=True)
class SloSpec:
    """What a user accepts: the given percentile of TTFT and of TPOT stays within the limits."""

    ttft_ms: float
    tpot_ms: float
    percentile: float = 99.0

    def __post_init__(self) -> None:
        p = self.percentile
        fraction = f": {p:g} as a share is {100 * p:g}" if 0 < p < 1 else ""
        require(1 <= p <= 100, f"percentile must be in [1, 100]{fraction}")
        require(self.ttft_ms > 0, "ttft_ms must be above 0")
        require(self.tpot_ms > 0, "tpot_ms must be above 0")


FileFormat = Literal[
    "sharegpt",
    "openai-batch",
    "sessions",
    "messages",
    "bailian",
    "mooncake",
    "trace",
    "turns",
    "prompts",
    "azure",
    "burstgpt",
    "csv",
    "text",
]
"""The shapes of `bench.foreign.shapes`."""


@dataclass(frozen=True, kw_only=True)
class WorkloadSpec:
    """What the requests look like. Lengths are token counts or distributions of them.

    `file` takes the requests from a file instead (`bench.foreign.shapes`); the lengths given here
    then stand in for those that the file leaves open, and for what is typical. `file_format` is the
    shape's name (None: found), `time_unit` that of a trace's stamps, `hash_block_tokens` how many
    tokens a hash id of a trace stands for (None: inferred, or asked for).
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
    file_format: FileFormat | None = None
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    hash_block_tokens: int | None = None
    source: str = ""

    def __post_init__(self) -> None:
        require(bool(self.name.strip()), "name must not be empty")
        for key in ("input_tokens", "output_tokens"):
            value = getattr(self, key)
            if isinstance(value, int):
                require(value >= 1, f"{key} must be at least 1")
                require(value <= MOST_TOKENS, f"{key} must be at most {MOST_TOKENS:,}")
        require(self.shared_prefix_tokens >= 0, "shared_prefix_tokens must be at least 0")
        if isinstance(self.input_tokens, int):
            text = f"shared_prefix_tokens must be below input_tokens ({self.input_tokens})"
            require(self.shared_prefix_tokens < self.input_tokens, text)
        require(self.turns >= 1, "turns must be at least 1")
        require(self.turn_gap_s >= 0, "turn_gap_s must be at least 0")
        require(self.shared_prefix_count >= 1, "shared_prefix_count must be at least 1")
        block = self.hash_block_tokens
        require(block is None or block >= 1, "hash_block_tokens must be at least 1")
        require(
            block is None or block <= MOST_TOKENS, f"hash_block_tokens: at most {MOST_TOKENS:,}"
        )


Generator = Literal["bench", "vllm", "sglang", "guidellm", "aiperf"]
"""What sent the load: this client, vLLM's benchmark, or a tool whose result was imported."""


@dataclass(frozen=True, kw_only=True)
class LoadSpec:
    """How hard the server is pushed.

    `requests` counts per load point and repeat. None: an open loop sends rate times `duration_s`; a
    closed loop goes on for `duration_s` (None: `bench.traffic.plan`) and for at least
    `min_requests` and `requests_per_slot` times the concurrency.

    `ramp` rises from the first of two rates to the second. `slo` and `saturate` search `over` rates
    or concurrencies for the highest load that holds, `resolution` apart; two values given bound the
    search, one starts it. `max_in_flight` makes an open loop wait, as a pool of connections does.
    With `arrival: trace`, rates rescale the trace's time; without any it keeps its own pace.
    `precision` (3%) adds repeats until the 95 % interval of the output rate is as narrow, or until
    `max_repeats` or `budget_s` is spent. A repeat that something besides the engine disturbed is
    replaced, at most `max_retries` times a load point (None: `bench.traffic.again`).
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
    generator: Generator = "bench"
    calibrate: bool = True
    max_error_rate: float = 0.01

    def __post_init__(self) -> None:
        require(all(c >= 1 for c in self.concurrency), "concurrency must be at least 1")
        possible = all(c <= MOST_IN_FLIGHT for c in self.concurrency)
        require(possible, f"concurrency must be at most {MOST_IN_FLIGHT:,}")
        require(all(r > 0 for r in self.rate_per_s), "rate_per_s must be above 0")
        require(self.requests is None or self.requests >= 1, "requests must be at least 1")
        require(self.min_requests >= 0, "min_requests must be at least 0")
        self._check_size()
        require(self.requests_per_slot >= 2, "requests_per_slot must be at least 2")
        require(self.repeats >= 1, "repeats must be at least 1")
        self._check_precision()
        require(self.warmup_requests >= 0, "warmup_requests must be at least 0")
        require(self.request_timeout_s > 0, "request_timeout_s must be above 0")
        require(self.duration_s is None or self.duration_s > 0, "duration_s must be above 0")
        require(self.burstiness > 0, "burstiness must be above 0")
        require(self.workers is None or self.workers >= 1, "workers must be at least 1")
        own = self.own_cores
        require(own is None or own >= 0, "own_cores must not be negative")
        require(0 <= self.max_error_rate <= 1, "max_error_rate must be in [0, 1]")
        if self.mode == "closed":
            require(bool(self.concurrency), "concurrency needs at least one value")
        rates = self.rate_per_s
        if self.mode == "open" and self.arrival != "trace":
            require(bool(rates), "rate_per_s needs at least one value in an open loop")
        if self.mode == "ramp":
            require(len(rates) == 2, "rate_per_s needs two values in a ramp: from and to")
        if self.mode in ("slo", "saturate"):
            self._check_search()
        most = self.max_in_flight
        require(most is None or most >= 1, "max_in_flight must be at least 1")

    def _check_size(self) -> None:
        """What a machine's memory, or a year, does not hold is a slip of the hand."""
        for key, most in _MOST_OF_LOAD.items():
            value = getattr(self, key)
            require(value is None or value <= most, f"{key} must be at most {most:,}")
        rate = max(self.rate_per_s, default=0.0)
        require(rate <= MOST_PER_S, f"rate_per_s must be at most {MOST_PER_S:,}")
        asked = rate * (self.duration_s or 0.0)
        text = f"rate_per_s and duration_s ask for {asked:,.0f} requests, at most {MOST_REQUESTS:,}"
        require(asked <= MOST_REQUESTS, text)

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
        require(share is None or 0 < share < 1, "precision must be a share like 3% or 0.03")
        require(2 <= self.max_repeats <= 12, "max_repeats must be in [2, 12]")
        if share is not None:
            # Looked at earlier, the interval that decides when to stop would cover too little.
            least = f"max_repeats must be at least {PRECISION_LEAST} with a precision"
            require(self.max_repeats >= PRECISION_LEAST, least)
            require(self.repeats <= self.max_repeats, "repeats must be at most max_repeats")
        require(self.budget_s is None or self.budget_s > 0, "budget_s must be above 0")
        require(
            self.max_retries is None or 0 <= self.max_retries <= 10,
            "max_retries must be in [0, 10]",
        )
        plain = share is None or self.mode in ("closed", "open")
        require(plain, "precision is for closed and open loops; a search repeats by itself")

    def _check_search(self) -> None:
        require(0.005 <= self.resolution <= 1, "resolution must be in [0.005, 1]")
        require(self.arrival != "trace", "arrival must not be trace in a search over rates")
        require(self.generator == "bench", "generator must be bench in a search")
        if self.mode == "saturate":
            require(self.over == "rate", "over must be rate when mode is saturate")
        name = "rate_per_s" if self.over == "rate" else "concurrency"
        bounds: tuple[float, ...] = getattr(self, name)
        require(len(bounds) <= 2, f"{name} takes two bounds or one start in a search")
        require(len(bounds) < 2 or bounds[0] < bounds[1], f"{name} must rise: low, high")
