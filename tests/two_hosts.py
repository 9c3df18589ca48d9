"""Two hosts on one machine: network namespaces with a cable between them, each its own loopback.

The second one's clock counts from another boot (a time namespace): CLOCK_MONOTONIC stands just
`AHEAD_S` ahead there, which is what a measured offset is held against.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

AHEAD_S = 86_400
HEAD, OTHER = "10.77.0.1", "10.77.0.2"


@dataclass(frozen=True, kw_only=True)
class TwoHosts:
    """Words that begin a command on the first host, and on the second (as nodes.start has them)."""

    head: tuple[str, ...]
    other: tuple[str, ...]
    words: tuple[str, ...]
    """Keys of a run over both."""


def why_not() -> str | None:
    """Why there can be no two hosts here; None where there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if any(shutil.which(name) is None for name in ("ip", "unshare", "nsenter")):
        return "ip, unshare or nsenter is not installed here"
    for words in (("ip", "netns", "list"), ("unshare", "--net", "--time", "--fork", "true")):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{words[0]}: {done.stderr.strip()}"
    return None


@contextmanager
def two_hosts() -> Iterator[TwoHosts]:
    """The two, gone afterwards."""
    a, b = (f"bench-{os.getpid()}-{n}" for n in "ab")
    try:
        for name in (a, b):
            _ip("netns", "add", name)
        _ip("link", "add", "eth0", "netns", a, "type", "veth", "peer", "eth0", "netns", b)
        for name, address in ((a, HEAD), (b, OTHER)):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", name, "link", "set", device, "up")
        ahead = (f"--monotonic={AHEAD_S}", f"--boottime={AHEAD_S}")
        other = (*_on(b), "unshare", "--time", *ahead, "--fork", "--kill-child")
        yield TwoHosts(
            head=_on(a),
            other=other,
            words=(
                *("nodes=hosts", f"nodes.hosts=[{HEAD},{OTHER}]"),
                f"nodes.start={list(other)}",
            ),
        )
    finally:
        for name in (a, b):
            subprocess.run(("ip", "netns", "delete", name), capture_output=True, check=False)


def _on(name: str) -> tuple[str, ...]:
    """Not `ip netns exec`, which mounts another /sys: control groups are not in it."""
    return ("nsenter", f"--net=/run/netns/{name}")


def _ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, capture_output=True)
