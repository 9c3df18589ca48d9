"""Generated code runs inside bubblewrap, or not at all.

Tasks such as HumanEval execute what the model wrote. lm-eval does that within its own process, so
that the whole of it is put into a sandbox: namespaces of its own for processes, IPC and names, a
file system of what it needs, read-only but for its results, and none of the environment's keys.
The network stays, for the answers come over it: see SECURITY.md.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import bench
from bench.values.errors import InputError
from bench.values.redact import names_a_secret

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/opt")


def check_sandbox() -> None:
    """InputError, with how to install it, where there is no bubblewrap."""
    if shutil.which("bwrap") is None:
        raise InputError(
            "quality.run_generated_code: what the model writes runs in a sandbox, and bubblewrap "
            "is not installed: apt install bubblewrap (or dnf), or leave code tasks out."
        )


def sandboxed(
    command: Sequence[str], where: Path, readable: Sequence[str | Path], env: Mapping[str, str]
) -> list[str]:
    """`command` inside bubblewrap: may write to `where` and its own /tmp, may read the system, this
    Python and `readable`, sees nothing else."""
    check_sandbox()
    words = ["bwrap", "--unshare-all", "--share-net", "--die-with-parent", "--new-session"]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for place in _SYSTEM:
        words += ["--ro-bind-try", place, place]
    for place in _outermost((*_python(), *map(str, readable))):
        words += ["--ro-bind-try", place, place]
    cache = where / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    words += ["--bind", str(where), str(where), "--chdir", str(where), "--setenv", "HOME", "/tmp"]
    own = {"HF_DATASETS_CACHE": "datasets", "HF_MODULES_CACHE": "modules", "XDG_CACHE_HOME": "xdg"}
    if env.get("HF_HUB_OFFLINE") != "1":  # else the cache that is there is read
        own["HF_HUB_CACHE"] = "hub"
    for name, folder in own.items():
        words += ["--setenv", name, str(cache / folder)]
    for name in env:
        if names_a_secret(name) and name != "OPENAI_API_KEY":
            words += ["--unsetenv", name]
    return [*words, "--", *command]


def _outermost(places: Sequence[str]) -> list[str]:
    """These and what their links lead to, without those that lie in another: a folder that is
    mounted over one of its own would hide it."""
    real = {Path(p).absolute() for p in places} | {Path(p).resolve() for p in places}
    return [str(p) for p in sorted(real) if not real & set(p.parents)]


def _python() -> Iterator[str]:
    """Where this interpreter and its packages are, and the hub's cache."""
    yield from (sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent))
    yield str(Path(bench.__file__).parents[1])
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    yield str(home)
