"""`bench claim` from files and stored runs to output: text, JSON, measuring, exit codes."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from claims_support import CONDITIONS, HEAD, conf_sources

from bench import __version__
from bench.claims.measured import _believed, differences
from bench.claims.sources import Point
from bench.claims.spec import Serving
from bench.cli.claim_files import write_new
from bench.cli.main import main
from bench.cli.verbs.claim import Request, assessed, run
from bench.engines import load_engine
from bench.host import provenance
from bench.store import save_point, save_run
from bench.values.codec import decode
from bench.values.errors import InputError
from bench.values.record import Anchor, LoadPoint, PointData, Run
from bench.values.spec import EndpointSpec, RunSpec

SLOTS, REQUESTS, TOKENS = 8, 12, 64
TTFT_NS, ITL_NS = 50_000_000, 10_000_000
# 8 requests of 64 tokens in flight, each 50 ms + 63 x 10 ms long
EXACT_TOKENS_PER_S = SLOTS * TOKENS / 0.68

HERE = provenance.collect(None)
CLAIM_HERE = {
    **CONDITIONS,
    "host_cpu": HERE["host_cpu"],
    "host_cpu_count": HERE["host_cpu_count"],
    "engine_version": "1.0",
}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The engines that are installed: none whose version is known, wherever this is run."""
    found: dict[str, str] = {}
    monkeypatch.setattr("bench.engines.installed.installed_versions", lambda: found)
    return found


def exact_point(repeat: int) -> PointData:
    """A closed loop on an exact schedule, the slots shifted so that tokens flow evenly. Repeats
    differ by a tenth of a percent, so that there is an interval."""
    itl = ITL_NS + repeat * 10_000
    length = TTFT_NS + (TOKENS - 1) * itl
    index = np.arange(SLOTS * REQUESTS)
    slot, turn = index % SLOTS, index // SLOTS
    sent = 10**9 + slot * length // SLOTS + turn * length
    stamps = sent[:, None] + TTFT_NS + np.arange(TOKENS) * itl
    same = np.ones_like(index)
    return PointData(
        point=LoadPoint(index=0, repeat=repeat, mode="closed", concurrency=SLOTS),
        start_ns=10**9,
        requests={
            "index": index,
            "session": slot,
            "worker": same * 0,
            "scheduled_ns": sent,
            "sent_ns": sent,
            "first_read_ns": sent + TTFT_NS,
            "end_ns": sent + length,
            "status": same * 200,
            "outcome": same * 0,
            "input_tokens": same * 64,
            "requested_tokens": same * TOKENS,
            "usage_prompt_tokens": same * 64,
            "usage_completion_tokens": same * TOKENS,
            "first_chunk": index * TOKENS,
            "chunks": same * TOKENS,
            "tokens_arose": same * 0,
        },
        chunk_ns=stamps.reshape(-1).astype(np.int64),
        chunk_tokens=np.ones(stamps.size, dtype=np.int64),
    )


@pytest.fixture
def exact_run(run_spec: Callable[..., RunSpec]) -> Run:
    """Three repeats of the exact schedule, as a run of the tiny model would be stored."""
    spec = run_spec(
        workload={
            "name": "t",
            "input_tokens": 64,
            "output_tokens": 64,
            "slo": {"ttft_ms": 1000.0, "tpot_ms": 100.0},
        },
        load={"concurrency": [SLOTS], "repeats": 3, "calibrate": False},
    )
    return Run(
        spec=spec,
        anchor=Anchor(monotonic_ns=0, wall_iso="2026-11-24T00:00:00+00:00"),
        provenance={k: HERE[k] for k in ("host_cpu", "host_cpu_count")},
        server={"engine_version": "1.0", "ignore_eos": True},
        status="complete",
        points=tuple(exact_point(r) for r in range(3)),
    )


def stored(run_: Run, results: Path, name: str = "none-x0-20261124-000000") -> Run:
    """The run written below a results folder."""
    path = results / "tiny" / name
    (path / "points").mkdir(parents=True)
    save_run(path, run_)
    for data in run_.points:
        save_point(path, data)
    return replace(run_, path=str(path))


def claim_file(
    folder: Path, name: str, value: float, relation: str = "about", **conditions: Any
) -> str:
    says = {
        "kind": "serving",
        "conditions": {**CLAIM_HERE, **conditions},
        "metric": "output_tokens_per_s",
        "definition": "output tokens per second",
        "stated": {"value": value, "unit": "tokens/s", "tolerance": 0.02, "relation": relation},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**HEAD, "says": says}), encoding="utf-8")
    return str(path)


def verdicts(
    capsys: pytest.CaptureFixture[str], names: list[str], results: Path, measure: Any = None
) -> list[dict[str, Any]]:
    plain = conf_sources()
    request = Request(
        names=tuple(names), everything=False, folders=(), results_dir=str(results), as_json=True
    )
    assert run(request, plain.catalogue, plain.prices, plain.cost_model, measure) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def four(tmp_path: Path) -> list[str]:
    """A true claim, the same tripled, above the bound, and without its concurrency."""
    return [
        claim_file(tmp_path, "true", EXACT_TOKENS_PER_S),
        claim_file(tmp_path, "tripled", 3 * EXACT_TOKENS_PER_S),
        claim_file(tmp_path, "above", 1e9),
        claim_file(tmp_path, "vague", EXACT_TOKENS_PER_S, concurrency=None),
    ]


FOUR = ["confirmed", "refuted", "impossible", "not comparable"]


def test_a_stored_run_decides(
    exact_run: Run, four: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    untested = verdicts(capsys, four, tmp_path / "results")
    assert [v["verdict"] for v in untested] == ["untested", "untested", *FOUR[2:]]
    assert untested[0]["settle_with"] == f"bench claim {four[0]} --measure"
    stored(exact_run, tmp_path / "results")
    found = verdicts(capsys, four, tmp_path / "results")
    assert [v["verdict"] for v in found] == FOUR
    figures = found[0]["checks"][-1]["figures"]
    assert figures["measured"] == pytest.approx(EXACT_TOKENS_PER_S, rel=0.01)
    assert figures["ci_low"] < figures["measured"] < figures["ci_high"]
    assert "the source does not say: concurrency" in found[3]["checks"][-1]["evidence"][0]


def test_measure_runs_once_under_the_claims_own_conditions(
    exact_run: Run, four: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, ...]] = []

    def measure(overrides: tuple[str, ...]) -> Run:
        asked.append(overrides)
        return stored(exact_run, tmp_path / "results")

    found = verdicts(capsys, four, tmp_path / "results", measure)
    assert [v["verdict"] for v in found] == FOUR
    (overrides,) = asked  # true and tripled share it; the others need none
    assert {
        "model=tiny",
        "quant=none",
        "gpu=cpu",
        "gpus=0",
        "engine=vllm",
        "load=closed",
        "workload.input_tokens=64",
        "workload.output_tokens=64",
        "load.concurrency=[8]",
        "load.own_cores=0",
    } < set(overrides)


def test_a_host_is_not_refuted_by_an_engine_on_a_part_of_it(
    exact_run: Run, four: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client had a core to itself: the engine's were fewer than the claim's."""
    assert exact_run.server is not None
    server = {**exact_run.server, "client_cores": [HERE["host_cpu_count"] - 1]}
    stored(replace(exact_run, server=server), tmp_path / "results")
    found = verdicts(capsys, four, tmp_path / "results")
    assert [v["verdict"] for v in found] == ["untested", "untested", *FOUR[2:]]
    evidence = " ".join(found[0]["checks"][-1]["evidence"])
    count = HERE["host_cpu_count"]
    assert f"engine_cores {count} ≠ {count - 1}" in evidence


def test_a_run_that_failed_or_is_half_written_is_no_evidence(
    exact_run: Run, four: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    stored(replace(exact_run, status="failed", failure="killed"), results)
    broken = results / "tiny" / "none-x0-20261124-000001"
    broken.mkdir(parents=True)
    (broken / "run.json").write_text("{", encoding="utf-8")
    assert verdicts(capsys, four[:1], results)[0]["verdict"] == "untested"


def test_measuring_elsewhere_is_refused(tmp_path: Path) -> None:
    plain = conf_sources()

    def never(_: tuple[str, ...]) -> Run:
        raise AssertionError("must not be launched")

    for conditions, message in (
        ({"host_cpu": "another CPU"}, "a run here would not be comparable"),
        ({"engine": "lmdeploy"}, "bench does not launch 'lmdeploy'"),
    ):
        name = claim_file(tmp_path, "elsewhere", 100, **conditions)
        request = Request(names=(name,), everything=False, folders=(), results_dir=str(tmp_path))
        with pytest.raises(InputError, match=message):
            run(request, plain.catalogue, plain.prices, plain.cost_model, never)


def test_a_skeleton_is_never_written_over(tmp_path: Path) -> None:
    assert write_new("mine", tmp_path / "claims") == 0
    with pytest.raises(InputError, match="exists already"):
        write_new("mine.yaml", tmp_path / "claims")


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench.cli", "claim", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_command_on_all_claims_needs_no_torch() -> None:
    code = (
        "import sys; from bench.cli.main import main\n"
        "try: main(['claim', '--all', '--json', 'results_dir=/nowhere'])\n"
        "finally: assert not {'torch', 'vllm'} & set(sys.modules), 'torch was imported'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) > 70
    assert {v["verdict"] for v in found} == {
        "confirmed",
        "refuted",
        "impossible",
        "not comparable",
        "untested",
    }
    for one in found:
        for check in one["checks"]:
            assert set(check) == {"kind", "verdict", "evidence", "figures"}


def test_measured_for_real_from_the_command_line(tmp_path: Path) -> None:
    """A server of known timing: 8 in flight, 5 ms + 63 x 0.5 ms each, are 14,027 tokens/s.

    95 % of that is reached where nothing else runs; three times that never is.
    """
    known = {"engine": "truth", "engine_version": __version__}
    names = [
        claim_file(tmp_path, name, value, "at_least", **known)
        for name, value in (("true", 0.95 * 14_027), ("tripled", 3 * 14_027))
    ]
    names.append(claim_file(tmp_path, "vague", 14_027, **known, concurrency=None))
    found: dict[str, Any] = {}
    for attempt in range(3):  # a run that another process disturbed decides nothing
        results = f"results_dir={tmp_path / f'results{attempt}'}"
        done = command(*names, "--measure", "--json", results)
        assert done.returncode == 0, done.stderr
        found = {v["claim"]: v for v in json.loads(done.stdout)}
        if found["true"]["verdict"] != "untested":
            break
    assert found["vague"]["verdict"] == "not comparable"
    if found["true"]["verdict"] == "untested":
        pytest.skip(f"this machine is too busy to measure on: {found['true']['why']}")
    assert found["true"]["verdict"] == "confirmed", found["true"]["why"]
    assert found["tripled"]["verdict"] == "refuted"
    runs = found["true"]["checks"][-1]["figures"]
    assert runs["ci_low"] < runs["measured"] < runs["ci_high"]
    assert runs["measured"] <= 14_027 * 1.001  # the schedule is the bound


def test_evidence_in_the_terminal() -> None:
    done = command("r1-2xa100", "results_dir=/nowhere")
    assert done.returncode == 0
    assert "NOT COMPARABLE" in done.stdout
    assert "weights as loaded 352.2 GB" in done.stdout
    assert "1.58-bit GGUF" in done.stdout
    assert "settle with: bench engine=endpoint" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name a claim, or say --all"),
        (("r1-2xa10",), "Did you mean 'r1-2xa100'"),
        (("nowhere.yaml",), "nowhere.yaml: there is no such file"),
        (("tiny/true", "load.concurrency=[4]"), "a claim sets its own conditions"),
        (("--al",), "is no flag of bench"),
    ],
)
def test_what_is_wrong_is_one_line(words: tuple[str, ...], message: str) -> None:
    done = command(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def code(*words: str) -> int:
    """The exit code of `bench claim` in this process."""
    with pytest.raises(SystemExit) as ended:
        main(["claim", *words])
    return int(str(ended.value.code or 0))


def test_a_bad_claim_stops_no_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A wrong metric, a wrong unit, a wrong key and no YAML beside a good one, in both orders."""
    good = Path(claim_file(tmp_path, "good", 1e9))
    text = good.read_text(encoding="utf-8")
    for name, old, new in (
        ("metric", "metric: output_tokens_per_s", "metric: output_tokns_per_s"),
        ("unit", "unit: tokens/s", "unit: tokns/s"),
        ("key", "quote:", "qote:"),
        ("broken", "says:", "says: ["),
    ):
        assert old in text
        (tmp_path / f"{name}.yaml").write_text(text.replace(old, new), encoding="utf-8")
    files = [str(tmp_path / f"{n}.yaml") for n in ("metric", "unit", "good", "key", "broken")]
    for names in (files, files[::-1]):
        assert code(*names, f"results_dir={tmp_path}", "--json") == 2
        printed = capfd.readouterr()
        assert [v["claim"] for v in json.loads(printed.out)] == ["good"]
        lines = printed.err.splitlines()
        assert len(lines) == 4, printed.err
        for word in ("output_tokens_per_s", "tokens", "quote", "broken.yaml"):
            assert any(word in line for line in lines), word
        assert "Traceback" not in printed.err


def test_the_command_that_is_printed_settles_it(
    run_spec: Callable[..., RunSpec], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """At an endpoint: 8 in flight, 20 ms + 63 x 2 ms each, are at most 3,507 tokens/s. It says that
    it is a truth server, so that a claim about another engine is not settled there."""
    names = [
        claim_file(tmp_path, name, 300, "at_least", engine=engine, engine_version=__version__)
        for name, engine in (("told", "truth"), ("other", "lmdeploy"))
    ]
    assert code(*names, f"results_dir={tmp_path}", "--json") == 0
    printed = [v["settle_with"] for v in json.loads(capfd.readouterr().out)]
    assert printed == [
        f"bench claim {names[0]} --measure",
        f"bench claim {names[1]} --measure engine.base_url=http://HOST:PORT/v1  "
        f"# where lmdeploy {__version__} serves tiny",
    ]
    spec = run_spec(engine="truth", engine_keys={"ttft_ms": 20.0, "itl_ms": 2.0})
    quick = [
        "load.repeats=3",
        "load.duration_s=1",
        "load.calibrate=false",
        f"results_dir={tmp_path / 'results'}",
    ]
    with load_engine("truth").serve(spec, tmp_path, lambda _: None) as server:
        where = f"engine.base_url={server.base_url}"
        assert code(*names, "--measure", where, *quick) == 2
        assert "model=tiny was named, but the server serves truth" in capfd.readouterr().err
        words = [
            w for w in shlex.split(printed[1], comments=True)[1:] if not w.startswith("engine.")
        ][:3]
        assert words == ["claim", names[1], "--measure"]
        alias = "engine.expects_model=truth"  # whoever types it says that it is the claimed model
        assert code(*names, "--measure", where, alias, *quick, "--json") == 0
    found = {v["claim"]: v for v in json.loads(capfd.readouterr().out)}
    assert "engine lmdeploy ≠ truth" in " ".join(found["other"]["checks"][-1]["evidence"])
    assert found["other"]["verdict"] == "untested"
    runs = found["told"]["checks"][-1]
    if runs["figures"].get("measured") is None:
        pytest.skip(f"this machine is too busy to measure on: {found['told']['why']}")
    assert found["told"]["verdict"] == "confirmed", found["told"]["why"]
    assert f"served by {__version__}, as you said" in runs["evidence"][0]
    assert code(names[0], quick[-1], "--json") == 0
    again = json.loads(capfd.readouterr().out)[0]
    assert again["verdict"] == "confirmed", "what was told is kept with the run"
    assert f"served by {__version__}, as you said" in again["checks"][-1]["evidence"][0]


def test_an_endpoint_settles_a_claim_about_an_engine_that_bench_does_not_launch(
    exact_run: Run, tmp_path: Path
) -> None:
    asked: list[tuple[str, ...]] = []
    there = replace(exact_run, spec=replace(exact_run.spec, engine=EndpointSpec()))

    def measure(overrides: tuple[str, ...]) -> Run:
        asked.append(overrides)
        return stored(there, tmp_path / "results")

    name = claim_file(tmp_path, "told", EXACT_TOKENS_PER_S, engine="llama.cpp")
    plain = conf_sources()
    request = Request(
        names=(name,), everything=False, folders=(), results_dir=str(tmp_path), endpoint=True
    )
    (found,) = assessed(request, plain.catalogue, plain.prices, plain.cost_model, measure)
    assert "engine=endpoint" in asked[0]
    assert {'engine.serves="llama.cpp"', 'engine.version="1.0"'} <= set(asked[0])
    assert found.verdict == "confirmed", found.why
    assert any("as you said" in line for line in found.checks[-1].evidence)


def test_what_a_stored_endpoint_does_not_say_is_named_with_the_key_that_does(
    exact_run: Run, tmp_path: Path
) -> None:
    there = replace(exact_run, spec=replace(exact_run.spec, engine=EndpointSpec()))
    server: dict[str, Any] = {"engine": "endpoint", "engine_version": None}
    name = claim_file(tmp_path, "told", EXACT_TOKENS_PER_S, engine="llama.cpp")
    plain, key = conf_sources(), "engine.serves=llama.cpp engine.version=1.0"
    request = Request(names=(name,), everything=False, folders=(), results_dir=str(tmp_path / "r"))
    cases: tuple[tuple[dict[str, Any], str, str], ...] = (
        ({}, "untested", f"its server does not say: a run at it with {key} does"),
        ({"serves": "vllm", "engine_version": "2"}, "untested", "engine llama.cpp ≠ vllm"),
        (
            {"serves": "llama.cpp", "engine_version": "1.0", "told": ["serves"]},
            "confirmed",
            "served by llama.cpp, as you said",
        ),
    )
    for i, (more, verdict, said) in enumerate(cases):
        one = replace(there, server={**server, **more})
        stored(one, tmp_path / "r", f"none-x0-20261124-00000{i}")
        (found,) = assessed(request, plain.catalogue, plain.prices, plain.cost_model)
        assert found.verdict == verdict, found.why
        assert any(said in line for line in found.checks[-1].evidence), found.checks[-1].evidence


def test_what_the_conditions_forbid_is_no_evidence() -> None:
    """8 B weights in FP8 at 300 GB/s, two at once: 74 tokens/s, 89 with the weights alone that a
    token reads and a cache. 1,249 came from a server of another model, and once confirmed it."""
    conditions = {**CONDITIONS, "model": "llama-3.1-8b", "gpu": "l4", "gpus": 1, "quant": "fp8"}
    says = decode(
        Serving,
        {
            "conditions": {**conditions, "input_tokens": 16, "output_tokens": 32, "concurrency": 2},
            "metric": "output_tokens_per_s",
            "definition": "output tokens per second",
            "stated": {"value": 60, "unit": "tokens/s", "relation": "at_least"},
        },
        "says",
    )
    judged = {}
    for rate in (70.0, 1249.0):
        point = Point(
            run="run",
            conditions={},
            metrics={"output_tokens_per_s": (rate, rate * 0.99, rate * 1.01, "tokens/s")},
            valid=True,
        )
        judged[rate] = _believed(says, point, conf_sources())
    assert judged[70.0][0] == "confirmed"
    assert judged[1249.0][0] == "untested"
    assert "beyond the bound of these conditions (89.0" in judged[1249.0][1]


def test_a_claim_about_another_version_than_is_installed_is_settled_where_that_one_serves(
    installed: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A run under the installed one would leave it untested for ever."""
    name = claim_file(tmp_path, "old", 300, "at_least", engine="vllm", engine_version="0.8.5")
    for here, settles in (
        ("0.8.5+cpu", f"bench claim {name} --measure"),
        (
            "0.32.0",
            f"bench claim {name} --measure engine.base_url=http://HOST:PORT/v1  "
            "# where vllm 0.8.5 serves tiny",
        ),
    ):
        installed["vllm"] = here
        assert code(name, f"results_dir={tmp_path}", "--json") == 0
        assert json.loads(capfd.readouterr().out)[0]["settle_with"] == settles
    assert code(name, "--measure", f"results_dir={tmp_path}") == 2
    assert "engine_version is '0.8.5', but vllm here is 0.32.0" in capfd.readouterr().err


SEVERAL = """
who: somebody
where: somewhere
as_of: "2026"
quote: a number
claims:
  one:
    says: &says
      kind: serving
      conditions: &here {model: tiny, quant: none, gpu: l4, form_factor: null, gpus: 1,
                         engine: vllm, engine_version: "1", input_tokens: 64, output_tokens: 64,
                         concurrency: 8}
      metric: output_tokens_per_s
      definition: x
      stated: {value: 300, unit: tok/s}
  two: {says: {<<: *says, conditions: {<<: *here, engine: TensorRT-LLM}}}
  three: {says: {<<: *says, conditions: {<<: *here, engine: llama.cpp, concurrency: null}}}
  four: {says: {<<: *says, conditions: {<<: *here, engine: null, concurrency: null}}}
"""


def test_a_printed_command_is_about_its_own_claim_and_is_read_by_a_shell(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One of several in a file once printed the whole file; brackets were files to a shell."""
    file = tmp_path / "several.yaml"
    file.write_text(SEVERAL, encoding="utf-8")
    there = f"results_dir={tmp_path}"
    assert code(str(file), there, "--json") == 0
    printed = [v["settle_with"] for v in json.loads(capfd.readouterr().out)]
    asked = "workload.input_tokens=64 workload.output_tokens=64 load=closed"
    place = "model=tiny quant=none gpu=l4 gpus=1"
    assert printed == [
        f"bench claim {file}/one --measure",
        f"bench claim {file}/two --measure",
        f"bench {place} engine=llamacpp {asked} 'load.concurrency=[<concurrency>]'",
        f"bench engine=endpoint engine.base_url=http://HOST:PORT/v1 {place} {asked} "
        "'load.concurrency=[<concurrency>]'  # where tiny is served",
    ]
    assert code(f"{file}/two", there, "--json") == 0
    assert [v["claim"] for v in json.loads(capfd.readouterr().out)] == ["several/two"]
    assert code(f"{file}/tow", there) == 2
    assert "no claim 'tow'. Did you mean 'two'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("claimed", "served", "same"),
    [
        ("TensorRT-LLM", "trtllm", True),
        ("TRT-LLM", "tensorrt-llm", True),
        ("llama.cpp", "llamacpp", True),
        ("vLLM", "vllm", True),
        ("SGLang", "vllm", False),
        ("vllm", None, False),
    ],
)
def test_an_engine_has_one_name_in_every_spelling(
    claimed: str, served: str | None, same: bool
) -> None:
    assert (differences({"engine": claimed}, {"engine": served}) == ()) == same


@pytest.mark.parametrize(
    ("quant", "asked"),
    [("BF16", "quant=none"), ("Q4_K_M", "quant=q4_k_m"), ("FP8", "quant=fp8")],
)
def test_a_run_is_made_at_the_precision_that_a_source_spells_its_own_way(
    tmp_path: Path, exact_run: Run, quant: str, asked: str
) -> None:
    """BF16 was left out of the command, and the run then differed: BF16 ≠ none."""
    words: list[tuple[str, ...]] = []

    def measure(overrides: tuple[str, ...]) -> Run:
        words.append(overrides)
        return stored(exact_run, tmp_path / "results")

    name = claim_file(tmp_path, "spelled", EXACT_TOKENS_PER_S, quant=quant)
    plain = conf_sources()
    request = Request(names=(name,), everything=False, folders=(), results_dir=str(tmp_path))
    assessed(request, plain.catalogue, plain.prices, plain.cost_model, measure)
    assert asked in words[0]


def test_a_precision_that_no_run_can_have_is_refused_before_one(tmp_path: Path) -> None:
    """It would have been measured, and stored, as the published weights."""

    def never(_: tuple[str, ...]) -> Run:
        raise AssertionError("must not be launched")

    name = claim_file(tmp_path, "odd", 100, quant="UD-IQ1_S")
    plain = conf_sources()
    request = Request(names=(name,), everything=False, folders=(), results_dir=str(tmp_path))
    with pytest.raises(InputError, match="'UD-IQ1_S', which is no name of conf/quant"):
        assessed(request, plain.catalogue, plain.prices, plain.cost_model, never)
    (found,) = assessed(request, plain.catalogue, plain.prices, plain.cost_model)
    assert "'quant=<quant>'" in (found.settle_with or "")
