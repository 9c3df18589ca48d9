"""No load point is trusted more than its run, and no consumer shows a figure of a NOT VALID one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gate_support import measured, point

from bench.claims.of_run import points_of
from bench.compare.compare import compare, figures_are_of
from bench.compare.variant import Measured, Variant, apart
from bench.measure.checks.moves import withhold
from bench.measure.measurement import Measurement, PointMeasurement, worst
from bench.measure.metrics import METRICS, Metric
from bench.measure.trust import held_to_run
from bench.money.of_run import tco_run
from bench.money.throughput import saturated_point
from bench.report.answer import answer, standing
from bench.report.document import run_document, summary
from bench.report.exchange import llm_d_reports, mlflow_batches, prometheus
from bench.report.rows import metric_rows
from bench.values.finding import Finding, Severity, energy, some
from bench.values.record import QualityItem, QualityResult
from bench.values.spec import SloSpec

RATE = "output_tokens_per_s"
WRONG = ("served_model", "the server serves another model")
CUT = ("incomplete", "interrupted by Ctrl-C (SIGINT)")


def found(code: str, text: str, severity: Severity = "fail") -> Finding:
    return Finding(code=code, severity=severity, text=text)


def load(rate: float, concurrency: int, *findings: Finding) -> PointMeasurement:
    figures = {d.name: [rate, 1.1 * rate] for d in METRICS}
    made = point(figures, concurrency)
    return replace(made, metrics=withhold(made.metrics, findings), findings=findings)


def a_run(*points: PointMeasurement, of: tuple[Finding, ...] = ()) -> Measured:
    """A run as `derive` makes it: its load points under what is said of the whole."""
    made = measured(*held_to_run(points, of), at="2026-11-28", findings=list(of))
    failed = any(f.code == "incomplete" for f in of)
    run = replace(made.run, status="failed", ended_by="SIGINT") if failed else made.run
    return replace(made, run=run)


@pytest.mark.parametrize(("why", "word"), [(WRONG, "FAILED"), (CUT, "incomplete")])
def test_a_run_that_is_not_valid_shows_no_rate_anywhere(why: tuple[str, str], word: str) -> None:
    one = a_run(load(100, 1), load(300, 16), of=(found(*why),))
    run, m = one.run, one.measurement
    assert (m.trust, m.valid, standing(m)) == (word, False, "NOT VALID")
    assert [(p.trust, p.valid) for p in m.points] == [(word, False)] * 2
    assert m.points[1].metrics[RATE].withheld_value == pytest.approx(315)  # kept, not shown
    rates = [d.name for d in METRICS if not d.whole_run]
    assert all(p.metrics[n].value is None for p in m.points for n in rates)
    assert "no rate" in answer(run, m).found
    row = summary(run, m)
    assert (row["trust"], row["valid"], row[RATE], row["best_load"]) == (word, False, None, None)
    document = run_document(run, m)
    assert document["trust"] == word
    assert {p["trust"] for p in document["load_points"]} == {word}
    assert {(r["trust"], r["value"]) for r in metric_rows(run, m) if r["metric"] == RATE} == {
        (word, None)
    }
    for report in llm_d_reports(run, m):
        assert report["run"]["keywords"][1] == "not valid"
        assert report["results"]["request_performance"]["aggregate"]["throughput"] == {}
    (batch,) = mlflow_batches(run, m)
    assert {"key": "bench.trust", "value": word} in batch["tags"]
    assert not [x for x in batch["metrics"] if RATE in x["key"]]
    assert [x["value"] for x in batch["metrics"] if x["key"].endswith("/valid")] == [0.0, 0.0]
    text = prometheus([(run, m)])
    assert f"bench_{RATE}{{" not in text
    assert 'load="c16",trust="' + word + '"} 0.0' in text
    assert not any(p.valid or p.metrics[RATE][0] for p in points_of(run, m))


def test_a_comparison_rates_a_variant_by_its_runs() -> None:
    sound, part = load(100, 1), load(300, 16, found("errors", "5 % failed"))
    good, partly = a_run(sound, load(200, 16)), a_run(sound, part)
    wrong = a_run(sound, load(200, 16), of=(found(*WRONG),))
    rows = compare(apart([good, partly, wrong]), load="c1").rows
    assert [r.trust for r in rows] == ["ok", "partly", "FAILED"]
    assert [r.figures[RATE].value is None for r in rows] == [False, False, True]
    assert summary(partly.run, partly.measurement)["trust"] == "partly"
    assert standing(partly.measurement) == "VALID IN PART"


def test_the_figures_of_several_runs_are_their_mean_and_say_so() -> None:
    """100, 110 and 120: 110 ± 4.303·10/√3 = ± 24.8; the last run alone said 120 (values × 1.05)."""
    runs = tuple(a_run(load(rate, 1)) for rate in (100, 110, 120))
    base = tuple(a_run(load(100, 1)) for _ in range(3))
    variants = [Variant(name="a", rounds=base), Variant(name="b", rounds=runs)]
    _, row = compare(variants, load="c1").rows
    rate = row.figures[RATE]
    assert rate.value == pytest.approx(1.05 * 110)
    assert rate.ci_high == pytest.approx(1.05 * (110 + 4.3027 * 10 / 3**0.5), rel=1e-4)
    said = figures_are_of(compare(variants, load="c1").rows)
    assert said is not None
    assert said.startswith("Figures of speed are the mean of each variant's 3 runs")
    assert figures_are_of(compare(apart([base[0], runs[0]]), load="c1").rows) is None
    wrong = a_run(load(500, 1), of=(found(*WRONG),))
    _, row = compare([variants[0], Variant(name="c", rounds=(*runs[:2], wrong))], load="c1").rows
    assert (row.trust, row.figures[RATE].value) == ("FAILED", None)


def test_a_figure_says_of_how_many_runs_it_is() -> None:
    """Rounds at c16, c32, c16: the figures at c16 are of two runs, those at c32 of one."""
    base = Variant(name="a", rounds=tuple(a_run(load(100, 16), load(100, 32)) for _ in range(3)))
    rounds = (a_run(load(100, 16)), a_run(load(500, 32)), a_run(load(120, 16)))
    other = Variant(name="b", rounds=rounds)
    rows = compare([base, other], load="c16").rows
    assert rows[0].figure_runs[RATE] == 3
    assert (rows[1].figure_runs[RATE], rows[1].figures[RATE].repeats) == (2, 2)
    assert rows[1].figures[RATE].value == pytest.approx(1.05 * 110)
    assert (figures_are_of(rows) or "").endswith(" But b: all of 2 of its 3 runs.")
    rows = compare([base, other], load="c32").rows
    said = figures_are_of(rows) or ""
    assert said.endswith(" But b: all of 1 of its 3 runs (± within it).")


def test_a_search_in_which_nothing_holds_takes_no_figure_from_its_probes() -> None:
    """A limit that is missed moves no figure; the run names no limit and is NOT VALID as such."""
    nothing = found("search", "no load tried holds")
    one = a_run(load(100, 1), load(300, 16), of=(nothing,))
    m = one.measurement
    assert (m.trust, m.valid, standing(m), m.sound) == ("FAILED", False, "NOT VALID", ())
    assert [(p.trust, p.valid) for p in m.points] == [("ok", True)] * 2
    assert [p.metrics[RATE].value for p in m.points] == pytest.approx([105, 315])
    assert answer(one.run, m).found == "no rate that may be quoted"
    (p,) = held_to_run([load(100, 4)], [nothing, found(*CUT)])
    assert (p.trust, p.metrics[RATE].value) == ("incomplete", None)
    assert (p.metrics[RATE].reason or "").startswith("incomplete:")
    m = Measurement(points=(load(100, 4),), findings=(nothing,), rehearsal="made up: the engine")
    assert m.trust == "FAILED"


@pytest.mark.parametrize(
    ("code", "kept"), [("search", True), ("served_model", False), ("checkpoint_changed", False)]
)
def test_scores_are_left_out_for_what_moves_them_alone(code: str, kept: bool) -> None:
    one = a_run(load(100, 1), of=(found(code, "it failed"),))
    scored = QualityResult(preset="fast")
    items = (
        QualityItem(
            task="t", metric="acc", filter="none", doc_id=1, sample=0, value=1.0, item_hash="h"
        ),
    )
    one = replace(one, run=replace(one.run, quality=scored), items=items)
    assert (Variant(name="a", rounds=(one,)).quality is not None) == kept


def test_one_wording_for_how_far_a_run_stands() -> None:
    def of(*findings: Finding) -> Measurement:
        return a_run(load(100, 4, *findings)).measurement

    assert standing(of()) == "VALID"
    assert standing(of(some("bursts", "in bursts", ("itl",)))) == "VALID IN PART"
    assert standing(of(energy("power_share", "fail", "shared"))) == "VALID IN PART"
    assert standing(of(found("errors", "all failed"))) == "NOT VALID"
    assert standing(Measurement(points=())) == "NOT VALID"


def test_a_rehearsal_is_trusted_nowhere_as_a_measurement() -> None:
    (p,) = held_to_run([load(100, 4)], [], "made up: the engine")
    assert (p.trust, p.valid) == ("rehearsal", True)
    m = Measurement(points=(p,), rehearsal="made up: the engine")
    assert m.trust == "rehearsal"


def test_a_point_that_failed_by_itself_is_not_improved_by_an_interruption() -> None:
    (p,) = held_to_run([load(100, 4, found("errors", "all failed"))], [found(*CUT)])
    assert p.trust == "FAILED"


@pytest.mark.parametrize("of", [(), (found(*CUT),), (found(*WRONG),)])
def test_a_point_without_its_own_output_rate_stays_unsound_in_a_failed_run(
    of: tuple[Finding, ...],
) -> None:
    """Its run's failure hides the same figure: what its own check took must not be forgotten, or
    `tco.allow=[invalid]` chooses the rate as a sound one."""
    slots = some("free_slots", "slots stood empty", ("output_tokens_per_s",))
    one = a_run(load(100, 1), load(300, 16, slots), load(200, 8, some("x", "y", ("itl",))), of=of)
    assert [p.sound_alone for p in one.measurement.points] == [True, False, True]
    assert [p.valid for p in one.measurement.points] == [not of, False, not of]
    unmetered = dict.fromkeys(("power_mean_w", "idle_resident_w"), Metric(value=None, unit="W"))
    points = tuple(replace(p, metrics={**unmetered, **p.metrics}) for p in one.measurement.points)
    lax = SloSpec(ttft_ms=1e9, tpot_ms=1e9)
    spec = replace(one.run.spec, workload=replace(one.run.spec.workload, slo=lax))
    priced = tco_run(replace(one.run, spec=spec), replace(one.measurement, points=points))
    assert [p.valid for p in priced.points] == [True, False, True]
    best, caveats = saturated_point(priced)
    assert best.label == "c8"
    assert any("c16 failed the certificate" in c for c in caveats)


def test_the_worst_of_several() -> None:
    assert worst(["ok", "partly", "ok"]) == "partly"
    assert worst([None, "FAILED", "incomplete"]) == "FAILED"
    assert worst([None]) is None
