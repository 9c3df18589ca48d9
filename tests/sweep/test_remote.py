"""Runs at another address: whole or not at all, never changed, by several at once."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from point_support import even, point

from bench.config.compose import compose, run_spec
from bench.store import create_run_dir, load_run, save_point, save_run
from bench.sweep.remote import pull, push
from bench.values.errors import BenchError, InputError
from bench.values.record import Anchor, Run

pytest.importorskip("fsspec")


def stored(folder: Path, status: str = "complete") -> Path:
    spec = run_spec(compose(["engine=truth", "gpus=0", f"results_dir={folder}"]))
    path = create_run_dir(spec)
    save_point(path, point(even(12)))
    run = Run(spec=spec, anchor=Anchor(monotonic_ns=0, wall_iso="2026"))
    save_run(path, replace(run, status=status))  # type: ignore[arg-type]
    return path


def test_what_was_pushed_is_pulled_the_same(tmp_path: Path) -> None:
    run, address = stored(tmp_path / "a"), f"file://{tmp_path}/there"
    begun = stored(tmp_path / "a", "running")
    name = f"tiny/{run.name}"
    done = push(str(tmp_path / "a"), address)
    assert (done.copied, done.running) == ((name,), (f"tiny/{begun.name}",))
    assert push(str(tmp_path / "a"), address).there == (name,)
    assert pull(str(tmp_path / "b"), address).copied == (name,)
    assert pull(str(tmp_path / "b"), address).there == (name,)
    mine, its = load_run(run), load_run(tmp_path / "b" / name)
    assert its.spec == mine.spec
    assert [p.start_ns for p in its.points] == [p.start_ns for p in mine.points]
    assert not list(tmp_path.rglob("*.part"))


def test_a_run_without_its_record_is_not_there(tmp_path: Path) -> None:
    """A push that died in the middle: run.json goes last."""
    run = stored(tmp_path / "a")
    push(str(tmp_path / "a"), str(tmp_path / "there"))
    (tmp_path / "there" / "tiny" / run.name / "run.json").unlink()
    assert pull(str(tmp_path / "b"), str(tmp_path / "there")).copied == ()
    assert push(str(tmp_path / "a"), str(tmp_path / "there")).copied == (f"tiny/{run.name}",)


def test_another_run_of_that_name_is_never_changed(tmp_path: Path) -> None:
    run = stored(tmp_path / "a")
    push(str(tmp_path / "a"), str(tmp_path / "there"))
    save_run(run, replace(load_run(run), failure="changed"))
    assert push(str(tmp_path / "a"), str(tmp_path / "there")).other == (f"tiny/{run.name}",)
    pull(str(tmp_path / "b"), str(tmp_path / "there"))
    assert load_run(tmp_path / "b" / "tiny" / run.name).failure is None


def test_several_that_push_one_name_at_once_do_not_mix(tmp_path: Path) -> None:
    first = stored(tmp_path / "m0")
    for n in range(1, 4):
        shutil.copytree(tmp_path / "m0", tmp_path / f"m{n}")
    for n in range(4):
        run = tmp_path / f"m{n}" / "tiny" / first.name
        (run / "engine.log").write_text(f"m{n}")
        save_run(run, replace(load_run(run), failure=f"m{n}"))
    address = f"file://{tmp_path}/there"
    for _ in range(2):  # each may have left it to another in the first turn
        with ThreadPoolExecutor(4) as several:
            list(several.map(lambda n: push(str(tmp_path / f"m{n}"), address), range(4)))
    push(str(tmp_path / "m0"), address)
    pull(str(tmp_path / "all"), address)
    run = tmp_path / "all" / "tiny" / first.name
    assert load_run(run).failure == (run / "engine.log").read_text()
    assert not list((tmp_path / "there").rglob(".pushed-by-*"))


def test_addresses_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 's3'"):
        push(str(tmp_path), "s33://bucket/x")
    stored(tmp_path / "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="file"):
        push(str(tmp_path / "a"), str(tmp_path / "file"))
