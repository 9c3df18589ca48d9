"""More streams than the machine can hold: refused before anything is started, with the remedy."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from bench.traffic import limits
from bench.traffic.limits import ensure_streams, workers_for
from bench.values.errors import InputError
from bench.web.wire import explained


def test_workers_follow_the_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [workers_for(n) for n in (1, 1000, 1001, 7500, 100_000)] == [1, 1, 2, 8, 8]
    assert workers_for(5, wanted=3) == 3


def test_too_few_descriptors_name_the_limit_and_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """5,000 streams in each of two workers and 64 spare: 5,064 against a hard limit of 4,096."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    with pytest.raises(InputError, match=r"5064 file descriptors .* 4096: .*ulimit -Hn 5064"):
        ensure_streams(10_000, 2)
    ensure_streams(8_000, 2)


def test_too_few_ports_name_the_limit_and_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "range").write_text("60000\t60999\n")
    monkeypatch.setattr(limits, "_PORT_RANGE", tmp_path / "range")
    with pytest.raises(InputError, match=r"1001 open streams .* has 1000: .*ip_local_port_range"):
        ensure_streams(1_001, 2)
    ensure_streams(1_000, 2)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(errno.EMFILE, "ulimit -n"), (errno.EADDRNOTAVAIL, "ip_local_port_range")],
)
def test_what_still_happens_in_mid_run_names_its_remedy(code: int, remedy: str) -> None:
    assert remedy in explained(OSError(code, "x"))
    assert explained(ConnectionRefusedError(errno.ECONNREFUSED, "x")) == "Connection refused"
