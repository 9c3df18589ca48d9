"""A failed check takes away what it can move: every metric says which checks those are."""

from __future__ import annotations

from bench.measure.checks import moves
from bench.measure.metrics import METRICS
from bench.values.finding import some

# Moved by nothing but a failure of everything: the client's own lateness, whole latencies that a
# check of rates names itself, and the count of errors.
ALONE = ("dispatch_lag", "e2e", "error_rate")


def test_every_metric_moves_with_some_check_or_is_known_to_stand_alone() -> None:
    """A new metric that no group names would stay on the page beside a failure that moves it."""
    everything = some("a", "a failure of all groups", (*moves.RATES, *moves.PER_USER, *moves.TTFT))
    moved = moves.moved_by([everything])
    loose = {d.name for d in METRICS if d.name not in moved and not d.name.startswith(ALONE)}
    assert loose == set()
