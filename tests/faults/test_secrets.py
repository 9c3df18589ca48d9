"""No key is stored or shown, however it came in: everything that a run leaves is searched."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from said import bench, refused

from bench.config.compose import compose, run_spec
from bench.engines.launch import last_line, redact_log
from bench.run import storable
from bench.store import create_run_dir, save_point, save_run
from bench.values import redact
from bench.values.record import Anchor, Run

KEY = "correct-horse-battery"
HEADER = "staple-of-the-proxy"
TOKEN = "plain-words-hub-7"


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    redact._remembered.clear()


def leaks(folder: Path, *texts: str) -> list[str]:
    """Where a secret stands: in a file below `folder`, or in a text."""
    found = []
    for secret in (KEY, HEADER, TOKEN):
        found += [f"{secret} in {p}" for p in folder.rglob("*") if _holds(p, secret)]
        found += [f"{secret} in a text: {t[-200:]}" for t in texts if secret in t]
    return found


def _holds(path: Path, secret: str) -> bool:
    return path.is_file() and secret.encode() in path.read_bytes()


def test_an_endpoint_that_echoes_the_key(
    serve_http: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable has no name of a key, its value ends in a newline, errors repeat both."""
    asked: list[str] = []

    def rule(path: str, _: Any, headers: Mapping[str, str]) -> Any:
        if path.endswith("/models"):
            return 200, {"data": [{"id": f"m-{headers['X-Proxy']}"}]}
        asked.append(headers["Authorization"])
        if "X-Request-Id" in headers and len(asked) % 3 == 0:
            return 401, f"{headers['Authorization']} / {headers['X-Proxy']}: no such key"
        return 200, [{"choices": [{"text": " a"}]}] * 8

    monkeypatch.setenv("MY_SERVER", f"{KEY}\n")
    words = ["engine=endpoint", f"engine.base_url={serve_http(rule)}", "gpus=0", "meter=none"]
    words += ["engine.api_key_env=MY_SERVER", "engine.extra_headers={X-Proxy: " + HEADER + "}"]
    words += ["load.concurrency=[2]", "load.requests=9", "load.repeats=1", "load.calibrate=false"]
    done = bench(*words, f"results_dir={tmp_path / 'r'}")
    assert f"Bearer {KEY}" in asked  # it was sent
    page = tmp_path / "page.html"
    shown = [bench(verb, f"results_dir={tmp_path / 'r'}") for verb in ("show", "runs")]
    shown.append(bench("show", "--json", f"results_dir={tmp_path / 'r'}"))
    shown.append(bench("report", f"--out={page}", f"results_dir={tmp_path / 'r'}"))
    assert "401" in shown[0].out
    assert page.exists(), shown[-1].err
    texts = [t for s in (done, *shown) for t in (s.out, s.err)]
    assert leaks(tmp_path, *texts) == []


def test_a_key_that_is_none_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SERVER", f"{KEY}\n{TOKEN}")
    words = ["engine=endpoint", "engine.base_url=http://127.0.0.1:1/v1", "gpus=0", "meter=none"]
    done = bench(*words, "engine.api_key_env=MY_SERVER", f"results_dir={tmp_path}")
    refused(done, 2, "MY_SERVER holds no API key")
    assert leaks(tmp_path, done.out, done.err) == []


def test_keys_among_flags_variables_errors_and_logs_of_an_engine(tmp_path: Path) -> None:
    words = [f"engine.args=[--api-key,{KEY},--max-num-seqs,4]", f"results_dir={tmp_path}"]
    words += ["engine.env={HF_TOKEN: " + TOKEN + "}", "gpus=0"]
    spec = run_spec(compose(words))
    path = create_run_dir(spec)
    server = {"argv": ["python", "-m", "vllm", "--api-key", KEY], "base_url": "http://127.0.0.1:1"}
    failure = f"401: {KEY} is not it, nor is {TOKEN}"
    anchor = Anchor(monotonic_ns=0, wall_iso="2026")
    facts = {"non_default_args": {"api_key": [KEY]}}
    save_run(
        path,
        Run(spec=storable(spec), anchor=anchor, server=server, failure=failure, engine_facts=facts),
    )
    from point_support import even, point

    save_point(path, point(even(3), errors={0: failure}))
    log = path / "engine.log"
    log.write_text(f"INFO 01-02 03:04:05 [a.py:1] non-default args: {{'api_key': ['{KEY}']}}\n")
    assert KEY not in last_line(log)
    redact_log(log)
    assert "--max-num-seqs" in (path / "run.json").read_text()
    assert leaks(tmp_path) == []


def test_what_a_run_leaves_is_its_owners_alone(tmp_path: Path) -> None:
    words = ["engine=truth", "gpus=0", "meter=none", "load.concurrency=[1]", "load.repeats=1"]
    words += ["load.duration_s=0.2", "load.calibrate=false", f"results_dir={tmp_path}"]
    assert bench(*words).code == 0
    run = next(tmp_path.glob("*/*/run.json")).parent
    assert stat.S_IMODE(run.stat().st_mode) == 0o700


@pytest.mark.parametrize("launcher", [[], ["hydra/launcher=basic"]])
def test_the_record_of_a_sweep_holds_no_key(tmp_path: Path, launcher: list[str]) -> None:
    """The words are written down before the first job begins, by Hydra, too, where it is named."""
    words = [f"engine.args=[--api-key,{KEY}]", "gpus=0", "engine.start_timeout_s=0.5"]
    words += ["engine=vllm", f"results_dir={tmp_path}", *launcher]
    done = bench("-m", *words, "seed=1,2")
    assert done.code == 1
    assert list(tmp_path.rglob("sweep.json"))
    assert bool(list(tmp_path.rglob("multirun.yaml"))) == bool(launcher)
    assert leaks(tmp_path, done.out, done.err) == []


def test_what_a_sweep_refuses_is_said_without_its_keys(tmp_path: Path) -> None:
    words = [f"engine.args=[--api-key,{KEY}]", "quant=gptq", "gpus=0"]
    done = bench("-m", *words, "seed=1,2", "engine=vllm", f"results_dir={tmp_path}")
    assert done.code == 2
    assert "will not run" in done.err
    assert leaks(tmp_path, done.out, done.err) == []
