"""Judgement of a machine: one finding for each thing that stops a run or costs it a number.

`fail`: the run that was asked for would not start, or its numbers would not count. `warn`: it runs,
and something is lost or uncertain. Every text ends with what to do.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.values.finding import Finding, finding
from bench.values.machine import Board, Machine

GB = 1e9
_LEAST_RESULTS_BYTES = 1e9
_LEAST_SHM_BYTES = 1e9
_RESIDUE_BYTES = 1e9
"""Memory in use on a board that nobody is listed for: other containers, or a process that died."""
_SLOWED = {
    0x08: "hardware slowdown",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "the power brake",
}
_NEEDED = {
    "energy_mj": "energy comes from integrated power and is not ranked against counters",
    "instant_mw": "the energy counter has no second sensor to be checked against",
    "used_bytes": "memory the engine reserves is not measured",
    "event_reasons": "throttling is not seen",
}


def problems(machine: Machine, gpus: int) -> tuple[Finding, ...]:
    """Everything wrong for a run on `gpus` boards, failures first; empty when nothing is."""
    found = (
        *_boards(machine, gpus),
        *(f for board in machine.boards for f in _board(board)),
        *_sensors(machine),
        *_host(machine),
        *_order(machine),
        *_install(machine, gpus),
        *_store(machine, gpus),
    )
    return tuple(sorted(found, key=lambda f: f.severity != "fail"))


def _boards(machine: Machine, gpus: int) -> Iterator[Finding]:
    reason = machine.board_reason
    if len(machine.boards) < gpus:
        why = reason or f"this machine has {len(machine.boards)}"
        remedy = "ask for fewer, or gpus=0 with a small model"
        if machine.gpus_told == "unknown":
            remedy = "see nvidia-smi, mend the driver or CUDA_VISIBLE_DEVICES"
        text = f"gpus={gpus}, but {why}: {remedy}"
        yield finding("gpus", "fail", text)
    elif reason is not None and (machine.gpus_told == "unknown" or "not loaded" in reason):
        text = f"{reason}: reload the driver (nvidia-smi says more), or mend CUDA_VISIBLE_DEVICES"
        yield finding("nvml", "fail", text)
    for text in machine.silent:
        yield finding(
            "gpu_lost", "warn", f"{text}: reset it (nvidia-smi -r) or restart the machine"
        )
    slices = [b for b in machine.boards if b.device.slice_of]
    if slices and gpus > 1:
        text = f"gpus={gpus}, but CUDA gives a process one MIG slice at most: gpus=1"
        yield finding("gpus", "fail", text)


def _board(board: Board) -> Iterator[Finding]:
    device = board.device
    name = f"GPU {device.index}"
    flag = device.index if device.nvml_index is None else device.nvml_index
    if device.mig:
        what = f"is a MIG slice of {device.slice_of}" if device.slice_of else "is split (MIG)"
        text = f"{name} {what}, so there is no energy: nvidia-smi -i {flag} -mig 0"
        yield finding("mig", "warn", text)
    if device.persistence is False:
        text = (
            f"persistence mode of {name} is off, the driver may unload: nvidia-smi -i {flag} -pm 1"
        )
        yield finding("persistence", "warn", text)
    limit, default = board.limit_w, device.power_limit_default_w
    if limit is not None and default is not None and limit < default - 0.5:
        remedy = f"nvidia-smi -i {flag} -pl {default:.0f}"
        text = f"{name} is limited to {limit:.0f} of {default:.0f} W: {remedy}"
        yield finding("power_limit", "warn", text)
    if board.processes:
        pids = ", ".join(map(str, board.processes))
        text = f"{name} is in use, a run on it would not be valid: stop process {pids}"
        yield finding("gpu_shared", "fail", text)
    elif (board.used_bytes or 0) > _RESIDUE_BYTES:
        text = (
            f"{(board.used_bytes or 0) / GB:.1f} GB of {name} are in use and no process is listed: "
            "stop what runs in other containers (nvidia-smi on the host)"
        )
        yield finding("gpu_memory", "warn", text)
    if board.drawing:
        pids = ", ".join(map(str, board.drawing))
        text = f"{name} draws a screen (process {pids}), which takes power: log out of the desktop"
        yield finding("gpu_graphics", "warn", text)
    if board.processes_why is not None:
        text = (
            f"{name} does not list its processes ({board.processes_why}): exclusivity unverified; "
            "run in the host's PID namespace (docker --pid=host)"
        )
        yield finding("gpu_processes", "warn", text)
    slowed = [word for bit, word in _SLOWED.items() if (board.event_reasons or 0) & bit]
    if slowed:
        text = f"{name} is being slowed by {', '.join(slowed)}: cool it, or see to its supply"
        yield finding("throttling", "warn", text)


def _sensors(machine: Machine) -> Iterator[Finding]:
    boards = {b.device.index for b in machine.boards}
    for name, lost in _NEEDED.items():
        blank = [
            s
            for s in machine.sensors
            if s.name == name and s.why is not None and s.device in boards
        ]
        if boards and blank:
            text = f"no {name} ({blank[0].why}): {lost}; a newer driver may have it"
            yield finding(f"sensor_{name}", "warn", text)


def _host(machine: Machine) -> Iterator[Finding]:
    if machine.host_reason is None:
        return
    remedy = "use a machine with RAPL, or read its power at the socket"
    if "root" in machine.host_reason:
        remedy = "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
    lost = "the host's power" if machine.boards else "power and energy"
    yield finding(
        "host_power", "warn", f"{machine.host_reason}, so {lost} are not measured: {remedy}"
    )


def _order(machine: Machine) -> Iterator[Finding]:
    if machine.cuda_device_order == "FASTEST_FIRST" or (
        machine.cuda_device_order is None and len({b.device.name for b in machine.boards}) > 1
    ):
        text = (
            "boards are unlike and CUDA numbers the fastest first, NVML by PCI bus: "
            "export CUDA_DEVICE_ORDER=PCI_BUS_ID"
        )
        yield finding("cuda_order", "warn", text)


def _install(machine: Machine, gpus: int) -> Iterator[Finding]:
    found = machine.install
    if found.vllm is None:
        text = "vLLM is not installed here: make demo, or pip install with the extra [vllm]"
        yield finding("engine", "fail", text)
        return
    if not gpus:
        if found.torch_cuda is not None:
            there = "" if machine.boards else ", there is no GPU"
            text = f"torch is for CUDA {found.torch_cuda}{there}, gpus=0: make demo FLAVOUR=cpu"
            yield finding("engine", "fail", text + (", or gpus=1" if machine.boards else ""))
        return
    if found.torch_cuda is None:
        yield finding("engine", "fail", "torch is built without CUDA: make demo FLAVOUR=cuda")
    elif machine.cuda is not None and _major(machine.cuda) < _major(found.torch_cuda):
        text = (
            f"the driver {machine.driver} supports CUDA {machine.cuda}, torch is built for "
            f"{found.torch_cuda}: install a newer driver"
        )
        yield finding("driver", "fail", text)


def _major(version: str) -> int:
    return int(version.partition(".")[0])


def _store(machine: Machine, gpus: int) -> Iterator[Finding]:
    found, hub = machine.store, machine.hub
    if found.present is False:
        needs, free = found.needs_bytes, found.free_bytes
        if needs is not None and free is not None and needs > free:
            text = (
                f"{found.checkpoint} takes {needs / GB:.1f} GB, {found.folder} has "
                f"{free / GB:.1f} GB free: make room, or set HF_HOME"
            )
            yield finding("disk", "fail", text)
        if not hub.reachable:
            why = "HF_HUB_OFFLINE is set" if hub.offline else f"{hub.endpoint}: {hub.why}"
            text = (
                f"{found.checkpoint} is not here and cannot be fetched ({why}): copy it and set "
                "model.weights=FOLDER, or name a mirror in HF_ENDPOINT"
            )
            yield finding("hub", "fail", text)
        elif found.gated and hub.token is None:
            text = (
                f"{found.checkpoint} is gated and there is no token: accept its terms, set HF_TOKEN"
            )
            yield finding("hub_token", "fail", text)
    results, shared = found.results_free_bytes, found.shm_free_bytes  # 0 is a full disk
    if results is not None and results < _LEAST_RESULTS_BYTES:
        text = f"{found.results_folder} has less than 1 GB free: make room, or set results_dir"
        yield finding("results_disk", "warn", text)
    if gpus > 1 and shared is not None and shared < _LEAST_SHM_BYTES:
        text = (
            f"/dev/shm has {shared / 1e6:.0f} MB, too little for {gpus} GPUs: "
            "docker run --ipc=host, or --shm-size=8g"
        )
        yield finding("shared_memory", "warn", text)
