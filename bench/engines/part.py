"""A node's part of an engine: a guarded command, started by the head and gone with it.

`python -m bench.engines.part HEAD`: one line of JSON on stdin says what is to run (command, env,
folder, afterwards). Then this becomes the supervisor (`bench.engines.guard`), which ends the whole
tree once stdin ends: the head closed it, or is gone whatever way. The first line of stdout is the
process id of the command, everything that it says goes to stderr.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from bench.engines import guard
from bench.nodes.hosts import facing
from bench.values import scratch

_SIOCGIFADDR = 0x8915
HERE = "{address}"
"""Stands for the node's own address in a command."""


def main() -> NoReturn:
    """Read what is to run, and become its supervisor."""
    told = json.loads(_line())
    address = facing(sys.argv[1])
    env = {**os.environ, **network_of(address, os.environ), **told["env"]}
    if Path(told["folder"]).is_dir():
        os.chdir(told["folder"])
    place = scratch.engine_folder()
    scratch.sign(place, os.getpid())
    command = [word.replace(HERE, address) for word in told["command"]]
    words = [sys.executable, "-I", "-S", str(guard.__file__), str(told["grace_s"]), "", str(place)]
    words += [json.dumps(told["afterwards"], allow_nan=False), *command]
    own = {"TMPDIR": str(place), "TORCHINDUCTOR_CACHE_DIR": guard.compiled(env)}
    os.execve(words[0], words, {**env, **own})


def network_of(address: str, env: Mapping[str, str]) -> dict[str, str]:
    """What tells vLLM, NCCL and Gloo which of a machine's addresses the others see."""
    found = {"VLLM_HOST_IP": address}
    interface = _interface(address)
    if interface is not None:
        found |= {"NCCL_SOCKET_IFNAME": interface, "GLOO_SOCKET_IFNAME": interface}
    return {key: value for key, value in found.items() if key not in env}


def _interface(address: str) -> str | None:
    """The network interface that has an IPv4 address; None for another kind, or none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(asked.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue  # without an address
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None


def _line() -> bytes:
    """The first line of stdin, and not a byte more: the rest is the supervisor's."""
    found = b""
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        found += byte
    return found


if __name__ == "__main__":
    main()
