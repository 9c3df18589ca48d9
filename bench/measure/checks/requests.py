"""Checks of what came back: causes before effects, few errors, exact lengths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.measure.checks.server import ended_by_itself
from bench.values.finding import Finding, finding
from bench.values.record import OK, OUTCOMES, PointData


def clock_sanity(repeats: Sequence[PointData]) -> Finding:
    """No event before its cause: scheduled ≤ sent ≤ first byte ≤ end, tokens in order."""
    wrong = 0
    for d in repeats:
        r = d.requests
        answered = r["first_read_ns"] > 0
        wrong += int((r["sent_ns"] < r["scheduled_ns"]).sum())
        wrong += int((r["first_read_ns"] < r["sent_ns"])[answered].sum())
        wrong += int((r["end_ns"] < r["sent_ns"]).sum())
        inner = np.ones(max(0, len(d.chunk_ns) - 1), dtype=bool)
        starts = r["first_chunk"][(r["chunks"] > 0) & (r["first_chunk"] > 0)] - 1
        inner[starts] = False
        wrong += int((np.diff(d.chunk_ns) < 0)[inner].sum())
    if wrong:
        return finding("clock", "fail", f"{wrong} events stand before their cause", wrong)
    return finding("clock", "pass", "every event follows its cause", 0)


_REMEDIES = {
    "http_error": "change what the server refuses",
    "server_error": "see in the server's log what failed",
    "connection": "see in the server's log why it closed the connection",
    "timeout": "lower load.concurrency or raise load.request_timeout_s",
    "malformed": "see what stands between bench and the server, and let it pass the stream on",
    "no_tokens": "send the server a request by hand, and see why its answer has no text",
    "cut_short": "see in the server's log why its answers end early",
    "from_cache": "switch off the cache that answers in the model's place",
}
"""What to do about each way to fail, as an order: `…, and run it again` is put behind it."""


def error_rate(repeats: Sequence[PointData], limit: float) -> Finding:
    """Share of requests that failed, against the limit of the load."""
    outcome = np.concatenate([d.requests["outcome"] for d in repeats])
    failed = int((outcome != OK).sum())
    share = failed / max(len(outcome), 1)
    if not len(outcome):
        return finding("errors", "fail", "no request was sent", None, "1")
    if failed == 0:
        which = "the one request" if len(outcome) == 1 else f"all {len(outcome)} requests"
        return finding("errors", "pass", f"{which} succeeded", 0.0, "1")
    kinds = ", ".join(
        f"{int((outcome == k).sum())} {OUTCOMES[k]}" for k in sorted(set(outcome.tolist()) - {OK})
    )
    example = next((text for d in repeats for text in d.errors.values()), "")
    most = OUTCOMES[int(np.bincount(outcome[outcome != OK]).argmax())]
    text = f"{failed} of {len(outcome)} requests failed ({kinds})"
    text += f"; for example: {example[:160]}" if example else ""
    text += f"; {_REMEDIES[most]}"  # last, for the first lines of a result end with it
    return finding("errors", "fail" if share > limit else "warn", text, share, "1")


def output_length(repeats: Sequence[PointData], *, exact: bool, goes_on: bool = False) -> Finding:
    """Responses are as long as asked for, where the server can be told to.

    `goes_on`: it was asked to ignore the end of an answer and did so when it was probed. A `stop`
    is then no proof of anything: a proxy that closes a cut stream with one looks the same.
    """
    asked = np.concatenate(
        [d.requests["requested_tokens"][d.requests["outcome"] == OK] for d in repeats]
    )
    got = np.concatenate(
        [d.requests["usage_completion_tokens"][d.requests["outcome"] == OK] for d in repeats]
    )
    known = (got >= 0) & (asked > 0)
    off = int((asked != got)[known].sum())
    if not known.any():
        return finding("output_length", "info", "output lengths are not known")
    if off == 0:
        return finding("output_length", "pass", "every response has the length asked for", 0)
    mean = float(got[known].mean())
    text = (
        f"{off} of {int(known.sum())} responses have another length than asked for "
        f"(mean {mean:.1f} tokens instead of {float(asked[known].mean()):.1f})"
    )
    stopped = ended_by_itself(repeats)
    if stopped and goes_on:
        text += (
            f": {stopped} say that the model ended by itself (stop), although it was asked to go "
            "on and did so for the probe. Either it does so only for a while, or their streams "
            "were cut and a proxy made the reason up: which, its own log must tell"
        )
    elif stopped:
        text += f": in {stopped} the model ended by itself"
    return finding("output_length", "fail" if exact else "warn", text, float(off))
