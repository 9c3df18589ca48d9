"""The catalogue from conf/ and a run built from names, for the tests of fit and roofline."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from bench.config.catalogue import Catalogue
from bench.values.codec import decode
from bench.values.spec import (
    GpuSpec,
    LoadSpec,
    ModelSpec,
    QuantSpec,
    RunSpec,
    SloSpec,
    VllmSpec,
    WorkloadSpec,
)

CONF = Path(__file__).parents[1] / "conf"
T = TypeVar("T")


def _group(name: str, kind: type[T]) -> dict[str, T]:
    return {
        p.stem: decode(kind, yaml.safe_load(p.read_text(encoding="utf-8")), str(p))
        for p in sorted((CONF / name).glob("*.yaml"))
    }


@cache
def catalogue() -> Catalogue:
    return Catalogue(
        models=_group("model", ModelSpec),
        quants=_group("quant", QuantSpec),
        gpus=_group("gpu", GpuSpec),
    )


def run_of(
    model: str,
    quant: str,
    gpu: str,
    gpus: int,
    *,
    input_tokens: int = 1024,
    output_tokens: int = 1024,
    concurrency: int = 16,
    **engine: Any,
) -> RunSpec:
    c = catalogue()
    return RunSpec(
        model=c.models[model],
        quant=c.quants[quant],
        gpu=c.gpus[gpu],
        gpus=gpus,
        engine=VllmSpec(**engine),
        workload=WorkloadSpec(
            name="test",
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            slo=SloSpec(ttft_ms=1000, tpot_ms=100),
        ),
        load=LoadSpec(concurrency=(concurrency,)),
    )
