"""The nvidia-ml-py binding over boards that are not there, with its real error classes.

Structures are the binding's own, so that decoding is the real thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import pynvml

_FIELDS = {186: 412_345, 185: 400_000, 83: 9_876_543_210, 82: 55}


class FakeNvml:
    """What is called of the pynvml module, over boards that are not there.

    `unsupported` names functions and field ids that answer NOT_SUPPORTED, `errors` those with
    another return code; it may be changed while a test goes on. A number in `lost` is a board that
    fell off the bus: nothing of it answers.
    """

    def __init__(
        self,
        boards: int = 1,
        unsupported: Iterable[str | int] = (),
        start: type[Exception] | None = None,
        processes: Iterable[tuple[int, int | None]] = ((100, 2**30),),
        mps: Iterable[tuple[int, int | None]] = (),
        errors: Mapping[str | int, int] | None = None,
    ) -> None:
        self.boards = boards
        refused = dict.fromkeys(unsupported, pynvml.NVML_ERROR_NOT_SUPPORTED)
        self.errors: dict[str | int, int] = {**refused, **(errors or {})}
        self.lost: set[int] = set()
        self.clients = tuple(mps)
        self.start = start
        self.listed = tuple(processes)
        self.mig = 0
        self.shut = 0

    def __getattr__(self, name: str) -> Any:
        """Constants and error classes are the binding's own; other functions are answered."""
        if not name.startswith("nvml") or name == "nvmlMemory_v2":
            return getattr(pynvml, name)
        answer = getattr(self, f"_{name}")

        def call(*args: Any, **words: Any) -> Any:
            if name in self.errors:
                raise pynvml.NVMLError(self.errors[name])
            if name.startswith("nvmlDeviceGet") and args and args[0] in self.lost:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
            return answer(*args, **words)

        return call

    def _nvmlInit(self) -> None:  # noqa: N802 -- the binding's names
        if self.start is not None:
            raise self.start

    def _nvmlShutdown(self) -> None:  # noqa: N802
        self.shut += 1

    def _nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self.boards

    def _nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def _nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return f"GPU-{'abcdefgh'[handle]}000"

    def _nvmlDeviceGetPciInfo(self, handle: int) -> Any:  # noqa: N802
        return SimpleNamespace(busId=f"00000000:{handle + 1:02X}:00.0")

    def _nvmlDeviceGetName(self, handle: int) -> bytes:  # noqa: N802
        return b"NVIDIA Nothing"

    def _nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "570.00"

    def _nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802
        return 12080

    def _nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:  # noqa: N802
        return 650_000

    def _nvmlDeviceGetPowerManagementDefaultLimit(self, handle: int) -> int:  # noqa: N802
        return 700_000

    def _nvmlDeviceGetMigMode(self, handle: int) -> list[int]:  # noqa: N802
        return [self.mig, self.mig]

    def _nvmlDeviceGetPersistenceMode(self, handle: int) -> int:  # noqa: N802
        return 1

    def _nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:  # noqa: N802
        return 1980

    def _nvmlDeviceGetTemperature(self, handle: int, kind: int) -> int:  # noqa: N802
        return 61

    def _nvmlDeviceGetCurrentClocksEventReasons(self, handle: int) -> int:  # noqa: N802
        return 4

    def _nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=97, memory=40)

    def _nvmlDeviceGetViolationStatus(self, handle: int, policy: int) -> Any:  # noqa: N802
        return SimpleNamespace(referenceTime=1, violationTime=1000 * policy)

    def _nvmlDeviceGetMemoryInfo(self, handle: int, version: int | None = None) -> Any:  # noqa: N802
        if version is None:
            return SimpleNamespace(total=85_520_809_984, used=70_500_000_000, free=15_020_809_984)
        assert version == pynvml.nvmlMemory_v2
        return SimpleNamespace(
            total=85_520_809_984, reserved=500_000_000, used=70_000_000_000, free=15_020_809_984
        )

    def _nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=p, usedGpuMemory=used) for p, used in self.listed]

    def _nvmlDeviceGetMPSComputeRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=p, usedGpuMemory=used) for p, used in self.clients]

    def _nvmlDeviceGetFieldValues(self, handle: int, ids: list[Any]) -> Any:  # noqa: N802
        values = (pynvml.c_nvmlFieldValue_t * len(ids))()
        for value, wanted in zip(values, ids, strict=True):
            number, scope = wanted if isinstance(wanted, tuple) else (wanted, 0)
            value.fieldId, value.scopeId = number, scope
            if scope:
                value.nvmlReturn = pynvml.NVML_ERROR_NOT_SUPPORTED
            elif number in self.errors:
                value.nvmlReturn = self.errors[number]
            elif number == 83:
                value.valueType = pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
                value.value.ullVal = _FIELDS[number]
            else:
                value.valueType = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
                value.value.uiVal = _FIELDS[number]
        return values
