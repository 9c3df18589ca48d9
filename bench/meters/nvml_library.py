"""NVML opened in one place: which boards and slices there are, which do not answer, and why.

Every caller of NVML goes through here, so that one dead board, one missing symbol or one refused
call costs what it concerns and nothing else, and no error ever reads as "this machine has no GPU".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from bench.meters.source import MeterUnavailableError
from bench.values.count_words import count
from bench.values.telemetry import Told

NO_SUCH_CALL = "Not Supported (this driver has no such call)"
_OLD_SLICE_NAME = re.compile(r"MIG-(GPU-[0-9a-fA-F-]+)/(\d+)/(\d+)$")


class NvmlUnavailableError(MeterUnavailableError):
    """NVML gives no board. `told` says whether that means none, or that nobody can tell."""

    def __init__(self, text: str, told: Told) -> None:
        super().__init__(text)
        self.told: Told = told


@dataclass(frozen=True, kw_only=True)
class Found:
    """One board of NVML's list, or one MIG slice of it; `place` is the board's in that list.

    `why` says why it does not answer; then it has no uuid. `slice_of` is the board's uuid,
    `instances` its GPU and compute instance. `split`: MIG is on (None: not told).
    """

    place: int
    handle: Any = None
    uuid: str = ""
    name: str = ""
    why: str | None = None
    split: bool | None = False
    split_why: str | None = None
    slice_of: str | None = None
    instances: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What CUDA_VISIBLE_DEVICES leaves, in its order; `reason` when that is none or not to be
    told. `silent` are boards that do not answer, chosen or not."""

    told: Told
    found: tuple[Found, ...] = ()
    silent: tuple[Found, ...] = ()
    reason: str | None = None


class Library:
    """NVML, started; NvmlUnavailableError when it does not. `binding` is the pynvml module."""

    def __init__(self, binding: Any = None, root: Path = Path("/")) -> None:
        if binding is None:
            import pynvml  # loads no driver until nvmlInit

            binding = pynvml
        self.binding = binding
        self.errors = _errors(binding)
        try:
            binding.nvmlInit()
        except self.errors as error:
            raise self._no_start(error, root) from error

    def _no_start(self, error: Exception, root: Path) -> NvmlUnavailableError:
        nvml = self.binding
        boards = list((root / "proc/driver/nvidia/gpus").glob("*"))
        if isinstance(error, nvml.NVMLError_LibraryNotFound) and not boards:
            return NvmlUnavailableError("NVML library not found", "none")
        if isinstance(error, nvml.NVMLError_LibraryNotFound):
            text = (
                f"NVML library not found, but the kernel's driver has {count(len(boards), 'GPU')}"
            )
            return NvmlUnavailableError(text, "unknown")
        if isinstance(error, nvml.NVMLError_DriverNotLoaded):
            return NvmlUnavailableError("NVIDIA driver not loaded", "none")
        return NvmlUnavailableError(f"NVML does not start ({self.said(error)})", "unknown")

    def call(self, name: str, *args: Any, **words: Any) -> Any:
        """One call by its name. Raises one of `errors`."""
        function = getattr(self.binding, name, None)
        if function is None:  # a binding older than the call
            raise self.binding.NVMLError(self.binding.NVML_ERROR_FUNCTION_NOT_FOUND)
        return function(*args, **words)

    def said(self, error: Exception) -> str:
        """An error's words; a symbol that the driver lacks is something it does not support."""
        if isinstance(error, self.errors[1:]) or self._code(error) == (
            self.binding.NVML_ERROR_FUNCTION_NOT_FOUND
        ):
            return NO_SUCH_CALL
        return str(error)

    def unsupported(self, error: Exception) -> bool:
        """Whether the error means that the board has no such thing, rather than a failure."""
        return isinstance(error, self.errors[1:]) or self._code(error) in (
            self.binding.NVML_ERROR_NOT_SUPPORTED,
            self.binding.NVML_ERROR_FUNCTION_NOT_FOUND,
        )

    @staticmethod
    def _code(error: Exception) -> int | None:
        return getattr(error, "value", None)

    def tried(self, ask: Callable[[], Any]) -> tuple[Any, str | None]:
        """An answer, or None with the reason."""
        try:
            return ask(), None
        except self.errors as error:
            return None, self.said(error)

    def text(self, name: str, *args: Any) -> str:
        """The answer of a call as text. Raises one of `errors`."""
        return self.text_of(self.call(name, *args))

    @staticmethod
    def text_of(value: str | bytes) -> str:
        """Text of an answer: older bindings give bytes."""
        return value.decode() if isinstance(value, bytes) else value

    def boards(self) -> tuple[Found, ...]:
        """Every board of NVML's list, silent ones with the reason. NvmlUnavailableError when there
        is no list."""
        count, why = self.tried(lambda: int(self.call("nvmlDeviceGetCount")))
        if why is not None:
            raise NvmlUnavailableError(f"NVML does not list its GPUs ({why})", "unknown")
        return tuple(self._board(place) for place in range(count))

    def _board(self, place: int) -> Found:
        try:
            handle = self.call("nvmlDeviceGetHandleByIndex", place)
            uuid = self.text("nvmlDeviceGetUUID", handle)
            name = self.text("nvmlDeviceGetName", handle)
        except self.errors as error:
            return Found(place=place, why=self.said(error))
        split, why = False, None
        try:
            split = int(self.call("nvmlDeviceGetMigMode", handle)[0]) == 1
        except self.errors as error:
            # A board without MIG answers "not supported", which is as good as a no.
            if not self.unsupported(error):
                return Found(
                    place=place,
                    handle=handle,
                    uuid=uuid,
                    name=name,
                    split=None,
                    split_why=self.said(error),
                )
            why = self.said(error)
        return Found(place=place, handle=handle, uuid=uuid, name=name, split=split, split_why=why)

    def slices(self, board: Found) -> tuple[Found, ...]:
        """The MIG slices of a board that is split; none where NVML does not list them."""
        if not board.split:
            return ()
        most, _ = self.tried(lambda: int(self.call("nvmlDeviceGetMaxMigDeviceCount", board.handle)))
        found = []
        for number in range(most or 0):
            with suppress(*self.errors):  # places of slices that were not made
                handle = self.call("nvmlDeviceGetMigDeviceHandleByIndex", board.handle, number)
                name, _ = self.tried(partial(self.text, "nvmlDeviceGetName", handle))
                found.append(
                    Found(
                        place=board.place,
                        handle=handle,
                        uuid=self.text("nvmlDeviceGetUUID", handle),
                        name=name or f"a MIG slice of {board.name}",
                        split=True,
                        slice_of=board.uuid,
                        instances=self._instances(handle),
                    )
                )
        return tuple(found)

    def _instances(self, handle: Any) -> tuple[int, int] | None:
        gpu, _ = self.tried(lambda: int(self.call("nvmlDeviceGetGpuInstanceId", handle)))
        compute, _ = self.tried(lambda: int(self.call("nvmlDeviceGetComputeInstanceId", handle)))
        return None if gpu is None or compute is None else (gpu, compute)

    def chosen(self, setting: str | None) -> Chosen:
        """The boards and slices that a CUDA_VISIBLE_DEVICES leaves visible."""
        try:
            boards = self.boards()
        except NvmlUnavailableError as error:
            return Chosen(told=error.told, reason=str(error))
        devices = [d for b in boards for d in (self.slices(b) or (b,))]
        return choose(boards, devices, setting)

    def close(self) -> None:
        """Release NVML."""
        with suppress(*self.errors):
            self.call("nvmlShutdown")


def choose(boards: Sequence[Found], devices: Sequence[Found], setting: str | None) -> Chosen:
    """What a CUDA_VISIBLE_DEVICES leaves of boards, given as themselves or as their slices.

    CUDA numbers the boards that answer, so that behind a silent one no number can be trusted. It
    ignores the first entry that names nothing, and everything after it.
    """
    silent = tuple(b for b in boards if b.why is not None)
    there = [d for d in devices if d.why is None]
    lost = "; ".join(f"GPU {b.place} does not answer ({b.why})" for b in silent)
    if setting is None:
        if there:
            return Chosen(told="these", found=tuple(there), silent=silent)
        if silent:
            return Chosen(told="unknown", silent=silent, reason=lost)
        return Chosen(told="none", reason="NVML lists no GPU")
    words = [w.strip() for w in setting.split(",")]
    if words[0] in ("", "-1", "NoDevFiles", "none", "void"):
        reason = f"CUDA_VISIBLE_DEVICES={setting!r} hides every GPU"
        return Chosen(told="none", silent=silent, reason=reason)
    found: list[Found] = []
    for word in words:
        if word.isdigit() and any(b.place <= int(word) for b in silent):
            reason = f"{lost}: CUDA's numbers may be shifted. Name GPUs by UUID"
            return Chosen(told="unknown", silent=silent, reason=reason)
        match = _named(word, there)
        if not match:
            break
        found += match[:1]
    if found:
        return Chosen(told="these", found=tuple(found), silent=silent)
    there_is = ", ".join(d.uuid for d in there) or "no GPU that answers"
    reason = f"CUDA_VISIBLE_DEVICES={setting!r} names none of what NVML lists ({there_is})"
    told: Told = "unknown" if boards else "none"
    return Chosen(told=told, silent=silent, reason=reason + (f"; {lost}" if lost else ""))


def _named(word: str, devices: Sequence[Found]) -> list[Found]:
    """The devices that one entry names: by place, by the beginning of a UUID, by an old name."""
    if word.isdigit():
        return [d for d in devices if d.place == int(word)]
    old = _OLD_SLICE_NAME.match(word)
    if old:
        wanted = (int(old[2]), int(old[3]))
        return [d for d in devices if d.slice_of == old[1] and d.instances == wanted]
    return [d for d in devices if word and d.uuid.startswith(word)]


def _errors(binding: Any) -> tuple[type[Exception], ...]:
    """What the binding raises: NVML's own errors, and its own for a symbol that is not there."""
    mismatch = getattr(binding, "NVMLLibraryMismatchError", None)
    return (binding.NVMLError, *((mismatch,) if mismatch else ()))


Kind = Literal["compute", "graphics", "mps"]
_LISTS: tuple[tuple[Kind, str, tuple[str, ...]], ...] = (
    ("compute", "nvmlDeviceGetComputeRunningProcesses", ("_v2",)),
    ("mps", "nvmlDeviceGetMPSComputeRunningProcesses", ("_v2",)),
    ("graphics", "nvmlDeviceGetGraphicsRunningProcesses", ("_v2",)),
)


def running(library: Library, handle: Any) -> dict[int, tuple[Kind, int | None]] | str:
    """Who is on a device, by process id: how, and with how many bytes (None: not told).

    A text when the list of compute processes is refused. The lists of clients of an MPS server and
    of graphics are apart and may be missing. Drivers before 510 know the second version alone.
    """
    found: dict[int, tuple[Kind, int | None]] = {}
    for kind, name, older in _LISTS:
        listed: list[Any] | None = None
        why: str | None = None
        for call in (name, *(name + version for version in older)):
            try:
                listed = list(library.call(call, handle))
                break
            except library.errors as error:
                why = why or library.said(error)
                if library.said(error) != NO_SUCH_CALL:
                    break
        if listed is None and kind == "compute":
            return why or "not told"
        for process in listed or ():
            found.setdefault(int(process.pid), (kind, process.usedGpuMemory))
    return found
