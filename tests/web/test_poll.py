"""The client's own turn: who is called, in which order, and when it goes back to the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket

from bench.values.clock import AbsoluteTimer, now_ns
from bench.web.poll import Poll


def test_it_stays_while_it_may_and_then_lets_the_loop_go_on() -> None:
    """Three bytes sent one by one within the first callback: read without the event loop's help."""

    async def main() -> list[str]:
        loop, seen = asyncio.get_running_loop(), list[str]()
        ours, theirs = socket.socketpair()
        with contextlib.closing(ours), contextlib.closing(theirs):
            poll = Poll(loop, lambda: len(seen) < 3)

            def read() -> None:
                seen.append(ours.recv(1).decode())
                if len(seen) == 1:
                    loop.call_soon(seen.append, "the loop")
                if len(seen) < 3:
                    theirs.send(b"x")

            poll.add_reader(ours.fileno(), read)
            theirs.send(b"x")
            while len(seen) < 4:
                await asyncio.sleep(0)
            poll.close()
            return seen

    assert asyncio.run(main()) == ["x", "x", "x", "the loop"]


def test_what_is_owed_to_the_loop_ends_the_stay() -> None:
    async def main() -> bool:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        poll = Poll(loop, lambda: True)
        timer = AbsoluteTimer(poll, lambda: poll.soon(done.set))
        timer.set(now_ns() + 1_000_000)
        await asyncio.wait_for(done.wait(), 30)
        timer.close()
        poll.close()
        return done.is_set()

    assert asyncio.run(main())


def test_one_that_was_removed_by_another_is_not_called() -> None:
    """Both are ready at once; whoever comes first removes the other."""

    async def main() -> int:
        pairs = [socket.socketpair() for _ in range(2)]
        poll = Poll(asyncio.get_running_loop(), lambda: False)
        called: list[int] = []

        def read(i: int) -> None:
            called.append(i)
            for ours, _ in pairs:
                poll.remove_reader(ours.fileno())

        for i, (ours, theirs) in enumerate(pairs):
            poll.add_reader(ours.fileno(), functools.partial(read, i))
            theirs.send(b"x")
        await asyncio.sleep(0.05)
        poll.close()
        for pair in pairs:
            for end in pair:
                end.close()
        return len(called)

    assert asyncio.run(main()) == 1
