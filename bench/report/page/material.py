"""What a page is made from, and the words in which it speaks of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.claims.verdict import Assessment
from bench.compare.compare import Comparison
from bench.compare.variant import Measured
from bench.measure.measurement import PointMeasurement
from bench.measure.metrics import Metric
from bench.money.answer import TcoAnswer
from bench.money.of_run import slo_met
from bench.report import answer
from bench.report.numbers import (
    host_cores,
    load_words,
    prompt_words,
    weights_words,
    with_interval,
)
from bench.values.finding import Finding
from bench.values.spec import SloSpec


@dataclass(frozen=True, kw_only=True)
class Material:
    """Runs with their measurements, and what was made of them. `command` makes the page again."""

    runs: Sequence[Measured] = ()
    comparison: Comparison | None = None
    cost: TcoAnswer | None = None
    claims: Sequence[Assessment] = ()
    command: str = ""
    version: str = ""
    made: str = ""

    def name(self, one: Measured) -> str:
        """How a run is called here: as in the comparison, else by model and quantisation."""
        for row in self.comparison.rows if self.comparison else ():
            if one.run.path in row.runs:
                return row.name
        return subject(one)


def subject(one: Measured) -> str:
    """What was measured, as short as can be: `tiny · fp8`; for an endpoint what it serves."""
    spec, server = one.run.spec, one.run.server or {}
    if spec.engine.kind == "endpoint":
        return str(server.get("served_model") or "endpoint")
    return f"{spec.model.name} · {weights_words(spec.quant.name)}"


def hardware(one: Measured) -> str:
    """The GPUs, or the host's processor; what is not known of a server that bench did not start."""
    spec = one.run.spec
    if spec.gpus:
        return f"{spec.gpus} × {spec.gpu.title}"
    if spec.engine.kind == "endpoint":
        return "hardware that was not named"
    host = one.run.provenance
    if not host.get("host_cpu"):
        return "a host that is not known, no GPU"
    return f"{host['host_cpu']}, {host_cores(one.run)}, no GPU"


def served_where(one: Measured) -> str:
    """What was measured and on what, as a title; of a server elsewhere its address."""
    if one.run.spec.engine.kind == "endpoint" and not one.run.spec.gpus:
        return f"{subject(one)} at {(one.run.server or {}).get('base_url', '?')}"
    return f"{subject(one)} on {hardware(one)}"


def engine(one: Measured) -> str:
    """The engine with its version; the address of an endpoint."""
    spec, server = one.run.spec, one.run.server or {}
    if spec.engine.kind == "endpoint":
        return f"the server at {server.get('base_url', '?')}"
    return f"{spec.engine.kind} {server.get('engine_version') or ''}".strip()


def asked(one: Measured) -> str:
    """Workload and load in words."""
    w, load = one.run.spec.workload, one.run.spec.load
    lengths = [
        v if isinstance(v, int) else f"{v.dist} of" for v in (w.input_tokens, w.output_tokens)
    ]
    tokens = f"{prompt_words(one.measurement, lengths[0])}, {lengths[1]} tokens out"
    points = len(one.measurement.points)
    if not points:
        return f"{w.name} ({tokens}), {load.mode} loop, no load point was finished"
    return (
        f"{w.name} ({tokens}), {load.mode} loop, {points} load point{'s' if points != 1 else ''} "
        f"with {load.repeats} repeat{'s' if load.repeats != 1 else ''} each"
    )


def slo_words(slo: SloSpec) -> str:
    """The SLO in words."""
    return f"p{slo.percentile:g} of TTFT ≤ {slo.ttft_ms:g} ms and of TPOT ≤ {slo.tpot_ms:g} ms"


def kept_slo(one: Measured, point: PointMeasurement) -> bool | None:
    """Whether a load point that can be trusted kept its SLO; None where that is not known."""
    return slo_met(point, one.run.spec.workload.slo) if point.valid else None


def found_where(one: Measured, whole: str) -> list[tuple[str, Finding]]:
    """Every finding with the load that it is of; `whole` names the run's own."""
    of_run = [(whole, f) for f in one.measurement.findings]
    return of_run + [(load_words(p), f) for p in one.measurement.points for f in p.findings]


def fastest(one: Measured) -> PointMeasurement | None:
    """The load point with the highest output rate that may be quoted."""
    return answer.fastest(one.measurement)


def rate(point: PointMeasurement) -> Metric:
    """The output rate of a load point."""
    return point.metrics["output_tokens_per_s"]


def said(metric: Metric) -> str:
    """A metric with its interval and without its unit."""
    if metric.value is None:
        return "–"
    return with_interval(metric.value, metric.ci_low, metric.ci_high)
