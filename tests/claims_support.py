"""Claims of conf/ assessed as the command does it, and small claims built in the tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from fit_support import catalogue

from bench.claims.assess import assess
from bench.claims.load import claims_of
from bench.claims.sources import Point, Sources
from bench.claims.spec import Claim
from bench.claims.verdict import Assessment, Check
from bench.config.compose import claim_costs

CONF = Path(__file__).parents[1] / "conf" / "claims"

HEAD = {"who": "somebody", "where": "somewhere", "as_of": "2026-02", "quote": "a number"}
CONDITIONS: dict[str, Any] = {
    "model": "tiny",
    "quant": "none",
    "gpu": "cpu",
    "form_factor": None,
    "gpus": 0,
    "host_cpu": "a CPU",
    "host_cpu_count": 2,
    "engine": "vllm",
    "engine_version": "1.0",
    "input_tokens": 64,
    "output_tokens": 64,
    "concurrency": 8,
}


@cache
def every_claim() -> dict[str, Claim]:
    """All claims of conf/claims by full name."""
    found: dict[str, Claim] = {}
    for path in sorted(CONF.glob("*.yaml")):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        found.update((c.name, c) for c in claims_of(path.stem, data, str(path)))
    return found


@cache
def conf_sources() -> Sources:
    """The catalogue, the price book and the cost model of conf/; no stored runs."""
    prices, cost_model = claim_costs()
    return Sources(catalogue=catalogue(), prices=prices, cost_model=cost_model)


@cache
def assessed(name: str) -> Assessment:
    """The assessment of one claim of conf/claims without stored runs."""
    return assess(every_claim()[name], conf_sources())


def check(name: str, kind: str, number: int = 0) -> Check:
    """The n-th check of a kind of one claim of conf/claims."""
    return [c for c in assessed(name).checks if c.kind == kind][number]


def serving(
    *,
    metric: str | None = "output_tokens_per_s",
    definition: str | None = "tokens per second",
    stated: dict[str, Any] | None = None,
    **conditions: Any,
) -> Claim:
    """A claim about speed; keywords replace conditions."""
    says = {
        "kind": "serving",
        "conditions": {**CONDITIONS, **conditions},
        "metric": metric,
        "definition": definition,
        "stated": stated or {"value": 100, "unit": "tokens/s"},
    }
    return claims_of("test", {**HEAD, "says": says}, "test.yaml")[0]


def point(
    low: float | None,
    high: float | None,
    *,
    value: float | None = None,
    valid: bool = True,
    **conditions: Any,
) -> Point:
    """A load point whose output rate has this interval, under the conditions of `serving`."""
    middle = value if low is None or high is None else (low + high) / 2
    have = {k: v for k, v in CONDITIONS.items() if k != "form_factor"}
    return Point(
        run="run-1 c8",
        valid=valid,
        conditions={
            **have,
            "rate_per_s": None,
            "speculative": False,
            "engine_cores": 2,
            **conditions,
        },
        metrics={"output_tokens_per_s": (middle if valid else None, low, high, "tokens/s")},
    )


def with_points(*points: Point) -> Sources:
    """The sources of conf/ with these stored load points."""
    plain = conf_sources()
    return Sources(
        catalogue=plain.catalogue, prices=plain.prices, cost_model=plain.cost_model, points=points
    )
