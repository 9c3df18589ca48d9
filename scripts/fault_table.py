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

from asked_help import answer_help

if __name__ == "__main__":
    answer_help(__doc__)  # what follows needs the tests' packages

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


CAUSES = {
    "a reset right behind data is not seen": ("reset ",),
    "a slot is held by a lost request": ("silence", "one byte at a time"),
    "the engine dies in the last load point": ("dies_in_the_last", "outlives_its_core"),
    "one damaged run hides the others": ("run.json is", "point.json", "parquet", "telemetry"),
    "metrics that are garbage": ("metrics: garbage", "metrics: no HTTP", "metrics: another"),
    "metrics that drip or never end": ("metrics: dripping", "metrics: endless"),
    "a probe that drips or never ends": ("probe: ",),
    "names that lead elsewhere": ("model.name=", "quant.name="),
    "keys in flags and variables": ("keys_among_flags", "record_of_a_sweep"),
    "keys that a server echoes": ("echoes_the_key", "key_that_is_none"),
    "files that others may read": ("its_owners_alone",),
    "escape sequences": (" in an error", "escapes in what is typed", "escape_sequence"),
    "streams that are closed or full": ("stream_that_takes_nothing",),
    "signals": ("who_interrupted_it", "signal_waits"),
    "what SIGKILL leaves": ("killed", "even_the_supervisor", "half_written"),
    "YAML that nobody chose, bombs": ("YAML", "claim: "),
    "numbers without end": ("trace: ", "load.", "workload.", "seed=", "engine."),
    "files that are none": ("FIFO", "device without an end", "config.json: ", "prices: "),
    "a folder that is gone or closed": ("working folder was", "results_dir"),
    "terminals that know ASCII alone": ("ascii_alone",),
    "a full disk that claims to keep": ("disk",),
    "messages that mislead": ("unquoted", "an open bracket", "without a scheme"),
}
"""What the 88 faults that once did not survive came of, and words in the names of what tries it."""


def main() -> int:
    """Do them, print a line each, then the counts by kind and by cause."""
    wanted = [w for w in sys.argv[1:] if not w.startswith("--")]
    tried: Counter[int] = Counter()
    broken: Counter[int] = Counter()
    kept: dict[str, bool] = {}
    for fault in FAULTS:
        if wanted and not any(w in fault.name for w in wanted):
            continue
        began_s = time.monotonic()
        why = outcome(fault)
        tried[fault.point] += 1
        broken[fault.point] += bool(why)
        kept[fault.name] = not why
        line(fault.point, fault.name, fault.promise, why, time.monotonic() - began_s)
    if "--all" in sys.argv:
        for file, point in OWN_PROCESSES.items():
            for name, passed in tests_of(file):
                tried[point] += 1
                broken[point] += not passed
                kept[name] = passed
                line(point, name, "its test", "" if passed else "see the test", 0.0)
    for point, count in sorted(tried.items()):
        print(f"{KINDS[point]:24} {count:4} tried {count - broken[point]:4} survived")
    total = sum(tried.values())
    print(f"{'all':24} {total:4} tried {total - sum(broken.values()):4} survived")
    by_cause(kept)
    return 1 if sum(broken.values()) else 0


def by_cause(kept: dict[str, bool]) -> None:
    """Of each cause of the faults that once did not survive: how many try it now, and survive."""
    mended = untried = again = 0
    for cause, words in CAUSES.items():
        mine = [name for name in kept if any(word in name for word in words)]
        lost = [name for name in mine if not kept[name]]
        mended += bool(mine) and not lost
        untried += not mine
        again += len(mine)
        print(f"  {cause:44} {len(mine):4} tried {len(mine) - len(lost):4} survived")
    print(
        f"causes of the 88: {mended} of {len(CAUSES)} mended, {untried} not tried in this call; "
        f"{again} faults try them"
    )


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
