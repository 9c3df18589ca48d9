"""Power and energy in the terminal: what they are of, how sure, and why there are none."""

from __future__ import annotations

from rich.console import Console

from bench.measure.measurement import Measurement
from bench.measure.metrics import Metric
from bench.report.grid import Grid, column, numbers, print_grid
from bench.report.markup import escape
from bench.report.numbers import load_words, quantity, with_interval

_COLUMNS = (
    ("W mean", "power_mean_w"),
    ("W peak", "power_peak_w"),
    ("J/output token", "energy_per_output_token_j"),
    ("above idle", "energy_above_idle_per_output_token_j"),
    ("J/total token", "energy_per_total_token_j"),
    ("J/request", "energy_per_request_j"),
    ("tok/s/W", "output_tokens_per_s_per_w"),
)


def print_power(out: Console, measurement: Measurement) -> None:
    """One row per load point where something was metered; else one line with the reason."""
    power = measurement.power or {}
    if not power.get("scope"):
        reason = power.get("reason") or "no meter was running"
        line = f"no power, no energy: {reason}"
        out.print(escape(line), style="dim", highlight=False, soft_wrap=True)
        return
    columns = (column(_word(power["power_source"])), *numbers(*(title for title, _ in _COLUMNS)))
    rows = tuple(
        (load_words(point), *(_cell(point.metrics[name]) for _, name in _COLUMNS))
        for point in measurement.points
    )
    print_grid(out, Grid(columns=columns, rows=rows))
    out.print(escape(_below(measurement)), style="dim", highlight=False, soft_wrap=True)


def _word(source: str) -> str:
    """What heads the table: a source that does not measure is named first of all."""
    return {"replay": "power (replay)", "synthetic": "power (synthetic)"}.get(source, "power")


def _cell(metric: Metric) -> str:
    if metric.value is None:
        return "withheld" if metric.withheld_value is not None else "–"
    return with_interval(metric.value, metric.ci_low, metric.ci_high)


def _below(measurement: Measurement) -> str:
    """What was metered, its idle baselines, and the errors that no repeat reduces."""
    power = measurement.power or {}
    parts = [f"{power['scope']} by {power['power_source']}"]
    if measurement.points:
        metrics = measurement.points[0].metrics
        for title, name in (
            ("idle before launch", "before_launch"),
            ("model resident", "resident"),
        ):
            watts = metrics[f"idle_{name}_w"].value
            if watts is not None:
                parts.append(f"{title} {quantity(watts)} W")
        error = metrics["energy_instrument_error"].value
        if error is not None:
            parts.append(f"sensors ± {error:.0%} besides, systematic")
    if power["power_source"] == "nvml" and not power["verified_on_hardware"]:
        parts.append("method unverified on hardware")
    return " · ".join(parts)
