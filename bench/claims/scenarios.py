"""MLPerf's scenarios: what a named benchmark asks for where a source gives only the scenario.

The limits are those of loadgen/mlperf.conf (github.com/mlcommons/inference, commit 001712e9) and of
inference_rules.adoc (github.com/mlcommons/inference_policies, 2026-07-23); both agree. The same
rules give the answers' mean lengths (tokens_per_sample 294.45 and 684.68, gen_len 8,167,644 as
the 128 tokens' limit), those of R1 follow from the published results (tokens over samples); the
prompts' means are the rows' own. None: no mean is published. A mean is a safe reading of a data
set: what a request costs grows faster than its length. Speculation is unsaid, though the rules
allow it for DeepSeek R1 interactive alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.claims.spec import Conditions
from bench.values.spec import SloSpec


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One of MLPerf's: its data set, mean lengths in tokens, and TTFT and TPOT in ms of the 99th
    percentile by scenario."""

    dataset: str
    input_tokens: int | None
    output_tokens: int
    limits: Mapping[str, tuple[float, float]]


BENCHMARKS: Mapping[str, Benchmark] = {
    "llama-2-70b": Benchmark(
        dataset="OpenOrca",
        input_tokens=None,
        output_tokens=294,
        limits={"server": (2000, 200), "interactive": (450, 40)},
    ),
    "mixtral-8x7b": Benchmark(
        dataset="OpenOrca, GSM8K and MBXP",
        input_tokens=None,
        output_tokens=145,
        limits={"server": (2000, 200)},
    ),
    "llama-3.1-8b": Benchmark(
        dataset="CNN-DailyMail",
        input_tokens=778,
        output_tokens=128,
        limits={"server": (2000, 100), "interactive": (500, 30)},
    ),
    "llama-3.1-405b": Benchmark(
        dataset="LongBench, RULER and GovReport",
        input_tokens=9428,
        output_tokens=684,
        limits={"server": (6000, 175), "interactive": (4500, 80)},
    ),
    "deepseek-r1": Benchmark(
        dataset="five sets of reasoning tasks",
        input_tokens=800,
        output_tokens=3880,
        limits={"server": (2000, 80), "interactive": (1500, 15)},
    ),
}
PERCENTILE = 99.0


def benchmark(c: Conditions) -> Benchmark | None:
    """The benchmark that a scenario and a model (or its shape) name; None without a scenario."""
    if c.scenario is None:
        return None
    found = (BENCHMARKS.get(name) for name in (c.model, c.architecture) if name is not None)
    return next((b for b in found if b is not None), None)


def with_scenario(c: Conditions) -> Conditions:
    """The conditions with what the scenario implies: what the source says itself stays."""
    known = benchmark(c)
    if known is None:
        return c
    limit = known.limits.get(c.scenario or "")
    slo = None
    if limit is not None:
        slo = SloSpec(ttft_ms=limit[0], tpot_ms=limit[1], percentile=PERCENTILE)
    return replace(
        c,
        dataset=c.dataset or known.dataset,
        input_tokens=c.input_tokens or known.input_tokens,
        output_tokens=c.output_tokens or known.output_tokens,
        slo=c.slo or slo,
    )


def implied(c: Conditions) -> str | None:
    """What was taken from the scenario, in one line; None where nothing was."""
    full = with_scenario(c)
    if full == c:
        return None
    lengths = f"{full.input_tokens or 'unsaid'} tokens in, {full.output_tokens} out"
    text = f"MLPerf {c.scenario}: {full.dataset}, {lengths} in the mean"
    if full.slo is not None:
        s = full.slo
        text += f", p{s.percentile:g} TTFT {s.ttft_ms:g} ms and TPOT {s.tpot_ms:g} ms"
    return text
