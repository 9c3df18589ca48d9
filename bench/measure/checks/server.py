"""Checks of what kind of server answered: buffers on the way, prompts and lengths as served."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.measure.checks.moves import PER_USER, TOKEN_RATES
from bench.values.finding import Finding, finding, some
from bench.values.record import FINISHES, OK, PointData

_BURST_CHUNKS = 3.0
"""From so many chunks a read on, on average, a stream comes in bursts."""
_FAST_NS = 500_000
"""Tokens closer than this may share a packet without anybody holding them back."""
_LATE_NS = 2_000_000
"""A client that looks this long after arrival (median) may have bundled them itself."""
_PROMPT_TOLERANCE = 0.02


def bursts(repeats: Sequence[PointData]) -> Finding:
    """Chunks that arrive together, read after read, though the server took its time over them.

    A proxy that buffers hands many on at once: the total is right, when each came is not.
    """
    chunks = reads = 0
    took_ns = 0
    late: list[float] = []
    for d in repeats:
        r = d.requests
        rows = np.flatnonzero((r["outcome"] == OK) & (r["chunks"] > 1))
        chunks += int(r["chunks"][rows].sum())
        took_ns += int((r["end_ns"] - r["sent_ns"])[rows].sum())
        starts = np.zeros(len(d.chunk_ns), dtype=bool)
        mine = np.zeros(len(d.chunk_ns) + 1, dtype=np.int64)
        np.add.at(mine, r["first_chunk"][rows], 1)
        np.add.at(mine, (r["first_chunk"] + r["chunks"])[rows], -1)
        starts[r["first_chunk"][rows]] = True
        new = starts | (np.diff(d.chunk_ns, prepend=0) != 0)
        reads += int((new & (np.cumsum(mine)[:-1] > 0)).sum())
        if d.chunk_delay_ns is not None and len(d.chunk_delay_ns):
            late.append(float(np.median(d.chunk_delay_ns)))
    if not reads:
        return finding("bursts", "info", "no answer of several chunks: bursts cannot be seen")
    each = chunks / reads
    text = f"{each:.1f} chunks arrive together on average"
    on_time = not late or max(late) < _LATE_NS
    if each < _BURST_CHUNKS or took_ns / chunks < _FAST_NS or not on_time:
        return finding("bursts", "pass", text, each, "chunks")
    text = (
        f"the stream arrives in bursts ({text}, the client was on time): something between buffers "
        "it; TTFT, ITL and TPOT are those of the buffer, the token rate is right"
    )
    return some("bursts", text, ("ttft", *PER_USER), each, "chunks")


def prompt_length(repeats: Sequence[PointData]) -> Finding:
    """Prompt tokens as the server counts them, against the plan."""
    used = np.concatenate(
        [d.requests["usage_prompt_tokens"][d.requests["outcome"] == OK] for d in repeats]
    )
    planned = np.concatenate(
        [d.requests["input_tokens"][d.requests["outcome"] == OK] for d in repeats]
    )
    known = used > 0
    if not known.any():
        return finding("prompt_length", "info", "how long prompts were served is not known")
    served, meant = float(used[known].mean()), float(planned[known].mean())
    text = f"prompts have {served:.4g} tokens by the server's count, {meant:.4g} were planned"
    if abs(served - meant) <= _PROMPT_TOLERANCE * meant:
        return finding("prompt_length", "pass", text, served, "tokens")
    text += ": what rests on the prompt's length uses the server's"
    return finding("prompt_length", "warn", text, served, "tokens")


def overcounted(repeats: Sequence[PointData]) -> Finding | None:
    """A usage above what may be generated, which so many chunks do not bear out."""
    wrong = answers = 0
    for d in repeats:
        r = d.requests
        good = r["outcome"] == OK
        usage = r["usage_completion_tokens"]
        answers += int(good.sum())
        wrong += int((good & (usage > r["requested_tokens"]) & (usage != r["chunks"])).sum())
    if not wrong:
        return None
    text = (
        f"the usage of {wrong} of {answers} answers exceeds the tokens asked for, and not as "
        "many were streamed: the server counts wrongly, what is per token is not known"
    )
    return some("usage", text, (*TOKEN_RATES, *PER_USER), float(wrong))


def hidden_tokens(repeats: Sequence[PointData]) -> Finding | None:
    """Tokens that a server counts and bills but never streams."""
    hidden = np.concatenate([np.maximum(d.column("hidden_tokens"), 0) for d in repeats])
    total = int(hidden.sum())
    if not total:
        return None
    text = f"{total} reasoning tokens were counted and never streamed: TTFT ends after them"
    return finding("hidden_tokens", "info", text, float(total), "tokens")


def ended_by_itself(repeats: Sequence[PointData]) -> int:
    """Answers that the server says the model ended (finish_reason stop)."""
    stop = FINISHES.index("stop")
    return sum(int((d.column("finish") == stop).sum()) for d in repeats)
