"""Every remedy that a fit prints is followed here, and leads to what fits."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

from bench.ask.fits import reports
from bench.config.compose import catalogue, compose, run_spec
from bench.sizing.fit import fit
from bench.sizing.report import FitReport

CATALOGUE = catalogue()
SETTING = re.compile(r"engine\.\w+=(?:\[[^\]]*\]|[\w.]+)")


def remedies(report: FitReport, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """What to type instead of `words`, for each remedy in the report."""
    for alternative in report.alternatives:
        yield tuple(w for word in alternative.overrides for w in shlex.split(word))
    for line in (*report.reasons, *report.notes):
        for setting in SETTING.findall(line):
            key = setting.partition("=")[0]
            yield (*(w for w in words if not w.startswith(f"{key}=")), setting)


def followed(words: tuple[str, ...]) -> int:
    """Follows every remedy; how many there were."""
    count = 0
    for report in reports(words, CATALOGUE):
        asked = (*(w for w in words if not w.startswith(("quant=", "gpus="))),)
        asked += (f"quant={report.quant}",) + ((f"gpus={report.gpus}",) if report.gpus else ())
        full = CATALOGUE.models[report.model].max_context_tokens
        for told in remedies(report, asked):
            (after,) = reports(told, CATALOGUE)
            assert after.fits, (words, told, after.reasons)
            for word in told:
                if word.startswith("engine.max_model_len="):
                    assert int(word.partition("=")[2]) <= full, (words, told)
            count += 1
    return count


ONE = [
    ("model=llama-3.1-8b", "quant=fp8", "gpu=l4", "gpus=1", "engine.max_model_len=131072"),
    ("model=llama-3.1-8b", "quant=none", "gpu=a10", "gpus=1", "workload.input_tokens=100000"),
    ("model=llama-3.1-8b", "quant=none", "gpu=l4", "gpus=1", "engine.max_model_len=200000"),
    ("model=llama-3.1-8b", "quant=none", "gpu=h100-sxm", "gpus=1", "workload.input_tokens=200000"),
    ("model=llama-3.1-8b", "quant=none", "gpu=l4", "gpus=1"),
    ("model=deepseek-r1", "quant=none", "gpu=h100-sxm", "gpus=2"),
    ("model=qwen3-next-80b", "quant=fp8", "gpu=h100-sxm", "gpus=1"),
    ("model=gemma-3-27b", "quant=none", "gpu=h100-sxm", "gpus=1", "engine.max_model_len=131072"),
]


@pytest.mark.parametrize("words", ONE, ids=" ".join)
def test_every_printed_remedy_leads_to_what_fits(words: tuple[str, ...]) -> None:
    assert followed(words)


def on_host(gib: int, *words: str) -> FitReport:
    composed = run_spec(compose(("model=qwen3-8b", "gpu=cpu", *words)), detect_gpus=False)
    return fit(composed, host_memory_bytes=gib * 2**30)


def settings(report: FitReport) -> list[str]:
    return [s for line in (*report.reasons, *report.notes) for s in SETTING.findall(line)]


@pytest.mark.parametrize("asked", ["workload.input_tokens=20000", "engine.cpu_kv_cache_gib=90"])
def test_a_hosts_cache_is_set_where_that_helps_alone(asked: str) -> None:
    """With weights that do not fit no size of the cache does."""
    report = on_host(96, asked)
    assert not report.fits
    (setting,) = settings(report)
    assert setting.startswith("engine.cpu_kv_cache_gib=")
    assert on_host(96, *(w for w in (asked,) if "cache" not in w), setting).fits
    assert settings(on_host(12, asked)) == []


def test_one_question_has_one_context() -> None:
    """What is left, what to start with and what the remedy says are one number of the band."""
    words = ("model=llama-3.1-8b", "quant=fp8", "gpu=l4", "gpus=1")
    (refused,) = reports((*words, "engine.max_model_len=131072"), CATALOGUE)
    least = refused.max_context_tokens_low
    assert least < refused.max_context_tokens
    assert f"holds {refused.max_context_tokens:,} tokens, {least:,} at the" in refused.reasons[0]
    (told,) = (a for a in refused.alternatives if a.kind == "context")
    assert f"engine.max_model_len={least}" in told.overrides
    (fits,) = reports(words, CATALOGUE)
    assert [s for s in settings(fits) if "max_model_len" in s] == [f"engine.max_model_len={least}"]


def test_prompts_that_are_too_long_are_shortened_and_not_cut_off() -> None:
    """A limit of the engine below the workload's lengths would refuse every request."""
    words = ("model=llama-3.1-8b", "quant=none", "gpu=l4", "gpus=1")
    (refused,) = reports((*words, "workload.input_tokens=50000"), CATALOGUE)
    (told,) = (a for a in refused.alternatives if a.kind == "context")
    assert not any(w.startswith("engine.max_model_len") for w in told.overrides)
    prompt = refused.max_context_tokens_low - 1024
    assert f"workload.input_tokens={prompt}" in told.overrides


def test_a_request_longer_than_the_models_own_context_is_refused_with_the_keys_to_type() -> None:
    words = ("model=tiny", "gpu=h100-sxm", "gpus=1", "quant=none", "workload.input_tokens=4000")
    (report,) = reports(words, CATALOGUE)
    (reason,) = report.reasons
    assert reason.endswith("ask for fewer with workload.input_tokens and workload.output_tokens")


def test_a_file_for_llama_cpp_has_the_models_own_limit_too() -> None:
    words = (
        *("model=deepseek-r1", "quant=q4_k_m", "gpu=h200-sxm", "gpus=1", "engine=llamacpp"),
        *("engine.cpu_moe_layers=61", "workload.input_tokens=200000"),
    )
    (report,) = reports(words, CATALOGUE)
    assert not report.fits
    assert "exceed the model's context" in report.reasons[0]
