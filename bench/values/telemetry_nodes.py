"""Telemetry of several machines as one: devices numbered through, stamps on the head's clock.

The clock of every other machine is known to within an error (`bench.values.node_clock`), which is
added to what is known of each reading's moment. Process ids of other machines are moved out of the
way of the head's: number N's begin at N × 2³².
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from bench.values.codec import decode
from bench.values.node_clock import CLOCK_FILE, Offset, on_heads_clock, worst_error_ns
from bench.values.outside import regular
from bench.values.record import Int64
from bench.values.telemetry import ProcessSample, Series, Telemetry, parse

PIDS = 2**32
"""Process ids of a machine are below 2²²."""


@dataclass(frozen=True, kw_only=True)
class FromNode:
    """What the sampler of one other machine wrote; `on_head` puts its stamps on the head's clock.

    `number` counts the machines, the head being 0; `error_ns` bounds what the stamps are off by.
    """

    host: str
    number: int
    telemetry: Telemetry
    on_head: Callable[[Int64], Int64]
    error_ns: int


def folder_of(telemetry: Path, number: int, host: str) -> Path:
    """Where a node's telemetry lies below the run's: `node-1-HOST`."""
    safe = "".join(c if c.isalnum() or c in "_.-" else "-" for c in host)
    return telemetry / f"node-{number}-{safe}"


def from_nodes(telemetry: Path) -> list[FromNode]:
    """What the samplers of a run's other machines wrote. Raises OSError, ValueError."""
    found = []
    for folder in sorted(telemetry.glob("node-*-*"), key=lambda p: int(p.name.split("-")[1])):
        _, number, host = folder.name.split("-", 2)
        text = regular(folder / "power.jsonl").read_text(encoding="utf-8")
        clock = regular(folder / CLOCK_FILE).read_text(encoding="utf-8")
        offsets = [decode(Offset, json.loads(line), str(folder)) for line in clock.splitlines()]
        found.append(
            FromNode(
                host=host,
                number=int(number),
                telemetry=parse(text[: text.rfind("\n") + 1].splitlines()),
                on_head=partial(on_heads_clock, offsets=offsets),
                error_ns=worst_error_ns(offsets),
            )
        )
    return found


def with_nodes(head: Telemetry, nodes: Sequence[FromNode]) -> Telemetry:
    """The head's telemetry with the devices of all."""
    whole = head
    for node in nodes:
        whole = _with(whole, node)
    machines = [("this machine", head), *((node.host, node.telemetry) for node in nodes)]
    bare = tuple(host for host, t in machines if not _meters_processors(t)) if nodes else ()
    return replace(whole, header=replace(whole.header, bare_hosts=bare))


def _meters_processors(telemetry: Telemetry) -> bool:
    return any(d.scope == "CPU package" for d in telemetry.header.devices)


def _with(head: Telemetry, node: FromNode) -> Telemetry:
    first = len(head.header.devices)
    its = node.telemetry
    place = {d.index: first + n for n, d in enumerate(its.header.devices)}
    devices = tuple(
        replace(d, index=place[d.index], node=node.host, clock_error_ns=node.error_ns)
        for d in its.header.devices
    )
    why = its.header.reason
    reasons = [head.header.reason, f"{node.host}: {why}" if why else None]
    series = {
        (place[device], kind): _moved(found, node)
        for (device, kind), found in its.series.items()
        if device in place
    }
    return replace(
        head,
        header=replace(
            head.header,
            devices=(*head.header.devices, *devices),
            reason="; ".join(r for r in reasons if r) or None,
        ),
        series={**head.series, **series},
        processes=(*head.processes, *(_process(s, node, place[s.device]) for s in its.processes)),
        # The worst of all samplers is what is said of them.
        end=None if its.end is None else head.end,
    )


def _moved(found: Series, node: FromNode) -> Series:
    t_ns = node.on_head(found.t_ns)
    return replace(found, t_ns=t_ns, half_ns=found.half_ns + node.error_ns)


def _process(sample: ProcessSample, node: FromNode, device: int) -> ProcessSample:
    base = node.number * PIDS
    moved = (
        None
        if sample.processes is None
        else tuple(
            replace(
                p,
                pid=base + p.pid,
                parents=None if p.parents is None else tuple(base + up for up in p.parents),
            )
            for p in sample.processes
        )
    )
    t_ns = int(node.on_head(np.array([sample.t_ns], dtype=np.int64))[0])
    return replace(sample, t_ns=t_ns, device=device, processes=moved)
