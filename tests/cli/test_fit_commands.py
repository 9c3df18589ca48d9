"""Every command that "what would fit" prints, typed as it is printed: it parses, and it fits."""

from __future__ import annotations

import shlex

import pytest
from fit_support import catalogue

from bench.config.compose import compose, run_spec
from bench.preflight import resolve
from bench.sizing.alternatives import alternatives
from bench.sizing.fit import fit
from bench.values.spec import RunSpec


def typed(words: tuple[str, ...]) -> RunSpec:
    keys = frozenset(word.partition("=")[0] for word in words)
    return resolve(run_spec(compose(words, ()), detect_gpus=False), keys, catalogue())


@pytest.mark.parametrize(
    "words",
    [
        ("model=deepseek-r1", "quant=none", "gpu=a100-80gb-sxm", "gpus=2"),
        ("model=llama-3.3-70b", "quant=none", "gpu=h100-sxm", "gpus=1", "workload=reasoning-1k-8k"),
        (
            "model=qwen3-32b",
            "quant=none",
            "gpu=h100-sxm",
            "gpus=1",
            "engine.gpu_memory_utilization=0.8",
            "engine.args=[--max-num-seqs,64]",
        ),
        ("model=qwen3-next-80b", "quant=none", "gpu=rtx-5090", "gpus=2"),
        (
            "model=mixtral-8x22b",
            "quant=none",
            "gpu=l40s",
            "gpus=4",
            "engine.args=[--kv-cache-dtype,fp8,--compilation-config,'{\"level\": 3}']",
        ),
    ],
    ids=lambda words: words[0],
)
def test_printed_commands_fit(words: tuple[str, ...]) -> None:
    spec = typed(words)
    report = fit(spec)
    assert not report.fits
    found = alternatives(spec, report, catalogue())
    assert found
    for one in found:
        again = fit(typed(tuple(shlex.split(" ".join(one.overrides)))))
        assert again.fits, (one.overrides, again.reasons)
        assert again.context_needed_tokens == (
            report.context_needed_tokens if one.kind != "context" else again.context_needed_tokens
        )
        assert (again.model, again.quant, again.gpu, again.gpus) == (
            one.model,
            one.quant,
            one.gpu,
            one.gpus,
        )
