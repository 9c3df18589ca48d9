"""A server that answers requests, however it came to be: what every engine hands to the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from bench.values.prompt_text import TextLength
from bench.values.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server proven ready by a real one-token request.

    `base_url` ends in /v1. `headers` may hold a secret: it is never stored or printed. `api` and
    `prompt` say which shape of request it takes; `usage` how it counts tokens: `continuous` (per
    chunk), `final` (once per response) or `none`. `ignore_eos` says whether it can be told to
    generate exactly max_tokens, `min_tokens` stands in for it; `endless` answers need no field but
    those of `extra_body`. `temperature` None is not sent, nor
    are `stream_options` where refused; `left_out` says what was and why. An answer's end is marked
    by [DONE] (`ends_with_done`), by a finish_reason (`ends_with_reason`), or both; some give no
    reason where the model ends it (`ends_unsaid`), some leave the connection open after it.
    `gauges_url` is where the gauges are that are watched during a load, if not at `metrics_url`:
    what empties when it is read has that one reader. `conditions` are what the engine serves
    under, in the words of `bench.values.serving`.
    `text_length` is how long it counts a prompt of text to be, where it takes no token ids.
    `models` are the names that it lists, `answers_as` the one that an answer bore. `nonce` goes
    into every prompt, so that no run finds its prompts in the cache of an earlier one; 0 for an
    engine started for the run. `client_cores` are those that the engine leaves to the load client.
    `listener_pids` are the processes of this host that were seen to listen on the port of a server
    which somebody else started. `node_pids` are those of the engine's parts on other machines, in
    their order. `image` is what its container was made of: program, name, id and digest. `serves`
    is the engine that an endpoint says it is (the owner of its models), None where it does not.
    `told` names which of `serves` and `engine_version` are the user's word and not the server's.
    """

    engine: str
    base_url: str
    served_model: str
    api: Literal["completions", "chat"] = "completions"
    prompt: Literal["token_ids", "text"] = "token_ids"
    usage: Literal["continuous", "final", "none"] = "continuous"
    ignore_eos: bool = True
    vocab_size: int | None = None
    max_model_len: int | None = None
    engine_version: str | None = None
    serves: str | None = None
    told: tuple[str, ...] = ()
    argv: tuple[str, ...] | None = None
    image: Mapping[str, Any] | None = None
    pid: int | None = None
    listener_pids: tuple[int, ...] = ()
    node_pids: tuple[int, ...] = ()
    log_path: Path | None = None
    metrics_url: str | None = None
    gauges_url: str | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    model_path: str | None = None
    startup_s: float | None = None
    client_cores: tuple[int, ...] = ()
    temperature: float | None = 0.0
    min_tokens: bool = False
    endless: bool = False
    stream_options: bool = True
    max_tokens_field: str = "max_tokens"
    text_length: TextLength | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    ends_with_done: bool = False
    ends_with_reason: bool = False
    ends_unsaid: bool = False
    hangs_after_done: bool = False
    left_out: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    answers_as: str | None = None
    more_metrics_urls: tuple[str, ...] = ()
    nonce: int = 0
    tls_verify: bool = True
    ca_file: str | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def metrics_urls(self) -> tuple[str, ...]:
        """Where the engine's counters are: one address, or one of each replica."""
        return () if self.metrics_url is None else (self.metrics_url, *self.more_metrics_urls)

    def is_alive(self) -> bool:
        """Whether the process that was launched for it lives; True where none was."""
        return self.pid is None or Path(f"/proc/{self.pid}").exists()


@dataclass(frozen=True, kw_only=True)
class Gauges:
    """What the engine and the meters show now; None where nothing tells."""

    tokens_per_s: float | None = None
    running: float | None = None
    waiting: float | None = None
    kv_use: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    memory_gib: float | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One line of live progress: the phase, seconds since it began, and the last thing seen.

    `done` and `total` count in `unit` when the phase knows its length; else they are None. `even`
    says that `done` grew evenly so far, so that it tells how long the rest takes. `part` of `parts`
    is its place among those alike (load points); `left_s` seconds are left of all.
    """

    phase: str
    elapsed_s: float
    detail: str = ""
    done: float | None = None
    total: float | None = None
    unit: str = ""
    even: bool = True
    part: int | None = None
    parts: int | None = None
    left_s: float | None = None
    gauges: Gauges = field(default_factory=Gauges)


ProgressCallback = Callable[[Progress], None]


class Engine(Protocol):
    """Starts (or finds) a server for a run and takes it down again on every way out."""

    def serve(
        self, spec: RunSpec, run_dir: Path, progress: ProgressCallback
    ) -> AbstractContextManager[Server]:
        """Yield a ready Server; raise EngineError (classified) when there will be none."""
        ...
