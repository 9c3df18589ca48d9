"""The list of runs: derived once, and again when a run or the code has changed."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from point_support import even, point

from bench.cli.summaries import INDEX, NAME, summaries
from bench.cli.verbs import runs
from bench.config.compose import compose, run_spec
from bench.report.rows import known_format, write_rows
from bench.store import (
    create_run_dir,
    find_run,
    find_runs,
    folder_name,
    list_runs,
    load_run,
    save_point,
    save_run,
)
from bench.values.errors import InputError, StoreError
from bench.values.record import Anchor, Run


def stored(folder: Path, **changes: Any) -> Path:
    spec = run_spec(compose(["engine=truth", "gpus=0", f"results_dir={folder}"]))
    path = create_run_dir(spec)
    for repeat in (10, 9, 2):
        save_point(path, point(even(12), repeat=repeat))
    given = {"status": "complete", **changes}
    save_run(path, Run(spec=spec, anchor=Anchor(monotonic_ns=0, wall_iso="2026"), **given))
    return path


def test_a_row_is_derived_once_and_again_when_the_run_changes(tmp_path: Path) -> None:
    path = stored(tmp_path)
    asked: list[Path] = []

    def row(of: Path) -> dict[str, Any]:
        asked.append(of)
        return {"n": len(asked)}

    first = summaries(str(tmp_path), row)
    assert summaries(str(tmp_path), row) == first == [{"n": 1, "run": str(path)}]
    save_point(path, point(even(12), repeat=11))
    assert summaries(str(tmp_path), row)[0]["n"] == 2
    (path / NAME).write_text("{ half of a")
    assert summaries(str(tmp_path), row)[0]["n"] == 3


def test_the_index_is_read_while_nothing_changed_and_rebuilt_when_it_is_gone(
    tmp_path: Path,
) -> None:
    path = stored(tmp_path)
    first = summaries(str(tmp_path), runs.derived)
    (path / NAME).unlink()  # the index alone has the row now

    def never(of: Path) -> dict[str, Any]:
        raise AssertionError(of)

    assert summaries(str(tmp_path), never) == first
    save_point(path, point(even(12), repeat=11))
    changed = summaries(str(tmp_path), lambda _: {"status": "complete", "n": 2})
    assert changed == [{"status": "complete", "n": 2, "run": str(path)}]
    for damage in ("", "[]", "{", '{"of": 1, "rows": {}}'):
        (tmp_path / INDEX).write_text(damage)
        (path / NAME).unlink(missing_ok=True)
        again = summaries(str(tmp_path), lambda _: {"status": "complete", "n": 3})
        assert again == [{"status": "complete", "n": 3, "run": str(path)}]


def test_no_run_is_named_twice(tmp_path: Path) -> None:
    """`bench tco latest latest` once pooled a run with itself."""
    path, other = stored(tmp_path), stored(tmp_path)
    assert find_runs((path.name, str(other)), str(tmp_path)) == [path, other]
    for names in (("latest", "latest"), (path.name, str(path))):
        with pytest.raises(InputError, match=r"are the same run, .+: name it once"):
            find_runs(names, str(tmp_path))


def test_two_that_list_at_once_leave_a_whole_index(tmp_path: Path) -> None:
    for _ in range(3):
        stored(tmp_path)
    with ThreadPoolExecutor(4) as several:
        found = list(several.map(lambda _: summaries(str(tmp_path), runs.derived), range(8)))
    assert all(rows == found[0] for rows in found)
    assert len(json.loads((tmp_path / INDEX).read_text())["rows"]) == 3
    assert not list(tmp_path.glob("*.part"))


def test_a_run_is_found_by_its_name_without_a_look_at_the_others(tmp_path: Path) -> None:
    path, other = stored(tmp_path), stored(tmp_path)
    (other / "run.json").write_text("damaged")
    for name in (path.name, f"tiny/{path.name}", str(path)):
        assert find_run(name, str(tmp_path)) == path
    (tmp_path / "m").mkdir()
    shutil.copytree(path, tmp_path / "m" / path.name)
    with pytest.raises(InputError, match="names 2 runs"):
        find_run(path.name, str(tmp_path))
    with pytest.raises(InputError, match="there is no run"):
        find_run("../*", str(tmp_path))


def test_runs_of_one_second_are_listed_in_their_order(tmp_path: Path) -> None:
    names = ("a-x0-20260101-000000-2", "b-x0-20260101-000000-10", "a-x0-20260101-000001")
    for name in names:
        (tmp_path / "m" / name).mkdir(parents=True)
        (tmp_path / "m" / name / "run.json").touch()
    assert [p.name for p in list_runs(str(tmp_path))] == list(names)


def test_another_code_makes_anotherderived(tmp_path: Path) -> None:
    path = stored(tmp_path)
    summaries(str(tmp_path), lambda _: {"n": 1})
    known = json.loads((path / NAME).read_text())
    (path / NAME).write_text(json.dumps({**known, "of": f"other{known['of']}"}))
    assert summaries(str(tmp_path), lambda _: {"n": 2})[0]["n"] == 2


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[" * 100_000,
        "null",
        '{"schema_version": 99}',
        '{"schema_version": 1}',
        '{"schema_version": 1, "spec": 7}',
        "\x00\xff",
    ],
)
def test_a_damaged_run_is_listed_with_why_and_hides_no_other(tmp_path: Path, content: str) -> None:
    good = stored(tmp_path)
    bad = stored(tmp_path)
    (bad / "run.json").write_text(content)
    rows = {row["run"]: row for row in summaries(str(tmp_path), runs.derived)}
    assert rows[str(good)]["status"] == "complete"
    assert "run.json" in rows[str(bad)]["unreadable"] or "schema" in rows[str(bad)]["unreadable"]
    with pytest.raises(StoreError):
        load_run(bad)


def test_a_damaged_point_is_said_not_raised_as_a_bug(tmp_path: Path) -> None:
    path = stored(tmp_path)
    for content in ("[]", "{}", '{"point": 3}', "{"):
        (path / "points" / "000-c1-r2" / "point.json").write_text(content)
        with pytest.raises(StoreError, match="000-c1-r2"):
            list(load_run(path).points)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("org/model", "org-model"),
        ("../../x", "x"),
        ("/abs/x", "abs-x"),
        ("a b\x1b[31m", "a-b-31m"),
        ("m" * 400, "m" * 120),
        ("Ümlaut-7B", "Ümlaut-7B"),
    ],
)
def test_a_run_lies_below_results_dir_whatever_its_name(
    tmp_path: Path, name: str, folder: str
) -> None:
    spec = run_spec(compose(["engine=truth", "gpus=0", f"results_dir={tmp_path}"]))
    path = create_run_dir(replace(spec, model=replace(spec.model, name=name)))
    assert path.parent == tmp_path / folder
    assert path.stat().st_mode & 0o077 == 0  # its owner alone
    save_run(path, Run(spec=spec, anchor=Anchor(monotonic_ns=0, wall_iso="2026")))
    assert list_runs(str(tmp_path)) == [path]


def test_a_name_of_dots_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.name: '\.\./\.\.' is no name"):
        folder_name("../..", "model.name")


def test_points_come_in_order_of_repeat_and_one_at_a_time(tmp_path: Path) -> None:
    run = load_run(stored(tmp_path))
    assert [p.point.repeat for p in run.points] == [2, 9, 10]
    assert run.points[-1].count == 12
    assert len(run.points[1:]) == 2


@pytest.mark.parametrize("form", ["csv", "md"])
def test_rows_for_other_programs(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stored(tmp_path)
    runs.list_all(str(tmp_path), as_json=False, form=form)
    lines = capsys.readouterr().out.splitlines()
    assert str(path) in lines[-1].replace("\\", "")
    assert "workload" in lines[0]


def test_csv_leaves_empty_what_was_not_measured(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows([{"a": None, "b": 0.0, "c": 'x"y'}], "csv")
    assert capsys.readouterr().out == 'a,b,c\n,0.0,"x""y"\n'


def test_markdown_takes_no_markup_from_names(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows([{"name": "<b>|*x*", "value": 1234.5}], "md")
    assert capsys.readouterr().out == (
        "| name | value |\n| --- | ---: |\n| \\<b\\>\\|\\*x\\* | 1,234 |\n"
    )


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'parquet'"):
        known_format("parket")


def test_no_key_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVER", "correct-horse-battery")
    words = [
        "engine=endpoint",
        "engine.base_url=http://127.0.0.1:1/v1",
        "gpus=0",
        "engine.api_key_env=MY_SERVER",
        f"results_dir={tmp_path}",
    ]
    spec = run_spec(compose(words))
    path = create_run_dir(spec)
    said = "401: correct-horse-battery is no key"
    save_run(path, Run(spec=spec, anchor=Anchor(monotonic_ns=0, wall_iso="2026"), failure=said))
    assert "correct-horse" not in (path / "run.json").read_text()
    assert load_run(path).failure == "401: «hidden» is no key"
