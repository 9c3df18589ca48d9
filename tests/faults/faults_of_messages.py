"""Faults of messages (kind 10): the line says what to change."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fault import TRUTH, Place, fault, stored
from said import bench, refused

from bench.store import load_run, save_run
from bench.values.errors import StoreError


def says(words: tuple[str, ...], *parts: str, code: int = 2) -> Callable[[Place], None]:
    """The line names these."""

    def do(place: Place) -> None:
        refused(bench(*words, f"results_dir={place.folder}"), code, *parts)

    return do


ENDPOINT = ("engine=endpoint", "gpus=0", "engine.start_timeout_s=1")
for _name, _words, _parts in (
    ("unquoted umlauts", (*TRUTH, "workload.name=Größe"), ("quote its value", '"Größe"')),
    (
        "an unquoted IPv6 address",
        (*ENDPOINT, "engine.base_url=http://[::1]:1/v1"),
        ("quote its value", "[::1]"),
    ),
    ("an open bracket", ("engine.args=[",), ("close every bracket",)),
    ("an address without a scheme", (*ENDPOINT, "engine.base_url=x:1"), ("engine.base_url",)),
    ("a file for an address", (*ENDPOINT, "engine.base_url=file:/etc/passwd"), ("http://",)),
    ("a missing --config-dir", ("--config-dir=/nonexistent",), ("--config-dir", "/nonexistent")),
):
    fault(10, _name, "says what to change")(says(_words, *_parts))


@fault(10, "a disk that is full at the start", "says so, and claims to keep nothing")
def _(place: Place) -> None:
    run = stored(place.folder)
    (run / "run.json.part").symlink_to("/dev/full")
    with pytest.raises(StoreError, match=r"No space left on device\. Free space") as full:
        save_run(run, load_run(run))
    assert full.value.full
    assert "kept" not in str(full.value)
