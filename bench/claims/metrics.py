"""The metrics that a claim can be about: one list of names with their units and what bounds them.

The names are bench's own (`bench.measure.metrics`, the energy table of `bench.power`), and a few
that sources publish and bench derives elsewhere. A stated number may be in any unit of the same
kind: tok/s, J/token, tokens/s/MW.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bench.claims.quantity import Quantity, Unit, parse_unit, quantity
from bench.measure.metrics import METRICS as MEASURED
from bench.values.errors import nearest

Bounded = Literal[
    "output", "user", "input", "total", "requests", "itl", "ttft", "e2e", "energy", "power", "cost"
]


@dataclass(frozen=True, kw_only=True)
class ClaimMetric:
    """`bounded` names the bound (None: none is known); `at_least` says that smaller is the bolder
    claim, so that the bound is a floor."""

    name: str
    unit: str
    bounded: Bounded | None
    at_least: bool = False


_RATES: Mapping[str, Bounded] = {
    "output_tokens_per_s": "output",
    "goodput_output_tokens_per_s": "output",
    "output_tokens_per_s_per_gpu": "output",
    "output_tokens_per_s_per_user": "user",
    "input_tokens_per_s": "input",
    "requests_per_s": "requests",
    "goodput_requests_per_s": "requests",
}
_TIMES: Mapping[str, Bounded] = {
    "ttft_": "ttft",
    "ttft_sched_": "ttft",
    "itl_": "itl",
    "tpot_": "itl",
    "e2e_": "e2e",
}


def _measured() -> dict[str, ClaimMetric]:
    found = {}
    for one in MEASURED:
        time = next((b for start, b in _TIMES.items() if one.name.startswith(start)), None)
        found[one.name] = ClaimMetric(
            name=one.name,
            unit=one.unit,
            bounded=_RATES.get(one.name) or time,
            at_least=time is not None,
        )
    return found


_DERIVED: tuple[tuple[str, str, Bounded, bool], ...] = (
    ("total_tokens_per_s", "tokens/s", "total", False),
    ("total_tokens_per_s_per_gpu", "tokens/s/GPU", "total", False),
    ("input_tokens_per_s_per_gpu", "tokens/s/GPU", "input", False),
    ("output_tokens_per_s_per_node", "tokens/s/node", "output", False),
    ("input_tokens_per_s_per_node", "tokens/s/node", "input", False),
    ("total_tokens_per_s_per_node", "tokens/s/node", "total", False),
    ("ttft_mean_ms", "ms", "ttft", True),
    ("itl_mean_ms", "ms", "itl", True),
    ("tpot_mean_ms", "ms", "itl", True),
    ("e2e_mean_ms", "ms", "e2e", True),
    ("energy_per_output_token_j", "J/token", "energy", True),
    ("energy_per_total_token_j", "J/token", "energy", True),
    ("energy_per_request_j", "J/request", "energy", True),
    ("output_tokens_per_s_per_w", "tokens/s/W", "energy", False),
    ("output_tokens_per_s_per_mw", "tokens/s/MW", "energy", False),
    ("total_tokens_per_s_per_w", "tokens/s/W", "energy", False),
    ("total_tokens_per_s_per_mw", "tokens/s/MW", "energy", False),
    ("power_mean_w", "W", "power", False),
    ("usd_per_mtok_output", "USD/Mtok", "cost", True),
    ("usd_per_mtok_total", "USD/Mtok", "cost", True),
)

CLAIM_METRICS: Mapping[str, ClaimMetric] = _measured() | {
    name: ClaimMetric(name=name, unit=unit, bounded=bounded, at_least=least)
    for name, unit, bounded, least in _DERIVED
}


def known_metric(name: str) -> ClaimMetric:
    """The metric of this name; ValueError names the nearest."""
    if name not in CLAIM_METRICS:
        raise ValueError(f"metric: {name!r} is unknown.{nearest(name, CLAIM_METRICS)}")
    return CLAIM_METRICS[name]


def metric_unit(name: str) -> str:
    """The unit that bench gives a metric of this name."""
    return known_metric(name).unit


def in_metric_unit(value: float, unit: str, name: str) -> float:
    """A stated value in the metric's own unit; UnitError where it is of another kind.

    Tokens/s of one user are often written without the user, the time between two tokens as one per
    token, and tokens/s per watt as tokens per watt.
    """
    want, have = parse_unit(metric_unit(name)), quantity(value, unit)
    return _as_written(have, want, known_metric(name).bounded).to(want)


def metrics_of_unit(unit: str) -> list[str]:
    """The metrics whose numbers may be in this unit; ValueError where it is none."""
    dims = parse_unit(unit).dims
    return [n for n, m in CLAIM_METRICS.items() if m.bounded and parse_unit(m.unit).dims == dims]


TOKENS_PER_WATT = (("W", -1), ("token", 1))


def _as_written(have: Quantity, want: Unit, bounded: Bounded | None) -> Quantity:
    per_user, per_token = ("user", -1), ("token", -1)
    if per_user in want.dims and per_user not in have.dims:
        return Quantity(have.base, tuple(sorted((*have.dims, per_user))))
    if bounded == "itl" and per_token in have.dims:
        return Quantity(have.base, tuple(d for d in have.dims if d != per_token))
    if have.dims == TOKENS_PER_WATT and want.dims == tuple(sorted((*TOKENS_PER_WATT, ("s", -1)))):
        return Quantity(have.base, want.dims)  # everybody means tokens/s
    return have
