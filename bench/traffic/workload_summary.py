"""What a file of requests holds, read once from end to end in flat memory."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bench.foreign.shapes import shape_of
from bench.foreign.stamps import PLAUSIBLE_PER_S
from bench.traffic.prefixes import SeenIds
from bench.traffic.trace_file import Reading, TraceRow, assumed_tokens, reading, trace_rows
from bench.traffic.workload import TracePrompts
from bench.traffic.workload_file import Conversation, conversations
from bench.values.spec import WorkloadSpec

BINS = 60
REALISED_ROWS = 400
"""So many first prompts are made, to count what they really share."""
_ENGINE_BLOCK = 16
_SECONDS_KEPT = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Token counts of one kind: how many, and their percentiles (nearest rank)."""

    n: int
    mean: float
    p50: int
    p90: int
    p99: int
    most: int
    by_size: tuple[int, ...] = ()
    """How many are in [2^i, 2^(i+1)), from i = 0."""


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """When requests arrive; `peak_per_s` is the busiest minute's mean rate, None below a minute."""

    seconds: float
    rate_per_s: float | None
    peak_per_s: float | None
    by_time: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """Share of prompt tokens that an earlier prompt began with, with a cache without end.

    `trace` is by the hash ids of all rows, `trace_head` of the first `rows`; `realised` is of the
    prompts made for these, in blocks of 16 tokens as engines cache them.
    """

    trace: float
    trace_head: float
    realised: float
    rows: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All of it. `left_out` counts records that are passed over, by reason."""

    file: str
    shape: str
    title: str
    requests: int
    conversations: int | None
    turns: int
    input_tokens: Lengths
    output_tokens: Lengths | None
    output_unsaid: int
    tokens_assumed: bool
    arrivals: Arrivals | None = None
    reading: Reading | None = None
    sharing: Sharing | None = None
    gap_s: float | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()


def summarise(spec: WorkloadSpec) -> Summary:
    """Read the workload's file once (a trace's head twice); InputError for a bad line."""
    shape = shape_of(spec.file or "", spec.file_format)
    return _of_trace(spec) if shape.form == "trace" else _of_conversations(spec)


def lengths(found: Counter[int]) -> Lengths:
    """Percentiles by nearest rank of counted values, of which there is one at least."""
    n = found.total()
    ordered = sorted(found.items())
    below = list(itertools.accumulate(c for _, c in ordered))

    def at(q: float) -> int:
        rank = max(1, -(-n * q // 100))
        return next(v for (v, _), b in zip(ordered, below, strict=True) if b >= rank)

    sizes = Counter[int]()
    for value, times in ordered:
        sizes[max(1, value).bit_length() - 1] += times
    return Lengths(
        n=n,
        mean=sum(v * c for v, c in ordered) / n,
        p50=at(50),
        p90=at(90),
        p99=at(99),
        most=ordered[-1][0],
        by_size=tuple(sizes[i] for i in range(max(sizes) + 1)),
    )


class _Hits:
    """Share of prompt tokens in blocks that an earlier prompt began with."""

    def __init__(self, block: int) -> None:
        self._seen, self._block = SeenIds(), block
        self.shared = self.asked = 0

    def add(self, row: TraceRow) -> None:
        self.asked += row.input_tokens
        self.shared += min(row.input_tokens, self._block * self._seen.known(row))

    @property
    def share(self) -> float:
        return self.shared / max(1, self.asked)


def _of_trace(spec: WorkloadSpec) -> Summary:
    how = reading(spec)
    left: dict[str, int] = {}
    inputs, outputs, per_second = Counter[int](), Counter[int](), Counter[int]()
    hits = _Hits(how.block_tokens or 1)
    last_s, assumed, requests = 0.0, False, 0
    for row in trace_rows(spec, left):
        requests += 1
        inputs[row.input_tokens] += 1
        outputs[row.output_tokens] += 1
        last_s = row.arrival_s
        if len(per_second) < _SECONDS_KEPT:
            per_second[int(last_s)] += 1
        hits.add(row)
        assumed = assumed or row.text is not None
    arrivals = _arrivals(requests, last_s, per_second)
    return Summary(
        file=spec.file or "",
        shape=shape_of(spec.file or "", spec.file_format).name,
        title=how.title,
        requests=requests,
        conversations=None,
        turns=1,
        input_tokens=lengths(inputs),
        output_tokens=lengths(outputs),
        output_unsaid=0,
        tokens_assumed=assumed,
        arrivals=arrivals,
        reading=how,
        sharing=_sharing(spec, how, hits) if how.block_tokens is not None else None,
        left_out=left,
        doubts=tuple(_doubts(arrivals)),
    )


def _arrivals(requests: int, last_s: float, per_second: Counter[int]) -> Arrivals:
    minutes, shown = Counter[int](), Counter[int]()
    for second, n in per_second.items():
        minutes[second // 60] += n
        shown[min(BINS - 1, int(second * BINS / max(1.0, last_s)))] += n
    return Arrivals(
        seconds=last_s,
        rate_per_s=(requests - 1) / last_s if last_s > 0 else None,
        peak_per_s=max(minutes.values()) / 60 if last_s >= 60 else None,
        by_time=tuple(shown[i] for i in range(BINS)),
    )


def _doubts(arrivals: Arrivals) -> Iterator[str]:
    rate = arrivals.rate_per_s
    if rate is None:
        yield "all requests arrive at one instant"
    elif rate > PLAUSIBLE_PER_S[1] or rate < PLAUSIBLE_PER_S[0]:
        yield f"{rate:.3g} requests/s on average: is the unit of the stamps right?"


def _sharing(spec: WorkloadSpec, how: Reading, whole: _Hits) -> Sharing:
    prompts = TracePrompts(spec, (0, 0, 0), None, as_text=False, chat=False)
    head = _Hits(how.block_tokens or 1)
    seen: set[int] = set()
    shared = asked = rows = 0
    for index, row in enumerate(itertools.islice(trace_rows(spec), REALISED_ROWS)):
        head.add(row)
        made = prompts.request(row, index)
        tokens = made.prompt if isinstance(made.prompt, list) else []
        chain, unbroken = 0, True
        for at in range(0, len(tokens) - _ENGINE_BLOCK + 1, _ENGINE_BLOCK):
            chain = hash((chain, *map(str, tokens[at : at + _ENGINE_BLOCK])))
            unbroken = unbroken and chain in seen
            shared += _ENGINE_BLOCK * unbroken
            seen.add(chain)
        asked, rows = asked + row.input_tokens, rows + 1
    return Sharing(
        trace=whole.share, trace_head=head.share, realised=shared / max(1, asked), rows=rows
    )


def _of_conversations(spec: WorkloadSpec) -> Summary:
    left: dict[str, int] = {}
    inputs, outputs = Counter[int](), Counter[int]()
    found = turns = unsaid = 0
    gap_s = gaps = 0.0
    for conversation in conversations(spec, left):
        found += 1
        turns = max(turns, len(conversation.exchanges))
        for tokens, answer, gap in _sizes(conversation):
            inputs[tokens] += 1
            unsaid += answer is None
            outputs.update([] if answer is None else [answer])
            gap_s, gaps = gap_s + (gap or 0.0), gaps + (gap is not None)
    shape = shape_of(spec.file or "", spec.file_format)
    return Summary(
        file=spec.file or "",
        shape=shape.name,
        title=shape.title,
        requests=inputs.total(),
        conversations=found,
        turns=turns,
        input_tokens=lengths(inputs),
        output_tokens=lengths(outputs) if outputs else None,
        output_unsaid=unsaid,
        tokens_assumed=True,
        gap_s=gap_s / gaps if gaps else None,
        left_out=left,
    )


def _sizes(conversation: Conversation) -> Iterator[tuple[int, int | None, float | None]]:
    """(prompt with all that was said before, answer, gap) of every turn, in assumed tokens."""
    context = ""
    for exchange in conversation.exchanges:
        context = "\n\n".join(filter(None, (context, *(m["content"] for m in exchange.messages))))
        answer = exchange.output_tokens
        if answer is None and exchange.reply:
            answer = assumed_tokens(exchange.reply)
        yield assumed_tokens(context), answer, exchange.gap_s
        context = "\n\n".join(filter(None, (context, exchange.reply)))
