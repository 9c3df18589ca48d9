"""Beginnings that prompts share because their trace says so: equal hash ids, equal tokens."""

from __future__ import annotations

import numpy as np

from bench.traffic.trace_file import TraceRow

_SMALL_ID = 2**31
_MOST_LARGE = 4_000_000
"""Ids that are hashes themselves, kept to know them again; from then on none is known."""


class SeenIds:
    """Which hash ids were met: a bit each while they are counted up, as traces do, else a set."""

    def __init__(self) -> None:
        self._bits = bytearray()
        self._large: set[int] = set()

    def add(self, one: int) -> bool:
        """Whether it was new."""
        if one >= _SMALL_ID or one > 64 * (len(self._bits) * 8 + 1_000_000):
            new = one not in self._large
            if len(self._large) < _MOST_LARGE:
                self._large.add(one)
            return new
        at, bit = divmod(one, 8)
        if at >= len(self._bits):
            self._bits.extend(bytes(max(at + 1 - len(self._bits), len(self._bits))))
        new = not self._bits[at] >> bit & 1 and one not in self._large
        self._bits[at] |= 1 << bit
        return new

    def known(self, row: TraceRow) -> int:
        """How many of a row's first blocks an earlier row had; adds all of them."""
        found, unbroken = 0, True
        for one in row.hash_ids:
            unbroken = not self.add(one) and unbroken
            found += unbroken
        return found


class Prefixes:
    """Draws the tokens of blocks by their ids. `seed` tells repeats apart."""

    def __init__(
        self, seed: tuple[int, ...], tokens: tuple[int, int], block_tokens: int | None
    ) -> None:
        self._seed, self._tokens, self._block = seed, tokens, block_tokens
        self._seen = SeenIds()

    def begin(self, row: TraceRow) -> tuple[list[int], int]:
        """The tokens of a row's hashed blocks, and how many of them an earlier row had.

        A row without ids shares nothing; where the trace has none at all, 0 is what it declares.
        """
        if self._block is None or not row.hash_ids:
            return [], 0
        shared = min(self._seen.known(row) * self._block, row.input_tokens)
        drawn: list[int] = []
        for one in row.hash_ids:
            rng = np.random.default_rng((*self._seed, one))
            drawn += rng.integers(*self._tokens, self._block).tolist()
        return drawn[: row.input_tokens], shared
