"""Throughput and power per server as Runs measured them, and which Runs may be used at all."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.money.spec import PowerSpec, TcoSpec
from bench.money.throughput import Split, TcoRun, ThroughputPoint, fit_split, saturated_point
from bench.values.errors import InputError
from bench.values.figure import Arose, Figure, figure

PRECISE = 0.1
"""Half-width of the throughput's 95 % interval above which an answer says so."""
UNKNOWN_GPU = "auto"
"""What a Run has for a GPU when nobody said and none was found."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Throughput per server with where it comes from, and what to know about it."""

    split: Split
    source: str
    arose: Arose
    as_of: str
    caveats: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def check_runs(runs: tuple[TcoRun, ...], spec: TcoSpec) -> tuple[str, ...]:
    """The words (invalid, dummy, ...) carried by Runs; InputError for one not allowed, and for
    Runs of unlike deployments, which are never pooled."""
    words: dict[str, str] = {}
    for run in runs:
        words.update({str(word): run.path for word in run.words if word not in words})
    for word, path in words.items():
        if word not in tuple(map(str, spec.allow)):
            raise InputError(
                f"{path} is {word}: no cost is made of it; to carry it through with "
                f"that word in every table, add tco.allow=[{word}]."
            )
    for run in runs[1:]:
        if run.deployment != runs[0].deployment:
            raise InputError(
                f"{run.path} ({', '.join(map(str, run.deployment))}) and "
                f"{runs[0].path} ({', '.join(map(str, runs[0].deployment))}) are "
                "unlike and cannot be pooled; give one deployment."
            )
    return tuple(words)


def _group_of(gpu: str) -> str:
    """What to type for a cost question about a server of that hardware."""
    if gpu == "cpu":
        return "type tco=cpu-host"
    return (
        "type one of that hardware, tco=NAME --config-dir MINE, with MINE/tco/NAME.yaml "
        "copied from conf/tco/default.yaml"
    )


def replicas(run: TcoRun, spec: TcoSpec) -> int:
    """How many copies of the measured deployment one server holds; InputError if it cannot.

    A synthetic Run has no hardware: it counts as one server's, and its word goes along.
    """
    if run.gpu == UNKNOWN_GPU and "synthetic" in run.words:
        return 1
    if run.gpu == UNKNOWN_GPU:
        raise InputError(
            f"{run.path} does not say on which hardware it was measured: run it with "
            "gpu=NAME gpus=N."
        )
    if run.gpu != spec.server.gpu:
        raise InputError(
            f"tco.server.gpu is {spec.server.gpu!r}, but {run.path} was measured on "
            f"{run.gpu!r}: {_group_of(run.gpu)}."
        )
    if run.gpus == 0 or spec.server.gpus == 0:
        if run.gpus != spec.server.gpus:
            raise InputError(
                f"tco.server.gpus is {spec.server.gpus}, but {run.path} used {run.gpus}."
            )
        return 1
    if spec.server.gpus < run.gpus:
        raise InputError(
            f"tco.server.gpus is {spec.server.gpus}, fewer than the {run.gpus} that "
            f"{run.path} used."
        )
    return spec.server.gpus // run.gpus


def measure(spec: TcoSpec, runs: tuple[TcoRun, ...]) -> Measured:
    """Throughput per server from Runs, else from `tco.throughput`; InputError without either."""
    if not runs:
        return _given(spec)
    words = check_runs(runs, spec)
    points: list[ThroughputPoint] = []
    caveats: list[str] = []
    for run in runs:
        copies = replicas(run, spec)
        point, found = saturated_point(run)
        caveats += found
        points.append(
            replace(
                point,
                input_tokens_per_s=point.input_tokens_per_s * copies,
                output_tokens_per_s=point.output_tokens_per_s * copies,
            )
        )
        if copies > 1:
            caveats.append(
                f"{copies} copies of {run.path} on one server are assumed to run as "
                "fast as one alone"
            )
    split = fit_split(points)
    if ends := split.relative_ends:
        if max(1 - ends[0], ends[1] - 1) > PRECISE:
            caveats.append(
                f"throughput is known to −{1 - ends[0]:.0%} and +{ends[1] - 1:.0%} only: more or "
                "longer repeats narrow it"
            )
    elif split.relative_ci is None and split.spread is None:
        caveats.append("throughput has no interval (not repeated): it counts as certain")
    elif (split.relative_ci or 0.0) > PRECISE:
        caveats.append(
            f"throughput is known to ± {split.relative_ci:.0%} only: more or longer "
            "repeats narrow it"
        )
    source = "measured: " + ", ".join(run.path for run in runs)
    as_of = min(run.as_of for run in runs)
    return Measured(
        split=split,
        source=source,
        arose="measured",
        as_of=as_of,
        caveats=tuple(caveats),
        words=words,
    )


def _given(spec: TcoSpec) -> Measured:
    given = spec.throughput
    if given is None:
        server = " tco.server.gpu=NAME tco.server.gpus=N" if spec.name == "default" else ""
        raise InputError(
            "tco.throughput is null and no Run was given: name a Run, or type "
            "'tco.throughput={points:[{input_tokens_per_s:X,output_tokens_per_s:Y}],source:WHENCE,"
            f'as_of:"2026-11"}}\'{server} of one server; bench plan '
            "predicts it. What APIs alone cost: tco.basis=api."
        )
    points = [
        ThroughputPoint(
            input_tokens_per_s=p.input_tokens_per_s,
            output_tokens_per_s=p.output_tokens_per_s,
            relative_ci=given.relative_ci,
            relative_ends=given.relative_ends,
        )
        for p in given.points
    ]
    return Measured(
        split=fit_split(points),
        source=given.source,
        arose=given.arose,
        as_of=given.as_of,
        words=("predicted",) if given.arose == "predicted" else (),
    )


def measured_power(power: PowerSpec, runs: tuple[TcoRun, ...], spec: TcoSpec) -> PowerSpec:
    """The power group with measured W in place of its own, at the load whose throughput counts;
    of several Runs the one that drew most. Unchanged when no Run measured any.

    GPU boards get `host_adder_w` on top: without it InputError, for a server is not its GPUs.
    """
    metered = [(p, run) for run in runs if (p := saturated_point(run)[0]).load_w is not None]
    if not metered:
        return power
    point, run = max(metered, key=lambda pair: pair[0].load_w or 0.0)
    copies, adder = replicas(run, spec), Figure(value=0.0, source="none")
    note = f"measured ({run.power_scope}): {run.path}"
    if run.power_scope == "gpu board":
        if power.host_adder_w is None:
            raise InputError(
                f"power.host_adder_w is missing: {run.path} measured GPU boards only, "
                "so the W of the rest of the server must be assumed."
            )
        adder = figure(power.host_adder_w)
        note += f" plus host adder of {adder.value:g} W (assumed)"
    ci = point.power_relative_ci or 0.0

    def total(watts: float) -> Figure:
        boards, value = watts * copies, watts * copies + adder.value
        least, most = adder.low, adder.high
        low = boards * (1 - ci) + (adder.value if least is None else least)
        high = boards * (1 + ci) + (adder.value if most is None else most)
        ranged = low < value < high
        return Figure(
            value=value,
            source=note,
            as_of=run.as_of,
            arose="measured",
            low=low if ranged else None,
            high=high if ranged else None,
        )

    idle = power.idle_w if run.idle_w is None else total(run.idle_w)
    try:
        return replace(power, load_w=total(point.load_w or 0.0), idle_w=idle)
    except ValueError as error:
        raise InputError(f"power.{error}, as measured by {run.path}.") from error
