"""A run in the forms that other programs exchange: llm-d-benchmark's report, MLflow, Prometheus.

What was withheld or not measured is absent, never 0; a run that is not valid says so in each form.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from bench import __version__
from bench.measure.measurement import Measurement, PointMeasurement
from bench.measure.metrics import Metric
from bench.power.table import EVERY_METRIC
from bench.report.document import summary
from bench.values.engine_flags import flags_of
from bench.values.json_text import json_text
from bench.values.record import Run

FORMS = ("llm-d", "mlflow", "prometheus")
REPORT_VERSION = "0.2"
"""Of llm-d-benchmark's report (llmdbenchmark/analysis/benchmark_report/schema_v0_2.py)."""
_LATENCIES = {
    "time_to_first_token": ("ttft", "ms"),
    "time_per_output_token": ("tpot", "ms/token"),
    "inter_token_latency": ("itl", "ms/token"),
    "request_latency": ("e2e", "ms"),
}
_SAID = {
    "valid": "Whether every load point that speaks for the run is valid.",
    "load_valid": "Whether the load point may be quoted, and its trust: never above its run's.",
}
_RATES = {
    "input_token_rate": ("input_tokens_per_s", "tokens/s"),
    "output_token_rate": ("output_tokens_per_s", "tokens/s"),
    "total_token_rate": ("total_tokens_per_s", "tokens/s"),
    "request_rate": ("requests_per_s", "queries/s"),
}
MOST_METRICS = 1_000
"""What MLflow takes in one request (runs/log-batch)."""

Measured = tuple[Run, Measurement]


def write_exchange(runs: Iterable[Measured], form: str) -> None:
    """Print runs in one of FORMS: JSON lines (a report a load point, or a batch) or text."""
    if form == "prometheus":
        print(prometheus(runs), end="")
        return
    for run, measurement in runs:
        made = llm_d_reports if form == "llm-d" else mlflow_batches
        for document in made(run, measurement):
            print(json_text(document))


def llm_d_reports(run: Run, measurement: Measurement) -> Iterator[dict[str, Any]]:
    """A report for each load point."""
    for point in measurement.points:
        failed = [f.code for f in (*measurement.findings, *point.findings) if f.severity == "fail"]
        about = "valid" if point.valid else "not valid"
        if failed:
            about += f", withheld by {', '.join(sorted(set(failed)))}"
        uid = hashlib.sha256(f"{run.path}/{point.point.label}".encode()).hexdigest()[:32]
        seconds = sum(point.window_s)
        yield {
            "version": REPORT_VERSION,
            "run": {
                "uid": uid,
                "eid": hashlib.sha256(str(run.path).encode()).hexdigest()[:32],
                "time": {"start": run.anchor.wall_iso, "duration": f"PT{seconds:.6f}S"},
                "description": f"{about}; the duration is of the measured windows",
                "keywords": ["bench", about.partition(",")[0], point.point.label],
            },
            "scenario": {"stack": [_engine(run)], "load": _load(run, point)},
            "results": {"request_performance": {"aggregate": _aggregate(point)}},
        }


def _engine(run: Run) -> dict[str, Any]:
    spec, flags = run.spec, flags_of(run.spec)
    shards = max(1, flags.data_parallel_size)
    named = {
        "tool": spec.engine.kind,
        "tool_version": str((run.server or {}).get("version") or "-"),
    }
    return {
        "metadata": {
            "schema_version": "0.0.1",
            "label": f"{spec.engine.kind}-0",
            "cfg_id": hashlib.sha256(repr(spec.engine).encode()).hexdigest()[:32],
            "description": f"weights: {spec.quant.name}",
        },
        "standardized": {
            "kind": "inference_engine",
            **named,
            "role": "replica",
            "replicas": 1,
            "model": {"name": spec.model.name},
            "accelerator": {
                "model": spec.gpu.name,
                "count": spec.gpus,
                "parallelism": {"tp": spec.gpus // shards, "dp": shards},
            },
        },
        "native": {},
    }


def _load(run: Run, point: PointMeasurement) -> dict[str, Any]:
    workload, p = run.spec.workload, point.point
    lengths = {
        "input_seq_len": {"distribution": "fixed", "value": workload.input_tokens},
        "output_seq_len": {"distribution": "fixed", "value": workload.output_tokens},
    }
    if workload.file is not None:
        lengths = {"input_seq_len": {"distribution": "other", "value": workload.input_tokens}}
    pace = {"concurrency": p.concurrency} if p.mode == "closed" else {"rate_qps": p.rate_per_s}
    return {
        "metadata": {"schema_version": "0.0.1", "description": workload.name},
        "standardized": {
            "tool": "bench",
            "tool_version": __version__,
            "source": "random" if workload.file is None else "sampled",
            "stage": p.index,
            **lengths,
            **{k: v for k, v in pace.items() if v is not None},
        },
        "native": {},
    }


def _aggregate(point: PointMeasurement) -> dict[str, Any]:
    m = point.metrics
    failed = m["error_rate"].value if "error_rate" in m else None
    requests: dict[str, Any] = {"total": point.requests}
    if failed is not None:
        requests["failures"] = round(failed * point.requests)
    latency = {}
    for name, (stem, unit) in _LATENCIES.items():
        mean = _value(m, f"{stem}_mean_ms")
        if mean is not None:
            found = {q: _value(m, f"{stem}_{q}_ms") for q in ("p50", "p90", "p95", "p99")}
            known = {q: v for q, v in found.items() if v is not None}
            latency[name] = {"units": unit, "mean": mean, **known}
    rates = {
        name: {"units": unit, "mean": value}
        for name, (ours, unit) in _RATES.items()
        if (value := _value(m, ours)) is not None
    }
    return {"requests": requests, "latency": latency, "throughput": rates}


def _value(metrics: Mapping[str, Metric], name: str) -> float | None:
    return metrics[name].value if name in metrics else None


def _figures(measurement: Measurement) -> Iterator[tuple[PointMeasurement, str, float]]:
    """Every figure that is known, and the ends of its interval."""
    for point in measurement.points:
        for name, metric in point.metrics.items():
            ends = {"": metric.value, "_ci_low": metric.ci_low, "_ci_high": metric.ci_high}
            for suffix, value in ends.items():
                if value is not None and metric.value is not None:
                    yield point, f"{name}{suffix}", value


def _valid(measurement: Measurement) -> Iterator[tuple[PointMeasurement, str, float]]:
    """Whether each load point may be quoted, as a figure: 1 or 0."""
    for point in measurement.points:
        yield point, "valid", float(point.valid)


def mlflow_batches(run: Run, measurement: Measurement) -> Iterator[dict[str, Any]]:
    """Bodies for MLflow's runs/log-batch; put your run_id into each. The step is the load point."""
    row = summary(run, measurement)
    at_ms = round(datetime.fromisoformat(run.anchor.wall_iso).timestamp() * 1e3)
    metrics = [
        {"key": f"{p.point.label}/{name}", "value": v, "timestamp": at_ms, "step": p.point.index}
        for p, name, v in (*_figures(measurement), *_valid(measurement))
    ]
    about = ("model", "quant", "gpu", "gpus", "engine", "workload")
    params = [{"key": key, "value": str(row[key])} for key in about]
    tags = [
        {"key": "bench.run", "value": str(run.path)},
        {"key": "bench.valid", "value": str(measurement.valid).lower()},
        {"key": "bench.trust", "value": measurement.trust or "nothing measured"},
        {"key": "bench.version", "value": __version__},
    ]
    for start in range(0, max(1, len(metrics)), MOST_METRICS):
        first = start == 0
        yield {
            "metrics": metrics[start : start + MOST_METRICS],
            "params": params if first else [],
            "tags": tags if first else [],
        }


def prometheus(runs: Iterable[Measured]) -> str:
    """Text for Prometheus' file collector or a push gateway: gauges, all of a name together."""
    formulas = {d.name: d.formula for d in EVERY_METRIC}
    samples: dict[str, list[str]] = defaultdict(list)
    for run, measurement in runs:
        row = summary(run, measurement)
        about = {k: row[k] for k in ("run", "model", "quant", "gpu", "gpus", "engine", "workload")}
        samples["bench_valid"].append(_sample("bench_valid", about, float(measurement.valid)))
        for point in measurement.points:
            labels = {**about, "load": point.point.label, "trust": point.trust}
            valid = _sample("bench_load_valid", labels, float(point.valid))
            samples["bench_load_valid"].append(valid)
        for point, name, value in _figures(measurement):
            labels = {**about, "load": point.point.label}
            samples[f"bench_{name}"].append(_sample(f"bench_{name}", labels, value))
    text = []
    for name, found in samples.items():
        plain = name.removeprefix("bench_")
        said = formulas.get(plain) or _SAID.get(plain, "An end of the 95 % interval.")
        text += [f"# HELP {name} {_escaped(said)}", f"# TYPE {name} gauge", *found]
    return "\n".join(text) + "\n"


def _sample(name: str, labels: Mapping[str, object], value: float) -> str:
    inner = ",".join(f'{k}="{_escaped(str(v), quoted=True)}"' for k, v in labels.items())
    return f"{name}{{{inner}}} {value!r}"


def _escaped(text: str, *, quoted: bool = False) -> str:
    """A label's value or a help text, as the exposition format asks for."""
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text
