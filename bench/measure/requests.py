"""What the times of a request are: the one definition that every figure, check and search uses.

All arrays have one entry per request, in the order of the records. A request that failed has no
latency of its own: it counts as if it had taken until its deadline, so that a lost answer never
flatters a percentile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bench.measure.stats import Floats
from bench.values.record import OK, TOKENS_AROSE, Int64, PointData

Mask = npt.NDArray[np.bool_]

_ALLOCATED = TOKENS_AROSE.index("allocated")
_UNKNOWN = TOKENS_AROSE.index("unknown")


@dataclass(frozen=True, eq=False)
class Requests:
    """The requests of one repeat of a load point and their times.

    `deadline_ms` is how long the client waits for an answer; None where that is not known: a
    failed request then counts with the time at which it failed.
    """

    data: PointData
    deadline_ms: float | None = None

    @cached_property
    def ok(self) -> Mask:
        """Requests that succeeded."""
        return np.asarray(self.data.requests["outcome"] == OK)

    @cached_property
    def first_token_ns(self) -> Int64:
        """Stamp of each request's first token-bearing chunk; 0 where there is none."""
        return self._chunk_stamp(self.data.requests["first_chunk"])

    @cached_property
    def last_token_ns(self) -> Int64:
        """Stamp of each request's last token-bearing chunk; 0 where there is none."""
        r = self.data.requests
        return self._chunk_stamp(r["first_chunk"] + r["chunks"] - 1)

    @cached_property
    def output_tokens(self) -> Int64:
        """Tokens received per request."""
        r = self.data.requests
        total = np.concatenate([[0], np.cumsum(self.data.chunk_tokens)])
        tokens: Int64 = total[r["first_chunk"] + r["chunks"]] - total[r["first_chunk"]]
        return tokens

    @cached_property
    def first_chunk_tokens(self) -> Int64:
        """Tokens that came with the first token-bearing chunk; 0 where there is none."""
        r = self.data.requests
        tokens = np.zeros(len(r["index"]), dtype=np.int64)
        some = r["chunks"] > 0
        tokens[some] = self.data.chunk_tokens[r["first_chunk"][some]]
        return tokens

    @cached_property
    def prompt_tokens(self) -> Int64:
        """Tokens of the prompt as the server counted them, else as they were meant."""
        r = self.data.requests
        said = r["usage_prompt_tokens"]
        return np.where(said >= 0, said, r["input_tokens"])

    @cached_property
    def chunk_owner(self) -> Int64:
        """Row of the request that each chunk belongs to. One entry per chunk."""
        r = self.data.requests
        order = np.argsort(r["first_chunk"], kind="stable")
        return np.repeat(order, r["chunks"][order])

    @cached_property
    def tokens_known(self) -> bool:
        """Whether the server said how many tokens its successful answers have."""
        return not bool((self.data.requests["tokens_arose"][self.ok] == _UNKNOWN).any())

    @cached_property
    def chunk_tokens_known(self) -> bool:
        """Whether the tokens of each chunk of successful answers are known."""
        arose = self.data.requests["tokens_arose"][self.ok]
        return not bool(((arose == _UNKNOWN) | (arose == _ALLOCATED)).any())

    @cached_property
    def ttft_ms(self) -> Floats:
        """First token − sent; NaN where a success has none."""
        return self._latency_ms(self.first_token_ns, "sent_ns")

    @cached_property
    def first_answer_ms(self) -> Floats:
        """First token of the answer − sent, after thought that was streamed; a success that gave
        nothing but thought has none. All NaN where no request thought."""
        first = self.data.column("first_answer")
        thought = (first > 0) | ((first < 0) & (self.data.requests["chunks"] > 0))
        if not (self.ok & (first > 0)).any():
            return np.full(len(first), np.nan)
        at = self.data.requests["first_chunk"] + np.maximum(first, 0)
        stamps = np.where(first >= 0, self.data.chunk_ns[np.minimum(at, self._last_chunk)], 0)
        taken = self._latency_ms(stamps.astype(np.int64), "sent_ns")
        return np.where(self.ok & thought & (first < 0), np.nan, taken)

    @property
    def _last_chunk(self) -> int:
        return max(0, len(self.data.chunk_ns) - 1)

    @cached_property
    def ttft_sched_ms(self) -> Floats:
        """First token − scheduled: also what a late client would hide."""
        return self._latency_ms(self.first_token_ns, "scheduled_ns")

    @cached_property
    def e2e_ms(self) -> Floats:
        """Last byte − sent."""
        return self._latency_ms(self.data.requests["end_ns"], "sent_ns")

    @cached_property
    def tpot_ms(self) -> Floats:
        """(Last token − first token) ÷ (tokens − those of the first chunk); NaN below two chunks.

        A failed request that was to have several tokens counts with its deadline here too.
        """
        steps = (self.output_tokens - self.first_chunk_tokens).astype(np.float64)
        spans = (self.last_token_ns - self.first_token_ns) / 1e6
        tpot = np.divide(spans, steps, out=np.full(len(steps), np.nan), where=steps > 0)
        several = self.data.requests["requested_tokens"] > 1
        failed = np.where(several, self._given_up_ms("sent_ns"), np.nan)
        return np.where(self.ok, tpot, failed)

    def _chunk_stamp(self, chunk: Int64) -> Int64:
        r = self.data.requests
        stamps = np.zeros(len(r["index"]), dtype=np.int64)
        some = r["chunks"] > 0
        stamps[some] = self.data.chunk_ns[chunk[some]]
        return stamps

    def _latency_ms(self, until_ns: Int64, since: str) -> Floats:
        took = (until_ns - self.data.requests[since]) / 1e6
        took = np.where(until_ns > 0, took, np.nan)
        return np.where(self.ok, took, self._given_up_ms(since))

    def _given_up_ms(self, since: str) -> Floats:
        """What a failed request counts: until its deadline, or its end if that came later."""
        r = self.data.requests
        deadline_ns = 0 if self.deadline_ms is None else round(self.deadline_ms * 1e6)
        until_ns = np.maximum(r["end_ns"], r["sent_ns"] + deadline_ns)
        given_up: Floats = (until_ns - r[since]) / 1e6
        return given_up


def sending_rank(data: PointData) -> Int64:
    """The place of each request in the order of sending, from 0."""
    order = np.lexsort((data.requests["index"], data.requests["sent_ns"]))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank
