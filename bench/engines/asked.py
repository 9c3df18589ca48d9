"""What a run asks of an engine that has to be told its size beforehand: requests at once, and their
length in tokens."""

from __future__ import annotations

from bench.values.spec import LengthSpec, RunSpec

_LEAST_TOKENS = 2048
_SOME = 16


def at_once(spec: RunSpec) -> int:
    """As many requests as are ever in flight; 16 where the load does not say."""
    load = spec.load
    return (max(load.concurrency, default=0) if load.mode == "closed" else 0) or _SOME


def longest(spec: RunSpec) -> int:
    """Tokens of a request: the model's whole context where that is short, else what the workload's
    longest request takes with a quarter to spare."""
    w = spec.workload
    ends = [
        v.max or int(v.mean or v.median or 0) * 4 if isinstance(v, LengthSpec) else v
        for v in (w.input_tokens, w.output_tokens)
    ]
    need = int(1.25 * (sum(ends) * w.turns + w.shared_prefix_tokens)) + 64
    return min(spec.model.max_context_tokens, max(_LEAST_TOKENS, need))
