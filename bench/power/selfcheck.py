"""Eleven questions to a board's sensors, answered from telemetry of a known load.

Pure: telemetry, the segments in which a known load ran, and facts that only the machine could tell.
`scripts/gpu_selfcheck.py` makes them; a verdict says what the answer means for the rules of
`bench.power.checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.power import selfcheck_sensors as sensors
from bench.power.checks import IDLE_SHARE, LIMIT_SHARE
from bench.power.idle import BASELINES, baseline
from bench.power.integrate import inside
from bench.power.selfcheck_case import GIB, Answer, Case, Facts, Segment, Verdict, idle_w
from bench.power.window import device_window
from bench.values.telemetry import Device, Telemetry


def answers(
    telemetry: Telemetry, device: Device, segments: Sequence[Segment], facts: Facts
) -> tuple[Answer, ...]:
    """The eleven answers, in the order in which the questions are asked."""
    case = Case(telemetry, device, {s.name: s for s in segments}, facts)
    return tuple(question(case) for question in QUESTIONS)


def fields_supported(case: Case) -> Answer:
    """Which readings the board gives."""
    name = "fields supported"
    known = case.facts.fields
    missing = {k: v for k, v in known.items() if v is not None}
    if not known:
        return Answer(question=name, verdict="not measured", text="nothing was asked")
    text = f"{len(known) - len(missing)} of {len(known)} readings"
    if missing:
        text += "; not: " + ", ".join(f"{k} ({v})" for k, v in missing.items())
    needed = {"instant_mw", "energy_mj", "used_bytes"} & missing.keys()
    verdict: Verdict = "not supported" if needed else "ok"
    return Answer(question=name, verdict=verdict, text=text, figures={"missing": missing})


def memory_versions(case: Case) -> Answer:
    """Used memory in versions 1 and 2 of the call, and its rise by a known allocation."""
    name = "memory v1 against v2"
    m, allocated = case.facts.memory, case.facts.allocated_bytes
    if not {"v1_before", "v2_before", "v1_resident", "v2_resident"} <= m.keys():
        return Answer(
            question=name, verdict="not measured", text="one version was not read", figures=dict(m)
        )
    hidden = m["v1_before"]["used"] - m["v2_before"]["used"]
    reserved = m["v2_before"].get("reserved")
    rises = {v: m[f"{v}_resident"]["used"] - m[f"{v}_before"]["used"] for v in ("v1", "v2")}
    text = (
        f"v1 counts {hidden / GIB:.2f} GiB more as used"
        + ("" if reserved is None else f", v2 calls {reserved / GIB:.2f} GiB reserved")
        + f"; both rose by {rises['v1'] / GIB:.2f} and {rises['v2'] / GIB:.2f} GiB"
        + ("" if allocated is None else f" when {allocated / GIB:.2f} GiB were allocated")
    )
    same = abs(rises["v1"] - rises["v2"]) < 2**20
    enough = allocated is None or rises["v2"] >= allocated
    return Answer(
        question=name,
        verdict="ok" if same and enough else "differs",
        text=text,
        figures={"hidden_bytes": hidden, "reserved_bytes": reserved} | rises,
    )


def pid_visibility(case: Case) -> Answer:
    """Whether the process that makes the load is seen on the board, by an id known here."""
    name = "PID visibility"
    seen: set[int] = set()
    why: set[str] = set()
    for sample in case.telemetry.processes:
        if sample.device == case.device.index:
            seen |= {p.pid for p in sample.processes or ()}
            why |= {sample.why} if sample.why else set()
    ours = set(case.facts.load_pids)
    if not ours:
        return Answer(question=name, verdict="not measured", text="no process was on the board")
    if ours & seen:
        others = sorted(seen - ours)
        text = "the load's own process is listed" + (f", and others: {others}" if others else "")
        return Answer(question=name, verdict="ok", text=text, figures={"seen": sorted(seen)})
    reason = ", ".join(sorted(why)) or "no process of the load was listed"
    text = f"{reason}: exclusivity cannot be verified here"
    return Answer(question=name, verdict="not supported", text=text, figures={"seen": sorted(seen)})


def throttle_counters(case: Case) -> Answer:
    """Whether the violation counters are there, rise only, and what they say of the load."""
    name = "throttle counters"
    state = case.telemetry.of(case.device.index, "state")
    columns = [n for n in state.values if n.startswith("violation_")]
    read = {n: state.read(n) for n in columns}
    read = {n: r for n, r in read.items() if len(r[1])}
    if not read:
        why = next((w for n, w in state.why.items() if n.startswith("violation_")), "not read")
        return Answer(question=name, verdict="not supported", text=why)
    falling = [n for n, (_, v) in read.items() if np.any(np.diff(v) < 0)]
    steady = case.segments.get("steady")
    shares = {}
    if steady is not None:
        w = device_window(case.telemetry, case.device, steady.start_ns, steady.end_ns)
        shares = dict(w.throttled)
    text = f"{len(read)} counters" + (f", falling: {', '.join(falling)}" if falling else "")
    text += "; steady load: " + (", ".join(f"{k} {v:.1%}" for k, v in shares.items()) or "unread")
    return Answer(
        question=name, verdict="differs" if falling else "ok", text=text, figures={"shares": shares}
    )


def counter_continuity(case: Case) -> Answer:
    """The counter over an end and a new start of the process on the board."""
    name = "counter continuity over an engine restart"
    segment = case.segments.get("restart")
    if segment is None:
        return Answer(question=name, verdict="not measured", text="no restart was made")
    values = inside(case.sampled("energy", "energy_mj"), segment.start_ns, segment.end_ns)
    if len(values) < 2:
        return Answer(question=name, verdict="not supported", text="the counter was not read")
    watts = float(values[-1] - values[0]) / 1e3 / segment.seconds
    limit, idle = case.device.power_limit_w, idle_w(case)
    low = 0.0 if idle is None else IDLE_SHARE * idle
    high = np.inf if limit is None else LIMIT_SHARE * limit
    whole = bool(np.all(np.diff(values) >= 0)) and low <= watts <= high
    text = f"{watts:.1f} W in the mean over {segment.seconds:.0f} s"
    text += ", never falling" if whole else ": it fell or jumped"
    return Answer(
        question=name, verdict="ok" if whole else "differs", text=text, figures={"mean_w": watts}
    )


def idle_baselines(case: Case) -> Answer:
    """Idle power before the launch and with a process resident."""
    name = "idle baselines"
    found = {n: baseline(n, case.telemetry, [case.device], case.facts.marks) for n in BASELINES}
    watts = {n: b.total_w for n, b in found.items()}
    if any(w is None for w in watts.values()):
        text = "; ".join(f"{n}: {b.reason}" for n, b in found.items() if b.reason)
        return Answer(question=name, verdict="not measured", text=text, figures=watts)
    text = ", ".join(f"{n.replace('_', ' ')} {w:.1f} W" for n, w in watts.items())
    return Answer(question=name, verdict="ok", text=text, figures=watts)


QUESTIONS: tuple[Callable[[Case], Answer], ...] = (
    fields_supported,
    sensors.update_periods,
    sensors.polling_rates,
    sensors.counter_against_integral,
    sensors.step_lag,
    sensors.sampler_overhead,
    memory_versions,
    pid_visibility,
    throttle_counters,
    counter_continuity,
    idle_baselines,
)
