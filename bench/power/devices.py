"""Which of the metered devices are the deployment: by UUID, those that it was given."""

from __future__ import annotations

from dataclasses import dataclass

from bench.power.sharing import sharing
from bench.values.finding import Finding, energy
from bench.values.telemetry import Device, Scope, Telemetry

USED_BYTES = 256 * 2**20
"""A board whose used memory rose by this since before the launch holds a part of the model."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The devices whose power is the deployment's; `reason` says why there is none."""

    devices: tuple[Device, ...] = ()
    scope: Scope | None = None
    reason: str | None = None
    finding: Finding | None = None


def deployment(
    telemetry: Telemetry,
    gpus: int,
    start_ns: int,
    end_ns: int,
    own_pids: tuple[int, ...] | None,
    *,
    stranger: bool = False,
    on_cpu: bool = True,
) -> Deployment:
    """The boards of a run on `gpus` of them, else the processors; seen from start to end.

    Boards given to the run but left idle are the deployment's all the same. A `stranger` is a
    server that this run did not start: its boards are those that hold its processes, and no other
    device stands in for them. `on_cpu`: it is known to compute on this host's processors.
    """
    source = telemetry.header.source
    boards = tuple(d for d in telemetry.header.devices if d.scope == "GPU board")
    if len({d.uuid for d in boards}) < len(boards):
        text = "a board is listed twice: its power would count double"
        return Deployment(reason=text, finding=energy("gpu_set", "fail", text))
    if boards and source in ("replay", "synthetic"):
        expected = gpus or len(boards)
        return _all_of(boards, expected)
    if boards and stranger:
        return _holding(telemetry, boards, gpus, start_ns, end_ns, own_pids)
    if boards and gpus:
        if len(boards) <= gpus:
            return _all_of(boards, gpus)
        return _chosen(telemetry, boards, gpus, start_ns, end_ns, own_pids)
    packages = tuple(d for d in telemetry.header.devices if d.scope == "CPU package")
    if packages and not gpus:
        return _processors(telemetry, packages, boards, stranger=stranger, on_cpu=on_cpu)
    reason = telemetry.header.reason or (
        "the run uses no GPU" if boards else "no device is metered"
    )
    return Deployment(reason=reason)


def _processors(
    telemetry: Telemetry,
    packages: tuple[Device, ...],
    boards: tuple[Device, ...],
    *,
    stranger: bool,
    on_cpu: bool,
) -> Deployment:
    """The processors, where they are what computed: never for a server that may be on a GPU."""
    told = telemetry.header.gpus_told
    if stranger and told == "unknown":
        why = f"whether the server is on a GPU cannot be told ({telemetry.header.reason})"
        return Deployment(reason=why)
    if stranger and not on_cpu:
        return Deployment(
            reason="what the server computes on is not known: gpu=cpu says that it is this host's "
            "processors"
        )
    if not on_cpu:
        return Deployment(reason="the engine did not compute on the processors")
    if telemetry.header.bare_hosts:
        hosts = ", ".join(telemetry.header.bare_hosts)
        text = f"the processors of {hosts} are not metered: those of the others are a part"
        return Deployment(reason=text, finding=energy("gpu_set", "fail", text))
    text = f"{len(packages)} processor packages, with everything else that ran on them"
    return Deployment(
        devices=packages, scope="CPU package", finding=energy("gpu_set", "info", text)
    )


def _holding(
    telemetry: Telemetry,
    boards: tuple[Device, ...],
    gpus: int,
    start_ns: int,
    end_ns: int,
    own_pids: tuple[int, ...] | None,
) -> Deployment:
    """The boards that held the processes of a server which somebody else started."""
    if not own_pids:
        return Deployment(
            reason="the processes of the server are not seen from here, so it is not known which "
            f"of {len(boards)} boards serve"
        )
    seen = {d.index: sharing(telemetry, d, start_ns, end_ns, own_pids) for d in boards}
    held = tuple(d for d in boards if seen[d.index].own)
    if not held:
        why = next((s.unverified for s in seen.values() if s.unverified), "others' alone")
        return Deployment(reason=f"no board of {len(boards)} lists a process of the server ({why})")
    if gpus and len(held) != gpus:
        text = f"the server is on {len(held)} boards, the run says gpus={gpus}"
        return Deployment(reason=text, finding=energy("gpu_set", "fail", text))
    uuids = ", ".join(d.uuid for d in held)
    text = f"the {len(held)} boards that hold the server's processes: {uuids}"
    return Deployment(devices=held, scope="GPU board", finding=energy("gpu_set", "pass", text))


def _all_of(boards: tuple[Device, ...], expected: int) -> Deployment:
    if len(boards) != expected:
        text = f"{len(boards)} boards are metered, the run has {expected}"
        return Deployment(reason=text, finding=energy("gpu_set", "fail", text))
    uuids = ", ".join(d.uuid for d in boards)
    found = energy("gpu_set", "pass", f"all {expected} boards are metered: {uuids}")
    return Deployment(devices=boards, scope="GPU board", finding=found)


def _chosen(
    telemetry: Telemetry,
    boards: tuple[Device, ...],
    gpus: int,
    start_ns: int,
    end_ns: int,
    own_pids: tuple[int, ...] | None,
) -> Deployment:
    """More boards than the run was given: those it used, then the first of the visible ones."""
    used = [d for d in boards if _used(telemetry, d, start_ns, end_ns, own_pids)]
    if len(used) > gpus:
        text = f"the run used {len(used)} boards, {gpus} were asked for"
        return Deployment(reason=text, finding=energy("gpu_set", "fail", text))
    chosen = (used + [d for d in boards if d not in used])[:gpus]
    uuids = ", ".join(d.uuid for d in chosen)
    if len(used) == gpus:
        found = energy("gpu_set", "pass", f"the boards that the run used: {uuids}")
    else:
        text = f"seen in use: {len(used)} of {gpus} boards; the first of the visible ones are taken"
        found = energy("gpu_set", "warn", f"{text}: {uuids}")
    return Deployment(devices=tuple(chosen), scope="GPU board", finding=found)


def _used(
    telemetry: Telemetry,
    device: Device,
    start_ns: int,
    end_ns: int,
    own_pids: tuple[int, ...] | None,
) -> bool:
    """The run's own processes were seen on it, or its memory filled after the telemetry began."""
    if sharing(telemetry, device, start_ns, end_ns, own_pids).own:
        return True
    t_ns, used = telemetry.of(device.index, "memory").read("used_bytes")
    during = used[(t_ns >= start_ns) & (t_ns <= end_ns)]
    return bool(len(during)) and float(during.max() - used[0]) > USED_BYTES
