"""Which stored runs are independent of each other: launches, that is, starts of the engine.

Repeats of one launch share its memory layout, its compiled kernels and its hour. With 1 % between
launches, identical variants of one launch each came out different in 62 % of comparisons. So a
verdict has one observation per launch, and needs three of each variant.

An engine that bench starts is launched once per run. A server that already runs (`engine=endpoint`)
is launched by others: its process's start, as its /metrics tells it, or the name that
`engine.launch` gives to it tells its launches apart. Where neither is known, all runs are one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.values.record import Run
from bench.values.spec import EndpointSpec

ENOUGH_LAUNCHES = 3
"""Below three launches of each variant nothing is said of more than the runs themselves."""

REMEDY = (
    f"a verdict needs {ENOUGH_LAUNCHES} launches of each: bench compare --interleave "
    f"{ENOUGH_LAUNCHES} takes turns, or give {ENOUGH_LAUNCHES} runs of each with --rounds"
)
ENDPOINT_REMEDY = (
    "a server that already runs counts as one launch: restart it between the runs, and where its "
    "/metrics does not tell process_start_time_seconds, name each start with engine.launch=NAME"
)

NO_TURNS = (
    "the variants did not take turns: a drift of the machine from the first series to the second "
    "looks like a change; --interleave N takes turns"
)


def launches(runs: Sequence[Run]) -> tuple[int, ...]:
    """The number of each run's launch, from 0, in the order in which launches first appear."""
    seen: dict[tuple[str, ...], int] = {}
    return tuple(seen.setdefault(_identity(run), len(seen)) for run in runs)


def remedy(runs: Sequence[Run]) -> str:
    """What to do for enough launches."""
    kept = [r for r in runs if isinstance(r.spec.engine, EndpointSpec)]
    return f"{REMEDY}; {ENDPOINT_REMEDY}" if kept else REMEDY


def counted(count: int) -> str:
    """`1 launch`, `3 launches`."""
    return f"{count} launch" if count == 1 else f"{count} launches"


def take_turns(base: Sequence[Run], other: Sequence[Run]) -> bool:
    """Whether the runs of both alternate in time at all: else a drift of the machine between the
    two series looks like a change."""
    mine, theirs = ([r.anchor.wall_iso for r in runs] for runs in (base, other))
    return not (max(mine) < min(theirs) or max(theirs) < min(mine))


def _identity(run: Run) -> tuple[str, ...]:
    """What two runs of one launch have in common, and no others."""
    engine = run.spec.engine
    if not isinstance(engine, EndpointSpec):
        return "run", run.anchor.wall_iso, str(run.anchor.monotonic_ns)
    if engine.launch is not None:
        return "named", engine.launch
    server: Mapping[str, Any] = run.server or {}
    started_s = server.get("process_start_s")
    return ("process", str(started_s)) if started_s is not None else ("endpoint", engine.base_url)
