"""A node's side: it joins the head, answers what the head asks, and starts processes for it.

`python -m bench.nodes.agent ADDRESS PORT NUMBER`; the first line of stdin is the key to join with.
The end of stdin (the head is gone, whatever way) or of the connection is its own end and that of
everything it started. A question is a function and its arguments; both sides run one bench.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from bench.nodes.wire import Wire, call_head

END = "end"
"""The head's word for: end what was started for me."""


def main() -> None:
    """Join, then serve until the head is gone."""
    address, port, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    key = bytes.fromhex(os.fsdecode(_line()))
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    head = call_head(address, port, key, ("node", number))
    children: list[BaseProcess] = []
    # Imports once, forks in milliseconds, and from a process without threads.
    context = multiprocessing.get_context("forkserver")
    while True:
        try:
            message = head.recv()
        except (EOFError, OSError):
            os._exit(0)
        if message == END:
            for child in children:
                child.terminate()
            children.clear()
            head.send(END)
            continue
        kind, function, arguments = message
        if kind == "ask":
            head.send(_answer(function, arguments))
            continue
        place = (address, port, key, number, function, arguments)
        process = context.Process(target=_child, args=place, daemon=True)
        process.start()
        children.append(process)


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """What the function says; what it raises goes to the head as its words."""
    try:
        return "told", function(*arguments)
    except Exception as error:  # noqa: BLE001 -- the head says it
        return "raised", f"{type(error).__name__}: {error}"


def _child(
    address: str,
    port: int,
    key: bytes,
    number: int,
    function: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    connection: Wire = call_head(address, port, key, ("child", number))
    function(connection, *arguments)


def _line() -> bytes:
    """The first line of stdin, and not a byte more."""
    found = b""
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        found += byte
    return found


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
