"""Whether a device was the run's own: whose processes were on it, as far as one can see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.values.telemetry import Device, Process, ProcessSample, Trace


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """`foreign` are process ids that are not the run's; `own` says that the run's own were seen.

    `unverified` says why nothing can be said either way, None when all is clear.
    """

    foreign: tuple[int, ...] = ()
    own: bool = False
    unverified: str | None = None


def sharing(
    trace: Trace, device: Device, start_ns: int, end_ns: int, own_pids: tuple[int, ...] | None
) -> Sharing:
    """Who was on the device at any sample of the window.

    A process is the run's own when it or an ancestor is one of `own_pids`. One that /proc does not
    show belongs to another container, if the run's own processes are seen by their ids; if they are
    not either, the ids are the host's and say nothing. `own_pids` None: the server is a stranger's.
    """
    if device.scope != "GPU board":
        return Sharing(unverified="a processor is shared with whatever runs on the host")
    if own_pids is None:
        return Sharing(unverified="the server was not started by this run")
    samples = [
        s for s in trace.processes if s.device == device.index and start_ns <= s.t_ns <= end_ns
    ]
    told = [s for s in samples if s.processes is not None]
    if not told:
        why = next((s.why for s in samples if s.why), None)
        return Sharing(unverified=why or "no process list was read")
    own: set[int] = set()
    visible: set[int] = set()
    hidden: set[int] = set()
    for process in _all(told):
        if _is_own(process, own_pids):
            own.add(process.pid)
        elif process.parents is None:
            hidden.add(process.pid)
        else:
            visible.add(process.pid)
    if own:
        return Sharing(foreign=tuple(sorted(visible | hidden)), own=True)
    if visible:
        return Sharing(foreign=tuple(sorted(visible)))
    if hidden:
        return Sharing(unverified="the container hides who the listed processes are")
    return Sharing(unverified="no process was listed, not even the run's own")


def _all(samples: Iterable[ProcessSample]) -> Iterable[Process]:
    for sample in samples:
        yield from sample.processes or ()


def _is_own(process: Process, own_pids: tuple[int, ...]) -> bool:
    return process.pid in own_pids or any(p in own_pids for p in process.parents or ())
