"""Faults of stored runs (kind 3): one damaged file hides no other run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

from fault import Place, fault, stored
from said import bench, refused

from bench.cli.summaries import summaries
from bench.cli.verbs.runs import derived

Change = Callable[[bytes], bytes]


def damaged_run(name: str, content: bytes | Change) -> Callable[[Place], None]:
    """One file of one run replaced: that run is listed with why, the other as ever."""

    def do(place: Place) -> None:
        good, bad = stored(place.folder), stored(place.folder)
        target = next(bad.glob(name), bad / name)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content(target.read_bytes()))
        rows = {r["run"]: r for r in summaries(str(place.folder), derived)}
        assert rows[str(good)]["status"] == "complete"
        assert "unreadable" in rows[str(bad)], "the damage is not told"
        listed = bench("runs", f"results_dir={place.folder}")
        assert listed.code == 0
        assert "unreadable" in listed.out
        refused(bench("show", str(bad), f"results_dir={place.folder}"), 1, bad.name)

    return do


RECORDS = {
    "empty": b"",
    "half of it": b'{"schema_version": 1, "spec": {"mod',
    "a list": b"[]",
    "null": b"null",
    "a newer schema": b'{"schema_version": 99}',
    "no schema": b"{}",
    "another shape": b'{"schema_version": 1, "spec": 7}',
    "no text": b"\x00\xff\xfe",
    "a hundred thousand brackets": b"[" * 100_000,
    "a number of 5,000 digits": b'{"schema_version": ' + b"9" * 5000 + b"}",
}
for _name, _content in RECORDS.items():
    fault(3, f"run.json is {_name}", "listed with why, hides no other run")(
        damaged_run("run.json", _content)
    )
for _name, _file, _content in (
    ("point.json is empty", "points/*/point.json", b""),
    ("point.json lacks its errors", "points/*/point.json", b'{"point": {}}'),
    ("requests.parquet is cut off", "points/*/requests.parquet", b"PAR1"),
    ("chunks.parquet is empty", "points/*/chunks.parquet", b""),
    ("telemetry is no text", "telemetry/power.jsonl", b"\xff\xfe\n"),
    ("telemetry is of another shape", "telemetry/power.jsonl", b'{"k": 7}\n[]\n'),
):
    fault(3, _name, "listed with why, hides no other run")(damaged_run(_file, _content))


def other(**keys: object) -> Change:
    """A JSON file with these keys of another value."""
    return lambda text: json.dumps({**json.loads(text), **keys}).encode()


def worker(**keys: object) -> Change:
    """point.json with these keys of its worker of another value."""

    def change(text: bytes) -> bytes:
        meta = json.loads(text)
        meta["workers"][0] |= keys
        return json.dumps(meta).encode()

    return change


for _name, _file, _change in (
    ("a search that is empty", "run.json", other(load_search={})),
    ("a calibration without its errors", "run.json", other(calibration={"by_load": {}})),
    ("cores that are no list", "run.json", other(server={"client_cores": 7})),
    ("counters that are text", "points/*/point.json", other(engine_before={"a": "x"})),
    ("a start that is none", "points/*/point.json", other(start_ns=[[1]])),
    ("a number of 400 digits", "points/*/point.json", worker(clock_error_ns=10**400)),
):
    fault(3, f"stored: {_name}", "listed with why, hides no other run")(damaged_run(_file, _change))


@fault(3, "summary.json is damaged", "derived anew")
def _(place: Place) -> None:
    path = stored(place.folder)
    for content in ("", "[]", '{"of": 1}', "[" * 100_000):
        (path / "summary.json").write_text(content)
        assert summaries(str(place.folder), derived)[0]["status"] == "complete"


@fault(3, "a run's folder lost its points", "said, not raised")
def _(place: Place) -> None:
    path = stored(place.folder)
    shutil.rmtree(path / "points")
    assert bench("runs", f"results_dir={place.folder}").code == 0
    assert "Traceback" not in bench("show", str(path)).err
