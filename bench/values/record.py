"""Raw observations: what was planned, sent and received, before any arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bench.values.spec import RunSpec
from bench.values.telemetry import Telemetry

Int64 = npt.NDArray[np.int64]

OUTCOMES = (
    *("ok", "http_error", "server_error", "connection", "timeout", "malformed", "no_tokens"),
    *("cut_short", "from_cache"),
)
"""How a request can end; its code in the records is its place in this tuple."""

OK = 0

SCHEMA_VERSION = 2
"""Of run.json. Since 2, rates are over whole waves and percentiles of all repeats together."""

TOKENS_AROSE = ("usage_per_chunk", "one_per_chunk", "allocated", "unknown")
"""How the token count of each chunk is known: the server's running usage; one each because the
final usage equals the number of chunks; the final usage spread evenly; or not at all."""


@dataclass(frozen=True, kw_only=True)
class PlannedRequest:
    """One request before it is sent. `arrival_ns` counts from the start of the load point (None
    in a closed loop); requests of one `session` follow each other, `gap_ns` apart.
    `shared_tokens` of its beginning stood in an earlier prompt of the load point on purpose (-1:
    the workload does not say)."""

    index: int
    prompt: list[int] | str | list[dict[str, str]]
    input_tokens: int
    output_tokens: int
    arrival_ns: int | None = None
    session: int = -1
    gap_ns: int = 0
    shared_tokens: int = -1


@dataclass(frozen=True, kw_only=True)
class LoadPoint:
    """One setting of the load: closed loop (`concurrency`) or open loop (`rate_per_s`).

    A ramp rises from `rate_per_s` to `rate_to_per_s`; an open loop without a rate follows a trace
    at its own pace, one with a rate and `trace` a trace at that mean rate.
    """

    index: int
    repeat: int
    mode: Literal["closed", "open", "ramp"]
    concurrency: int | None = None
    rate_per_s: float | None = None
    rate_to_per_s: float | None = None
    trace: bool = False

    @property
    def is_trace(self) -> bool:
        """Whether recorded arrivals were replayed."""
        return self.mode == "open" and (self.trace or self.rate_per_s is None)

    @property
    def label(self) -> str:
        """Short name, unique within a run apart from the repeat: `c16`, `r2.5`, `r1-8`, `trace`."""
        if self.mode == "closed":
            return f"c{self.concurrency}"
        if self.rate_per_s is None:
            return "trace"
        to = "" if self.rate_to_per_s is None else f"-{self.rate_to_per_s:g}"
        return f"r{self.rate_per_s:g}{to}"

    @property
    def key(self) -> str:
        """File-name-safe identity within a run: `003-c16-r2`."""
        return f"{self.index:03d}-{self.label}-r{self.repeat}"


@dataclass(frozen=True, kw_only=True)
class WorkerReport:
    """How one load-generating process itself fared.

    `run_delay_s` is the time its thread could have run but waited for a core, over `wakeups` runs
    (the kernel's schedstat); None where the kernel does not count it. `node` is the machine where
    that is not the head, and `clock_error_ns` bounds its stamps' error on the head's clock.
    """

    requests: int
    cpu_s: float
    parse_cpu_s: float
    wall_s: float
    loop_lag_ns: tuple[int, ...]
    reconnects: int
    run_delay_s: float | None = None
    wakeups: int | None = None
    node: str | None = None
    clock_error_ns: int | None = None


@dataclass(frozen=True, kw_only=True)
class PointData:
    """Everything observed at one load point, columnar; times are CLOCK_MONOTONIC ns, 0 = never.

    `requests` has one row per request: index, session, worker, scheduled_ns, sent_ns,
    first_read_ns, end_ns, status, outcome, input_tokens, requested_tokens, usage_prompt_tokens
    and usage_completion_tokens (-1 = the server did not say), first_chunk, chunks, tokens_arose.
    Besides, where the load client is bench's own, the ANSWER_COLUMNS.
    `chunk_ns` and `chunk_tokens` hold the token-bearing chunks of all requests, in row order.
    `chunk_delay_ns` is how long after its arrival the client looked at each; arrival is the
    kernel's stamp then, and the client's own where the kernel gives none (None). `discarded` says
    what besides the engine disturbed a repeat that was measured again; None for one that counts.
    `launch` is the start of the engine that served it, 0 but in a run that was resumed.
    """

    point: LoadPoint
    start_ns: int
    requests: dict[str, Int64]
    chunk_ns: Int64
    chunk_tokens: Int64
    chunk_delay_ns: Int64 | None = None
    errors: dict[int, str] = field(default_factory=dict)
    workers: tuple[WorkerReport, ...] = ()
    engine_before: dict[str, Any] | None = None
    engine_after: dict[str, Any] | None = None
    discarded: str | None = None
    launch: int = 0

    def column(self, name: str) -> Int64:
        """A column of `requests`; all -1 (not known) in runs from before there was one."""
        found = self.requests.get(name)
        return np.full(self.count, -1, dtype=np.int64) if found is None else found

    @property
    def count(self) -> int:
        """Number of requests, however they ended."""
        return len(self.requests["index"])

    def counted(self, name: str) -> float | None:
        """How much a counter of the engine rose; None when it was not there both times."""
        before, after = ((seen or {}).get(name) for seen in (self.engine_before, self.engine_after))
        return None if before is None or after is None else float(after) - float(before)


def counting(repeats: Sequence[PointData]) -> list[PointData]:
    """The repeats of a load point that count: not those that were measured again, unless nothing
    else is there."""
    return [d for d in repeats if d.discarded is None] or list(repeats)


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """One reading of both clocks, for display: durations come from the monotonic one alone."""

    monotonic_ns: int
    wall_iso: str


P_RIGHT = "p_right"
"""A metric of bench's own beside `acc`: the probability that the right choice has among all."""


@dataclass(frozen=True, kw_only=True)
class TaskScore:
    """One metric of one task as lm-eval aggregates it (but `p_right`); `stderr` is lm-eval's, None
    where it has none. `chance` is what guessing gives (multiple choice), None elsewhere; `group`
    marks a mean over subtasks, whose items are the subtasks'."""

    task: str
    metric: str
    filter: str
    value: float
    stderr: float | None
    n: int
    higher_is_better: bool
    output_type: str | None = None
    version: str | None = None
    num_fewshot: int | None = None
    task_hash: str | None = None
    chance: float | None = None
    group: bool = False
    generation: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class QualityItem:
    """One item's score in one metric: what paired tests need. `weight` is its share of a corpus
    metric (bytes of a text), 1 elsewhere; `sample` counts repeats of the whole evaluation.

    `item_hash` covers document, prompt and target: equal ones are the same question. `logliks` are
    the choices' log-likelihoods in nats; tokens and `truncated` (ended by length) are a
    generation's, as the server counted them, None where it did not say.
    """

    task: str
    metric: str
    filter: str
    doc_id: int
    sample: int
    value: float
    item_hash: str
    weight: float = 1.0
    logliks: tuple[float, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    truncated: bool | None = None


@dataclass(frozen=True, kw_only=True)
class AnswerStats:
    """The generations of one task: how many tokens an answer takes, and how many were cut.

    Means over `n` generations as the server counted them, thinking included; None where it did
    not count. `truncated` are those that ended by length, None where no reason was given.
    """

    task: str
    n: int
    input_tokens: float | None = None
    output_tokens: float | None = None
    reasoning_tokens: float | None = None
    truncated: int | None = None


@dataclass(frozen=True, kw_only=True)
class QualityResult:
    """What lm-eval said of the served artefact; the items are in quality/items.parquet.

    `backend` is `endpoint`, `chat` (over HTTP) or `hf` (in-process, from the same checkpoint).
    `weights_sha256` are the hashes of the checkpoint's files when quality was scored, None where
    they are not on this machine. `parity` says what the BOS check found; `cut_prompts` counts
    prompts that lost their beginning to fit into the context, None where nobody counted.
    `left_out` says of each task that this server could not be scored on why.
    `not_finite` names what lm-eval scored as NaN or infinity (`task:metric`): left out.
    """

    preset: str
    backend: Literal["endpoint", "chat", "hf"] | None = None
    status: Literal["complete", "failed"] = "complete"
    failure: str | None = None
    scores: tuple[TaskScore, ...] = ()
    answers: tuple[AnswerStats, ...] = ()
    samples: int = 1
    took_s: float | None = None
    lm_eval_version: str | None = None
    parity: Mapping[str, Any] | None = None
    cut_prompts: int | None = None
    not_finite: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Launch:
    """An earlier start of the engine in a run that was resumed, as the run knew it then.

    `ended_by` and `failure` say how it ended; `set_aside` why its load points do not count (they
    are kept in `set_aside/`), None where they do.
    """

    anchor: Anchor
    writer: Mapping[str, Any] | None = None
    marks: Mapping[str, int] = field(default_factory=dict)
    server: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    ended_by: str | None = None
    failure: str | None = None
    set_aside: str | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run, raw. `status` is `running`, `complete`, or `failed` with `failure` saying why.

    `ended_by` is what ended a run that failed (the keys of `bench.values.ending.WORDS`), `writer`
    the process that wrote it, as `bench.values.ending.writer` names it.
    `calibration` is the client's own error at the busiest point (`bench.measure.client_error`);
    `by_load` in it holds that of others, by index, where the busiest one's would fail them.
    `prediction` is what every load point was predicted to show before anything was started
    (`points`), or why nothing was (`none`). `marks` are moments by name on CLOCK_MONOTONIC (ns);
    `telemetry` is what the meters read. `points` lie in order of load and repeat; those of a stored
    run are read from disk when one comes to them, so that millions of requests need the memory of
    one point. `schema_version`: as stored. `earlier` are the launches before this one of a run that
    was interrupted and resumed; server, marks, writer and provenance are the last launch's, the
    anchor that of the first and `relaunched` that of the last. `joined` are the launches whose
    telemetry is part of `telemetry`: those on the same clock and the same devices as the last.
    """

    spec: RunSpec
    anchor: Anchor
    provenance: Mapping[str, Any] = field(default_factory=dict)
    server: Mapping[str, Any] | None = None
    fit: Mapping[str, Any] | None = None
    prediction: Mapping[str, Any] | None = None
    engine_facts: Mapping[str, Any] | None = None
    calibration: Mapping[str, Any] | None = None
    load_search: Mapping[str, Any] | None = None
    quality: QualityResult | None = None
    status: Literal["running", "complete", "failed"] = "running"
    failure: str | None = None
    ended_by: str | None = None
    writer: Mapping[str, Any] | None = None
    marks: Mapping[str, int] = field(default_factory=dict)
    earlier: tuple[Launch, ...] = ()
    relaunched: Anchor | None = None
    path: str = ""
    schema_version: int = SCHEMA_VERSION
    points: Sequence[PointData] = ()
    telemetry: Telemetry | None = None
    joined: tuple[int, ...] = ()

    def is_metered(self, data: PointData) -> bool:
        """Whether the run's telemetry covers a load point: it was metered by the last launch, or
        by one on the same clock and devices."""
        return data.launch == len(self.earlier) or data.launch in self.joined


REQUEST_COLUMNS = (
    "index",
    "session",
    "worker",
    "scheduled_ns",
    "sent_ns",
    "first_read_ns",
    "end_ns",
    "status",
    "outcome",
    "input_tokens",
    "requested_tokens",
    "usage_prompt_tokens",
    "usage_completion_tokens",
    "first_chunk",
    "chunks",
    "tokens_arose",
)

FINISHES = ("other", "length", "stop")
"""Why an answer ended, as the server says; its code in the records is its place here."""

ANSWER_COLUMNS = ("first_answer", "cached_tokens", "hidden_tokens", "finish", "shared_tokens")
"""Of each answer, -1 where not known: which of its chunks is the first of the answer, not of the
thought before it; prompt tokens that the server took from its prefix cache; tokens that it counted
and never streamed (in its first chunk's count); why it ended (FINISHES); and how many of its
prompt's tokens were to repeat the beginning of an earlier prompt."""
