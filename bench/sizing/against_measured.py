"""Prediction beside measurement: how far the fit was from what the engine then reported."""

from __future__ import annotations

from dataclasses import dataclass

from bench.sizing.report import FitReport
from bench.values.fit_error import FitError


@dataclass(frozen=True, kw_only=True)
class MeasuredMemory:
    """What an engine took, per GPU (or host process tree); None where nothing reported it.

    `weights_gib` as loaded, before kernels repack them; `kv_tokens` the cache's capacity;
    `peak_gib` the most memory in use, cache included. Each source names log line or metric.
    """

    weights_gib: float | None = None
    kv_tokens: int | None = None
    peak_gib: float | None = None
    weights_source: str = ""
    kv_source: str = ""
    peak_source: str = ""


def compare_fit(report: FitReport, measured: MeasuredMemory) -> tuple[FitError, ...]:
    """The errors of a FitReport against what was measured, in the order weights, KV, peak.

    The predicted peak is weights, overheads and the whole cache: an engine allocates it at start.
    """
    r, m = report, measured
    total = r.weights_gib_per_gpu + r.other_gib_per_gpu + r.kv_gib_per_gpu
    return (
        _error("weights", "GiB", r.weights_gib_per_gpu, m.weights_gib, m.weights_source),
        _error("KV cache", "tokens", float(r.kv_tokens), m.kv_tokens, m.kv_source),
        _error("peak memory", "GiB", total, m.peak_gib, m.peak_source),
    )


def _error(
    quantity: str, unit: str, predicted: float, measured: float | None, source: str
) -> FitError:
    return FitError(
        quantity=quantity,
        unit=unit,
        predicted=predicted,
        measured=measured,
        error=predicted / measured - 1 if measured else None,
        source=source,
    )
