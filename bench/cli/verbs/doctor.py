"""`bench doctor`: what this machine can serve and measure, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.composed import (
    run_asked,
)
from bench.cli.verb import Flag, Verb
from bench.config.compose import catalogue, compose
from bench.values.errors import InputError
from bench.values.json_text import json_text
from bench.values.spec import RunSpec

if TYPE_CHECKING:
    from bench.config.catalogue import Catalogue
    from bench.engines.residue import Residue
    from bench.meters.source import Clock, Source
    from bench.values.finding import Finding
    from bench.values.machine import Board, Machine, Sensor, Store


VERB = Verb(
    usage=(
        "bench doctor [model=NAME] [quant=NAME] [gpus=N] [--json]",
        "bench doctor --clean [results_dir=FOLDER]",
    ),
    more="Nothing is started and no setting is changed. Exit code 0: that run can start and its\n"
    "numbers will count (warnings say what is lost); 1: a FAIL line says what stops it.",
    keys=(*keys.WHAT_IS_SERVED, keys.RESULTS_DIR),
    flags=(
        Flag(
            name="--clean",
            what="remove what earlier crashes left and is provably dead; runs are kept",
        ),
    ),
)


def call(arguments: Arguments) -> int:
    """Examine this machine for the run that was typed."""
    others = sorted(arguments.typed_keys - {"results_dir"})
    if "--clean" in arguments.flags and others:
        raise InputError(f"{others[0]} has no effect on bench doctor --clean: leave it out.")
    spec = run_asked(compose(arguments.overrides, arguments.config_dirs), arguments)
    if "--clean" in arguments.flags:
        return clean(spec.results_dir, as_json=arguments.as_json)
    return run(spec, catalogue(arguments.config_dirs), as_json=arguments.as_json)


def run(spec: RunSpec, catalogue: Catalogue, *, as_json: bool) -> int:
    """Look, judge, print; exit status 1 when something would stop the run or void its numbers."""
    from bench.engines.residue import leftovers
    from bench.host.doctor import problems
    from bench.report.console import console
    from bench.report.doctor_table import print_machine
    from bench.values.codec import encode

    machine = examine(spec, catalogue, os.environ)
    found = (*problems(machine, spec.gpus), *_left(leftovers(spec.results_dir)))
    if as_json:
        print(json_text({**encode(machine), "problems": encode(found)}))
    else:
        print_machine(console(), machine, found)
    return 1 if any(f.severity == "fail" for f in found) else 0


def clean(results_dir: str, *, as_json: bool) -> int:
    """Remove what earlier crashes left and name each; exit status 1 when something stays."""
    from bench.engines.residue import leftovers, remove
    from bench.values.codec import encode
    from bench.values.outside import plain

    found = leftovers(results_dir)
    left = remove(found)
    if as_json:
        print(json_text({"found": encode(found), "left": encode(left)}))
        return 1 if left else 0
    if not found:
        print("nothing is left of earlier crashes (runs that were killed are kept: bench runs)")
    for one in found:
        word = "cannot be removed" if one in left else "removed"
        print(f"{word}: {one.kind} {plain(str(one.path))} ({one.bytes:,} bytes; {one.why})")
    return 1 if left else 0


def _left(found: list[Residue]) -> tuple[Finding, ...]:
    from bench.values.finding import finding

    if not found:
        return ()
    size = sum(one.bytes for one in found)
    text = (
        f"earlier crashes left {len(found)} things ({size / 1e6:,.1f} MB), for example "
        f"{found[0].path}: bench doctor --clean removes them"
    )
    return (finding("leftovers", "warn", text, size, "B"),)


def _nvml(clock: Clock, env: Mapping[str, str]) -> Source:
    from bench.meters.nvml import NvmlSource

    return NvmlSource(clock, env)


def examine(
    spec: RunSpec,
    catalogue: Catalogue,
    env: Mapping[str, str],
    *,
    clock: Clock | None = None,
    nvml: Callable[[Clock, Mapping[str, str]], Source] = _nvml,
    rapl: Path | None = None,
    fetch: Callable[[str], str | None] | None = None,
) -> Machine:
    """Everything that can be found without starting anything; takes about two seconds a meter."""
    from bench.meters import machine as look
    from bench.meters.rapl import POWERCAP
    from bench.meters.source import MeterUnavailableError, MonotonicClock
    from bench.values.machine import Machine

    clock = clock or MonotonicClock()
    boards: tuple[Board, ...] = ()
    sensors: tuple[Sensor, ...] = ()
    reason, driver, cuda, told = None, None, None, None
    silent: tuple[str, ...] = ()
    try:
        source = nvml(clock, env)
    except MeterUnavailableError as error:
        reason, told = str(error), getattr(error, "told", None)
    else:
        header = source.header()
        driver, cuda = header.driver, header.cuda
        told, silent = header.gpus_told, header.silent
        boards, sensors = look.boards(source, clock)
        source.close()
    domains, host_sensors, host_reason = look.host(clock, rapl or POWERCAP)
    numbered = tuple(replace(s, device=s.device + len(boards)) for s in host_sensors)
    visible, order = look.cuda_order(env)
    return Machine(
        boards=boards,
        sensors=(*sensors, *numbered),
        board_reason=reason,
        gpus_told=told,
        silent=silent,
        host_domains=domains,
        host_reason=host_reason,
        driver=driver,
        cuda=cuda,
        cuda_visible_devices=visible,
        cuda_device_order=order,
        install=look.install(),
        hub=look.hub(env, fetch),
        store=_store(spec, env),
    )


def _store(spec: RunSpec, env: Mapping[str, str]) -> Store:
    """Where the run's checkpoint is, or how much there is to fetch."""
    from bench.meters import machine as look
    from bench.models.weights import resolve_weights
    from bench.sizing.headroom import to_fetch_bytes

    weights = resolve_weights(spec.model, spec.quant)
    needs_bytes = to_fetch_bytes(spec) if weights.source == "hub" else None
    return look.store(
        weights,
        needs_bytes,
        gated=spec.model.licence.gated,
        results_dir=spec.results_dir,
        env=env,
    )
