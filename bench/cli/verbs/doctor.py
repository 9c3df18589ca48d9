"""`bench doctor`: what this machine can serve and measure, and what is wrong with it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from bench.config.catalogue import Catalogue
from bench.fit.headroom import to_fetch_bytes
from bench.host.doctor import problems
from bench.meters import machine as look
from bench.meters.rapl import POWERCAP
from bench.meters.source import Clock, MeterUnavailableError, MonotonicClock, Source
from bench.models.weights import resolve_weights
from bench.report.doctor_table import print_machine
from bench.report.terminal import console
from bench.values.codec import encode
from bench.values.machine import Board, Machine, Sensor, Store
from bench.values.spec import RunSpec


def run(spec: RunSpec, catalogue: Catalogue, *, as_json: bool) -> int:
    """Look, judge, print; exit status 1 when something would stop the run or void its numbers."""
    machine = examine(spec, catalogue, os.environ)
    found = problems(machine, spec.gpus)
    if as_json:
        print(json.dumps({**encode(machine), "problems": encode(found)}))
    else:
        print_machine(console(), machine, found)
    return 1 if any(f.severity == "fail" for f in found) else 0


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
    rapl: Path = POWERCAP,
    fetch: Callable[[str], str | None] | None = None,
) -> Machine:
    """Everything that can be found without starting anything; takes about two seconds a meter."""
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
    domains, host_sensors, host_reason = look.host(clock, rapl)
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
    weights = resolve_weights(spec.model, spec.quant)
    needs_bytes = to_fetch_bytes(spec) if weights.source == "hub" else None
    return look.store(
        weights,
        needs_bytes,
        gated=spec.model.licence.gated,
        results_dir=spec.results_dir,
        env=env,
    )
