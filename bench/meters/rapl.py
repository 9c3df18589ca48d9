"""Processors and their memory through RAPL, where the kernel lets this user read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.meters.source import Clock, MeterUnavailableError, MonotonicClock, stamped
from bench.values.telemetry import Device, Header, Process, Reading, Scope, SourceKind

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, kw_only=True)
class _Domain:
    path: Path
    name: str
    scope: Scope
    range_uj: int


class RaplSource:
    """One device per processor package and per DRAM domain. See `bench.meters.source.Source`.

    The counter wraps after `max_energy_range_uj`; what the sampler sees does not. RAPL has no
    second sensor, so there is nothing to check the counter against.
    """

    kind: SourceKind = "rapl"
    poll_s: float | None = None

    def __init__(self, clock: Clock | None = None, root: Path = POWERCAP) -> None:
        self._clock = clock or MonotonicClock()
        self._domains = _domains(root)
        self._last_uj: dict[int, int] = {}
        self._wrapped_uj: dict[int, int] = {}

    def header(self) -> Header:
        """The domains."""
        return Header(source="rapl", devices=self.devices())

    def devices(self) -> tuple[Device, ...]:
        """The domains by their place in powercap."""
        return tuple(
            Device(index=i, uuid=d.path.name, name=d.name, scope=d.scope)
            for i, d in enumerate(self._domains)
        )

    def power(self, device: int) -> Reading | None:
        """There is no such sensor."""
        return None

    def energy(self, device: int) -> Reading | None:
        """`energy_uj` as mJ since the meter began, unwrapped."""
        domain = self._domains[device]

        def read() -> tuple[dict[str, float | int | None], dict[str, str]]:
            try:
                now_uj = int((domain.path / "energy_uj").read_text())
            except (OSError, ValueError) as error:
                return {"energy_mj": None}, {"energy_mj": f"RAPL: {error}"}
            if now_uj < self._last_uj.get(device, 0):
                wrapped = self._wrapped_uj.get(device, 0)
                self._wrapped_uj[device] = wrapped + domain.range_uj
            self._last_uj[device] = now_uj
            return {"energy_mj": (now_uj + self._wrapped_uj.get(device, 0)) / 1000}, {}

        return stamped(self._clock, read)

    def state(self, device: int) -> Reading | None:
        """RAPL tells energy alone."""
        return None

    def memory(self, device: int) -> Reading | None:
        """RAPL tells energy alone."""
        return None

    def processes(self, device: int) -> tuple[Process, ...] | str | None:
        """A processor is always shared."""
        return None

    def close(self) -> None:
        """Nothing is held open."""


def _domains(root: Path) -> tuple[_Domain, ...]:
    """The package and DRAM domains; MeterUnavailableError says why there is none."""
    zones = sorted(root.glob("intel-rapl:*"))
    if not zones:
        raise MeterUnavailableError("the kernel offers no RAPL (/sys/class/powercap)")
    found: list[_Domain] = []
    for zone in zones:
        try:
            name = (zone / "name").read_text().strip()
            if name != "dram" and not name.startswith("package"):
                continue  # parts of a package, and the platform domain, would count twice
            int((zone / "energy_uj").read_text())
            range_uj = int((zone / "max_energy_range_uj").read_text())
        except PermissionError as error:
            raise MeterUnavailableError("RAPL is readable by root only") from error
        except (OSError, ValueError) as error:
            raise MeterUnavailableError(f"RAPL cannot be read ({error})") from error
        scope: Scope = "DRAM" if name == "dram" else "CPU package"
        found.append(_Domain(path=zone, name=name, scope=scope, range_uj=range_uj))
    if not found:
        raise MeterUnavailableError("RAPL has no package domain")
    return tuple(found)
