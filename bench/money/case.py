"""Cases: what serving really cost somebody, without saying who, and several beside each other.

A case is a measured run, the answer of the cost model to it, and what was assumed. Hosts, paths,
addresses and free text stay out: only names of the package's own catalogue and price book, numbers
and how they arose go in. A name of one's own becomes "own model" or "own seller 1".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.money.answer import TcoAnswer
from bench.money.since import figures_of
from bench.values.errors import InputError

SCHEMA = 1
RUN_KEYS = ("model", "quant", "gpus", "gpu", "engine", "valid", "best_load")
METRICS = (
    *("output_tokens_per_s", "ttft_p50_ms", "tpot_p50_ms"),
    *("energy_per_output_token_j", "power_mean_w"),
)


@dataclass(frozen=True, kw_only=True)
class Known:
    """Names that everybody has: those that are shipped with the package."""

    models: Collection[str]
    quants: Collection[str]
    gpus: Collection[str]
    prices: Collection[str]
    """`provider/model` of the price book."""

    own: dict[str, str] = field(default_factory=dict)

    def of_run(self, key: str, value: object) -> object:
        """A value of the run's summary, without a name that is somebody's own."""
        every = {"model": self.models, "quant": self.quants, "gpu": self.gpus}.get(key)
        return value if every is None or value in every else f"own {key}"

    def of_key(self, text: str) -> str:
        """A figure's or an assumption's name, in which a seller may stand."""
        for name in sorted(self._sellers(text), key=len, reverse=True):
            text = text.replace(name, self.own.setdefault(name, f"own seller {len(self.own) + 1}"))
        return text

    def _sellers(self, text: str) -> set[str]:
        """What stands there as `provider/model` and is in nobody else's book."""
        plain = text.removeprefix("prices.")
        for suffix in (" bill, USD/month", " break-even, Mtok/month"):
            plain = plain.removesuffix(suffix)
        if "/" not in plain or plain.startswith(("tco.", "own ", "USD")):
            return set()
        bare = {plain, plain.rpartition(".")[0]} - {""}
        return set() if bare & set(self.prices) else {min(bare, key=len)}


def case_of(
    summary: Mapping[str, Any], metrics: Mapping[str, Any], answer: TcoAnswer, known: Known
) -> dict[str, Any]:
    """The case as plain data: the run's `summary`, its best load point's metrics (value and
    interval), and the answer."""
    return {
        "case": SCHEMA,
        "run": {key: known.of_run(key, summary[key]) for key in RUN_KEYS},
        "month": str(summary["started"])[:7],
        "metrics": {
            name: {k: one[k] for k in ("value", "ci_low", "ci_high", "unit")}
            for name in METRICS
            if (one := metrics.get(name)) is not None and one["value"] is not None
        },
        "tco": {
            "basis": answer.basis,
            "words": list(answer.words),
            "servers": int(float(answer.bill.servers)),
            "utilisation": float(answer.bill.utilisation),
            "figures": {known.of_key(k): v for k, v in figures_of(answer).items()},
        },
        "assumed": {
            known.of_key(a.key): {
                "value": a.figure.value,
                "arose": a.figure.arose,
                "as_of": a.figure.as_of,
            }
            for a in answer.assumed
        },
    }


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure over all cases; None where a case does not have it."""

    name: str
    values: tuple[float | str | None, ...]


def checked(found: object, name: str) -> dict[str, Any]:
    """A case as read from a file; InputError says what is missing."""
    if not isinstance(found, dict) or found.get("case") != SCHEMA:
        raise InputError(f"{name} is no case: bench case export RUN writes one (case: {SCHEMA}).")
    for key in ("run", "month", "metrics", "tco", "assumed"):
        if key not in found:
            raise InputError(f"{name}: {key} is missing; export the case again.")
    return found


def beside(cases: Sequence[Mapping[str, Any]]) -> tuple[Row, ...]:
    """Every figure of the cases in the order of the first that has it; assumptions where they
    differ."""
    found = [
        Row(name=key, values=tuple(_text(c["run"].get(key)) for c in cases)) for key in RUN_KEYS
    ]
    found.append(Row(name="month", values=tuple(c["month"] for c in cases)))
    found.append(Row(name="basis", values=tuple(c["tco"]["basis"] for c in cases)))
    for name in dict.fromkeys(n for c in cases for n in c["metrics"]):
        values = tuple(c["metrics"].get(name, {}).get("value") for c in cases)
        found.append(Row(name=name, values=values))
    for name in dict.fromkeys(n for c in cases for n in c["tco"]["figures"]):
        found.append(Row(name=name, values=tuple(c["tco"]["figures"].get(name) for c in cases)))
    for name in dict.fromkeys(n for c in cases for n in c["assumed"]):
        values = tuple(c["assumed"].get(name, {}).get("value") for c in cases)
        if len(set(values)) > 1:
            found.append(Row(name=f"assumed {name}", values=values))
    return tuple(found)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
