"""The answer to "what would it do?": every figure with its band, beside bound and expectation."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.predict.bands import Calibration, Deciles, band, calibration, ends, novelty, spread
from bench.predict.evidence import Row, published
from bench.predict.noise import between_launches, of_repeats, with_launches
from bench.predict.own import about, beyond, elsewhere, no_processor, of_model, usable
from bench.predict.question import Question
from bench.predict.regression import Design, Fitted, fit, levels_of, misfit
from bench.predict.speed import Speed, speeds, watts
from bench.values.confidence import normal_quantile
from bench.values.errors import InputError
from bench.values.prediction import Band, Prediction
from bench.values.spec import LoadSpec

ASSUMED_TTFT = Deciles(low=math.log(0.5), high=math.log(3.0), n=0)
"""Around the mean of a queue: no published row has a time to first token."""
NEAREST = 3
MOST_IN_FLIGHT = 4096.0
SURPRISING = 1.05
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
    at_one = asked.row(1.0)
    mine = about(own, at_one)
    if at_one.gpu == "cpu" and len({r.concurrency for r in mine}) < 2:
        raise InputError(no_processor(own, at_one))
    between = between_launches(mine, at_one)
    scatter = math.hypot(between.log_sd, of_repeats(mine, at_one)) if mine else None
    counted = with_launches(usable(own, at_one), between.log_sd)
    found = fitted(counted)
    said_of_own = (between.words, *elsewhere(own, at_one)) if mine else elsewhere(own, at_one)
    answers = []
    for label, at_once, rate in loads(load):
        most = None
        if at_once is None:
            assert rate is not None
            at_once, most = in_flight(found, asked, rate, bool(mine))
        row = asked.row(at_once, label=label, own=bool(mine))
        row = replace(row, log_sd=scatter)
        said = speeds(found, [row])[0]
        one = prediction(asked, row, said, counted, near)
        if rate is not None and most is not None:
            one = arriving(one, rate * row.output_tokens, most)
        answers.append(replace(one, notes=(*said_of_own, *one.notes)))
    return tuple(answers)


def in_flight(
    found: Fitted, asked: Question, rate_per_s: float, own: bool = False
) -> tuple[float, float]:
    """Requests in flight at an arrival rate (the least load whose throughput keeps up with it; the
    most that is admitted where none does), and the highest output rate of any load."""
    tries = [float(x) for x in np.unique(np.geomspace(1, MOST_IN_FLIGHT, 60).round())]
    said = speeds(found, [asked.row(c, own=own) for c in tries])
    wanted = rate_per_s * asked.output_tokens
    enough = (c for c, s in zip(tries, said, strict=True) if s.tokens_per_s >= wanted)
    return next(enough, tries[-1]), max(s.tokens_per_s for s in said)


def arriving(one: Prediction, arrives: float, most: float) -> Prediction:
    """A prediction whose output rate is what arrives (tokens/s), as far as the machine keeps up:
    `most` is its highest rate, with the same relative band."""
    rate = one.figures["output_tokens_per_s"]
    can = rate.times(most / rate.value)
    ends = {n: min(arrives, getattr(can, n)) for n in ("value", "low", "high")}
    notes = one.notes
    if can.low < arrives:
        notes = (*notes, f"{arrives:,.0f} tokens/s arrive: more than it may keep up with")
    figures = {**one.figures, "output_tokens_per_s": Band(**ends)}
    if usd := figures.get("usd_per_mtok"):
        figures["usd_per_mtok"] = usd.times(rate.value / ends["value"])
    return replace(one, figures=figures, notes=notes)


def prediction(
    asked: Question, row: Row, said: Speed, own: Sequence[Row], near: int = NEAREST
) -> Prediction:
    """One load point's figures."""
    c, mine = calibration(), about(own, row)
    rows = (*published(), *own)
    new = novelty(row, rows)
    at = ends(new, mine, row)
    bound, expected = asked.limits(row.batch * row.replicas)
    apart = misfit(fitted(tuple(own)), of_model(mine, row))
    rate = band(math.log(said.tokens_per_s), spread(row, said.log_spread) * apart, at)
    notes = []
    if apart > SURPRISING:
        notes.append(
            f"your own load points deviate from what others measured {apart:.1f} times as far as "
            "machines do: the band is as many times wider; check what they ran under"
        )
    if bound is not None and rate.high > bound:
        rate = Band(
            value=min(rate.value, bound), low=min(rate.low, bound), high=min(rate.high, bound)
        )
        notes.append("cut at the bound")
    if row.concurrency and row.batch * row.replicas < row.concurrency * 0.99:
        held = asked.input_tokens + asked.output_tokens / 2
        notes.append(
            f"{row.batch * row.replicas:,.0f} of {row.concurrency:,.0f} requests fit into the "
            f"memory at once, at the {held:,.0f} tokens that each holds on average (bench fit "
            "counts them at full length); the others wait, and their wait is not in TTFT"
        )
    if new == "engine" and not any(r.gpu == row.gpu for r in rows):
        notes.append("this GPU is not in the evidence either: bands of new engines held GPUs known")
    if (reach := beyond(row, mine)) is not None:
        notes.append(reach)
    if not mine:
        notes.append("TTFT: assumed spread, no published row has one")
    return Prediction(
        load=row.id,
        figures=figures(asked, row, said, rate, c, corrections(mine, own, c)),
        bound_tokens_per_s=bound,
        expected_tokens_per_s=expected,
        novelty=new,
        rows=len(published()),
        own_rows=len(mine),
        own_of_model=sum(r.model == row.model for r in mine),
        nearest=tuple(words(r) for r in nearest(row, rows)[:near]) if near else (),
        notes=tuple(notes),
    )


def figures(
    asked: Question,
    row: Row,
    said: Speed,
    rate: Band,
    c: Calibration,
    learnt: tuple[Deciles, Deciles],
) -> dict[str, Band]:
    """The figures by the names of metrics."""
    per_token = rate.inverse(rate.value)  # 1 at the prediction
    ttft, tpot = learnt
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


def corrections(mine: Sequence[Row], own: Sequence[Row], c: Calibration) -> tuple[Deciles, Deciles]:
    """Deciles of log(measured ÷ predicted) of TTFT and of TPOT: `mine`, of all `own` that were
    fitted, beside the prior's."""
    if not mine:
        return ASSUMED_TTFT, c.tpot
    said = speeds(fitted(tuple(own)), list(mine))
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
