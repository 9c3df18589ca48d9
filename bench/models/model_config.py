"""Reading a config.json: from a directory, or from a model's repository on the Hugging Face hub."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.values.errors import InputError

_TIMEOUT_S = 10.0
_MOST_BYTES = 16 * 2**20
_MOST_NUMBER = 1e38
"""Some configurations hold the least float16 or float32 as a bias of masks."""
_MOST_LAYERS = 100_000
_ENDLESS = "time_step_limit"
"""Mamba's, [0, infinity] in what Nemotron publishes; no size."""


def read_config(directory: str | Path) -> Mapping[str, Any]:
    """The config.json in `directory` (or the file itself); InputError when it is not one.

    Where it says nothing of a quantisation and an hf_quant_config.json lies beside it (NVIDIA's
    Model Optimizer), that is taken in as its `quantization_config`, as vLLM does.
    """
    path = Path(directory).expanduser()
    path = path if path.suffix == ".json" else path / "config.json"
    try:
        config = _parse(_text(path), str(path))
        beside = path.with_name("hf_quant_config.json")
        if "quantization_config" not in config and beside.is_file():
            own = _parse(_text(beside), str(beside))
            return {**config, "quantization_config": own}
        return config
    except OSError as error:
        raise InputError(
            f"model.path: {path} cannot be read ({error.strerror}); give a directory that holds "
            "a Hugging Face config.json."
        ) from error


def hub_config(
    repo: str,
    *,
    revision: str = "main",
    env: Mapping[str, str] | None = None,
    endpoint: str = "https://huggingface.co",
) -> Mapping[str, Any]:
    """The config.json of a hub repository: from the local cache, else fetched (a few kB).

    HF_HUB_OFFLINE=1 forbids fetching, HF_ENDPOINT replaces `endpoint`, and HF_TOKEN opens gated
    repositories; it is sent, never stored or printed.
    """
    env = os.environ if env is None else env
    cached = _cached(repo, env)
    if cached is not None:
        return read_config(cached)
    if env.get("HF_HUB_OFFLINE") == "1":
        raise InputError(
            f"model.repo: {repo} is not in the local hub cache and HF_HUB_OFFLINE=1 forbids "
            "fetching its config.json; give model.path=DIR."
        )
    url = f"{env.get('HF_ENDPOINT', endpoint)}/{repo}/resolve/{revision}/config.json"
    request = urllib.request.Request(url)
    if env.get("HF_TOKEN"):
        # Unredirected: wherever the hub sends us on to has no claim to the token.
        request.add_unredirected_header("Authorization", f"Bearer {env['HF_TOKEN']}")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            return _parse(response.read(_MOST_BYTES + 1).decode("utf-8", "replace"), url)
    except urllib.error.HTTPError as error:
        error.close()
        hint = "set HF_TOKEN and accept its terms" if error.code in (401, 403) else "check the name"
        raise InputError(
            f"model.repo: {url} answered {error.code}; {hint}, or give model.path=DIR."
        ) from error
    except (urllib.error.URLError, TimeoutError) as error:
        raise InputError(
            f"model.repo: {url} cannot be reached; give model.path=DIR with its config.json."
        ) from error


def _cached(repo: str, env: Mapping[str, str]) -> Path | None:
    """The newest config.json of a repository in the hub's cache, if there is one."""
    home = Path(env.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(env.get("HF_HUB_CACHE", home / "hub"))
    found = cache.glob(f"models--{repo.replace('/', '--')}/snapshots/*/config.json")
    return max(found, key=lambda p: p.stat().st_mtime, default=None)


def _text(path: Path) -> str:
    """The text of a file that is one (a FIFO would be waited for) and of a size to be read."""
    if path.exists() and not path.is_file():
        raise InputError(f"model.path: {path} is no file.")
    with path.open("rb") as file:
        return file.read(_MOST_BYTES + 1).decode("utf-8", "replace")


def _parse(text: str, where: str) -> Mapping[str, Any]:
    if len(text) > _MOST_BYTES:
        raise InputError(f"{where} is larger than {_MOST_BYTES:,} bytes: no config.json.")
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is not JSON ({error.msg}, line {error.lineno}).") from error
    except (ValueError, RecursionError) as error:  # thousands of digits, or of brackets
        raise InputError(f"{where} is not a config.json: {error}.") from error
    if not isinstance(data, dict):
        raise InputError(f"{where} is not a config.json: it holds no keys.")
    _check_numbers(data, where)
    return data


def _check_numbers(data: Any, where: str) -> None:
    """InputError for a number that no model has: counting its layers would take for ever."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        if key == _ENDLESS:
            continue
        if isinstance(value, (dict, list)):
            _check_numbers(value, where)
        elif isinstance(value, (int, float)) and abs(value) > _MOST_NUMBER:
            raise InputError(f"{where}: {key} is {value!r:.40}, beyond any model's.")
        of_size = str(key).startswith("num_") or str(key).endswith(("_size", "_dim"))
        if of_size and isinstance(value, (int, float)) and value < 0:
            raise InputError(f"{where}: {key} is {value!r:.40}, which is no size.")
        small = isinstance(value, int) and abs(value) <= _MOST_LAYERS
        if "layers" in str(key) and isinstance(value, (int, float)) and not small:
            raise InputError(f"{where}: {key} is {value!r:.40}, beyond any model's.")
