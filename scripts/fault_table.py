"""The fault table, done for real and printed: faults tried, survived, and none silent.

    python scripts/fault_table.py [--all] [WORDS ...]

Each fault of tests/faults/table.py in turn (those whose name has one of WORDS); with --all also the
tests beside it that need processes of their own (signals, SIGKILL, death of an engine, secrets,
leftovers, fuzzing), a test a fault. Exit code 1 when a promise was broken.
"""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS / "faults"), str(TESTS)]

from conftest import serving  # noqa: E402
from table import FAULTS, Fault, Place  # noqa: E402

MOST_S = 120
KINDS = {
    1: "connections",
    2: "engine death",
    3: "stored runs",
    4: "metrics and probes",
    5: "names",
    6: "secrets",
    7: "escape sequences",
    8: "streams, signals, files",
    9: "inputs",
    10: "messages",
}
OWN_PROCESSES = {
    "test_engine_death.py": 2,
    "test_secrets.py": 6,
    "test_endings.py": 8,
    "test_residue.py": 8,
    "test_fuzz.py": 9,
    "../cli/test_streams.py": 8,
}


def main() -> int:
    """Do them, print a line each, then the counts by kind."""
    wanted = [w for w in sys.argv[1:] if not w.startswith("--")]
    tried: Counter[int] = Counter()
    broken: Counter[int] = Counter()
    for fault in FAULTS:
        if wanted and not any(w in fault.name for w in wanted):
            continue
        began_s = time.monotonic()
        why = outcome(fault)
        tried[fault.point] += 1
        broken[fault.point] += bool(why)
        line(fault.point, fault.name, fault.promise, why, time.monotonic() - began_s)
    if "--all" in sys.argv:
        for file, point in OWN_PROCESSES.items():
            for name, passed in tests_of(file):
                tried[point] += 1
                broken[point] += not passed
                line(point, name, "its test", "" if passed else "see the test", 0.0)
    for point, count in sorted(tried.items()):
        print(f"{KINDS[point]:24} {count:4} tried {count - broken[point]:4} survived")
    total = sum(tried.values())
    print(f"{'all':24} {total:4} tried {total - sum(broken.values()):4} survived")
    return 1 if sum(broken.values()) else 0


def line(point: int, name: str, promise: str, why: str, took_s: float) -> None:
    """One fault: what was done, what was promised, what came of it."""
    verdict = f"BROKEN: {why}" if why else "kept"
    print(f"{point:2} {name[:50]:50} | {promise[:46]:46} | {took_s:5.1f} s | {verdict}", flush=True)


def outcome(fault: Fault) -> str:
    """ "" when the promise was kept, else what was seen instead."""

    def late(*_: object) -> None:
        raise TimeoutError(f"no end within {MOST_S} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(MOST_S)
    try:
        with tempfile.TemporaryDirectory() as folder, serving() as misbehave:
            fault.do(Place(Path(folder), misbehave))
    except BaseException as error:  # noqa: BLE001 -- whatever it is, it is the finding
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    finally:
        signal.alarm(0)
    return ""


def tests_of(file: str) -> list[tuple[str, bool]]:
    """The tests of a file and whether each passed."""
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--no-header", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(TESTS / "faults" / file)], capture_output=True, text=True, check=False
    )
    found = re.findall(r"^(PASSED|FAILED|ERROR) \S+::(.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return [(name, state == "PASSED") for state, name in found]


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
