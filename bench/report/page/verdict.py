"""The first section: what was measured, whether it is valid, what it means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import SupportsFloat

from bench.claims.verdict import Assessment
from bench.compare.variant import Measured
from bench.money.answer import Levels, TcoAnswer
from bench.report.answer import answer, standing, tally
from bench.report.claim_table import GRAVEST
from bench.report.numbers import load_words
from bench.report.page.blocks import Block, Cell, Figures, Mood, Section, Text, measured
from bench.report.page.material import (
    Material,
    asked,
    engine,
    fastest,
    found_where,
    hardware,
    kept_slo,
    rate,
    said,
    slo_words,
    subject,
)
from bench.report.page.money import OUTCOMES
from bench.report.page.questions import QUESTIONS
from bench.report.tco_table import sentences
from bench.report.tco_table import verdict as cost_verdict
from bench.values.finding import Finding


def verdict(m: Material) -> Section:
    """In plain words, for somebody who reads nothing else: the decision and the figures first."""
    blocks: list[Block] = [*_decision(m)]
    if m.comparison is not None:
        said = 0 if m.cost is not None else _DECIDED  # those stand in the decision
        for row in m.comparison.rows[1 + said :]:
            text = f"against {m.comparison.baseline}: {row.verdict}"
            blocks.append(Text(lead=row.name, text=text))
    for one in m.runs:
        blocks += _run(one, f"{m.name(one)}: " if len(m.runs) > 1 else "")
    if m.cost is not None:
        words = "".join(f" [{w.upper()}]" for w in m.cost.words)
        text = " ".join(sentences(m.cost))
        blocks.append(Text(lead=f"Cost{words}", text=text, mood="doubt" if words else ""))
    if m.claims:
        counted = Counter(a.verdict for a in m.claims)
        if m.runs or m.cost is not None:
            blocks.append(Text(lead="Claims", text=_of_claims(m.claims)))
        found = [(v, counted[v]) for v in GRAVEST if counted[v] and len(m.claims) > 1]
        blocks += [Text(lead=f"{n} {v}", text=OUTCOMES[v]) for v, n in found]
    return Section(name="verdict", heading="Verdict", blocks=blocks)


_DECIDED = 3
"""How many variants the decision tells of; the others have a paragraph each."""


def _decision(m: Material) -> list[Block]:
    """One sentence and the three or four figures that carry it, large."""
    blocks: list[Block] = []
    if m.cost is not None:
        words = "".join(f" [{w.upper()}]" for w in m.cost.words)
        blocks.append(Text(text=f"{m.cost.name}{words}: {cost_verdict(m.cost)}.", large=True))
    elif m.comparison is not None and len(m.comparison.rows) > 1:
        rows = m.comparison.rows[1:]
        text = " ".join(
            f"{r.name} against {m.comparison.baseline}: {r.verdict}." for r in rows[:_DECIDED]
        )
        blocks.append(Text(text=text, large=True))
    elif m.claims and not m.runs:
        blocks.append(Text(text=_of_claims(m.claims), large=True))
    elif len(m.runs) == 1:
        first = answer(m.runs[0].run, m.runs[0].measurement)
        text = first.found if m.runs[0].measurement.valid else f"{first.found}. {first.trust}"
        blocks.append(Text(text=f"{text[:1].upper()}{text[1:]}.", large=True))
    if figures := _figures(m):
        blocks.append(Figures(items=figures))
    if len(m.runs) == 1 and m.cost is None:
        steps = answer(m.runs[0].run, m.runs[0].measurement).next.split("; ")
        others = [s for s in steps if not s.startswith("bench report")]  # that is this page
        blocks += [Text(lead="Next", text="; ".join(others))] if others else []
    return blocks


def _of_claims(claims: Sequence[Assessment]) -> str:
    """How many of the published numbers cannot be true, in words that suit one of them, too."""
    wrong = sum(a.verdict in ("impossible", "refuted") for a in claims)
    if len(claims) == 1:
        return f"The published number is {claims[0].verdict}: {OUTCOMES[claims[0].verdict]}."
    if not wrong:
        return f"{len(claims)} published numbers were put to the test; none was found untrue."
    return f"{wrong} of {len(claims)} published numbers cannot be true."


def _figures(m: Material) -> list[tuple[str, Cell]]:
    """At most four: of each variant its rate, of one run what a user gets, too, and the cost."""
    found: list[tuple[str, Cell]] = []
    if m.cost is not None:
        for basis, levels in _ways(m.cost).items():
            rented = f"rented servers ({basis.replace('_', ' ')})"
            name = "own servers" if basis == "own" else rented
            found.append((f"{name}, $ per M tokens", _usd(levels.loaded.blended)))
        if m.cost.apis:
            cheapest = min(m.cost.apis, key=lambda api: float(api.price))
            name = cheapest.key.rpartition("/")[2]
            found.append((f"the cheapest API ({name}), $ per M tokens", _usd(cheapest.price)))
    quotable = [r for r in m.runs if r.measurement.stands and r.measurement.rehearsal is None]
    best = [(one, point) for one in quotable if (point := fastest(one)) is not None]
    for one, point in best[: 4 - len(found)]:
        of = f"{m.name(one)}, " if len(m.runs) > 1 else ""
        found.append((f"{of}output tokens/s at {load_words(point)}", measured(rate(point))))
    if len(m.runs) == 1 and best:
        get = best[0][1].metrics.get
        for title, key in (
            ("tokens/s for each user", "output_tokens_per_s_per_user"),
            ("ms to the first token (median)", "ttft_p50_ms"),
            ("J per output token", "energy_per_output_token_j"),
            ("ms between tokens (median)", "itl_p50_ms"),
            ("ms for a whole answer (median)", "e2e_p50_ms"),
        ):
            metric = get(key)
            if metric is not None and metric.value is not None and len(found) < 4:
                found.append((title, measured(metric)))
    return found


def _ways(a: TcoAnswer) -> dict[str, Levels]:
    """What the question asked for, owning, and the cheapest rent, each once."""
    ways = {o.basis: o.levels for o in a.options if o.levels is not None}
    rents = [basis for basis in ways if basis != "own"]
    cheapest = min(rents, key=lambda basis: float(ways[basis].loaded.blended), default=a.basis)
    order = dict.fromkeys((a.basis, "own", cheapest))
    return {b: ways.get(b, a.levels) for b in order if b in ways or b == a.basis}


def _usd(value: SupportsFloat) -> Cell:
    return Cell(text=f"${float(value):,.2f}", value=float(value))


def _run(one: Measured, name: str) -> list[Block]:
    """What a run measured, whether it is valid and what it means; `name` leads where several do."""
    run, found = one.run, one.measurement
    blocks: list[Block] = [
        Text(
            lead=f"{name}Measured",
            text=f"{subject(one)} on {hardware(one)}, served by {engine(one)}: {asked(one)}. "
            f"Started {run.anchor.wall_iso[:16].replace('T', ' ')} UTC.",
        )
    ]
    if found.rehearsal is not None:
        text = f"Nothing of it was measured ({found.rehearsal}): do not quote it."
        blocks.append(Text(lead=f"{name}REHEARSAL", text=text, mood="bad"))
    if run.spec.engine.kind == "none" and run.status == "complete":
        text = "Quality alone: no engine ran, so no speed was measured."
        return [*blocks, Text(text=text, lead="Scope", mood="doubt")]
    if not found.valid:
        lead = f"{name}{standing(found)}"
        blocks.append(Text(lead=lead, text=_refusal(one), mood="doubt" if found.stands else "bad"))
        if fastest(one) is not None:
            blocks.append(Text(lead="Meaning", text=_meaning(one)))
        return [*blocks, *_failures(one), *_caveats(one)]
    counted = tally(found)
    failed = f"{counted['fail']} failed: what that moves is withheld"
    failed = failed if counted["fail"] else "none failed"
    text = f"{counted['pass']} checks passed and {failed}; {_warnings(counted['warn'])}."
    if found.rehearsal is not None:
        return [*blocks, Text(text=text), *_failures(one), *_caveats(one)]
    stands = standing(found)
    mood: Mood = "good" if stands == "VALID" else "doubt"
    blocks.append(Text(lead=f"{name}{stands}", text=text, mood=mood))
    blocks.append(Text(lead="Meaning", text=_meaning(one)))
    return [*blocks, *_failures(one), *_caveats(one)]


def _refusal(one: Measured) -> str:
    """How much of a run failed, and whether the rest of it may be quoted."""
    points, found = one.measurement.headline, one.measurement
    text = "Do not quote numbers of this run."
    if found.stands:
        text = "Do not quote what is withheld; the rest stands."
    if failed := [load_words(p) for p in points if not p.sound_alone]:
        text += f" {len(failed)} of {len(points)} load points failed: {', '.join(failed)}."
    return text


def _failures(one: Measured) -> list[Block]:
    """Each check that failed, once, with what it asks, where it failed and its first reason; those
    that take energy alone at the end."""
    failed: dict[str, list[tuple[str, Finding]]] = {}
    for place, f in sorted(found_where(one, ""), key=lambda at: at[1].withholds == "energy"):
        if f.severity == "fail":
            failed.setdefault(f.code, []).append((place, f))
    blocks: list[Block] = []
    for code, seen in failed.items():
        places = ", ".join(dict.fromkeys(place for place, _ in seen if place))
        text = QUESTIONS.get(code, code) + " No"
        text += f", not at {places}: " if places else ": "
        text += seen[0][1].text + "."
        if len({f.text for _, f in seen}) > 1:
            text += f" That is at {seen[0][0]}; the certificate has the others."
        of_energy = seen[0][1].withholds == "energy"
        lead = "Energy withheld" if of_energy else "Failed"
        mood: Mood = "doubt" if of_energy else "bad"
        blocks.append(Text(lead=lead, text=text, mood=mood))
    return blocks


def _warnings(number: int) -> str:
    if not number:
        return "no warnings"
    return f"{number} warning{'s' if number > 1 else ''}, listed in the certificate"


def _meaning(one: Measured) -> str:
    best = fastest(one)
    if best is None:
        return "No load point has an output rate."
    get = best.metrics.get
    where = load_words(best)
    text = f"At {where} it puts out {said(rate(best))} tokens/s"
    if one.run.spec.gpus > 1:
        text += f" ({said(best.metrics['output_tokens_per_s_per_gpu'])} per GPU)"
    bound = get("bound_tokens_per_s")
    if bound is not None and bound.value and rate(best).value:
        share = (rate(best).value or 0.0) / bound.value
        text += f", {share:.0%} of the {bound.value:,.0f} that this hardware could do at most"
    user, first = best.metrics["output_tokens_per_s_per_user"], best.metrics["ttft_p50_ms"]
    if user.value is not None:
        text += f"; a user sees {said(user)} tokens/s"
    if first.value is not None:
        text += f"; the first token comes after {said(first)} ms (median)"
    text += _within_slo(one) + "."
    joules = get("energy_per_output_token_j")
    if joules is not None and joules.value is not None:
        arose = "" if joules.arose == "measured" else f" ({joules.arose}, no measurement)"
        text += f" A token takes {said(joules)} J{arose}, {joules.scope or 'unknown scope'} alone."
    return text


def _within_slo(one: Measured) -> str:
    slo = one.run.spec.workload.slo
    kept = {p.point.label: kept_slo(one, p) for p in one.measurement.headline}
    words = slo_words(slo)
    if any(v is None for v in kept.values()):
        return f". Whether the SLO ({words}) was kept is not known at every load"
    if all(kept.values()):
        return f". The SLO ({words}) was kept at every load"
    names = ", ".join(load for load, v in kept.items() if v) or "no load"
    return f". The SLO ({words}) was kept at {names} alone"


def _caveats(one: Measured) -> list[Block]:
    """What is to be known of the run as a whole, such as dummy weights or made-up power."""
    notes = [f.text for f in one.measurement.findings if f.severity in ("info", "warn")]
    powered = [
        f.text
        for p in one.measurement.points
        for f in p.findings
        if f.code == "power_source" and f.severity == "warn"
    ]
    again = [
        f"{load_words(p)}: {f.text}"
        for p in one.measurement.points
        for f in p.findings
        if f.code == "measured_again"
    ]
    said_once = dict.fromkeys([*notes, *powered, *again])
    return [Text(lead="Note", text=text, mood="doubt") for text in said_once]
