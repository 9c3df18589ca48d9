"""The NVML adapter: every value by its type, every refusal by its reason, and a host without."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pynvml
import pytest
from fake_nvml import FakeNvml
from power_support import TurnedClock

from bench.meters.gpus import list_gpus
from bench.meters.nvml import NvmlSource, ancestors, decode_field
from bench.meters.nvml_library import NO_SUCH_CALL
from bench.meters.sensors import survey
from bench.meters.source import MeterUnavailableError


def no_driver_here() -> bool:
    """Whether the real library is missing, as on most machines that run these tests."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return True
    except pynvml.NVMLError:
        return False
    pynvml.nvmlShutdown()
    return False


@pytest.mark.skipif(not no_driver_here(), reason="this machine has NVML")
def test_the_real_binding_on_a_host_without_a_gpu() -> None:
    with pytest.raises(MeterUnavailableError, match=r"^NVML library not found$"):
        NvmlSource()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (pynvml.NVMLError_LibraryNotFound, "NVML library not found"),
        (pynvml.NVMLError_DriverNotLoaded, "NVIDIA driver not loaded"),
        (pynvml.NVMLError_NoPermission, "NVML does not start (Insufficient Permissions)"),
        (
            pynvml.NVMLError_LibRmVersionMismatch,
            "NVML does not start (RM has detected an NVML/RM version mismatch.)",
        ),
    ],
)
def test_why_there_is_no_nvml(error: type[Exception], said: str) -> None:
    with pytest.raises(MeterUnavailableError) as caught:
        NvmlSource(TurnedClock(), {}, FakeNvml(start=_made(error)))
    assert str(caught.value) == said


def _made(error: type[Exception]) -> type[Exception]:
    """The binding's classes carry their code on the instance: make them raisable bare."""
    codes = {
        pynvml.NVMLError_LibraryNotFound: pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
        pynvml.NVMLError_DriverNotLoaded: pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVMLError_NoPermission: pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVMLError_LibRmVersionMismatch: pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
    return pynvml.NVMLError(codes[error])  # type: ignore[no-any-return]


def test_no_visible_gpu_is_no_meter_and_nvml_is_released() -> None:
    fake = FakeNvml()
    with pytest.raises(MeterUnavailableError, match="CUDA_VISIBLE_DEVICES"):
        NvmlSource(TurnedClock(), {"CUDA_VISIBLE_DEVICES": ""}, fake)
    assert fake.shut == 1


def test_devices_come_in_cudas_order_by_uuid() -> None:
    source = NvmlSource(TurnedClock(), {"CUDA_VISIBLE_DEVICES": "GPU-c,0"}, FakeNvml(boards=4))
    assert [(d.index, d.uuid) for d in source.devices()] == [(0, "GPU-c000"), (1, "GPU-a000")]


def test_the_values_of_a_board() -> None:
    source = NvmlSource(TurnedClock(), {}, FakeNvml())
    (device,) = source.devices()
    assert (device.power_limit_w, device.power_limit_default_w) == (650.0, 700.0)
    assert (device.mig, device.persistence) == (False, True)
    header = source.header()
    assert (header.driver, header.cuda) == ("570.00", "12.8")
    power, energy = source.power(0), source.energy(0)
    assert power is not None
    assert energy is not None
    assert power.values == {"instant_mw": 412_345, "memory_mw": None}
    assert power.why == {"memory_mw": "Not Supported"}
    assert energy.values == {"energy_mj": 9_876_543_210}  # above 2^32: read as 64 bits
    memory = source.memory(0)
    assert memory is not None
    assert memory.values["reserved_bytes"] == 500_000_000
    state = source.state(0)
    assert state is not None
    assert state.values["temperature_c"] == 61
    assert state.values["violation_thermal_ns"] == 1000
    assert state.values["event_reasons"] == 4


def test_what_is_not_supported_is_null_with_a_reason() -> None:
    names = ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetTemperature", "nvmlDeviceGetMigMode")
    source = NvmlSource(TurnedClock(), {}, FakeNvml(unsupported=[83, 186, *names]))
    assert source.devices()[0].mig is False  # a board without MIG is not split
    assert source.devices()[0].memory_total_bytes is None
    sensors = {s.name: s for s in survey(source, TurnedClock(), 0.5)}
    for name in ("instant_mw", "energy_mj", "temperature_c", "used_bytes"):
        assert (sensors[name].why, sensors[name].last) == ("Not Supported", None)
    assert (sensors["sm_mhz"].why, sensors["sm_mhz"].last) == (None, 1980)


def test_a_process_list_that_is_refused() -> None:
    source = NvmlSource(
        TurnedClock(), {}, FakeNvml(unsupported=["nvmlDeviceGetComputeRunningProcesses"])
    )
    assert source.processes(0) == "Not Supported"


def test_the_average_is_read_by_itself_and_memory_in_its_first_version_too() -> None:
    source = NvmlSource(TurnedClock(), {}, FakeNvml())
    average = source.average(0)
    assert average is not None
    assert average.values == {"average_mw": 400_000}
    assert average.why == {}
    # What the second version calls reserved, the first counts as used.
    second = source.memory(0)
    assert second is not None
    first = source.memory_v1(0)
    assert first == {"total": 85_520_809_984, "used": 70_500_000_000, "free": 15_020_809_984}
    assert second.values["used_bytes"] == 70_000_000_000
    assert second.values["reserved_bytes"] == first["used"] - 70_000_000_000


def test_what_the_self_check_asks_of_a_board_that_refuses_it() -> None:
    source = NvmlSource(TurnedClock(), {}, FakeNvml(unsupported=[185, "nvmlDeviceGetMemoryInfo"]))
    average = source.average(0)
    assert average is not None
    assert (average.values, average.why) == (
        {"average_mw": None},
        {"average_mw": "Not Supported"},
    )
    assert source.memory_v1(0) is None


def test_a_board_that_is_lost_while_it_is_read_gives_reasons_and_no_numbers() -> None:
    fake = FakeNvml(boards=2)
    source = NvmlSource(TurnedClock(), {}, fake)
    fake.lost = {1}
    reads = (source.power, source.energy, source.average, source.state, source.memory)
    for read in reads:
        lost, there = read(1), read(0)
        assert lost is not None
        assert there is not None
        assert set(lost.values.values()) == {None}
        assert lost.why == dict.fromkeys(lost.values, "GPU is lost")
        assert any(value is not None for value in there.values.values())
    assert source.memory_v1(1) is None
    assert source.processes(1) == "GPU is lost"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (pynvml.NVML_ERROR_NOT_SUPPORTED, "Not Supported"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "Insufficient Permissions"),
        (pynvml.NVML_ERROR_GPU_IS_LOST, "GPU is lost"),
        (pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, NO_SUCH_CALL),
    ],
)
def test_every_call_may_be_refused_and_says_so_in_its_own_place(code: int, said: str) -> None:
    """Each refusal alone: one reading has no value, for that reason; nothing else changes."""
    whole = readings(FakeNvml())
    for name, told in WHERE.items():
        found = readings(FakeNvml(errors={name: code}))
        changed = {key for key in whole if found[key] != whole[key]}
        assert changed == set(told), name
        for key in told:
            assert found[key] == (None, said), name


WHERE: dict[str | int, tuple[str, ...]] = {
    186: ("instant_mw",),
    185: ("average_mw",),
    83: ("energy_mj",),
    82: ("memory_temperature_c",),
    "nvmlDeviceGetEnforcedPowerLimit": ("power_limit_w", "limit_mw"),
    "nvmlDeviceGetPowerManagementDefaultLimit": ("power_limit_default_w",),
    "nvmlDeviceGetPersistenceMode": ("persistence",),
    "nvmlDeviceGetPciInfo": ("pci_bus_id",),
    "nvmlDeviceGetClockInfo": ("sm_mhz", "memory_mhz"),
    "nvmlDeviceGetTemperature": ("temperature_c",),
    "nvmlDeviceGetCurrentClocksEventReasons": ("event_reasons",),
    "nvmlDeviceGetUtilizationRates": ("utilisation_pct",),
    "nvmlDeviceGetViolationStatus": tuple(
        f"violation_{name}_ns" for name in ("power", "thermal", "board", "reliability")
    ),
}
"""Where it shows that a call, or a field, is refused."""


def readings(fake: FakeNvml) -> dict[str, tuple[object, str | None]]:
    """Value and reason of everything that one board gives."""
    source = NvmlSource(TurnedClock(), {}, fake)
    (device,) = source.devices()
    names = ("power_limit_w", "power_limit_default_w", "persistence", "pci_bus_id")
    found = {name: (getattr(device, name), device.why.get(name)) for name in names}
    for reading in (source.power(0), source.energy(0), source.state(0), source.memory(0)):
        assert reading is not None
        found |= {n: (v, reading.why.get(n)) for n, v in reading.values.items()}
    return found


def test_versions_that_are_refused_are_none() -> None:
    names = ("nvmlSystemGetDriverVersion", "nvmlSystemGetCudaDriverVersion_v2")
    header = NvmlSource(TurnedClock(), {}, FakeNvml(unsupported=names)).header()
    assert (header.driver, header.cuda) == (None, None)


def test_a_split_board_is_known_as_one_and_whether_it_is_may_be_unknown() -> None:
    fake = FakeNvml()
    fake.mig = 1
    assert NvmlSource(TurnedClock(), {}, fake).devices()[0].mig is True
    (gpu,) = list_gpus({}, fake).devices
    assert gpu.mig_enabled
    refused = FakeNvml(errors={"nvmlDeviceGetMigMode": pynvml.NVML_ERROR_NO_PERMISSION})
    (device,) = NvmlSource(TurnedClock(), {}, refused).devices()
    assert (device.mig, device.why["mig"]) == (None, "Insufficient Permissions")


def test_a_slice_is_no_board_of_nvmls_list() -> None:
    """CUDA_VISIBLE_DEVICES with a slice's UUID: metering it would give the whole board's power."""
    env = {"CUDA_VISIBLE_DEVICES": "MIG-11111111-2222-3333-4444-555555555555"}
    with pytest.raises(MeterUnavailableError, match="CUDA_VISIBLE_DEVICES"):
        NvmlSource(TurnedClock(), env, FakeNvml())
    assert list_gpus(env, FakeNvml()).devices == ()


def test_clients_of_an_mps_server_are_seen_beside_the_server() -> None:
    fake = FakeNvml(processes=[(100, None)], mps=[(200, 2**30), (100, 5)])
    listed = NvmlSource(TurnedClock(), {}, fake).processes(0)
    assert isinstance(listed, tuple)
    assert [(p.pid, p.used_bytes) for p in listed] == [(100, None), (200, 2**30)]
    fake.errors["nvmlDeviceGetMPSComputeRunningProcesses"] = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
    listed = NvmlSource(TurnedClock(), {}, fake).processes(0)
    assert isinstance(listed, tuple)
    assert [p.pid for p in listed] == [100]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
            "NVML library not found",
        ),
        (
            pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
            "NVIDIA driver not loaded",
        ),
        (
            pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
            "NVML does not start (RM has detected an NVML/RM version mismatch.)",
        ),
    ],
)
def test_why_no_gpu_is_listed(code: int, reason: str) -> None:
    assert list_gpus({}, FakeNvml(start=pynvml.NVMLError(code))).reason == reason


def test_a_board_that_cannot_be_described_costs_itself_alone() -> None:
    """It used to end the list: a machine with one dead board had no GPU, and no metering."""
    fake = FakeNvml(boards=2)
    fake.lost = {1}
    found = list_gpus({}, fake)
    assert ([d.index for d in found.devices], found.told, fake.shut) == ([0], "these", 1)
    assert found.silent == ("GPU 1 does not answer (GPU is lost)",)
    source = NvmlSource(TurnedClock(), {}, fake)
    assert [d.nvml_index for d in source.devices()] == [0]
    assert source.header().silent == found.silent
    fake.lost = {0, 1}
    nothing = list_gpus({}, fake)
    assert (nothing.devices, nothing.told) == ((), "unknown")


def test_the_list_of_gpus_and_what_may_be_unknown_of_them() -> None:
    refused = FakeNvml(unsupported=["nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetMigMode"])
    found = list_gpus({}, refused)
    (gpu,) = found.devices
    assert (gpu.uuid, gpu.name, gpu.memory_total_bytes) == (
        "GPU-a000",
        "NVIDIA Nothing",
        85_520_809_984,
    )
    assert (gpu.power_limit_w, gpu.mig_enabled) == (None, False)
    assert (found.driver_version, found.reason) == ("570.00", None)
    assert list_gpus({}, FakeNvml()).devices[0].power_limit_w == 650.0


def test_every_call_that_is_faked_is_one_of_the_binding() -> None:
    faked = [name[1:] for name in vars(FakeNvml) if name.startswith("_nvml")]
    assert len(faked) > 20
    assert [name for name in faked if not callable(getattr(pynvml, name, None))] == []


@pytest.mark.parametrize(
    ("kind", "member", "value"),
    [
        ("DOUBLE", "dVal", 12.5),
        ("UNSIGNED_INT", "uiVal", 4_000_000_000),
        ("UNSIGNED_LONG", "ulVal", 7),
        ("UNSIGNED_LONG_LONG", "ullVal", 2**63),
        ("SIGNED_LONG_LONG", "sllVal", -(2**40)),
        ("SIGNED_INT", "siVal", -3),
        ("UNSIGNED_SHORT", "usVal", 65_535),
    ],
)
def test_fields_are_decoded_by_their_type(kind: str, member: str, value: float) -> None:
    field = pynvml.c_nvmlFieldValue_t()
    field.valueType = getattr(pynvml, f"NVML_VALUE_TYPE_{kind}")
    setattr(field.value, member, value)
    assert decode_field(pynvml, field) == (value, None)


def test_a_field_with_a_return_code_has_no_value() -> None:
    """The structure still holds a 0 then: it must not get out."""
    field = pynvml.c_nvmlFieldValue_t()
    field.valueType = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
    field.nvmlReturn = pynvml.NVML_ERROR_NOT_SUPPORTED
    assert decode_field(pynvml, field) == (None, "Not Supported")
    field.nvmlReturn = pynvml.NVML_SUCCESS
    field.valueType = 99
    assert decode_field(pynvml, field) == (None, "unknown value type 99")


def test_ancestors_from_proc(tmp_path: Path) -> None:
    for pid, parent in ((30, 20), (20, 1)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a) b) S {parent} 0 0")
    assert ancestors(30, tmp_path) == (20, 1)
    assert ancestors(99, tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_this_processs_own_ancestors() -> None:
    found = ancestors(os.getpid())
    assert found is not None
    assert found[0] == os.getppid()
