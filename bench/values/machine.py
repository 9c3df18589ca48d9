"""What a machine has to serve and measure with, as it was found; `bench.host.doctor` judges it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.values.telemetry import Device, Told


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """One reading of one device. `why` says why it is not supported; None: it is.

    `update_s` is the median time between changes of its value while it was polled every `polled_s`;
    None when it did not change twice. `read_s` is the median time of the call that it comes with.
    """

    device: int
    name: str
    why: str | None = None
    update_s: float | None = None
    polled_s: float | None = None
    read_s: float | None = None
    last: float | int | None = None


@dataclass(frozen=True, kw_only=True)
class Board:
    """One GPU now. `processes` are the ids of those that compute on it (None: not told),
    `drawing` of those that draw a screen on it."""

    device: Device
    used_bytes: int | None = None
    free_bytes: int | None = None
    processes: tuple[int, ...] | None = None
    drawing: tuple[int, ...] = ()
    processes_why: str | None = None
    event_reasons: int | None = None
    limit_w: float | None = None


@dataclass(frozen=True, kw_only=True)
class Install:
    """The engine's packages; None: not installed. `torch_cuda` is what torch was built for."""

    vllm: str | None = None
    package: str | None = None
    torch: str | None = None
    torch_cuda: str | None = None


@dataclass(frozen=True, kw_only=True)
class Hub:
    """Access to the model hub. `reachable` None: not tried. `token` says where one lies."""

    endpoint: str
    offline: bool = False
    reachable: bool | None = None
    why: str | None = None
    token: Literal["environment", "file"] | None = None


@dataclass(frozen=True, kw_only=True)
class Store:
    """The model's checkpoint: how large, whether it is here, and the room where it would go.

    `present` None: it is not to be had from the hub (bundled, local, dummy). Bytes.
    """

    checkpoint: str | None = None
    gated: bool = False
    present: bool | None = None
    needs_bytes: int | None = None
    folder: str = ""
    free_bytes: int | None = None
    results_folder: str = ""
    results_free_bytes: int | None = None
    shm_free_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Everything found. Reasons say why there are no boards, no meter of the host; `gpus_told`
    whether that means none. `silent` are boards that do not answer."""

    boards: tuple[Board, ...] = ()
    gpus_told: Told | None = None
    silent: tuple[str, ...] = ()
    sensors: tuple[Sensor, ...] = ()
    board_reason: str | None = None
    host_domains: tuple[str, ...] = ()
    host_reason: str | None = None
    driver: str | None = None
    cuda: str | None = None
    cuda_visible_devices: str | None = None
    cuda_device_order: str | None = None
    install: Install
    hub: Hub
    store: Store
