"""What a meter can be asked: the seam between the sampler and NVML, RAPL, a recording, a signal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from bench.values.clock import now_ns
from bench.values.errors import BenchError
from bench.values.telemetry import Device, Header, Process, Reading, SourceKind


class MeterUnavailableError(BenchError):
    """There is no such meter on this machine; the text is the reason that results carry."""


class Clock(Protocol):
    """CLOCK_MONOTONIC, or a clock that a test or a rehearsal turns."""

    def now_ns(self) -> int:
        """The time."""
        ...

    def sleep_until(self, when_ns: int) -> None:
        """Return at `when_ns`, or at once when that is past."""
        ...


class MonotonicClock:
    """The real one."""

    def now_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        return now_ns()

    def sleep_until(self, when_ns: int) -> None:
        """Sleep, on the same clock."""
        left_ns = when_ns - now_ns()
        if left_ns > 0:
            time.sleep(left_ns / 1e9)


class Source(Protocol):
    """Devices and their readings. A reading never raises: what cannot be read is None with a
    reason. `poll_s` is how often the sampler should look, None for its own period."""

    kind: SourceKind
    poll_s: float | None

    def header(self) -> Header:
        """What is known before the first reading."""
        ...

    def devices(self) -> tuple[Device, ...]:
        """The devices, as they are now; `index` is what the other calls take."""
        ...

    def power(self, device: int) -> Reading | None:
        """`instant_mw` (field 186), `memory_mw`; None where the device has no such sensor."""
        ...

    def energy(self, device: int) -> Reading | None:
        """`energy_mj` since the driver was loaded (field 83)."""
        ...

    def state(self, device: int) -> Reading | None:
        """Clocks, temperatures, limit, event reasons, violation counters, utilisation; `average_mw`
        over the last second (field 185)."""
        ...

    def memory(self, device: int) -> Reading | None:
        """`total_bytes`, `reserved_bytes`, `used_bytes`, `free_bytes`."""
        ...

    def processes(self, device: int) -> tuple[Process, ...] | str | None:
        """Who is on the device; a text when that is not told, None when the question is void."""
        ...

    def close(self) -> None:
        """Release the driver."""
        ...


def stamped(
    clock: Clock, read: Callable[[], tuple[dict[str, float | int | None], dict[str, str]]]
) -> Reading:
    """Do one read and stamp it: the middle between before and after, and half the distance."""
    before = clock.now_ns()
    values, why = read()
    after = clock.now_ns()
    return Reading(
        t_ns=(before + after) // 2, half_ns=(after - before) // 2, values=values, why=why
    )
