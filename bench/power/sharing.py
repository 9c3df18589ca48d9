"""Whether a device was the run's own: whose processes were on it, as far as one can see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.values.telemetry import Device, Process, ProcessSample, Telemetry


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """`foreign` are process ids that are not the run's; `own` says that the run's own were seen.

    `drawing` are foreign ones that only draw a screen and hold little of the board: they cost it a
    little, and a run beside them is not void. `unverified` says why nothing can be said either way,
    None when all is clear.
    """

    foreign: tuple[int, ...] = ()
    drawing: tuple[int, ...] = ()
    own: bool = False
    unverified: str | None = None


SCREEN_BYTES = 2**30
"""A desktop holds less of a board than this; what draws and holds more is a game, a renderer, or a
computation that asked for both."""

MPS_SERVER = "nvidia-cuda-mps"
"""The server of NVIDIA's Multi-Process Service is listed beside its clients: they are who is on the
board, and they are judged. (A command's name is cut to 15 characters.)"""


def sharing(
    telemetry: Telemetry,
    device: Device,
    start_ns: int,
    end_ns: int,
    own_pids: tuple[int, ...] | None,
) -> Sharing:
    """Who was on the device at any sample of the window.

    A process is the run's own when it or an ancestor is one of `own_pids`. One that /proc does not
    show belongs to another container, if the run's own processes are seen by their ids; if they are
    not either, the ids are the host's and say nothing. `own_pids` None: nobody knows the server's.
    """
    if device.scope != "GPU board":
        return Sharing(unverified="a processor is shared with whatever runs on the host")
    if own_pids is None:
        return Sharing(unverified="the server was not started by this run")
    samples = [
        s for s in telemetry.processes if s.device == device.index and start_ns <= s.t_ns <= end_ns
    ]
    told = [s for s in samples if s.processes is not None]
    if not told:
        why = next((s.why for s in samples if s.why), None)
        return Sharing(unverified=why or "no process list was read")
    own: set[int] = set()
    visible: set[int] = set()
    hidden: set[int] = set()
    drawing: set[int] = set()
    for process in _all(told):
        if _is_own(process, own_pids):
            own.add(process.pid)
        elif (process.name or "").startswith(MPS_SERVER):
            continue
        elif process.kind == "graphics" and (process.used_bytes or 0) < SCREEN_BYTES:
            drawing.add(process.pid)
        elif process.parents is None:
            hidden.add(process.pid)
        else:
            visible.add(process.pid)
    return _judged(own, visible, hidden, drawing - visible - hidden)


def _judged(own: set[int], visible: set[int], hidden: set[int], drawing: set[int]) -> Sharing:
    screens = tuple(sorted(drawing))
    if own:
        return Sharing(foreign=tuple(sorted(visible | hidden)), own=True, drawing=screens)
    if visible:
        return Sharing(foreign=tuple(sorted(visible)), drawing=screens)
    if hidden:
        why = "the container hides who the listed processes are"
        return Sharing(unverified=why, drawing=screens)
    why = "no process was listed, not even the run's own"
    return Sharing(unverified=why, drawing=screens)


def _all(samples: Iterable[ProcessSample]) -> Iterable[Process]:
    for sample in samples:
        yield from sample.processes or ()


def _is_own(process: Process, own_pids: tuple[int, ...]) -> bool:
    return process.pid in own_pids or any(p in own_pids for p in process.parents or ())
