"""Every reader of outside input on damaged texts, for as long as asked: what escapes is a bug.

    python scripts/fuzz_readers.py [SECONDS_EACH] [SEED]

The short form of it is tests/faults/test_fuzz.py. Prints a line a reader; the text that escaped is
kept in fuzz-failures/. Exit code 1 when anything escaped.
"""

from __future__ import annotations

import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

from asked_help import answer_help

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS / "faults"), str(TESTS)]

from damage import damaged  # noqa: E402
from readers import once, place, readers  # noqa: E402


def main() -> int:
    """Fuzz one reader after the other."""
    seconds = float(sys.argv[1]) if sys.argv[1:] else 60.0
    seed = int(sys.argv[2]) if sys.argv[2:] else 0
    escaped = 0
    with place() as run:
        for reader in readers(run):
            rng = random.Random(f"{seed}/{reader.name}")
            tried, refused, slowest_s = 0, 0, 0.0
            kinds: Counter[str] = Counter()
            until_s = time.monotonic() + seconds
            while time.monotonic() < until_s:
                data = damaged(rng.choice(reader.samples), rng)
                began_s = time.monotonic()
                try:
                    refused += once(reader, data, run)
                except Exception as error:  # noqa: BLE001 -- this is what is looked for
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    kind = f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}"
                    if not kinds[kind]:
                        keep(reader.name, len(kinds), data)
                    kinds[kind] += 1
                slowest_s = max(slowest_s, time.monotonic() - began_s)
                tried += 1
            escaped += sum(kinds.values())
            print(
                f"{reader.name:14} {tried:9,} tried {refused:9,} refused {sum(kinds.values()):6,} "
                f"escaped, slowest {slowest_s:6.3f} s {dict(kinds) or ''}",
                flush=True,
            )
    return 1 if escaped else 0


def keep(name: str, number: int, data: bytes) -> None:
    """The text, to be tried again."""
    folder = Path("fuzz-failures")
    folder.mkdir(exist_ok=True)
    (folder / f"{name.replace(' ', '-')}-{number}").write_bytes(data)


if __name__ == "__main__":
    answer_help(__doc__)
    sys.exit(main())
