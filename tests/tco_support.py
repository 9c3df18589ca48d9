"""Composes the cost groups of conf/ the way the command does, for the cost tests."""

from __future__ import annotations

import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from bench.money.answer import TcoAnswer, answer
from bench.money.demand import Demand
from bench.money.document import to_json
from bench.money.spec import TcoRequest
from bench.money.throughput import (
    TcoRun,
    ThroughputPoint,
)
from bench.values.codec import decode

CONF = Path(__file__).parents[1] / "conf"
TODAY = date(2026, 11, 23)
PRIMARY = f"""\
defaults:
  - power: default
  - prices: default
  - tco: default
  - _self_
hydra:
  searchpath: ["file://{CONF}"]
"""


def request(*overrides: str) -> TcoRequest:
    """The request that these Hydra overrides compose."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "primary.yaml").write_text(PRIMARY, encoding="utf-8")
        with initialize_config_dir(folder, version_base="1.3"):
            composed: Any = OmegaConf.to_container(compose("primary", overrides=list(overrides)))
    return decode(TcoRequest, composed, "config")


def ask(*overrides: str, runs: tuple[TcoRun, ...] = (), trace: Demand | None = None) -> TcoAnswer:
    """The answer to these overrides and Runs, as of a fixed day."""
    asked = request(*overrides)
    return answer(asked, runs, asked.prices.rows + asked.prices.more_rows, trace, TODAY)


def ask_json(*overrides: str, runs: tuple[TcoRun, ...] = ()) -> dict[str, Any]:
    """The same as plain data."""
    return to_json(ask(*overrides, runs=runs))


def cpu_run(**changes: Any) -> TcoRun:
    """A Run of the tiny model on a CPU host at one mix, 40 input and 10 output tokens/s."""
    fields: dict[str, Any] = {
        "path": "results/tiny/run-1",
        "model": "tiny",
        "quant": "none",
        "gpu": "cpu",
        "gpus": 0,
        "points": (
            ThroughputPoint(
                input_tokens_per_s=400, output_tokens_per_s=100, relative_ci=0.1, slo_met=True
            ),
        ),
        "as_of": "2026-11-23",
    }
    return TcoRun(**{**fields, **changes})
