"""The fit held against start-up logs of engines on GPUs that this project does not have.

A log's row says what was asked and what the engine answered; `asked` turns it into the run that
`bench fit` is asked about, `compare` puts both answers side by side. Pure: rows and configs come in
as plain data (tests/data/evidence), and `scripts/fit_evidence.py` reads and prints.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.config.catalogue import Catalogue
from bench.sizing.architecture import from_config
from bench.sizing.engine_rules import rules_of
from bench.sizing.fit import fit
from bench.sizing.report import FitReport
from bench.values.codec import decode, encode
from bench.values.errors import InputError
from bench.values.spec import (
    Checkpoint,
    FitOptions,
    Licence,
    LoadSpec,
    ModelSpec,
    RunSpec,
    SloSpec,
    VllmSpec,
    WorkloadSpec,
)

QUANTITIES = ("weights", "KV GiB", "KV tokens", "concurrency")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """One log beside its prediction. None where either side says nothing; sizes in GiB per GPU.

    `refused` is why the fit gave no prediction. `clean` is whether the row binds: GPU and model are
    named, and the engine is not the retired V0, which sized its cache by other rules.
    """

    row: Mapping[str, Any]
    report: FitReport | None
    refused: str | None = None

    @property
    def clean(self) -> bool:
        return not self.row["ambiguous"] and not self.row["v0_engine"]

    @functools.cached_property
    def pairs(self) -> dict[str, tuple[float | None, float | None]]:
        """What was predicted and what was logged, by quantity."""
        r, row = self.report, self.row
        held = row["kv_gib"] if (row["kv_gib"] or 0) > 0 else None
        logged = (row["weights_gib"], held, row["kv_tokens"], row["max_concurrency"])
        told: tuple[float | None, ...] = (None,) * len(QUANTITIES)
        if r is not None:
            told = (r.weights_gib_per_gpu, r.kv_gib_per_gpu, r.kv_tokens, r.kv_concurrency)
        return dict(zip(QUANTITIES, zip(told, logged, strict=True), strict=True))

    def error(self, quantity: str) -> float | None:
        """Relative error of the prediction; None where the log does not give the quantity."""
        predicted, logged = self.pairs[quantity]
        return None if predicted is None or not logged else predicted / logged - 1

    @property
    def wrong(self) -> bool:
        """Whether the fit said yes to what did not start, or no to what did."""
        return self.report is not None and self.report.fits != self.row["started"]


def asked(
    row: Mapping[str, Any],
    catalogue: Catalogue,
    configs: Mapping[str, Any],
    version: str | None = None,
) -> RunSpec:
    """The run of a log's row, as `ask` says that it was put to `bench fit`.

    It is counted as the log's version of vLLM does, or as `version`. A row without a context was
    started with the model's own, as the engine does.
    """
    ask = row["ask"]
    model = catalogue.models[ask["conf"]] if not ask["cfg"] else _listed(configs[ask["cfg"]], ask)
    spec = RunSpec(
        model=model,
        quant=catalogue.quants[ask["quant"]],
        gpu=catalogue.gpus[ask["gpu"]],
        gpus=row["gpus"],
        engine=VllmSpec(
            max_model_len=row["max_model_len"] or model.max_context_tokens,
            gpu_memory_utilization=row["gpu_memory_utilization"]
            or rules_of(version or row["vllm"]).default_utilization,
            args=tuple(ask["args"]),
        ),
        # One token in, one out: the length that binds is max_model_len, else the model's own.
        workload=WorkloadSpec(
            name="start",
            input_tokens=1,
            output_tokens=1,
            slo=SloSpec(ttft_ms=1000, tpot_ms=100),
        ),
        load=LoadSpec(concurrency=(1,)),
        fit=FitOptions(vllm_version=version or row["vllm"]),
    )
    data = encode(spec)
    for override in ask["overrides"]:
        key, _, value = override.partition("=")
        *path, last = key.split(".")
        functools.reduce(lambda group, name: group[name], path, data)[last] = json.loads(value)
    return decode(RunSpec, data)


def _listed(config: Mapping[str, Any], ask: Mapping[str, Any]) -> ModelSpec:
    return ModelSpec(
        name=ask["cfg"],
        max_context_tokens=from_config(config).max_context_tokens,
        licence=Licence(name="not asked"),
        checkpoints={ask["quant"]: Checkpoint(repo=ask["cfg"])},
        config=config,
    )


def answer(
    row: Mapping[str, Any],
    catalogue: Catalogue,
    configs: Mapping[str, Any],
    version: str | None = None,
) -> Answer:
    """A row put to the fit; a refusal is kept with its reason."""
    try:
        return Answer(row=row, report=fit(asked(row, catalogue, configs, version)))
    except InputError as error:
        return Answer(row=row, report=None, refused=str(error))


def spread(errors: Iterable[float]) -> tuple[int, float, float, float]:
    """Count, median error, median and 90th percentile of its size; nan where there is none."""
    found = list(errors)
    if not found:
        return 0, float("nan"), float("nan"), float("nan")
    sizes = sorted(map(abs, found))
    at = min(len(sizes) - 1, round(0.9 * (len(sizes) - 1) + 0.499))
    return len(found), statistics.median(found), statistics.median(sizes), sizes[at]


def errors(answers: Sequence[Answer], quantity: str) -> list[float]:
    """The errors of all answers that have one."""
    return [e for a in answers if (e := a.error(quantity)) is not None]
