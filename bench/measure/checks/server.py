"""Checks of what kind of server answered: buffers on the way, prompts and lengths as served."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from bench.measure.checks.moves import PER_USER, TOKEN_RATES, TTFT
from bench.values.finding import Finding, finding, some
from bench.values.record import FINISHES, OK, Int64, PointData

_BURST_CHUNKS = 3.0
_BURST_SHARE = 0.75
"""From so many chunks a read on, on average, a stream comes in bursts, or where such a share of the
chunks comes with another: a server that is late now and then bundles fewer."""
_WHOLE_TOKENS = 8
"""So many tokens in one piece are no bundle of a decoding step."""
_FAST_NS = 500_000
"""Tokens closer than this may share a packet without anybody holding them back."""
_LATE_NS = 2_000_000
_LATE_SHARE = 0.25
"""A client that looks this long after arrival (median), or this share of the time between chunks,
may have bundled them itself."""
PROMPT_TOLERANCE = 0.05
"""Beyond it the condition of a load point is the prompt that was served, not the one asked for."""


def bursts(repeats: Sequence[PointData]) -> Finding:
    """Chunks that arrive together, read after read, though the server took its time over them.

    A proxy that buffers hands many on at once: the total is right, when each came is not.
    """
    sizes: list[Int64] = []
    took_ns = 0
    late: list[float] = []
    for d in repeats:
        r = d.requests
        rows = np.flatnonzero((r["outcome"] == OK) & (r["chunks"] > 1))
        took_ns += int((r["end_ns"] - r["sent_ns"])[rows].sum())
        sizes.append(_read_sizes(d, rows))
        if d.chunk_delay_ns is not None and len(d.chunk_delay_ns):
            late.append(float(np.median(d.chunk_delay_ns)))
    each_read = np.concatenate(sizes)
    if whole := _come_whole(repeats):
        return whole
    if not len(each_read):
        return finding("bursts", "info", "no answer of several chunks: bursts cannot be seen")
    chunks = int(each_read.sum())
    each = chunks / len(each_read)
    together = float(each_read[each_read > 1].sum()) / chunks
    text = f"{each:.1f} chunks arrive together on average"
    on_time = not late or max(late) < min(_LATE_NS, _LATE_SHARE * took_ns / chunks)
    few = each < _BURST_CHUNKS and together < _BURST_SHARE
    if few or took_ns / chunks < _FAST_NS or not on_time:
        return finding("bursts", "pass", text, each, "chunks")
    text = (
        f"the stream arrives in bursts ({text}, the client was on time): something between "
        "buffers it, or its server was late; TTFT, ITL and TPOT are those of the buffer, the token "
        "rate is right"
    )
    return some("bursts", text, (*TTFT, *PER_USER), each, "chunks")


def _come_whole(repeats: Sequence[PointData]) -> Finding | None:
    """Answers of many tokens in one piece, as a server gives that does not stream: what looks like
    their first token is their end."""
    one, tokens = 0, []
    for d in repeats:
        r = d.requests
        usage = r["usage_completion_tokens"]
        many = np.where(usage >= 0, usage, r["requested_tokens"])
        long = (r["outcome"] == OK) & (many >= _WHOLE_TOKENS)
        one += int((long & (r["chunks"] == 1)).sum())
        tokens.append(many[long])
    each = np.concatenate(tokens)
    if not len(each) or 2 * one <= len(each):
        return None
    text = (
        f"answers come whole, {float(each.mean()):.0f} tokens in one piece: the server does not "
        "stream, or something between collects; TTFT, ITL and TPOT are not seen, the token rate is"
    )
    return some("bursts", text, (*TTFT, *PER_USER), one / len(each), "1")


def _read_sizes(data: PointData, rows: Int64) -> Int64:
    """How many chunks came with each read of the requests in `rows`."""
    first, count = data.requests["first_chunk"][rows], data.requests["chunks"][rows]
    mine = np.zeros(len(data.chunk_ns) + 1, dtype=np.int64)
    np.add.at(mine, first, 1)
    np.add.at(mine, first + count, -1)
    of_rows = np.cumsum(mine)[:-1] > 0
    new = np.diff(data.chunk_ns, prepend=0) != 0
    new[first] = True
    starts = np.flatnonzero(new & of_rows)
    place = np.cumsum(of_rows)[starts] - 1  # among the chunks of these requests
    found: Int64 = np.diff(np.append(place, of_rows.sum()))
    return found


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
    if abs(served - meant) <= PROMPT_TOLERANCE * meant:
        return finding("prompt_length", "pass", text, served, "tokens")
    text += ": the condition is what was served, and whatever rests on it uses that"
    return finding("prompt_length", "warn", text, served, "tokens")


def unlike_prompt(findings: Iterable[Finding]) -> float | None:
    """The mean prompt in tokens as the server counted it, where that is another condition than the
    one asked for; None where it is as asked for or not known."""
    found = (f for f in findings if f.code == "prompt_length" and f.severity == "warn")
    return next((f.figure for f in found), None)


def overcounted(repeats: Sequence[PointData]) -> Finding | None:
    """A usage above what may be generated, which so many chunks do not bear out."""
    wrong = answers = 0
    for d in repeats:
        r = d.requests
        good = r["outcome"] == OK
        usage = r["usage_completion_tokens"]
        answers += int(good.sum())
        asked = r["requested_tokens"]
        seen = r["chunks"] + np.maximum(d.column("hidden_tokens"), 0)
        wrong += int((good & (asked > 0) & (usage > asked) & (usage != seen)).sum())
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
