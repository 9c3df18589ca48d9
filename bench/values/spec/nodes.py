"""The machines of a run: where the engine's parts, the meters and the load clients are started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.values.spec.limits import require

SSH = ("ssh", "-o", "BatchMode=yes", "{host}")


@dataclass(frozen=True, kw_only=True)
class NodesSpec:
    """The machines of a run, this one (the head) first; without hosts it is alone.

    `kind` slurm takes those of the Slurm job that bench runs in. `start` are the words that start a
    command on a host, {host} standing for its name; `python` is the interpreter there, with bench
    in it (None: this one's path). `address` is where the others reach the head (None: as the
    routing table says). `engine` spreads the engine and the meters over them, the GPUs evenly,
    joined by vLLM's own options (`backend` mp) or by Ray; `load` spreads the load clients.
    `network_gb_s` is one direction between two nodes, for what is said of the layout.
    """

    kind: Literal["one", "slurm", "hosts"] = "one"
    hosts: tuple[str, ...] = ()
    start: tuple[str, ...] = SSH
    python: str | None = None
    address: str | None = None
    engine: bool = True
    load: bool = False
    backend: Literal["mp", "ray"] = "mp"
    network_gb_s: float | None = None
    join_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        require(self.kind != "one" or not self.hosts, "hosts: choose nodes=hosts, or leave it out")
        require(
            self.kind != "one" or not self.load,
            "load is for several machines: choose nodes=slurm or nodes=hosts",
        )
        require(len(set(self.hosts)) == len(self.hosts), "hosts names a machine twice")
        require(bool(self.start), "start must hold the words that start a command on a host")
        require(self.engine or self.load or self.kind == "one", "engine or load must be true")
        require(self.join_timeout_s > 0, "join_timeout_s must be above 0")
        require(self.network_gb_s is None or self.network_gb_s > 0, "network_gb_s must be above 0")

    @property
    def count(self) -> int:
        """How many machines there are, as far as their names are known by now."""
        return max(1, len(self.hosts))

    @property
    def others(self) -> tuple[str, ...]:
        """All but the head."""
        return self.hosts[1:]

    @property
    def serving(self) -> int:
        """Over how many machines the engine is spread."""
        return self.count if self.engine else 1

    @property
    def listens_on(self) -> str:
        """Where a server started here listens: for clients on other machines it leaves loopback."""
        return self.address or "127.0.0.1" if self.load and self.count > 1 else "127.0.0.1"
