"""Requests from a workload: seeded, distinct in every repeat, the same for every variant.

The seed of a request is (seed, load point, repeat), never the model's quantisation or the engine,
so that two variants are sent exactly the same prompts and can be compared in pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bench.record import PlannedRequest
from bench.spec import LengthSpec, WorkloadSpec

DEFAULT_VOCAB = 1000
"""Token ids below this exist in every vocabulary met so far; used when the size is unknown."""

_NS = 1_000_000_000
_WORDS = (
    "time year people way day man thing woman life child world school state family student "
    "group country problem hand part place case week company system program question work "
    "night point home water room mother area money story fact month lot right study book eye "
    "job word business issue side kind head house service friend father power hour game line"
).split()


def lengths(spec: int | LengthSpec, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw `count` token counts, clipped to [min, max]; raises ValueError naming a missing key."""
    if isinstance(spec, int):
        return np.full(count, spec, dtype=np.int64)

    def need(key: str) -> float:
        value = getattr(spec, key)
        if value is None:
            raise ValueError(f"a {spec.dist} length needs the key {key!r}")
        return float(value)

    if spec.dist == "fixed":
        drawn = np.full(count, need("mean"))
    elif spec.dist == "normal":
        drawn = rng.normal(need("mean"), need("std"), count)
    elif spec.dist == "lognormal":
        drawn = need("median") * np.exp(rng.normal(0.0, need("sigma"), count))
    else:
        drawn = rng.uniform(spec.min, need("max") + 1, count) // 1
    clipped: npt.NDArray[np.int64] = np.clip(np.rint(drawn), spec.min, spec.max).astype(np.int64)
    return clipped


def generate(
    spec: WorkloadSpec,
    count: int,
    *,
    seed: tuple[int, ...],
    vocab_size: int | None,
    as_text: bool = False,
    chat: bool = False,
) -> Iterator[PlannedRequest]:
    """Yield `count` requests of a synthetic workload (arrival times are added by the schedule).

    With `turns` > 1, `count` counts turns: a turn's prompt is the whole conversation so far, whose
    assistant part is drawn in advance, so every byte is known before the run.
    """
    rng = np.random.default_rng(seed)
    vocab = vocab_size or DEFAULT_VOCAB
    first, last = max(3, vocab // 50), max(8, vocab - vocab // 20)
    prefixes = [
        rng.integers(first, last, spec.shared_prefix_tokens).tolist()
        for _ in range(spec.shared_prefix_count if spec.shared_prefix_tokens else 0)
    ]
    inputs = lengths(spec.input_tokens, count, rng)
    outputs = lengths(spec.output_tokens, count, rng)
    history: list[int] = []
    for index in range(count):
        turn = index % spec.turns
        fresh = int(inputs[index])
        if turn == 0:
            history = list(prefixes[(index // spec.turns) % len(prefixes)]) if prefixes else []
            fresh = max(1, fresh - len(history))
        tokens = history + rng.integers(first, last, fresh).tolist()
        yield PlannedRequest(
            index=index,
            prompt=_shape(tokens, as_text=as_text, chat=chat),
            input_tokens=len(tokens),
            output_tokens=int(outputs[index]),
            session=index // spec.turns if spec.turns > 1 else -1,
            gap_ns=int(spec.turn_gap_s * _NS) if turn else 0,
        )
        if spec.turns > 1:
            history = tokens + rng.integers(first, last, int(outputs[index])).tolist()


def _shape(
    tokens: list[int], *, as_text: bool, chat: bool
) -> list[int] | str | list[dict[str, str]]:
    """The prompt as the server takes it; in text a token becomes about one common word."""
    if not as_text and not chat:
        return tokens
    text = " ".join(_WORDS[t % len(_WORDS)] + ("" if t % 7 else ".") for t in tokens)
    return [{"role": "user", "content": text}] if chat else text


def shared_prefix_rate(spec: WorkloadSpec) -> float | None:
    """Declared share of input tokens that repeat an earlier prompt; None for drawn lengths."""
    if not spec.shared_prefix_tokens:
        return 0.0
    if isinstance(spec.input_tokens, int):
        return min(1.0, spec.shared_prefix_tokens / spec.input_tokens)
    return None
