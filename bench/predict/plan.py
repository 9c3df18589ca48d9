"""From a demand to the cheapest deployments predicted to hold an SLO, and what to measure first.

A candidate is one replica: a model, a quantisation and GPUs. Its load is the one with the highest
rate whose predicted TTFT and TPOT hold with the wanted probability; fleet and bill are `bench
tco`'s own formulae, at the predicted rate and at both ends of its band. Everything here is
predicted; nothing is measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import numpy as np

from bench.money.api_price import api_blend
from bench.money.apis import terms
from bench.money.demand import Demand
from bench.money.fleet import monthly_bill
from bench.money.inputs import SAME_MIX, THROUGHPUT, build_work, own_costs, rent_costs, with_demand
from bench.money.prices.book import Key, PriceRow, comparable_apis
from bench.money.spec import ServerSpec, TcoRequest
from bench.money.throughput import ThroughputPoint, fit_split
from bench.predict.answer import predictions
from bench.predict.evidence import Row
from bench.predict.noise import ASSUMED
from bench.predict.question import Question
from bench.values.confidence import normal_quantile
from bench.values.errors import InputError
from bench.values.figure import figure
from bench.values.override_text import quoted
from bench.values.prediction import Band, Prediction
from bench.values.spec import SloSpec

LOADS = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
DECILE = normal_quantile(0.80)
"""Standard deviations from the middle to the end of an 80 % band."""
WANTED = 0.8
MEASURED_LOG = ASSUMED["gpu"]
"""What a measurement leaves of a band (log standard deviation): launches differ so."""
FLAT_LOG = 1e-3
"""A bill that moves by less between the ends of its rate's band is settled: GPUs are whole."""
SURE = 0.9
"""How surely the first two must be told apart before no measurement is worth its time."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """A way to serve the demand. `usd_per_month` has its 80 % band from the predicted rate alone;
    an API has no GPUs, no band beyond its price and no predicted SLO (None)."""

    way: Literal["rent", "own", "api"]
    name: str
    gpus: int = 0
    replicas: int = 0
    concurrency: int | None = None
    p_slo: float | None = None
    usd_per_month: Band
    prediction: Prediction | None = None
    overrides: tuple[str, ...] = ()
    throughput: str = ""
    """Of servers that are bought: the same prediction as a word of `bench tco`."""

    @property
    def log_spread(self) -> float:
        """Log standard deviation of the bill."""
        return math.log(self.usd_per_month.width) / (2 * DECILE)


TOO_DEAR = 3
"""How many times the least bill nobody pays: more than an 80 % band of a predicted rate is wide, so
that no error of the prediction turns the two round."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The deployments worth a line, how many others are too dear and how many miss the SLO, and
    the models of which none is left."""

    options: tuple[Option, ...]
    dear: int
    missing: int
    gone: tuple[str, ...]


def worth_listing(options: Sequence[Option]) -> Listed:
    """The deployments without those that nobody would buy.

    Where one of them holds the SLO, those are left out that miss it as surely as it is wanted, or
    may miss it at `TOO_DEAR` times the bill. So is a bill of more than `TOO_DEAR` times the least
    of the same model and quantisation (of those that hold the SLO, where one does): another model
    is another quality. Of each model the cheapest of each way stays, and the one that most probably
    holds the SLO.
    """
    holding = [o.usd_per_month.value for o in options if (o.p_slo or 0) >= WANTED]
    most = TOO_DEAR * min(holding, default=math.inf)
    able = [
        o
        for o in options
        if not holding
        or (o.p_slo or 0) >= WANTED
        or (1 - (o.p_slo or 0) < WANTED and o.usd_per_month.value <= most)
    ]
    groups: dict[str, list[Option]] = {}
    for o in able:
        groups.setdefault(_served(o), []).append(o)
    kept: list[Option] = []
    for group in groups.values():
        fit = [o for o in group if (o.p_slo or 0) >= WANTED] or group
        least = min(o.usd_per_month.value for o in fit)
        surest = max(group, key=lambda o: (o.p_slo or 0, -o.usd_per_month.value))
        ways = {o.way: o for o in reversed(group)}  # the first of each: those that hold lead
        spared = [surest, *ways.values()]
        kept += [o for o in group if o.usd_per_month.value <= TOO_DEAR * least or o in spared]
    gone = dict.fromkeys(_served(o) for o in options if _served(o) not in groups)
    return Listed(
        options=tuple(o for o in options if o in kept),
        dear=len(able) - len(kept),
        missing=len(options) - len(able),
        gone=tuple(gone),
    )


def _served(o: Option) -> str:
    """Model and quantisation."""
    return o.name.partition(" on ")[0]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Options, the cheapest that hold first; what was left out, and what to measure."""

    options: tuple[Option, ...]
    left_out: tuple[str, ...]
    measure: tuple[str, ...]
    p_first_is_cheaper: float | None
    notes: tuple[str, ...] = ()


def p_holds(slo: SloSpec, one: Prediction) -> float:
    """The probability that the medians of TTFT and of TPOT are within the SLO, taken as if both
    erred independently."""
    ttft, tpot = (one.figures[n] for n in ("ttft_p50_ms", "tpot_p50_ms"))
    return _below(ttft, slo.ttft_ms) * _below(tpot, slo.tpot_ms)


def _below(b: Band, limit: float) -> float:
    """P(value <= limit), each half of the band a half of a lognormal."""
    end = b.high if limit > b.value else b.low
    spread = abs(math.log(end / b.value)) / DECILE
    return 0.5 if spread == 0 else normal_cdf(math.log(limit / b.value) / spread)


def best_load(
    asked: Question, own: tuple[Row, ...], wanted: float = WANTED
) -> tuple[int, float, Prediction]:
    """(in flight, P(SLO), prediction) at the highest load that holds with the wanted probability;
    where none does, the load with the best odds."""
    load = replace(asked.spec.load, mode="closed", concurrency=LOADS, rate_per_s=())
    slo = asked.spec.workload.slo
    found = [
        (c, p_holds(slo, one), one)
        for c, one in zip(LOADS, predictions(asked, load, own, near=0), strict=True)
    ]
    fit = [f for f in found if f[1] >= wanted and not _waits(f[2])]
    return max(fit, key=_rate) if fit else max(found, key=lambda f: (f[1], _rate(f)))


def _rate(found: tuple[int, float, Prediction]) -> float:
    return found[2].figures["output_tokens_per_s"].value


def _waits(one: Prediction) -> bool:
    """Whether requests wait for memory: their wait is not in the predicted TTFT."""
    return any("fit into the memory" in n for n in one.notes)


def options_of(
    asked: Question,
    overrides: tuple[str, ...],
    request: TcoRequest,
    held: Mapping[Key, PriceRow],
    trace: Demand | None,
    own: tuple[Row, ...],
    left_out: list[str],
) -> list[Option]:
    """A candidate rented and, where the question has its server's price, owned."""
    concurrency, p_slo, one = best_load(asked, own)
    spec, name = asked.spec, f"{asked.spec.model.name} {asked.spec.quant.name}"
    rate = one.figures["output_tokens_per_s"]
    each = spec.gpus
    found: list[Option] = []
    server = request.tco.server
    ways: list[tuple[Literal["rent", "own"], ServerSpec]] = [
        ("rent", ServerSpec(name=f"{each}×{spec.gpu.name}", gpu=spec.gpu.name, gpus=each))
    ]
    if server.gpu == spec.gpu.name and request.tco.own and server.gpus % each == 0:
        ways.append(("own", server))
    for way, unit in ways:
        per_server = unit.gpus // each
        mix = asked.input_tokens / asked.output_tokens
        point = ThroughputPoint(
            input_tokens_per_s=rate.value * mix * per_server,
            output_tokens_per_s=rate.value * per_server,
        )
        tco = replace(with_demand(request.tco, fit_split([point]), trace), server=unit)
        factors = np.array([1.0, rate.high / rate.value, rate.low / rate.value])
        values = {THROUGHPUT: factors}
        try:
            if way == "rent":
                costs, _ = rent_costs(tco, held, "on_demand", values)
            else:
                costs = own_costs(tco, request.power, values)
        except InputError as error:
            left_out.append(f"{way} of {spec.gpu.name}: {error}")
            continue
        bill = monthly_bill(costs, build_work(tco, fit_split([point]), values))
        total = np.broadcast_to(bill.total.value, 3)
        servers = int(np.broadcast_to(bill.servers, 3)[0])
        found.append(
            Option(
                way=way,
                name=f"{name} on {each}×{spec.gpu.name}",
                gpus=servers * unit.gpus,
                replicas=servers * per_server,
                concurrency=concurrency,
                p_slo=p_slo,
                usd_per_month=Band(
                    value=float(total[0]), low=float(total[1]), high=float(total[2])
                ),
                prediction=one,
                overrides=(*overrides, f"load.concurrency=[{concurrency}]"),
                throughput=as_throughput(point, rate, name) if way == "own" else "",
            )
        )
    return found


def check_mix(asked: Question, request: TcoRequest, trace: Demand | None) -> None:
    """InputError where the demand's mix is not that of the workload, whose rate is predicted."""
    typed, work = request.tco.demand.input_share, asked.spec.workload
    total = asked.input_tokens + asked.output_tokens
    share = wanted = asked.input_tokens / total
    if trace is not None:
        wanted = trace.input_share
    elif typed is not None:
        wanted = figure(typed).value
    if abs(wanted - share) <= SAME_MIX:
        return
    whose = "tco.demand.input_share" if trace is None else f"the mix of {request.tco.demand.trace}"
    prompt = min(max(1, round(wanted * total)), round(total) - 1)
    lengths = f"workload.input_tokens={prompt} workload.output_tokens={round(total) - prompt}"
    take = ", or take the workload's: tco.demand.input_share=null" if trace is None else ""
    raise InputError(
        f"{whose} is {wanted:.3g}, but workload={work.name} is {share:.3g} input: predict that mix "
        f"({lengths}){take}."
    )


def as_throughput(point: ThroughputPoint, rate: Band, name: str) -> str:
    """The predicted throughput of one server as the word that `bench tco` takes for it. The 80 %
    band becomes the 95 % interval that it asks for, each half lognormal as the band's is."""
    wider = normal_quantile() / DECILE
    low, high = ((end / rate.value) ** wider for end in (rate.low, rate.high))
    rates = ",".join(
        f"{way}_tokens_per_s:{value:.6g}"
        for way, value in (
            ("input", point.input_tokens_per_s),
            ("output", point.output_tokens_per_s),
        )
    )
    source, as_of = quoted(f"bench predict, {name}"), quoted(date.today().isoformat())
    whence = f"source:{source},as_of:{as_of},arose:predicted"
    return f"tco.throughput={{points:[{{{rates}}}],{whence},relative_ends:[{low:.4g},{high:.4g}]}}"


def api_options(
    request: TcoRequest, held: Mapping[Key, PriceRow], w_in: float, trace: Demand | None
) -> list[Option]:
    """Every API of the book at this demand; other models, whose quality is not compared here."""
    blend = fit_split([ThroughputPoint(input_tokens_per_s=w_in, output_tokens_per_s=1 - w_in)])
    tco = with_demand(request.tco, blend, trace)
    volume = build_work(tco, blend, {}).demand
    found = []
    for key, rows in comparable_apis(held, tco.api.compare)[0].items():
        usd = float((api_blend(key, rows, terms(tco, {})).price * volume).value)
        found.append(Option(way="api", name=key, usd_per_month=Band(value=usd, low=usd, high=usd)))
    return sorted(found, key=lambda o: o.usd_per_month.value)


def decide(options: Sequence[Option]) -> tuple[float | None, tuple[str, ...]]:
    """P(the first is cheaper than the second), and the fewest measurements after which that would
    be known: those of the wider band first, until what is left of both tells them apart."""
    if len(options) < 2:
        return None, ()
    first, second = options[:2]
    gap = math.log(second.usd_per_month.value / first.usd_per_month.value)
    spreads = {o.name: o.log_spread for o in (first, second)}
    shared = first.name == second.name  # the same deployment, rented and owned: one rate
    both = abs(first.log_spread - second.log_spread) if shared else math.hypot(*spreads.values())
    odds = 0.5 if gap == 0 and both == 0 else normal_cdf(gap / max(both, 1e-9))
    needed: list[str] = []
    for o in sorted((first, second), key=lambda o: -o.log_spread):
        left = math.hypot(*spreads.values())
        flat = spreads[o.name] < FLAT_LOG
        if (
            shared
            or flat
            or not o.overrides
            or gap / max(left, 1e-9) >= normal_quantile(2 * SURE - 1)
        ):
            continue
        spreads[o.name] = min(spreads[o.name], MEASURED_LOG)
        needed.append(f"bench {' '.join(o.overrides)}")
    return odds, tuple(needed)


def own_words(own: Sequence[Row]) -> tuple[str, ...]:
    """What one's own runs are to a plan; nothing without any."""
    where = sorted({f"{r.engine} on {r.gpu}" for r in own if r.gpu != "cpu"})
    if not where:
        return ()
    return (f"load points of your own count for {', '.join(where)}: the bands there are narrower",)


def _of_owned(request: TcoRequest, options: Sequence[Option]) -> tuple[str, ...]:
    """Why owning takes more GPUs than renting does, where servers are bought whole."""
    each = request.tco.server.gpus
    if each == 1 or not any(o.way == "own" for o in options):
        return ()
    return (
        f"own: whole servers of {each} GPUs are bought (tco.server), rented are those of each copy",
    )


def normal_cdf(z: float) -> float:
    """The share of a standard normal distribution below z."""
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def plan(
    candidates: Iterable[tuple[Question, tuple[str, ...]]],
    request: TcoRequest,
    held: Mapping[Key, PriceRow],
    trace: Demand | None,
    own: tuple[Row, ...] = (),
    left_out: Iterable[str] = (),
) -> Plan:
    """All candidates and APIs: those that hold the SLO first, then by cost."""
    gone = list(left_out)
    found: list[Option] = []
    w_in = 0.5
    for asked, overrides in candidates:
        check_mix(asked, request, trace)
        w_in = asked.input_tokens / (asked.input_tokens + asked.output_tokens)
        found += options_of(asked, overrides, request, held, trace, own, gone)
    mine = sorted(
        found, key=lambda o: ((o.p_slo or 0) < WANTED, o.usd_per_month.value, -(o.p_slo or 0))
    )
    holding = [o for o in mine if (o.p_slo or 0) >= WANTED]
    odds, needed = decide(holding)
    return Plan(
        options=(*mine, *api_options(request, held, w_in, trace)),
        left_out=tuple(dict.fromkeys(gone)),
        measure=needed,
        p_first_is_cheaper=odds,
        notes=(
            "P(SLO) is of predicted medians: tails (p99) are in no evidence; measure them",
            "the band of $/month is of the predicted rate alone, not of prices and demand",
            *(own_words(own)),
            *_of_owned(request, found),
        ),
    )
