"""What was typed to a verb that only answers, and that its answer does not depend on.

A key that asks another question than the one answered is refused; one that only says how a run
would be made (its repeats, its meter) is named in a line of stderr, as the words of a run may be
given to these verbs as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.cli.conflicts import refuse_without_effect
from bench.values.errors import InputError

if TYPE_CHECKING:
    from bench.values.spec import RunSpec

_LENGTHS = "one prompt of workload.input_tokens and one answer of workload.output_tokens a request"
_BITS = "the bits are those of quant=NAME: choose another quant"
_OTHER_QUESTION = {
    **dict.fromkeys(
        ("workload.file", "workload.turns", "workload.turn_gap_s"),
        f"{_LENGTHS} are counted: type those",
    ),
    "quant.weight_bits": _BITS,
    "quant.activation_bits": _BITS,
}
_OF_A_BOUND = {
    "model.native_dtype": "the weights lie in what their config says, engine.dtype=NAME computes"
}
_OF_A_PLAN = dict.fromkeys(
    ("load", "load.mode", "load.concurrency", "load.rate_per_s"),
    "the load of each deployment is looked for, up to workload.slo",
)
_OF_A_RUN = ("meter", "quality")
_READ_OF_LOAD = ("mode", "concurrency", "rate_per_s", "own_cores")
_READ_OF_NODES = ("", "kind", "hosts", "engine", "network_gb_s")
_OF_A_LAUNCH = ("port", "env", "start_timeout_s", "mounts", "shm_gib", "container_args", "launch")


def check_read(verb: str, spec: RunSpec, typed: frozenset[str]) -> None:
    """InputError for a key that asks what `verb` does not answer; a line for those left aside."""
    refuse_without_effect(spec, typed)
    refused = {**_OTHER_QUESTION, **(_OF_A_PLAN if verb == "plan" else {})}
    refused |= _OF_A_BOUND if verb == "fit" else {}
    for key in sorted(typed):
        if key in refused and not _is_counted(spec, key):
            raise InputError(f"{key} would have no effect on bench {verb}: {refused[key]}.")
    sized = verb == "fit" and "gpu.memory_gb" in typed
    if sized and "gpu.memory_gib" not in typed and spec.gpu.memory_gib:
        raise InputError(
            f"gpu.memory_gb would have no effect on bench {verb}: what the driver shows counts, "
            f"gpu.memory_gib (now {spec.gpu.memory_gib:g})."
        )
    for text in (*_said(verb, spec, typed), *_taken(spec)):
        print(f"bench: {text}", file=sys.stderr)


def _is_counted(spec: RunSpec, key: str) -> bool:
    """Whether the key was typed as what is counted anyway: one turn, no gap, no file."""
    counted = {"turns": 1, "turn_gap_s": 0, "file": None}
    group, _, name = key.partition(".")
    return group == "workload" and name in counted and getattr(spec.workload, name) == counted[name]


def _said(verb: str, spec: RunSpec, typed: frozenset[str]) -> Iterator[str]:
    aside = sorted(key for key in typed if _is_aside(verb, spec, key))
    if aside:
        yield f"without effect on bench {verb}, for a run alone: {', '.join(aside)}"
    if "fit.vllm_version" in typed and spec.engine.kind != "vllm":
        counted = f"counted as vLLM {spec.fit.vllm_version} counts it"
        yield f"fit.vllm_version: the memory of engine={spec.engine.kind} is {counted}"


def _is_aside(verb: str, spec: RunSpec, key: str) -> bool:
    group, _, name = key.partition(".")
    if group == "load":
        rate = verb == "fit" and name == "rate_per_s"
        return bool(name) and (rate or name not in _READ_OF_LOAD)
    if group == "workload":
        return verb != "plan" and name.startswith("slo")
    if group == "engine":
        return name.partition(".")[0] in _OF_A_LAUNCH
    if group == "nodes":  # of several machines it matters which layout a model has
        return spec.nodes.serving < 2 or name not in _READ_OF_NODES
    return key == "seed" or group in _OF_A_RUN


def _taken(spec: RunSpec) -> Iterator[str]:
    """What a chosen workload has beside its lengths."""
    w = spec.workload
    if w.turns > 1:
        yield f"workload={w.name}: its {w.turns} turns are taken as requests of one turn"
    if w.file is not None:
        yield f"workload={w.name}: its file is not read, but taken as {_LENGTHS}"
