"""The figures of power and energy: what each is called, measured in, and how it is had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.measure.metrics import METRICS, MetricDef

VERIFIED_ON_HARDWARE = False
"""Becomes true with telemetry of real boards among the tests' data, which checks the method
(scripts/gpu_selfcheck.py records it); a test holds the two together."""


@dataclass(frozen=True, kw_only=True)
class PowerDef:
    """What a figure is called, measured in, which way is better, and its formula in words."""

    name: str
    unit: str
    better: Literal["higher", "lower", "none"]
    formula: str


POWER_METRICS: tuple[PowerDef, ...] = (
    PowerDef(
        name="energy_per_output_token_j",
        unit="J/token",
        better="lower",
        formula="Gross energy of the whole deployment in the window ÷ output tokens of successful "
        "requests in it.",
    ),
    PowerDef(
        name="energy_per_total_token_j",
        unit="J/token",
        better="lower",
        formula="Gross energy ÷ (prompt + output tokens) of successful requests.",
    ),
    PowerDef(
        name="energy_per_request_j",
        unit="J/request",
        better="lower",
        formula="Gross energy ÷ successful requests that ended in the window.",
    ),
    PowerDef(
        name="energy_above_idle_per_output_token_j",
        unit="J/token",
        better="lower",
        formula="(Gross energy - idle power with the model resident x window) ÷ output tokens.",
    ),
    PowerDef(
        name="output_tokens_per_s_per_w",
        unit="tokens/s/W",
        better="higher",
        formula="Output tokens of successful requests ÷ gross energy.",
    ),
    PowerDef(
        name="power_mean_w",
        unit="W",
        better="none",
        formula="Gross energy ÷ length of the window, summed over devices.",
    ),
    PowerDef(
        name="power_peak_w",
        unit="W",
        better="none",
        formula="Highest sum over devices of their power readings (held) in a window; a lower "
        "bound between readings.",
    ),
    PowerDef(
        name="energy_residual",
        unit="1",
        better="none",
        formula="Integrated power readings ÷ the counter's rise - 1, the largest over devices and "
        "repeats: consistency, not accuracy.",
    ),
    PowerDef(
        name="energy_instrument_error",
        unit="1",
        better="none",
        formula="Gain error published for such boards; systematic, not in the interval.",
    ),
    PowerDef(
        name="energy_edge_error",
        unit="1",
        better="none",
        formula="Step of the counter ÷ length of the shortest window.",
    ),
    PowerDef(
        name="cpu_power_mean_w",
        unit="W",
        better="none",
        formula="Mean power of all processor packages (RAPL), with all that ran on them.",
    ),
    PowerDef(
        name="dram_power_mean_w",
        unit="W",
        better="none",
        formula="Mean power of all DRAM domains (RAPL).",
    ),
    PowerDef(
        name="idle_before_launch_w",
        unit="W",
        better="none",
        formula="Mean power before the engine was launched.",
    ),
    PowerDef(
        name="idle_resident_w",
        unit="W",
        better="none",
        formula="Mean power with the model resident and no requests.",
    ),
)

EVERY_METRIC: tuple[MetricDef | PowerDef, ...] = (*METRICS, *POWER_METRICS)
"""What a load point can have a figure of, that of speed first."""

HEADLINE = "energy_per_output_token_j"
UNITS = {d.name: d.unit for d in POWER_METRICS}
ENERGY = tuple(
    d.name
    for d in POWER_METRICS
    if d.name.startswith("energy_per")
    or d.name in ("energy_above_idle_per_output_token_j", "output_tokens_per_s_per_w")
    or d.name == "power_mean_w"
)
