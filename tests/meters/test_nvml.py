"""The NVML adapter: every value by its type, every refusal by its reason, and a host without."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pynvml
import pytest
from fake_nvml import FakeNvml
from power_support import TurnedClock

from bench.meters.nvml import NvmlSource, ancestors, decode_field
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
