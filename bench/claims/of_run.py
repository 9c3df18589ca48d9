"""What a stored Run says for or against a claim: its load points in the words of conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.claims.sources import Point
from bench.claims.spec import Serving
from bench.measure.checks.server import unlike_prompt
from bench.measure.measurement import Measurement, PointMeasurement
from bench.values.engine_flags import flags_of, why_unread
from bench.values.engine_words import engine_name
from bench.values.record import Run
from bench.values.spec import EndpointSpec


def points_of(run: Run, measurement: Measurement) -> list[Point]:
    """A run's load points as evidence."""
    words: tuple[str, ...] = ("random weights",) if run.spec.model.weights == "dummy" else ()
    if run.spec.load.generator != "bench":
        words += (f"measured by {run.spec.load.generator}",)
    words += _told(run.server or {})
    whole = not any(f.severity == "fail" for f in measurement.findings)
    return [
        Point(
            run=f"{run.path} {p.point.label}",
            valid=whole and p.valid,
            conditions=_conditions(run, p),
            metrics={
                name: (m.value if whole else None, m.ci_low, m.ci_high, m.unit)
                for name, m in p.metrics.items()
                if m.arose not in ("replay", "synthetic")  # no measurement, so no evidence
            },
            words=words,
            failures=tuple(
                f.text for f in (*measurement.findings, *p.findings) if f.severity == "fail"
            ),
        )
        for p in measurement.points
    ]


def _conditions(run: Run, p: PointMeasurement) -> dict[str, Any]:
    """A load point in the words of a claim's conditions; None where the run does not know."""
    spec, server = run.spec, run.server or {}
    lengths = {k: getattr(spec.workload, k) for k in ("input_tokens", "output_tokens")}
    w = spec.workload
    plain = w.turns == 1 and w.shared_prefix_tokens == 0
    served = unlike_prompt(p.findings)
    if served is not None:
        lengths["input_tokens"] = round(served)
    return {
        **_what_was_served(run),
        "engine": served_by(run),
        "engine_version": server.get("engine_version"),
        **{k: v if plain and isinstance(v, int) else None for k, v in lengths.items()},
        "concurrency": p.point.concurrency,
        "rate_per_s": p.point.rate_per_s,
        "host_cpu": run.provenance.get("host_cpu"),
        "host_cpu_count": run.provenance.get("host_cpu_count"),
        "engine_cores": _engine_cores(run),
        "speculative": _speculates(run),
    }


def _speculates(run: Run) -> bool | None:
    """Whether more than one token was made per pass; None where nobody said."""
    spec = run.spec
    if isinstance(spec.engine, EndpointSpec):
        return spec.engine.speculative
    said = (run.server or {}).get("conditions") or {}
    if "speculation" in said:
        return None if said["speculation"] is None else said["speculation"] != "off"
    return None if why_unread(spec) else flags_of(spec).speculative is not None


def _told(server: Mapping[str, Any]) -> tuple[str, ...]:
    """What the user, not the server, said of it."""
    said = " ".join(str(server.get(k)) for k in ("serves", "engine_version") if k in _of(server))
    return (f"served by {said}, as you said",) if said else ()


def _of(server: Mapping[str, Any]) -> Sequence[str]:
    return server.get("told") or ()


def served_by(run: Run) -> str:
    """What served: the engine that an endpoint says it is, else the adapter's name."""
    spec, server = run.spec, run.server or {}
    if spec.engine.kind != "endpoint":
        return spec.engine.kind
    return str(server.get("serves") or spec.engine.kind)


def _engine_cores(run: Run) -> int | None:
    """The host's cores less those that the client had to itself: a claim about a host is not to be
    refuted by an engine on a part of it."""
    count = run.provenance.get("host_cpu_count")
    return None if count is None else count - len((run.server or {}).get("client_cores", ()))


def as_told(point: Point, says: Serving) -> Point:
    """A point of an endpoint with what it does not say of itself, engine or version, as the user
    told; what it says stands."""
    c = says.conditions
    told: dict[str, Any] = {
        "engine": c.engine,
        "engine_version": c.engine_version,
        "speculative": c.speculative,
    }
    have = dict(point.conditions)
    unsaid = [k for k in told if have.get(k) in (None, "endpoint") and told[k] is not None]
    theirs = engine_name(have.get("engine"))
    if not unsaid or theirs not in ("endpoint", engine_name(c.engine)):
        return point
    have |= {k: told[k] for k in unsaid}
    said = " ".join(str(told[k]) for k in unsaid if k != "speculative")
    if "speculative" in unsaid:
        said = f"{said} {'with' if c.speculative else 'without'} speculation".strip()
    return replace(point, conditions=have, words=(*point.words, f"served by {said}, as you said"))


def _what_was_served(run: Run) -> dict[str, Any]:
    """Model, quantisation and GPUs; of a result that was imported only what was said of it."""
    spec, imported = run.spec, run.provenance.get("imported")
    known = {
        "model": spec.model.name,
        "quant": spec.quant.name,
        "gpu": spec.gpu.name,
        "gpus": spec.gpus,
    }
    if imported is None:
        return known
    return {k: v if k in imported.get("said", ()) else None for k, v in known.items()}
