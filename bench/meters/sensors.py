"""What a meter's sensors can do: which readings there are, how often they change, how long a
read takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median

from bench.meters.source import Clock, Source
from bench.values.machine import Sensor
from bench.values.telemetry import Reading

_FAST_S, _SLOW_S = 0.01, 0.1


def survey(source: Source, clock: Clock, seconds: float = 1.5) -> tuple[Sensor, ...]:
    """Poll every reading of every device for `seconds`; power, counter and 185 fast, others slow.

    An update period below the polling period cannot be seen: `polled_s` is beside it.
    """
    seen: dict[tuple[int, str], list[Reading]] = {}
    began = clock.now_ns()
    number = 0
    while clock.now_ns() - began < seconds * 1e9:
        slow = number % round(_SLOW_S / _FAST_S) == 0
        for device in (d.index for d in source.devices()):
            for kind, read in _reads(source, slow):
                reading = read(device)
                if reading is not None:
                    seen.setdefault((device, kind), []).append(reading)
        number += 1
        clock.sleep_until(began + round(number * _FAST_S * 1e9))
    sensors = [s for (device, _), readings in seen.items() for s in _of(device, readings)]
    return tuple(sorted(sensors, key=lambda s: s.device))


def _reads(source: Source, slow: bool) -> Sequence[tuple[str, Callable[[int], Reading | None]]]:
    fast = (("power", source.power), ("energy", source.energy), ("state", source.state))
    return (*fast, ("memory", source.memory)) if slow else fast


def _of(device: int, readings: Sequence[Reading]) -> list[Sensor]:
    """The sensors of one call; a reading with the stamp of the one before is the same one."""
    stamps = [r.t_ns for r in readings]
    gaps = [b - a for a, b in pairwise(stamps) if b > a]
    found = []
    for name in readings[-1].values:
        values = [(r.t_ns, v) for r in readings if (v := r.values.get(name)) is not None]
        last = values[-1][1] if values else None
        found.append(
            Sensor(
                device=device,
                name=name,
                why=None if values else readings[-1].why.get(name, "not read"),
                update_s=update_period_s(values),
                polled_s=median(gaps) / 1e9 if gaps else None,
                read_s=median(2 * r.half_ns for r in readings) / 1e9,
                last=last,
            )
        )
    return found


def update_period_s(values: Sequence[tuple[int, float]]) -> float | None:
    """The median time between changes of (ns, value) readings; None below two changes."""
    changes = [t for (_, a), (t, b) in pairwise(values) if a != b]
    gaps = [b - a for a, b in pairwise(changes)]
    return median(gaps) / 1e9 if gaps else None
