"""The answer first: what a run found, whether it can be trusted and why not, what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.measure.measurement import Measurement, PointMeasurement
from bench.measure.metrics import Metric
from bench.report.numbers import load_words, quantity, with_interval
from bench.values.finding import Finding, Severity
from bench.values.record import Run
from bench.values.spec import VllmSpec


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Three sentences for somebody who reads nothing else; `mood` is that of the second."""

    found: str
    trust: str
    next: str
    mood: str


def answer(run: Run, measurement: Measurement) -> Answer:
    """What is said first of a run, in the terminal and on its page."""
    trust, mood = _trust(run, measurement)
    return Answer(found=_found(measurement), trust=trust, next=_next(run, measurement), mood=mood)


def fastest(measurement: Measurement) -> PointMeasurement | None:
    """The load point with the highest output rate that may be quoted."""
    known = [p for p in measurement.sound if _rate(p).value is not None]
    return max(known, key=lambda p: _rate(p).value or 0.0) if known else None


def _rate(point: PointMeasurement) -> Metric:
    return point.metrics["output_tokens_per_s"]


def _found(measurement: Measurement) -> str:
    best = fastest(measurement)
    if not measurement.points:
        return "no load was put on it: no speed was measured"
    if best is None:
        if any(_rate(p).value is not None for p in measurement.headline):
            return "no rate that may be quoted"
        why = _why_none(measurement)
        return "no rate that may be shown" + (f": {why}" if why else "")
    rate, get = _rate(best), best.metrics.get
    text = "" if measurement.rehearsal is None else "made up, not to be quoted: "
    text += f"{with_interval(rate.value or 0.0, rate.ci_low, rate.ci_high)} tokens/s out"
    total = get("total_tokens_per_s")
    if total is not None and total.value is not None:
        text += f" ({quantity(total.value)} with those of the prompts)"
    text += f" at {load_words(best)}{_of_how_many(measurement)}"
    user, first = get("output_tokens_per_s_per_user"), get("ttft_p50_ms")
    if user is not None and user.value is not None:
        text += f"; each user gets {quantity(user.value)} tokens/s"
    if first is not None and first.value is not None:
        text += f"; the first token comes after {quantity(first.value)} ms (median)"
    joules = get("energy_per_output_token_j")
    if joules is not None and joules.value is not None:
        text += f"; {quantity(joules.value)} J per token"
    return text


def _of_how_many(measurement: Measurement) -> str:
    """Among how many loads it is the most; those withheld may have had more."""
    asked, sound = len(measurement.headline), len(measurement.sound)
    if asked < 2:
        return ""
    if sound == asked:
        return f", the most of {asked} loads"
    if sound == 1:
        return f", the only one of {asked} loads that may be quoted"
    return f", the most of the {sound} of {asked} loads that may be quoted"


def _why_none(measurement: Measurement) -> str | None:
    """Why no load point has an output rate, where one was put on it."""
    found = (rate.reason for rate in map(_rate, measurement.points) if rate.reason)
    failed = (f"{f.code}: {f.text}" for f in measurement.findings if f.severity == "fail")
    return next(found, None) or next(failed, None)


_OF_WHAT = ("bound", "served_model", "told_otherwise")
"""Warnings that leave the figures as they are, but not what they are figures of."""


def _trust(run: Run, measurement: Measurement) -> tuple[str, str]:
    """In words, and as a mood: good, doubt or bad."""
    found, counted = _everything(measurement), tally(measurement)
    if measurement.rehearsal is not None:
        return f"NO: a rehearsal, nothing was measured ({measurement.rehearsal})", "bad"
    if run.spec.engine.kind == "none" and run.status == "complete":
        return "of quality alone: no engine ran", "doubt"
    failed_ones = _failures(measurement)
    if not measurement.valid:
        return _in_part(measurement, failed_ones)
    checks = f"{counted['pass']} checks passed"
    warned = counted["warn"]
    checks += f", {warned} warning{'s' if warned > 1 else ''} below" if warned else ""
    energy = next((f for f in failed_ones if f.withholds == "energy"), None)
    some = next((f for f in failed_ones if f.withholds != "energy"), None)
    if some is not None:
        too = "" if energy is None else f"; not for energy, either: {_short(energy)}"
        return f"in part: {_short(some)}; what that moves is withheld{too}", "doubt"
    if energy is not None:
        return f"yes for speed; not for energy: {_short(energy)}", "doubt"
    doubt = next((f for f in found if f.severity == "warn" and f.code in _OF_WHAT), None)
    if doubt is not None:
        return f"yes for what was measured, but of what? {_short(doubt)}; {checks}", "doubt"
    return f"yes: {checks}", "good"


def _everything(measurement: Measurement) -> list[Finding]:
    return [f for p in measurement.points for f in p.findings] + list(measurement.findings)


def tally(measurement: Measurement) -> Counter[Severity]:
    """How many checks passed, of all loads and of the run, and how many things were found; what is
    said of several loads in the same words is one."""
    found = _everything(measurement)
    told = {(f.severity, f.code, f.text) for f in found if f.severity != "pass"}
    counted: Counter[Severity] = Counter(severity for severity, _, _ in told)
    counted["pass"] = sum(f.severity == "pass" for f in found)
    return counted


def checks_line(measurement: Measurement) -> str:
    """What became of all checks; a note is one that could not be made, or has no outcome."""
    counted = tally(measurement)
    parts = [f"{counted['pass']} checks passed"]
    if counted["fail"]:
        parts.append(f"{counted['fail']} failed")
    if warned := counted["warn"]:
        parts.append(f"{warned} warning{'s' if warned > 1 else ''}")
    if noted := counted["info"]:
        parts.append(f"{noted} could not be made or only note something: bench report lists them")
    return ", ".join(parts)


def standing(measurement: Measurement) -> str:
    """VALID, VALID IN PART (something is withheld, the rest may be quoted) or NOT VALID."""
    if not measurement.stands:
        return "NOT VALID"
    whole = measurement.valid and not _failures(measurement)
    return "VALID" if whole else "VALID IN PART"


def _failures(measurement: Measurement) -> list[Finding]:
    """What failed at the load points that speak for the run, and of the run as a whole: first what
    takes everything away."""
    found = [*(f for p in measurement.headline for f in p.findings), *measurement.findings]
    return sorted((f for f in found if f.severity == "fail"), key=lambda f: f.withholds != "all")


def _in_part(measurement: Measurement, failed: Sequence[Finding]) -> tuple[str, str]:
    """Where no output rate may be quoted, why, and whether the rest may."""
    why = next(iter(failed), None)
    where = failed_loads(measurement)
    if measurement.stands:
        return (
            f"in part, not at {where}: {_short(why)}; what is not withheld may be quoted",
            "doubt",
        )
    return f"NO, do not quote it{f' ({where})' if where else ''}: {_short(why)}", "bad"


def failed_loads(measurement: Measurement) -> str:
    """The loads that failed by themselves, in words; what the run as a whole failed at has none."""
    return ", ".join(load_words(p) for p in measurement.headline if not p.sound_alone)


def _short(finding: Finding | None) -> str:
    """A finding's code and its first part: the whole stands below."""
    if finding is None:
        return "nothing was measured"
    first = finding.text.partition(";")[0]
    return f"{first} ({finding.code})"


def _remedy(measurement: Measurement) -> str:
    """What the first failure says that is to be changed: findings end with it."""
    worst = next(iter(_failures(measurement)), None)
    return "" if worst is None else worst.text.rpartition("; ")[2 if "; " in worst.text else 0]


def _next(run: Run, measurement: Measurement) -> str:
    """The step that most people take from here."""
    if measurement.rehearsal is not None:
        return "the same command on the real host"
    remedy = _remedy(measurement)
    if run.status == "running":
        return "wait until it has ended: bench show says what it has then"
    if not measurement.stands:
        return f"{remedy or 'mend what failed'}, and run it again"
    if remedy:
        return f"{remedy}; what is not withheld may be quoted"
    steps = ["bench report latest --open shows it as a page"]
    best = fastest(measurement)
    several = [p for p in measurement.headline if p.point.concurrency is not None]
    if best is not None and len(several) > 1 and best is several[-1]:
        more = 2 * (best.point.concurrency or 1)
        steps.insert(0, f"more load may give more: load.concurrency=[{more}]")
    if best is not None and isinstance(run.spec.engine, VllmSpec):
        steps.append("bench tco latest prices it")
    return "; ".join(steps)
