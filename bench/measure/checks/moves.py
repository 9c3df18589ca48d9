"""What a failed check can move: it takes these figures away, and the rest stays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from bench.measure.metrics import METRICS, Metric
from bench.values.finding import Finding

REQUEST_RATES = (
    "input_tokens_per_s",
    "total_tokens_per_s",
    "requests_per_s",
    "goodput_requests_per_s",
)
TOKEN_RATES = (
    "output_tokens_per_s",
    "output_tokens_per_s_per_gpu",
    "total_tokens_per_s",
    "goodput_output_tokens_per_s",
)
RATES = tuple(dict.fromkeys((*TOKEN_RATES, *REQUEST_RATES)))
PER_USER = ("output_tokens_per_s_per_user", "itl", "tpot", "goodput")
"""What needs the tokens of each chunk."""

TTFT = ("ttft", "first_answer")
"""The first token of any kind, and the first of the answer."""

_TAILS = {
    "ttft_p50_ms": (*TTFT, "tpot", "goodput", "output_tokens_per_s_per_user"),
    "ttft_p99_ms": (
        *("ttft_p90", "ttft_p95", "ttft_p99", "ttft_mean", "ttft_sched_p99", "goodput"),
        *("first_answer_p90", "first_answer_p95", "first_answer_p99", "first_answer_mean"),
    ),
    "ttft_sched_p50_ms": ("ttft_sched", "goodput"),
    "ttft_sched_p99_ms": ("ttft_sched_p99", "goodput"),
    "itl_p50_ms": PER_USER,
    "itl_p99_ms": ("itl_p90", "itl_p95", "itl_p99", "itl_mean"),
}


def with_error_in(name: str) -> tuple[str, ...]:
    """What else is doubtful where the client's error in this latency is too large."""
    return _TAILS.get(name, (name,))


def moved_by(findings: Iterable[Finding]) -> dict[str, Finding]:
    """By metric, the first failure that takes it away."""
    found: dict[str, Finding] = {}
    for f in findings:
        for d in METRICS:
            if f.takes(d.name) and not d.whole_run:
                found.setdefault(d.name, f)
    return found


def withhold(metrics: Mapping[str, Metric], findings: Iterable[Finding]) -> dict[str, Metric]:
    """The same metrics; those that a failure can move have their figure in `withheld_value`."""
    failures = [f for f in findings if f.severity == "fail"]
    named = moved_by(failures)
    everything = next((f for f in failures if f.withholds == "all"), None)
    kept = {d.name for d in METRICS if d.whole_run}
    shown = {}
    for name, m in metrics.items():
        cause = named.get(name) or _derived(name, named) or everything
        shown[name] = m if cause is None or name in kept or m.value is None else hide(m, cause)
    return shown


def _derived(name: str, named: Mapping[str, Finding]) -> Finding | None:
    """Shares of the hardware's limits rest on the output rate."""
    rests = name in ("mbu", "mfu", "engine_mbu", "engine_mfu") or name in (
        "plan_tokens_per_s",
        "bound_tokens_per_s",
    )
    return named.get("output_tokens_per_s") if rests or name.startswith("energy_per") else None


def hide(m: Metric, cause: Finding) -> Metric:
    """The metric without its headline, saying why."""
    return replace(
        m,
        value=None,
        ci_low=None,
        ci_high=None,
        withheld_value=m.value,
        by_repeat={},
        no_interval=None,
        reason=f"{cause.code}: {cause.text}",
    )
