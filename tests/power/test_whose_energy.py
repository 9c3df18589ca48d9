"""Energy belongs to the device that served: never to one that happened to be there."""

from __future__ import annotations

from typing import Any

import pytest
from power_support import at, board_telemetry, header, load_part

from bench.meters.synthetic import constant
from bench.power.devices import Deployment
from bench.power.measure import measure, metered
from bench.power.sharing import SCREEN_BYTES, sharing
from bench.values.telemetry import Device, Telemetry, Told

PACKAGE = Device(index=0, uuid="intel-rapl:0", name="package-0", scope="CPU package")
SERVER = 4000
ENGINE = [4711, 2**34, [SERVER, 1], "compute", "VLLM::EngineCor"]


def boards(on: dict[int, list[list[Any]]], count: int = 2) -> Telemetry:
    """Boards with processes on them: [pid, bytes, parents, kind, name]."""

    def listed(line: dict[str, Any]) -> dict[str, Any]:
        return {**line, "v": on.get(line["d"], [])} if line["k"] == "processes" else line

    made = board_telemetry(constant(300.0), 60.0, edit=listed, boards=count)
    return header(made, source="nvml", note=None, gpus_told="these")


def processors(told: Told | None, reason: str | None = None) -> Telemetry:
    """A host whose processors alone are metered."""
    made = board_telemetry(constant(80.0), 60.0)
    return header(made, source="rapl", devices=(PACKAGE,), gpus_told=told, reason=reason)


def deployed(
    trace: Telemetry, gpus: int = 0, pids: tuple[int, ...] | None = (SERVER,), **how: Any
) -> Deployment:
    """The devices of a server that somebody else started."""
    found = metered(
        trace,
        gpus=gpus,
        marks={},
        own_pids=pids,
        start_ns=at(5),
        end_ns=at(58),
        stranger=True,
        **{"on_cpu": False, **how},
    )
    return found.deployment


def test_an_endpoint_is_the_boards_that_hold_its_processes() -> None:
    found = deployed(boards({1: [ENGINE]}))
    assert [d.index for d in found.devices] == [1]
    assert found.finding is not None
    assert (found.finding.severity, found.finding.code) == ("pass", "gpu_set")


@pytest.mark.parametrize(
    ("trace", "pids", "words"),
    [
        (boards({}), (SERVER,), "no board of 2 lists a process of the server"),
        (boards({0: [[999, 2**34, [1], "compute", "other"]]}), (SERVER,), "no board of 2"),
        (boards({0: [[999, 2**34, None, "compute", None]]}), (SERVER,), "the container hides"),
        (boards({0: [ENGINE]}), None, "are not seen from here"),
    ],
)
def test_an_endpoint_whose_boards_are_not_known_has_no_energy(
    trace: Telemetry, pids: tuple[int, ...] | None, words: str
) -> None:
    found = deployed(trace, pids=pids)
    assert found.devices == ()
    assert words in (found.reason or "")
    how = metered(
        trace, gpus=0, marks={}, own_pids=pids, start_ns=at(5), end_ns=at(58), stranger=True
    )
    power = measure(how, [load_part(8.0, 55.0)], max_error_rate=0.01)
    assert {m.value for m in power.metrics.values()} == {None}


def test_an_endpoint_on_other_boards_than_it_says() -> None:
    found = deployed(boards({0: [ENGINE], 1: [ENGINE]}), gpus=1)
    assert (found.devices, found.reason) == ((), "the server is on 2 boards, the run says gpus=1")


@pytest.mark.parametrize(
    ("told", "reason", "on_cpu", "words"),
    [
        ("unknown", "NVML does not start", True, "whether the server is on a GPU cannot be told"),
        ("none", "NVML library not found", False, "gpu=cpu says that it is this host's"),
        (None, None, False, "gpu=cpu says"),
    ],
)
def test_processors_do_not_stand_in_for_a_board(
    told: Told | None, reason: str | None, on_cpu: bool, words: str
) -> None:
    """RAPL was given as the energy of a server on a GPU."""
    found = deployed(processors(told, reason), on_cpu=on_cpu)
    assert found.devices == ()
    assert words in (found.reason or "")


def test_processors_are_the_deployment_of_what_computes_on_them() -> None:
    assert deployed(processors("none"), on_cpu=True).scope == "CPU package"
    own = metered(
        processors("none"), gpus=0, marks={}, own_pids=(1,), start_ns=at(5), end_ns=at(58)
    )
    assert own.deployment.scope == "CPU package"
    strayed = metered(
        processors("none"),
        gpus=0,
        marks={},
        own_pids=(1,),
        start_ns=at(5),
        end_ns=at(58),
        on_cpu=False,
    )
    assert strayed.deployment.devices == ()


SCREEN = [77, SCREEN_BYTES // 4, [1], "graphics", "Xorg"]


@pytest.mark.parametrize(
    ("others", "foreign", "drawing"),
    [
        ([], (), ()),
        ([SCREEN], (), (77,)),
        ([[77, 2 * SCREEN_BYTES, [1], "graphics", "game"]], (77,), ()),
        ([[88, None, [1], "compute", "python"]], (88,), ()),
        ([[99, 2**25, [1], "compute", "nvidia-cuda-mps"]], (), ()),
        ([[99, 2**25, [1], "compute", "nvidia-cuda-mps"], [88, 9, [1], "mps", "x"]], (88,), ()),
        ([[55, 2**30, [SERVER], "mps", "worker"]], (), ()),
    ],
)
def test_who_else_is_on_a_board(
    others: list[Any], foreign: tuple[int, ...], drawing: tuple[int, ...]
) -> None:
    trace = boards({0: [ENGINE, *others]}, 1)
    found = sharing(trace, trace.header.devices[0], at(5), at(50), (SERVER,))
    assert (found.own, found.foreign, found.drawing) == (True, foreign, drawing)


def test_a_screen_is_said_and_voids_nothing() -> None:
    trace = boards({0: [ENGINE, SCREEN]}, 1)
    how = metered(trace, gpus=1, marks={}, own_pids=(SERVER,), start_ns=at(5), end_ns=at(58))
    power = measure(how, [load_part(8.0, 55.0)], max_error_rate=0.01)
    (said,) = [f for f in power.findings if f.code == "gpu_shared"]
    assert (said.severity, "process 77" in said.text) == ("warn", True)


def test_traces_from_before_kinds_were_kept_are_read() -> None:
    trace = boards({0: [[4711, 2**34, [SERVER, 1]]]}, 1)
    found = sharing(trace, trace.header.devices[0], at(5), at(50), (SERVER,))
    assert (found.own, found.foreign) == (True, ())
