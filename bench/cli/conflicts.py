"""What was typed and would have no effect: refused, for who types a key means it.

Composed defaults are not asked: `load=gpu` has keys that a search over concurrency leaves alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.values.errors import InputError
from bench.values.spec import ContainedSpec, LlamacppSpec

if TYPE_CHECKING:
    from bench.cli.arguments import Arguments
    from bench.values.spec import RunSpec

_OF_TASKS = (
    *("limit", "num_fewshot", "system_instruction", "think_end", "backend", "tokenizer"),
    *("chat_template", "samples", "concurrency", "run_generated_code", "timeout_s"),
    *("hf_dtype", "hf_batch_size", "task_dir"),
)
"""Keys of quality that nothing reads where no task is scored."""
_SEARCH = "belongs to a search: choose load=slo or load=saturate"


def refuse_without_effect(spec: RunSpec, typed: frozenset[str]) -> None:
    """InputError that names the first typed key which this run would never look at."""
    for key, why in (*_of_load(spec), *_of_others(spec)):
        group, _, name = key.partition(".")
        if key in typed and getattr(getattr(spec, group), name) not in (None, (), ""):
            raise InputError(f"{key} would have no effect: it {why}, or leave it out.")


def refuse_hydra_keys(arguments: Arguments) -> None:
    """InputError for a setting of Hydra's own that nothing here would look at, or an empty one."""
    for override in arguments.overrides:
        key, _, value = override.partition("=")
        bare = key.lstrip("+~")
        if not bare.startswith(("hydra.", "hydra/")):
            continue
        if bare.startswith(("hydra.run.", "hydra.job.")):
            raise InputError(
                f"{key} would have no effect: runs are written below results_dir=FOLDER."
            )
        if not arguments.hydra_flags:
            raise InputError(f"{key} would have no effect: it belongs to a sweep, bench -m.")
        if not value and not key.startswith("~"):
            raise InputError(f"{key}= has no value.")


def refuse_no_sweep(combinations: int, arguments: Arguments) -> None:
    """InputError for -m where no key offers a choice, unless a launcher takes the one run along."""
    sweeping = set(arguments.hydra_flags) <= {"-m", "--multirun"}
    elsewhere = any(o.startswith("hydra/launcher=") for o in arguments.overrides)
    if sweeping and combinations < 2 and not elsewhere:
        raise InputError(
            f"{arguments.hydra_flags[0]} begins a sweep, and no key has several values: "
            "type KEY=A,B, or leave it out."
        )


def refuse_never_full(spec: RunSpec) -> None:
    """InputError where so few requests are sent that a load point never has its concurrency."""
    load = spec.load
    closed = load.mode == "closed" or (
        load.mode in ("slo", "saturate") and load.over == "concurrency"
    )
    most = max(load.concurrency, default=0)
    if closed and load.requests is not None and load.requests < most:
        raise InputError(
            f"load.requests={load.requests} never has load.concurrency={most} in flight: send "
            f"more, load.requests={load.requests_per_slot * most}, or lower load.concurrency=[N]."
        )


def _of_load(spec: RunSpec) -> Iterator[tuple[str, str]]:
    load = spec.load
    searching = load.mode in ("slo", "saturate")
    if load.mode == "closed":
        yield "load.rate_per_s", "belongs to arrivals at a rate: choose load=open"
        for name in ("arrival", "burstiness", "max_in_flight"):
            yield f"load.{name}", "belongs to arrivals at a rate: choose load=open"
    if load.requests is not None:
        if load.mode in ("closed", "open", "ramp") and load.arrival != "trace":
            yield "load.duration_s", "ends by load.requests: choose one of the two"
        for name in ("min_requests", "requests_per_slot"):
            yield f"load.{name}", "is the least that is sent, and load.requests says how many"
    if load.mode in ("open", "ramp") or (searching and load.over == "rate"):
        yield "load.concurrency", f"is not what load.mode={load.mode} sets: choose load=closed"
        yield "load.requests_per_slot", "belongs to a closed loop: choose load=closed"
    if searching and load.over == "concurrency":
        yield "load.rate_per_s", "is not what this search moves: choose load.over=rate"
    if not searching:
        yield "load.over", _SEARCH
        yield "load.resolution", _SEARCH
    if load.arrival != "gamma":
        yield "load.burstiness", "shapes gamma arrivals: choose load.arrival=gamma"
    if load.precision is None:
        for name in ("max_repeats", "budget_s"):
            yield f"load.{name}", "bounds a wished precision: add load.precision=3%"


def offloaded(spec: RunSpec) -> bool:
    """Whether llama.cpp was told what stays on the host, of which the host's bandwidth is read."""
    e = spec.engine
    asked = isinstance(e, LlamacppSpec) and (e.gpu_layers is not None or bool(e.cpu_moe_layers))
    return asked and spec.gpus > 0


def _of_others(spec: RunSpec) -> Iterator[tuple[str, str]]:
    if spec.workload.turns == 1 and spec.workload.file is None:
        yield "workload.turn_gap_s", "is the pause between turns: add workload.turns=2"
    if spec.workload.shared_prefix_tokens == 0:
        text = "counts shared prefixes: add workload.shared_prefix_tokens=N"
        yield "workload.shared_prefix_count", text
    if spec.workload.file is None:
        for name in ("file_format", "time_unit", "hash_block_tokens"):
            yield f"workload.{name}", "says how a file is read: add workload.file=FILE.jsonl"
    if spec.meter.kind != "replay":
        yield "meter.path", "is a recording to be played: choose meter=replay"
    if spec.meter.kind == "none":
        for name in ("period_s", "slow_period_s", "idle_s"):
            yield f"meter.{name}", "is how a meter is read: choose meter=auto"
    if spec.meter.kind != "synthetic":
        yield "meter.watts", "is what made-up boards draw: choose meter=synthetic"
    if isinstance(spec.engine, ContainedSpec) and spec.engine.container is None:
        for name in ("mounts", "shm_gib", "container_args"):
            text = "is for a container: add engine.container=podman engine.image=NAME"
            yield f"engine.{name}", text
    if isinstance(spec.engine, LlamacppSpec) and spec.gpus == 0:
        for name in ("gpu_layers", "cpu_moe_layers"):
            yield f"engine.{name}", "says what lies on GPUs: add gpus=1"
    if not offloaded(spec):
        text = (
            "is read where layers lie on the host: add engine=llamacpp engine.gpu_layers=N gpus=1"
        )
        yield "fit.host_gb_per_s", text
    if spec.nodes.kind == "one":
        for name in ("network_gb_s", "start", "python", "address", "backend", "join_timeout_s"):
            yield f"nodes.{name}", "is of several machines: choose nodes=hosts nodes.hosts=[A,B]"
    if spec.quality.name == "none" and not spec.quality.tasks:
        for name in _OF_TASKS:
            yield f"quality.{name}", "says how tasks are scored: choose quality=NAME"
