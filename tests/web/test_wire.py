"""Stamps of arrival: on the right clock, never made up, and not late when the client is."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from misbehaving import END, HEAD, Misbehave, event, outcomes, request, shoot

from bench.values.clock import now_ns
from bench.web.stamps import arrivals_ns
from bench.web.wire import _SO_TIMESTAMPNS, arrival_ns

DAY_NS = 86_400_000_000_000


def raw(real_ns: int) -> bytes:
    """A timespec as the kernel writes it."""
    return struct.pack("qq", *divmod(real_ns, 1_000_000_000))


def test_one_stamp_is_moved_and_never_late() -> None:
    """Arrived at 100 ns, looked at 150; one that would lie after the look is the look."""
    assert arrival_ns(raw(DAY_NS + 100), 150, DAY_NS) == 100
    assert arrival_ns(raw(DAY_NS + 200), 150, DAY_NS) == 150
    assert arrival_ns(b"", 150, DAY_NS) == 150


def test_a_stamp_is_moved_to_the_monotonic_clock() -> None:
    """Realtime is a day ahead: arrived at 100 and 200 ns, looked at 50 ns later."""
    offsets = [(0, DAY_NS), (1_000, DAY_NS)]
    found = arrivals_ns(
        [raw(DAY_NS + 100), raw(DAY_NS + 200)], np.array([150, 250], dtype=np.int64), offsets
    )
    assert found is not None
    assert found.tolist() == [100, 200]


def test_a_slewing_clock_is_followed() -> None:
    """The offset grows by 1,000 ns from 0 to 1 ms: by 500 half-way."""
    offsets = [(0, DAY_NS), (1_000_000, DAY_NS + 1_000)]
    found = arrivals_ns([raw(DAY_NS + 400_500)], np.array([500_000], dtype=np.int64), offsets)
    assert found is not None
    assert found.tolist() == [400_000]


def test_a_clock_that_was_set_is_not_believed() -> None:
    offsets = [(0, DAY_NS), (1_000_000, DAY_NS + 2_000_000)]
    assert arrivals_ns([raw(DAY_NS)], np.array([10], dtype=np.int64), offsets) is None


def test_one_missing_stamp_is_the_clients_own_and_many_are_none() -> None:
    seen = np.arange(200, dtype=np.int64) + 1_000
    stamps = [raw(DAY_NS + 500)] * 199 + [b""]
    found = arrivals_ns(stamps, seen, [(0, DAY_NS)])
    assert found is not None
    assert found[-1] == seen[-1]
    assert set(found[:-1].tolist()) == {500}
    assert arrivals_ns([b""] * 200, seen, [(0, DAY_NS)]) is None


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**9)), min_size=1))
def test_arrival_is_exact_and_never_after_it_was_seen(pairs: list[tuple[int, int]]) -> None:
    arrived = [at for at, _ in pairs]
    seen = np.array([at + late for at, late in pairs], dtype=np.int64)
    stamps = [raw(20_000 * DAY_NS + at) for at in arrived]
    found = arrivals_ns(stamps, seen, [(0, 20_000 * DAY_NS)])
    assert found is not None
    assert found.tolist() == arrived
    early = arrivals_ns(stamps, seen - 10**9 - 1, [(0, 20_000 * DAY_NS)])
    assert early is not None
    assert (early < seen).all()


@pytest.fixture
def stamping() -> Iterator[None]:
    """The kernel stamps packets while any socket asks for it; it takes a moment to begin."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
        asking.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        time.sleep(0.1)
        yield


@pytest.mark.usefixtures("stamping")
def test_a_client_that_was_stopped_does_not_date_late(misbehave: Misbehave) -> None:
    """The second token arrives while the client stands still: its stamp is from before it woke."""
    woken: list[int] = []

    def serve(c: socket.socket, _: int) -> None:
        request(c)
        c.sendall(HEAD + event("a"))
        time.sleep(0.1)
        pids = [p.pid for p in multiprocessing.active_children() if p.pid]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        c.sendall(event("b"))
        time.sleep(0.4)
        woken.append(now_ns())
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.1)
        c.sendall(event("c") + event("d") + END)
        request(c)

    data = shoot(misbehave(serve), count=1, slots=1)
    assert outcomes(data) == ["ok"]
    assert data.chunk_delay_ns is not None
    assert data.chunk_ns[1] < woken[0]
    assert data.chunk_ns[1] + data.chunk_delay_ns[1] >= woken[0]
    assert data.requests["end_ns"][0] >= data.chunk_ns[-1]


def test_a_request_larger_than_the_socket_takes_arrives_whole(misbehave: Misbehave) -> None:
    """Nine megabytes of prompt to a server that reads slowly: sent in parts, answered."""
    lengths: list[int] = []

    def serve(c: socket.socket, _: int) -> None:
        time.sleep(0.05)
        lengths.append(len(request(c)))
        c.sendall(HEAD + event("a") + event("b") + event("c") + event("d") + END)
        request(c)

    data = shoot(misbehave(serve), count=1, slots=1, prompt="word " * 1_800_000)
    assert outcomes(data) == ["ok"]
    assert lengths[0] > 9_000_000


def test_a_reset_right_behind_data_is_seen_at_once(misbehave: Misbehave) -> None:
    """Both come in one wake-up, after which libuv listens no more: half of these took 60 s."""

    def serve(c: socket.socket, _: int) -> None:
        request(c)
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.sendall(HEAD + event("a"))

    began_ns = now_ns()
    data = shoot(misbehave(serve), count=40, slots=4, timeout_s=60.0)
    assert outcomes(data) == ["connection"] * 40
    assert int(data.requests["end_ns"].max()) - began_ns < 30e9


def test_an_answer_that_is_whole_before_the_reset_counts(misbehave: Misbehave) -> None:
    def serve(c: socket.socket, _: int) -> None:
        request(c)
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.sendall(HEAD + event("a") + event("b") + event("c") + event("d") + END)

    assert outcomes(shoot(misbehave(serve), count=20, slots=4, timeout_s=60.0)) == ["ok"] * 20
