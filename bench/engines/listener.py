"""Which processes of this host listen on the port of a server that somebody else started.

Linux tells through /proc: the listening sockets with their inodes, and who holds which inode. Only
the user's own processes are told (all of them to root). A forwarder (ssh -L, docker-proxy) is found
in the server's place: then no board holds its processes, and there is no energy.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

_LISTENS = "0A"
_LOCAL = ("127.0.0.1", "localhost", "::1", "0.0.0.0")


def listeners(base_url: str, proc: Path = Path("/proc")) -> tuple[int, ...]:
    """The ids of the processes that listen on the port of `base_url`; none for another host, and
    where the system does not tell."""
    parts = urlsplit(base_url)
    if parts.hostname not in _LOCAL:
        return ()
    port = parts.port or (443 if parts.scheme == "https" else 80)
    wanted = {f"socket:[{inode}]" for inode in _inodes(port, proc)}
    if not wanted:
        return ()
    holders = (int(p.name) for p in proc.iterdir() if p.name.isdigit())
    return tuple(sorted(pid for pid in holders if wanted & _held(proc / str(pid) / "fd")))


def _inodes(port: int, proc: Path) -> set[str]:
    """The inodes of the sockets that listen on a port, over IPv4 and IPv6."""
    found = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            (
                _,
                local,
                _,
                state,
                *_,
            ) = fields = line.split()
            if state == _LISTENS and int(local.rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found


def _held(folder: Path) -> set[str]:
    """What the open files of a process are; empty for one that is gone or somebody else's."""
    found = set()
    try:
        for entry in folder.iterdir():
            with suppress(OSError):  # closed since it was listed
                found.add(str(entry.readlink()))
    except OSError:
        return set()
    return found
