"""What bench does at and beyond its limits, tried for real: a line each, with time and memory.

    python scripts/limits.py [WORDS ...]     (those whose name has one of WORDS; default: all)

Thousands of streams, a million requests, a sweep of 200 jobs, a thousand stored runs, a machine
without room, descriptors or ports, an ordinary user before closed doors, terminals that know ASCII
alone. What needs root, bubblewrap or namespaces is skipped without them, and says so. Exit code 1
when something ended otherwise than promised.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asked_help import answer_help

ROOT = Path(__file__).parents[1]
BENCH = (sys.executable, "-m", "bench.cli")
TRUTH = ("engine=truth", "gpus=0", "meter=none", "load.calibrate=false", "load.repeats=1")
NOBODY = 65534
_LOOK_S = 0.1


@dataclass
class Done:
    """One command: exit code, streams, seconds, and the most memory of it and its children."""

    code: int
    out: str
    err: str
    took_s: float
    peak_mb: float

    @property
    def line(self) -> str:
        """What it said last."""
        lines = [x for x in (self.err or self.out).strip().splitlines() if x.strip()]
        return lines[-1][:200] if lines else ""


@dataclass
class Trial:
    """One thing that is tried; `do` returns what came of it, or raises AssertionError."""

    name: str
    do: Callable[[Path], str]
    needs: tuple[str, ...] = field(default=())


TRIALS: list[Trial] = []


def trial(name: str, *needs: str) -> Callable[[Callable[[Path], str]], None]:
    """Put a function into the list; `needs` are programs, or "root"."""

    def add(do: Callable[[Path], str]) -> None:
        TRIALS.append(Trial(name, do, needs))

    return add


def main() -> int:
    """Try them, print a line each."""
    wanted = sys.argv[1:]
    broken = 0
    for one in TRIALS:
        if wanted and not any(word in one.name for word in wanted):
            continue
        lacking = [n for n in one.needs if (os.geteuid() if n == "root" else not shutil.which(n))]
        began_s = time.monotonic()
        said = "not tried, for want of " + ", ".join(lacking) if lacking else _outcome(one)
        broken += said.startswith("BROKEN")
        print(f"{one.name:44} {time.monotonic() - began_s:7.1f} s  {said}", flush=True)
    return 1 if broken else 0


def _outcome(one: Trial) -> str:
    folder = Path(tempfile.mkdtemp(prefix="limits-"))
    try:
        return one.do(folder)
    except AssertionError as error:
        return "BROKEN: " + " ".join(str(error).split())[:600]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ------------------------------------------------------------------- running it


def run(
    command: Sequence[str], *, timeout_s: float = 3600, env: dict[str, str] | None = None
) -> Done:
    """The command to its end, watched."""
    began_s = time.monotonic()
    peak_kb = 0
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        )
        while process.poll() is None:
            peak_kb = max(peak_kb, _resident_kb(process.pid))
            if time.monotonic() - began_s > timeout_s:
                process.kill()
                process.wait()
                raise AssertionError(f"no end within {timeout_s:g} s")
            time.sleep(_LOOK_S)
        took_s = time.monotonic() - began_s
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    done = Done(process.returncode, texts[0], texts[1], took_s, peak_kb / 1024)
    assert "Traceback" not in done.err, done.err[-500:]
    return done


def bench(*words: str, within: Sequence[str] = (), env: dict[str, str] | None = None) -> Done:
    """`bench WORDS`, `within` another command."""
    return run((*within, *BENCH, *words), env=env)


def shell(*before: str) -> tuple[str, ...]:
    """A shell that does `before` (limits, mounts) and then becomes what follows."""
    return ("sh", "-c", "; ".join((*before, 'exec "$@"')), "sh")


def _resident_kb(pid: int) -> int:
    """Memory of a process and all that descend from it; shared pages count once for each."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,rss"], capture_output=True, text=True)
    rows = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()[1:]]
    family, total = {pid}, 0
    for child, parent, rss in sorted(rows):
        if child in family or parent in family:
            family.add(child)
            total += rss
    return total


def ended(done: Done, code: int, *parts: str) -> str:
    """It ended so, and its last line names these; the line, shortened."""
    assert done.code == code, f"exit {done.code}, not {code}: {done.line}"
    for part in parts:
        assert part in done.line, f"{part!r} is not named: {done.line}"
    return f"exit {code}, {done.peak_mb:,.0f} MB: {done.line[:150]}"


def measured(done: Done) -> str:
    """The one load point of a run asked for with --json: what it did, and whether it is valid."""
    assert done.code == 0, f"exit {done.code}: {done.line}"
    document = json.loads(done.out)
    point = document["load_points"][0]
    rate, failed = point["requests_per_s"], point["error_rate"]
    assert (failed["value"] or failed["withheld_value"] or 0.0) == 0.0, f"errors: {failed}"
    findings = {f["code"] for f in point["findings"] if f["severity"] == "fail"}
    return (
        f"{done.peak_mb:,.0f} MB, no error in {point['requests']:,} requests, "
        f"{rate['value'] or rate['withheld_value'] or 0:,.0f} req/s, "
        + (f"withheld: {', '.join(sorted(findings))}" if findings else "nothing withheld")
    )


# ------------------------------------------------------------------- much of it


@trial("10,000 streams at once")
def _(folder: Path) -> str:
    words: tuple[str, ...] = (
        "load.concurrency=[10000]",
        "load.requests=40000",
        "workload.output_tokens=32",
    )
    words += ("engine.ttft_ms=2000", "engine.itl_ms=100", f"results_dir={folder}", "--json")
    return measured(bench(*TRUTH, *words))


@trial("10,000 streams, 1,024 descriptors")
def _(folder: Path) -> str:
    words: tuple[str, ...] = (
        "load.concurrency=[10000]",
        "load.requests=20000",
        f"results_dir={folder}",
    )
    within = shell("ulimit -n 1024")
    return ended(bench(*TRUTH, *words, within=within), 2, "ulimit -Hn")


@trial("an open loop without the descriptors it needs")
def _(folder: Path) -> str:
    words: tuple[str, ...] = (
        "load=open",
        "load.rate_per_s=[400]",
        "load.duration_s=4",
        "load.workers=1",
    )
    words += ("engine.ttft_ms=3000", "workload.output_tokens=4", f"results_dir={folder}")
    return ended(bench(*TRUTH, *words, within=shell("ulimit -n 300")), 2, "ulimit -Hn")


@trial("more streams than local ports", "root", "unshare")
def _(folder: Path) -> str:
    narrow = "ip link set lo up; echo 40000 40199 > /proc/sys/net/ipv4/ip_local_port_range"
    within = ("unshare", "-n", *shell(narrow))
    words: tuple[str, ...] = (
        "load.concurrency=[300]",
        "load.requests=600",
        f"results_dir={folder}",
    )
    return ended(bench(*TRUTH, *words, within=within), 2, "ip_local_port_range")


@trial("a million requests")
def _(folder: Path) -> str:
    words: tuple[str, ...] = (
        "load.concurrency=[256]",
        "load.requests=1000000",
        "load.warmup_requests=0",
    )
    words += ("workload.input_tokens=8", "workload.output_tokens=1", "engine.ttft_ms=0")
    return measured(bench(*TRUTH, *words, "engine.itl_ms=0", f"results_dir={folder}", "--json"))


@trial("a sweep of 200 jobs")
def _(folder: Path) -> str:
    seeds = ",".join(map(str, range(1, 201)))
    words: tuple[str, ...] = ("load.concurrency=[4]", "load.requests=8", "workload.output_tokens=4")
    words += ("engine.ttft_ms=5", "engine.itl_ms=1", f"results_dir={folder}")
    done = bench("-m", *TRUTH, f"seed={seeds}", *words)
    assert done.code == 0, f"exit {done.code}: {done.line}"
    kept = list(folder.glob("*/*/run.json"))
    assert len(kept) == 200, f"{len(kept)} runs are stored"
    return f"{done.peak_mb:,.0f} MB, 200 runs stored, {done.took_s / 200:.2f} s each"


# ------------------------------------------------------------------- many stored runs


@contextlib.contextmanager
def stored(folder: Path, count: int) -> Iterator[list[Path]]:
    """So many complete runs of one load point with 3 repeats, made of one by copying."""
    words: tuple[str, ...] = (
        "--requests=300",
        "--tokens=64",
        "--loads=1",
        "--repeats=3",
        "--slots=16",
    )
    made = run((sys.executable, str(ROOT / "scripts/make_big_run.py"), *words, str(folder)))
    first = Path(made.out.strip().splitlines()[-1])
    yield [first, *copies(first, count)]


def copies(first: Path, count: int) -> list[Path]:
    """Copies of a run beside it, until there are so many."""
    found = [first.with_name(f"{first.name[:-15]}20200101-{i:06}") for i in range(1, count)]
    for copy in found:
        shutil.copytree(first, copy)
    return found


def listing(count: int, most_s: float) -> Callable[[Path], str]:
    """`bench runs` over so many whose lines are stored; what a line costs is seen on thirty."""

    def do(folder: Path) -> str:
        with stored(folder / "few", 30):
            new = bench("runs", f"results_dir={folder}/few", "--json")
            known = bench("runs", f"results_dir={folder}/few", "--json")
        # A copy keeps the times of its files, so that the line copied with it is believed.
        with stored(folder / "many", 1) as (first,):
            bench("runs", f"results_dir={folder}/many")
            copies(first, count)
            listed = bench("runs", f"results_dir={folder}/many")
            again = bench("runs", f"results_dir={folder}/many")
        assert again.out.count("tiny/none-") == count
        took_s = min(listed.took_s, again.took_s)
        assert took_s < most_s, f"{took_s:.1f} s, promised {most_s:g} s"
        return (
            f"{took_s:.2f} s, {again.peak_mb:,.0f} MB; a run not listed before "
            f"{(new.took_s - known.took_s) / 30 * 1e3:.0f} ms"
        )

    return do


TRIALS.append(Trial("bench runs, 1,000 runs", listing(1_000, 2.0)))
TRIALS.append(Trial("bench runs, 10,000 runs", listing(10_000, 10.0)))


@trial("compare of 100 runs")
def _(folder: Path) -> str:
    with stored(folder, 100) as runs:
        done = bench("compare", *map(str, runs), f"results_dir={folder}", "--json")
    assert done.code == 0, f"exit {done.code}: {done.line}"
    return f"{done.peak_mb:,.0f} MB, {done.took_s:.1f} s, {len(done.out):,} bytes of JSON"


# ------------------------------------------------------------------- no room


@trial("/dev/shm of 64 KiB", "root", "unshare")
def _(folder: Path) -> str:
    within = ("unshare", "-m", *shell("mount -t tmpfs -o size=64k none /dev/shm"))
    words: tuple[str, ...] = (
        "load.concurrency=[4]",
        "load.requests=16",
        f"results_dir={folder}",
        "--json",
    )
    return measured(bench(*TRUTH, *words, within=within))


@trial("/dev/shm without any room, a real vLLM", "root", "unshare")
def _(folder: Path) -> str:
    fill = "mount -t tmpfs -o size=4k none /dev/shm; head -c 4096 /dev/zero > /dev/shm/full"
    words: tuple[str, ...] = (
        "meter=none",
        "gpus=0",
        f"results_dir={folder}",
        "load.calibrate=false",
    )
    words += ("load.concurrency=[1]", "load.requests=4", "load.repeats=1")
    done = bench(*words, "workload.output_tokens=8", within=("unshare", "-m", *shell(fill)))
    return f"exit {done.code}, {done.peak_mb:,.0f} MB: {done.line}"


@trial("results on a full disk", "root", "unshare")
def _(folder: Path) -> str:
    disk = f"mount -t tmpfs -o size=64k none {folder}; head -c 56k /dev/zero > {folder}/x"
    words: tuple[str, ...] = (
        "load.concurrency=[4]",
        "load.requests=400",
        f"results_dir={folder}/r",
    )
    done = bench(*TRUTH, *words, within=("unshare", "-m", *shell(disk)))
    return ended(done, 1, "No space left")


def small(folder: Path) -> tuple[str, ...]:
    """The words of a load of seconds that keeps its results there."""
    return (*TRUTH, "load.concurrency=[4]", "load.requests=16", f"results_dir={folder}")


@trial("results on a disk that cannot be written", "root", "unshare")
def _(folder: Path) -> str:
    within = ("unshare", "-m", *shell(f"mount -t tmpfs -o ro none {folder}"))
    return ended(bench(*small(folder), within=within), 2, "Read-only file system")


@trial("/dev/shm that cannot be written", "root", "unshare")
def _(folder: Path) -> str:
    within = ("unshare", "-m", *shell("mount -t tmpfs -o ro none /dev/shm"))
    return ended(bench(*small(folder), within=within), 1, "/dev/shm")


@trial("no /proc", "root", "unshare")
def _(folder: Path) -> str:
    within = ("unshare", "-m", *shell("mount -t tmpfs none /proc"))
    return measured(bench(*small(folder), "--json", within=within))


@trial("no loopback interface", "root", "unshare")
def _(folder: Path) -> str:
    words = (*small(folder), "engine.start_timeout_s=5")
    return ended(bench(*words, within=("unshare", "-n")), 1, "loopback")


@trial("400 MB of address space")
def _(folder: Path) -> str:
    return ended(bench(*small(folder), within=shell("ulimit -v 400000")), 1, "out of memory")


@trial("TMPDIR on a full disk", "root", "unshare")
def _(folder: Path) -> str:
    disk = f"mount -t tmpfs -o size=4k none {folder}; head -c 4096 /dev/zero > {folder}/x"
    words: tuple[str, ...] = (
        "load.concurrency=[4]",
        "load.requests=16",
        f"results_dir={folder}-r",
        "--json",
    )
    try:
        done = bench(
            *TRUTH, *words, within=("unshare", "-m", *shell(disk)), env={"TMPDIR": str(folder)}
        )
    finally:
        shutil.rmtree(f"{folder}-r", ignore_errors=True)
    return f"exit {done.code}, {done.peak_mb:,.0f} MB: {done.line if done.code else 'measured'}"


# ------------------------------------------------------------------- an ordinary user


def as_nobody(folder: Path, *words: str, env: dict[str, str] | None = None) -> Done:
    """`bench WORDS` as a user who owns nothing, with a home of its own."""
    home = folder / "home"
    if not home.exists():
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        folder.chmod(0o755)
    # The interpreter may lie in root's home, which is opened in a mount namespace alone.
    keep = "d=$(mktemp -d); mount --bind /root $d; mount -t tmpfs -o mode=755 none /root"
    each = "test -d $p || continue; q=/root/${p##*/}; mkdir -p $q; mount --bind $p $q"
    bare = f"for p in $d/.[!.]*; do {each}; done"
    given = {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    who = ("unshare", "-m", *shell(keep, bare))
    who += ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    return bench(*words, within=who, env={**given, **(env or {})})


def closed(folder: Path, name: str, *, is_file: bool = True) -> Path:
    """A file or a folder that only root may read."""
    path = folder / name
    path.write_text("x") if is_file else path.mkdir()
    path.chmod(0)
    return path


@trial("an ordinary user measures", "root", "setpriv")
def _(folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    words: tuple[str, ...] = ("load.concurrency=[4]", "load.requests=16", "--json")
    return measured(as_nobody(folder, *TRUTH, *words, f"results_dir={folder}/home/r"))


def refusals(folder: Path) -> Iterator[tuple[str, Done, int]]:
    """Closed doors one after the other: (which, what came of it, exit code promised)."""
    small = ("load.concurrency=[4]", "load.requests=16")
    no_file, no_folder = closed(folder, "f.yaml"), closed(folder, "d", is_file=False)
    results = f"results_dir={folder}/home/r"
    yield "results", as_nobody(folder, *TRUTH, *small, f"results_dir={folder}/r"), 2
    yield "results closed", as_nobody(folder, *TRUTH, *small, f"results_dir={no_folder}/r"), 2
    yield "runs below", as_nobody(folder, "runs", f"results_dir={no_folder}"), 2
    yield "claim", as_nobody(folder, "claim", str(no_file)), 2
    yield "workload", as_nobody(folder, *TRUTH, f"workload.file={no_file}", results), 2
    yield "prices", as_nobody(folder, "prices", "import", str(no_file)), 2
    yield "--config-dir", as_nobody(folder, "fit", f"--config-dir={no_folder}", results), 2
    fit = ("fit", f"model.path={no_folder}", "gpu=h100-sxm", "gpus=1")
    yield "model.path", as_nobody(folder, *fit), 2
    ca = ("engine=endpoint", "engine.base_url=https://127.0.0.1:1/v1", f"engine.ca_file={no_file}")
    yield "engine.ca_file", as_nobody(folder, *ca, results), 2
    yield (
        "report --out",
        as_nobody(folder, "report", "latest", f"--out={folder}/x.html", results),
        2,
    )


@trial("an ordinary user before closed doors", "root", "setpriv")
def _(folder: Path) -> str:
    said = []
    for door, done, code in refusals(folder):
        lines = [line for line in done.err.splitlines() if line.startswith("bench: ")]
        assert done.code == code, f"{door}: exit {done.code}, not {code}: {done.line}"
        assert len(lines) == 1, f"{door}: {done.err[-300:]}"
        said.append(door)
    return f"one line each: {', '.join(said)}"


@trial("a cache and a home that cannot be written", "root", "setpriv")
def _(folder: Path) -> str:
    shut = closed(folder, "home-of-root", is_file=False)
    env = {"HOME": str(shut), "XDG_CACHE_HOME": str(shut / "cache")}
    words: tuple[str, ...] = (
        "load.concurrency=[4]",
        "load.requests=16",
        "--json",
        f"results_dir={folder}/home/r",
    )
    return measured(as_nobody(folder, *TRUTH[:3], "load.repeats=1", *words, env=env))


@trial("a stored run that belongs to somebody else", "root", "setpriv")
def _(folder: Path) -> str:
    with stored(folder / "r", 2) as runs:
        runs[0].chmod(0o755)
    as_nobody(folder, "--version")  # opens `folder`
    done = as_nobody(folder, "runs", f"results_dir={folder}/r", "--json")
    assert done.code == 0, done.line
    rows = json.loads(done.out)
    return f"{len(rows)} of 2 listed, {sum('unreadable' in r for r in rows)} with why not"


# ------------------------------------------------------------------- poor terminals

ASCII = {
    "LANG=C, LC_ALL=C": {"LANG": "C", "LC_ALL": "C"},
    "LANG=C without UTF-8 mode": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "PYTHONIOENCODING=ascii": {"PYTHONIOENCODING": "ascii"},
    "TERM=dumb, 20 columns": {"TERM": "dumb", "COLUMNS": "20"},
}


@trial("terminals that know ASCII alone")
def _(folder: Path) -> str:
    with stored(folder, 2) as runs:
        asked: tuple[tuple[str, ...], ...] = (
            ("--help",),
            ("runs", f"results_dir={folder}"),
            ("show", str(runs[0])),
            ("show", str(runs[0]), "--format", "md"),
            ("compare", str(runs[0]), str(runs[1])),
            ("report", str(runs[0]), f"--out={folder}/page.html"),
            ("fit", "model=tiny", "gpu=h100-sxm", "gpus=1"),
            ("claim", "r1-2xa100"),
            ("prices",),
            ("doctor",),
        )
        tried = 0
        for name, env in ASCII.items():
            for words in asked:
                done = bench(*words, env=env)
                assert done.code in (0, 1), f"{name}: {words[0]}: exit {done.code}: {done.line}"
                assert done.out.strip() or words[0] == "report", f"{name}: {words[0]}: nothing"
                if "ascii" in name:
                    assert done.out.isascii(), f"{name}: {words[0]}: not ASCII"
                tried += 1
        page = (folder / "page.html").read_text("utf-8")
        assert re.search(r"charset=.?utf-8", page), "the page does not say its encoding"
    return f"{tried} of {tried} commands print under {len(ASCII)} settings"


# ------------------------------------------------------------------- the sandbox


TASK = """
task: escape
custom_dataset: !function escape.one
test_split: test
output_type: generate_until
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: "x"
generation_kwargs: {until: ["\\n"], max_gen_toks: 4, do_sample: false}
process_results: !function escape.tried
unsafe_code: true
metric_list:
  - {metric: escaped, aggregation: mean, higher_is_better: false}
  - {metric: ran, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""
CODE = """
import os
from datasets import Dataset
from pathlib import Path
def one(**_):
    return {"test": Dataset.from_list([{"question": "who?"}])}
def works(what):
    try:
        what()
    except OSError:
        return 0
    return 1
def tried(doc, results):
    # What code of the model's could do here: each of these would be an escape.
    works(lambda: Path("FOLDER/x").write_text("x"))
    works(lambda: Path("/root/limits-x").write_text("x"))
    found = [works(lambda: Path("SECRET").read_text())]
    found += [works(lambda: os.kill(PID, 0)), works(lambda: Path(os.__file__).write_text("x"))]
    found += [int(bool(os.environ.get("HF_TOKEN")))]
    return {"escaped": sum(found), "ran": 1.0}
"""


@trial("lm-eval inside bubblewrap, generated code", "bwrap")
def _(folder: Path) -> str:
    tasks, secret = folder / "tasks", folder / "secret"
    tasks.mkdir()
    secret.write_text("x")
    (tasks / "escape.yaml").write_text(TASK)
    code = CODE.replace("SECRET", str(secret)).replace("FOLDER", str(folder))
    (tasks / "escape.py").write_text(code.replace("PID", str(os.getpid())))
    words: tuple[str, ...] = ("gpus=0", "meter=none", "load.calibrate=false", "load.repeats=1")
    words += ("load.concurrency=[1]", "load.requests=4", "workload.output_tokens=8")
    words += ("quality=tiny", "quality.tasks=[escape]", f"quality.task_dir={tasks}")
    words += ("quality.run_generated_code=true", "quality.fewshot={}", f"results_dir={folder}/r")
    done = bench(*words, "--json", env={"HF_TOKEN": "plain-words"})
    assert done.code == 0, f"exit {done.code}: {done.line}"
    scores = {s["metric"]: s["value"] for s in json.loads(done.out)["quality"]["scores"]}
    assert scores["ran"] == 1.0, scores
    assert scores["escaped"] == 0.0, f"{scores['escaped']} of 4 ways out were open"
    # It may write to folders of these names: the sandbox's own, which go with it.
    assert not (folder / "x").exists(), "it wrote outside"
    assert not Path("/root/limits-x").exists(), "it wrote outside"
    return "vLLM served, lm-eval asked and scored inside; 0 of 6 ways out were open"


if __name__ == "__main__":
    answer_help(__doc__)
    sys.exit(main())
