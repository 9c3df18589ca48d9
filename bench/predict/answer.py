"""The answer to "what would it do?": every figure with its band, beside bound and expectation."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.predict.bands import Calibration, Deciles, band, calibration, novelty, spread
from bench.predict.evidence import Row, published
from bench.predict.own import about
from bench.predict.question import Question
from bench.predict.regression import Design, Fitted, fit, levels_of
from bench.predict.speed import Speed, speeds, watts
from bench.values.confidence import normal_quantile
from bench.values.errors import InputError
from bench.values.prediction import Band, Prediction
from bench.values.spec import LoadSpec

ASSUMED_TTFT = Deciles(low=math.log(0.5), high=math.log(3.0), n=0)
"""Around the mean of a queue: no published row has a time to first token."""
NEAREST = 3
MOST_IN_FLIGHT = 4096.0
OWN_PRIOR = 2.0
"""How many observations the assumed spread of TTFT and TPOT counts as, beside one's own."""


@functools.lru_cache(maxsize=8)
def fitted(own: tuple[Row, ...] = ()) -> Fitted:
    """The model of the published rows and one's own (about 0.2 s)."""
    rows = (*published(), *own)
    return fit(Design(rows, levels_of(rows)))


def loads(spec: LoadSpec) -> list[tuple[str, float | None, float | None]]:
    """(label, in flight, requests/s) of each load point that can be predicted; searches have none,
    save over concurrency."""
    if spec.mode == "closed" or (spec.mode == "slo" and spec.over == "concurrency"):
        return [(f"c{c}", float(c), None) for c in spec.concurrency]
    return [(f"r{r:g}", None, r) for r in spec.rate_per_s] if spec.mode == "open" else []


def predictions(
    asked: Question, load: LoadSpec, own: tuple[Row, ...] = (), *, near: int = NEAREST
) -> tuple[Prediction, ...]:
    """What each load point would show, beside `near` rows of the nearest evidence; InputError
    where there is no evidence at all."""
    mine = about(own, asked.engine, asked.row(1.0).gpu)
    if asked.row(1.0).gpu == "cpu" and not mine:
        raise InputError(
            "no evidence of a processor: bring two runs of your own in with bench predict --refit "
            "RUN RUN, or name a gpu=."
        )
    found = fitted(tuple(own))
    answers = []
    for label, at_once, rate in loads(load):
        if at_once is None:
            assert rate is not None
            at_once = in_flight(found, asked, rate, bool(mine))
        row = asked.row(at_once, label=label, own=bool(mine))
        row = replace(row, log_sd=max((r.log_sd or 0.0 for r in mine), default=None))
        said = speeds(found, [row])[0]
        if rate is not None:
            said = replace(said, tokens_per_s=min(said.tokens_per_s, rate * row.output_tokens))
        answers.append(prediction(asked, row, said, own, near))
    return tuple(answers)


def in_flight(found: Fitted, asked: Question, rate_per_s: float, own: bool = False) -> float:
    """Requests in flight at an arrival rate: the least load whose throughput keeps up with it; the
    most that is admitted where none does."""
    tries = [float(x) for x in np.unique(np.geomspace(1, MOST_IN_FLIGHT, 60).round())]
    said = speeds(found, [asked.row(c, own=own) for c in tries])
    wanted = rate_per_s * asked.output_tokens
    enough = (c for c, s in zip(tries, said, strict=True) if s.tokens_per_s >= wanted)
    return next(enough, tries[-1])


def prediction(
    asked: Question, row: Row, said: Speed, own: Sequence[Row], near: int = NEAREST
) -> Prediction:
    """One load point's figures."""
    c, mine = calibration(), about(own, row.engine, row.gpu)
    rows = (*published(), *own)
    new = novelty(row, rows)
    at = c.scores[new].widened(1.0 if mine else c.later)
    bound, expected = asked.limits(row.batch * row.replicas)
    rate = band(math.log(said.tokens_per_s), spread(row, said.log_spread), at)
    notes = []
    if bound is not None and rate.high > bound:
        rate = Band(
            value=min(rate.value, bound), low=min(rate.low, bound), high=min(rate.high, bound)
        )
        notes.append("cut at the bound")
    if row.concurrency and row.batch * row.replicas < row.concurrency * 0.99:
        notes.append(
            f"{row.batch * row.replicas:,.0f} of {row.concurrency:,.0f} requests fit into the "
            "memory at once; the others wait, and their wait is not in TTFT"
        )
    if not mine:
        notes.append("TTFT: assumed spread, no published row has one")
    return Prediction(
        load=row.id,
        figures=figures(asked, row, said, rate, c, mine),
        bound_tokens_per_s=bound,
        expected_tokens_per_s=expected,
        novelty=new,
        rows=len(published()),
        own_rows=len(mine),
        nearest=tuple(words(r) for r in nearest(row, rows)[:near]) if near else (),
        notes=tuple(notes),
    )


def figures(
    asked: Question, row: Row, said: Speed, rate: Band, c: Calibration, mine: Sequence[Row]
) -> dict[str, Band]:
    """The figures by the names of metrics."""
    per_token = rate.inverse(rate.value)  # 1 at the prediction
    ttft, tpot = corrections(mine, c)
    first, between = said.ttft_s * 1e3, said.tpot_s * 1e3
    found = {
        "output_tokens_per_s": rate,
        "ttft_p50_ms": joined(first, per_token, ttft),
        "tpot_p50_ms": joined(between, per_token, tpot),
    }
    found["output_tokens_per_s_per_user"] = found["tpot_p50_ms"].inverse(1e3)
    gpu = asked.spec.gpu
    if gpu.power_w and row.gpu != "cpu":
        power = watts(said.busy, c.power_shares, gpu.power_w, row.gpus)
        found["energy_per_output_token_j"] = joined(power / rate.value, per_token, c.watts)
    price = gpu.price
    if price.low_usd_per_gpu_h and price.high_usd_per_gpu_h and asked.spec.gpus:
        low, high = price.low_usd_per_gpu_h, price.high_usd_per_gpu_h
        middle = math.sqrt(low * high) * asked.spec.gpus / rate.value / 3600 * 1e6
        half = math.log(high / low) / 2
        found["usd_per_mtok"] = joined(middle, per_token, Deciles(low=-half, high=half, n=0))
    return found


def corrections(mine: Sequence[Row], c: Calibration) -> tuple[Deciles, Deciles]:
    """Deciles of log(measured ÷ predicted) of TTFT and of TPOT: own runs' beside the prior's."""
    if not mine:
        return ASSUMED_TTFT, c.tpot
    said = speeds(fitted(tuple(mine)), list(mine))
    first, between = [], []
    for row, s in zip(mine, said, strict=True):
        if row.ttft_ms:
            first.append(math.log(row.ttft_ms / 1e3 / s.ttft_s))
        if row.itl_ms:
            between.append(math.log(row.itl_ms / 1e3 / s.tpot_s))
    return _learnt(first, ASSUMED_TTFT), _learnt(between, c.tpot)


def _learnt(seen: Sequence[float], prior: Deciles) -> Deciles:
    """The prior's deciles, moved and narrowed by what was seen (as if the prior were two)."""
    n = len(seen)
    half = (prior.high - prior.low) / 2
    if not n:
        return prior
    centre = (prior.low + prior.high) / 2
    mean = (OWN_PRIOR * 0.25 * centre + sum(seen)) / (OWN_PRIOR * 0.25 + n)
    scatter = normal_quantile(0.80) ** 2 * sum((x - mean) ** 2 for x in seen)
    half = math.sqrt((OWN_PRIOR * half**2 + scatter) / (OWN_PRIOR + n))
    return Deciles(low=mean - half, high=mean + half, n=n)


def joined(value: float, first: Band, second: Deciles) -> Band:
    """A figure whose two sources of error are independent: halves of their logarithms in
    quadrature, around the value moved by the second's middle where that excludes it."""
    middle = 0.0 if second.low <= 0 <= second.high else (second.low + second.high) / 2
    down = math.hypot(math.log(first.value / first.low), second.low - middle)
    up = math.hypot(math.log(first.high / first.value), second.high - middle)
    at = value * math.exp(middle)
    return Band(value=at, low=at * math.exp(-down), high=at * math.exp(up))


def nearest(row: Row, rows: Sequence[Row]) -> list[Row]:
    """The evidence, the closest first: own, engine, GPU, model, family, then lengths and batch."""

    def distance(r: Row) -> float:
        unlike = 8.0 * (r.engine != row.engine) + 6.0 * (r.gpu != row.gpu)
        unlike += 3.0 * (r.model != row.model) + 2.0 * (r.family != row.family)
        unlike += 1.5 * (r.quant != row.quant) - 4.0 * r.own
        pairs = (
            (r.batch, row.batch),
            (r.output_tokens, row.output_tokens),
            (r.input_tokens or r.assumed_input or 1.0, row.input_tokens or 1.0),
            (r.gpus, row.gpus),
        )
        return unlike + sum(0.5 * abs(math.log(a / b)) for a, b in pairs)

    return sorted(rows, key=distance)


def words(r: Row) -> str:
    """A row of evidence in a line."""
    prompt = f"{r.input_tokens:,.0f}" if r.input_tokens else "?"
    load = f"{r.concurrency:,.0f} in flight" if r.concurrency else "as many as fit"
    where = f"{r.gpus}×{r.gpu}" if r.gpu != "cpu" else "this CPU"
    return (
        f"{r.model} {r.quant} on {where}, {r.engine}, {prompt} in, {r.output_tokens:,.0f} out, "
        f"{load}: {r.tokens_per_s:,.0f} tokens/s ({r.source.split(' ')[0]}, {r.date})"
    )
