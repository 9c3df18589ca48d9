"""The self-check's questions to fields 83, 185 and 186: how often, how late, how true."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from bench.measure.stats import t_interval, within
from bench.power.checks import RESIDUAL_FAIL, RESIDUAL_PASS
from bench.power.measure import DEFAULT_EDGE_S
from bench.power.selfcheck_case import OVERHEAD_LIMIT, Answer, Case, Verdict, inner, inner_j, ms
from bench.power.signal import Refresh, counter_lags_s, half_way_s, refresh, thinned
from bench.power.window import device_window


def update_periods(case: Case) -> Answer:
    """How often fields 83, 185 and 186 change, and how long a read takes."""
    name = "update periods and read latency of 83, 185, 186"
    segment = case.segments.get("fast")
    if segment is None:
        return Answer(question=name, verdict="not measured", text="no fast polling was done")
    wanted = {
        "83": ("energy", "energy_mj"),
        "185": ("state", "average_mw"),
        "186": ("power", "instant_mw"),
    }
    found: dict[str, Refresh] = {}
    for number, (kind, column) in wanted.items():
        series = case.telemetry.of(case.device.index, kind)  # type: ignore[arg-type]
        seen = refresh(series, column, segment.start_ns, segment.end_ns)
        if seen is not None:
            found[number] = seen
    figures = {number: vars(seen) for number, seen in found.items()}
    if "83" not in found or "186" not in found:
        return Answer(
            question=name, verdict="not supported", text="83 or 186 is not read", figures=figures
        )
    parts = [
        f"{number} every {ms(seen.period_s)} ms, {seen.read_ms:.2f} ms a read"
        for number, seen in found.items()
    ]
    steps = found["83"].period_s
    as_assumed = steps is not None and steps <= 1.5 * DEFAULT_EDGE_S
    return Answer(
        question=name,
        verdict="ok" if as_assumed else "differs",
        text="; ".join(parts),
        figures=figures,
    )


def polling_rates(case: Case) -> Answer:
    """The counter polled at 10 ms, at 500 ms and at the ends only: the same power at one load."""
    name = "counter polled at 10 ms, 500 ms, ends only"
    watts: dict[str, float] = {}
    fast, slow, ends = (case.segments.get(n) for n in ("steady_10ms", "steady", "steady_ends"))
    counter = case.sampled("energy", "energy_mj")
    for label, segment in (("10 ms", fast), ("500 ms", slow)):
        joules = segment and inner_j(counter, segment)
        if segment is not None and joules:
            watts[label] = joules / inner(segment)[2]
    if fast is not None and (joules := inner_j(thinned(counter, 500_000_000), fast)):
        watts["10 ms, thinned to 500 ms"] = joules / inner(fast)[2]
    if ends is not None and len(ends.counter_mj) == 2:
        (t0, e0), (t1, e1) = ends.counter_mj
        watts["ends only"] = (e1 - e0) / 1e3 / ((t1 - t0) / 1e9)
    if len(watts) < 4:
        return Answer(
            question=name,
            verdict="not measured",
            text="not all three were had",
            figures={"watts": watts},
        )
    spread = max(watts.values()) / min(watts.values()) - 1
    text = ", ".join(f"{k}: {v:.1f} W" for k, v in watts.items()) + f"; {spread:.1%} apart"
    return Answer(
        question=name,
        verdict="ok" if spread <= RESIDUAL_PASS else "differs",
        text=text,
        figures={"watts": watts, "spread": spread},
    )


def counter_against_integral(case: Case) -> Answer:
    """Field 186 (held) against the counter, idle, steady and in square waves."""
    name = "counter against integral: idle, steady, square waves"
    found: dict[str, dict[str, float | None]] = {}
    for key in ("resident", "steady", "square_37ms", "square_50ms", "square_100ms"):
        segment = case.segments.get(key)
        if segment is None:
            continue
        start, end, seconds = inner(segment)
        w = device_window(case.telemetry, case.device, start, end)
        if w.residual is None or w.counter_j is None or w.integral_j is None:
            continue
        found[key] = {
            "counter_w": w.counter_j / seconds,
            "integral_w": w.integral_j / seconds,
            "residual": w.residual,
        }
    if not found:
        return Answer(question=name, verdict="not measured", text="no window has both")
    worst = max(abs(v["residual"] or 0.0) for v in found.values())
    text = ", ".join(f"{k} {v['residual']:+.1%}" for k, v in found.items())
    quiet = [abs(v["residual"] or 0.0) for k, v in found.items() if k in ("resident", "steady")]
    within = not quiet or max(quiet) <= RESIDUAL_FAIL
    text += f"; limits {RESIDUAL_PASS:.0%} and {RESIDUAL_FAIL:.0%}"
    return Answer(
        question=name,
        verdict="ok" if within else "differs",
        text=text,
        figures={**found, "worst": worst},
    )


def step_lag(case: Case) -> Answer:
    """How late the readings follow a step of the load."""
    name = "step lag"
    segment = case.segments.get("steps")
    if segment is None or len(segment.edges_ns) < 3:
        return Answer(question=name, verdict="not measured", text="no steps were made")
    edges = segment.edges_ns
    lags = {
        "186": half_way_s(case.sampled("power", "instant_mw"), edges),
        "185": half_way_s(case.sampled("state", "average_mw"), edges),
        "83": counter_lags_s(case.sampled("energy", "energy_mj"), edges),
    }
    middle = {k: float(np.median(v)) for k, v in lags.items() if v}
    if "186" not in middle or "83" not in middle:
        return Answer(
            question=name,
            verdict="not measured",
            text="the readings show no step",
            figures={"lags_s": lags},
        )
    text = ", ".join(f"{k} {1e3 * v:.0f} ms" for k, v in middle.items())
    text += f" (median of {len(lags['186'])} edges; half-way, the counter by its slope)"
    late = max(abs(middle["186"]), abs(middle["83"])) > 2 * DEFAULT_EDGE_S
    return Answer(
        question=name,
        verdict="differs" if late else "ok",
        text=text,
        figures={"lags_s": lags, "median_s": middle},
    )


def sampler_overhead(case: Case) -> Answer:
    """The same load without and with the sampler, in turn: A B A B A."""
    name = "load with and without the sampler (A/B/A)"
    without, with_it = case.facts.rates_without, case.facts.rates_with
    if len(without) != len(with_it) + 1 or not with_it:
        return Answer(question=name, verdict="not measured", text="no rounds were made")
    return overhead_answer(name, overheads(without, with_it))


def overheads(without: Sequence[float], with_it: Sequence[float]) -> list[float]:
    """Per round, by how much the rate fell against the mean of the rounds before and after."""
    around = [(a + b) / 2 for a, b in pairwise(without)]
    return [1 - b / a for a, b in zip(around, with_it, strict=True)]


def overhead_answer(name: str, found: Sequence[float]) -> Answer:
    """The cost of the sampler against the limit: `ok` is a whole interval below it.

    What costs nothing cannot be shown to cost nothing; that it costs less than the limit can.
    """
    text = f"{float(np.mean(found)):+.2%} of the rate"
    interval = t_interval(found)
    if interval:
        text += f", 95 % interval {interval[0]:+.2%} to {interval[1]:+.2%}, {len(found)} rounds"
    below = within(interval, -np.inf, OVERHEAD_LIMIT)
    text += {
        "yes": f": below {OVERHEAD_LIMIT:.1%}",
        "no": f": above {OVERHEAD_LIMIT:.1%}",
        "unclear": f": too restless to say whether it is below {OVERHEAD_LIMIT:.1%}",
    }[below]
    verdict: Verdict = "ok" if below == "yes" else "differs" if below == "no" else "not measured"
    return Answer(
        question=name,
        verdict=verdict,
        text=text,
        figures={"overheads": list(found), "limit": OVERHEAD_LIMIT},
    )
