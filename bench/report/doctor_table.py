"""What `bench doctor` found, for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.report.markup import escape
from bench.report.numbers import quantity
from bench.values.finding import Finding
from bench.values.machine import Board, Machine, Sensor

_UNITS = {
    "_mw": "mW",
    "_mj": "mJ",
    "_c": "°C",
    "_mhz": "MHz",
    "_bytes": "bytes",
    "_ns": "ns",
    "_pct": "%",
}


def print_machine(out: Console, machine: Machine, found: Sequence[Finding]) -> None:
    """Facts line by line, the sensors in a table, then one line per problem."""
    for name, text in _facts(machine):
        out.print(f"[bold]{name:<12}[/] {escape(text)}", highlight=False, soft_wrap=True)
    if machine.sensors:
        out.print(_sensors(machine.sensors))
    for one in found:
        style = "red" if one.severity == "fail" else "yellow"
        line = f"{one.severity.upper():<4}  {one.code}: {one.text}"
        out.print(escape(line), style=style, highlight=False, soft_wrap=True)
    if not found:
        out.print("nothing is wrong", style="bold")


def _facts(machine: Machine) -> list[tuple[str, str]]:
    install, hub, store = machine.install, machine.hub, machine.store
    engine = f"{install.package} {install.vllm}" if install.vllm else "vLLM is not installed"
    torch = f"torch {install.torch or '–'}, built for {_cuda_word(install.torch_cuda)}"
    facts = [("engine", f"{engine} · {torch}")]
    if machine.boards:
        facts.append(("driver", f"{machine.driver or '–'}, CUDA up to {machine.cuda or '–'}"))
        facts += [(f"GPU {b.device.index}", _board(b)) for b in machine.boards]
        facts.append(("CUDA order", _order(machine)))
    else:
        facts.append(("GPU", machine.board_reason or "none"))
    rapl = ", ".join(machine.host_domains) or machine.host_reason or "none"
    facts.append(("host power", rapl))
    facts.append(("checkpoint", _checkpoint(machine)))
    facts.append(("results", f"{store.results_folder}, {_gb(store.results_free_bytes)} free"))
    reach = {None: "not tried (offline)", True: "answers", False: f"no access ({hub.why})"}
    token = f"token in the {hub.token}" if hub.token else "no token"
    facts.append(("hub", f"{hub.endpoint} {reach[hub.reachable]} · {token}"))
    return facts


def _cuda_word(version: str | None) -> str:
    return f"CUDA {version}" if version else "no CUDA"


def _board(b: Board) -> str:
    d = b.device
    parts = [d.name, d.uuid, f"PCI {d.pci_bus_id or '–'}", f"NVML {d.nvml_index}"]
    parts.append(f"{_gb(b.free_bytes)} of {_gb(d.memory_total_bytes)} free")
    limit = "–" if b.limit_w is None else f"{b.limit_w:.0f} W"
    parts.append(f"limit {limit}")
    for name, value in (("persistence", d.persistence), ("MIG", d.mig)):
        parts.append(f"{name} {'–' if value is None else 'on' if value else 'off'}")
    return " · ".join(parts)


def _order(machine: Machine) -> str:
    seen = machine.cuda_visible_devices
    shown = "all boards" if seen is None else f"CUDA_VISIBLE_DEVICES={seen}"
    order = machine.cuda_device_order or "not set (bench sets PCI_BUS_ID for engines it starts)"
    pairs = ", ".join(f"cuda:{b.device.index} = NVML {b.device.nvml_index}" for b in machine.boards)
    return f"{pairs} · {shown} · CUDA_DEVICE_ORDER {order}"


def _checkpoint(machine: Machine) -> str:
    store = machine.store
    if store.present is None:
        return f"{store.checkpoint or 'dummy weights'}: nothing to fetch"
    if store.present:
        return f"{store.checkpoint} is in {store.folder}"
    return (
        f"{store.checkpoint} is not here: {_gb(store.needs_bytes)} to fetch, "
        f"{_gb(store.free_bytes)} free in {store.folder}"
    )


def _gb(size: int | None) -> str:
    return "–" if size is None else f"{size / 1e9:,.1f} GB"


def _sensors(sensors: Sequence[Sensor]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("device", "reading", "now", "update ms", "polled ms", "read ms", "supported"):
        table.add_column(title, justify="left" if title in ("reading", "supported") else "right")
    for s in sensors:
        unit = next((u for end, u in _UNITS.items() if s.name.endswith(end)), "")
        now = "–" if s.last is None else f"{s.last:,.0f} {unit}".strip()
        table.add_row(
            str(s.device),
            s.name,
            now,
            _ms(s.update_s),
            _ms(s.polled_s),
            _ms(s.read_s),
            "yes" if s.why is None else f"no ({s.why})",
        )
    return table


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else quantity(1000 * seconds)
