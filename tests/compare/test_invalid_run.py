"""A comparison says which runs a load point was taken from, not only of which variant."""

from __future__ import annotations

from gate_support import measured, point, variant

from bench.compare.compare import compare

RATE = "output_tokens_per_s"


def test_the_run_that_failed_is_named() -> None:
    sound = point({RATE: [100.0, 101.0]})
    failed = point({RATE: [100.0, 101.0]}, failed="engine_bound")
    base = variant(*(measured(sound, at=f"2026-0{i}") for i in range(3)))
    other = variant(
        *(measured(failed if i == 1 else sound, at=f"2026-1{i}") for i in range(3)), name="fp8"
    )
    found = compare([base, other], allow=("*",))
    text = next(f.text for f in found.findings if f.code == "invalid_run")
    assert text.startswith("fp8: ")
    assert text.endswith(": bench show tiny/run-2026-11 says why")
    many = (measured(failed, at=f"2026-2{i}") for i in range(3))
    found = compare([base, variant(*many, name="fp8")], allow=("*",))
    text = next(f.text for f in found.findings if f.code == "invalid_run")
    assert text.endswith(" say why")


def test_launches_that_are_left_are_counted() -> None:
    sound = point({RATE: [100.0, 101.0]})
    failed = point({RATE: [100.0, 101.0]}, failed="engine_bound")
    base = variant(*(measured(sound, at=f"2026-0{i}") for i in range(3)))
    other = variant(
        *(measured(failed if i == 1 else sound, at=f"2026-1{i}") for i in range(3)), name="fp8"
    )
    found = compare([base, other], allow=("*",))
    # Two launches are left that both have: it is not said that there was one.
    assert "no load of either is withheld, and there are 2 (bench show RUN" in found.rows[1].verdict
