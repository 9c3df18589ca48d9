"""The adapter without a server: what is called, what is refused, what fails and how it is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import bench.assets
from bench.config.compose import compose, conf_dir, run_spec
from bench.evaluators import lm_eval, process
from bench.values.errors import InputError
from bench.values.record import TaskScore
from bench.values.server import Server
from bench.values.spec import QualitySpec, RunSpec

PRESETS = sorted((conf_dir() / "quality").glob("*.yaml"))


def spec(*overrides: str) -> RunSpec:
    made: RunSpec = run_spec(compose(["quality=tiny", "gpus=0", *overrides]))
    return made


def server(**changes: Any) -> Server:
    given = {"engine": "vllm", "base_url": "http://127.0.0.1:1/v1", "served_model": "tiny"}
    return Server(**{**given, **changes})


def test_tasks_are_called_together_by_their_examples() -> None:
    quality = QualitySpec(tasks=("a", "b", "c"), num_fewshot=None, fewshot={"b": 5})
    assert list(lm_eval.calls(quality)) == [(None, ("a", "c")), (5, ("b",))]


def test_endpoint_configuration(tmp_path: Path) -> None:
    made = lm_eval.call_config(
        spec(), server(model_path="/m", max_model_len=2048), "endpoint", ["t"], None, 3, tmp_path
    )
    arguments = made["model_args"]
    assert made["model"] == "bench-completions"
    assert arguments["base_url"] == "http://127.0.0.1:1/v1/completions"
    assert (arguments["tokenizer"], arguments["seed"]) == ("/m", 3)
    assert arguments["max_length"] == 2049  # lm-eval takes one off
    assert made["seed"][0] == 3
    assert "num_fewshot" not in made
    json.dumps(made)


def test_a_key_goes_by_way_of_the_environment(tmp_path: Path) -> None:
    secret = server(headers={"Authorization": "Bearer s3cret"})
    made = lm_eval.call_config(spec(), secret, "endpoint", ["t"], None, 0, tmp_path)
    assert "s3cret" not in json.dumps(made)
    assert process.environment(tmp_path, secret, spec().quality)["OPENAI_API_KEY"] == "s3cret"


def test_the_users_own_headers_reach_lm_eval_and_its_file_does_not_hold_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.evaluators.harness import Chat, Completions

    given = server(headers={"Authorization": "Bearer s3cret", "X-Tenant": "t3nant"})
    made = lm_eval.call_config(spec(), given, "endpoint", ["t"], None, 0, tmp_path)
    assert "t3nant" not in json.dumps(made)
    environment = process.environment(tmp_path, given, spec().quality)
    for name in ("OPENAI_API_KEY", "BENCH_EXTRA_HEADERS"):
        monkeypatch.setenv(name, environment[name])
    whole = {"Authorization": "Bearer s3cret", "X-Tenant": "t3nant"}
    for kind in (Chat, Completions):
        model = kind.__new__(kind)
        vars(model)["_header"] = None  # what its own __init__ sets
        assert model.header == whole


def test_a_header_of_ones_own_takes_the_place_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.evaluators.harness import Completions

    given = server(headers={"Authorization": "Basic abc"})
    environment = process.environment(tmp_path, given, spec().quality)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("BENCH_EXTRA_HEADERS", environment["BENCH_EXTRA_HEADERS"])
    model = Completions.__new__(Completions)
    model._header = None
    assert model.header == {"Authorization": "Basic abc"}


def test_in_process_reads_the_served_checkpoint(tmp_path: Path) -> None:
    made = lm_eval.call_config(spec(), server(model_path="/m"), "hf", ["t"], 5, 0, tmp_path)
    assert made["model_args"] == {"pretrained": "/m", "dtype": "float32"}
    assert (made["device"], made["num_fewshot"]) == ("cpu", 5)


def test_backends_chosen_without_asking() -> None:
    auto = QualitySpec(tasks=("t",))
    assert lm_eval.choose_backend(auto, server(engine="none", model_path="/m")) == "hf"
    assert lm_eval.choose_backend(auto, server(api="chat")) == "chat"
    with pytest.raises(InputError, match=r"quality\.backend"):
        lm_eval.choose_backend(replace(auto, backend="hf"), server())


def test_a_server_without_prompt_log_probabilities_is_scored_in_process(serve_http: Any) -> None:
    def refuses(path: str, body: dict[str, Any], headers: Any) -> tuple[int, dict[str, Any]]:
        return 400, {"error": "logprobs are not supported"}

    def gives(path: str, body: dict[str, Any], headers: Any) -> tuple[int, dict[str, Any]]:
        assert body["echo"] is True
        return 200, {"choices": [{"logprobs": {"token_logprobs": [None, -1.0, -2.0, -3.0]}}]}

    auto = QualitySpec(tasks=("t",))
    no = server(base_url=serve_http(refuses) + "/v1", model_path="/m")
    assert lm_eval.choose_backend(auto, no) == "hf"
    yes = server(base_url=serve_http(gives) + "/v1", model_path="/m")
    assert lm_eval.choose_backend(auto, yes) == "endpoint"


@pytest.mark.parametrize("given", [None, [], [-1.0], [-1.0, -2.0], "x"])
def test_log_probabilities_of_an_answer_are_none_of_the_prompt(serve_http: Any, given: Any) -> None:
    def answers(path: str, body: dict[str, Any], headers: Any) -> tuple[int, dict[str, Any]]:
        return 200, {"choices": [{"logprobs": {"token_logprobs": given}}]}

    assert not lm_eval.gives_prompt_logprobs(server(base_url=serve_http(answers) + "/v1"))


def test_a_folder_of_tasks_that_is_none_is_refused_before_anything_starts() -> None:
    with pytest.raises(InputError, match=r"quality\.task_dir"):
        lm_eval.check(spec("quality.task_dir=/nowhere"))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["quality.tasks=[tiny_fact_mc]"], "no task 'tiny_fact_mc'. Did you mean 'tiny_facts_mc'"),
        (["quality.tasks=[zzzzzzzz]"], "ls tasks lists them"),
        (["quality.tasks=[mbp*]"], "mbp* executes what the model writes"),
        (["quality=code"], "quality.run_generated_code=true"),
        (["engine=truth"], "no answers"),
        (["model.weights=dummy"], "no quality to score"),
    ],
)
def test_what_could_not_be_scored_is_refused_in_one_line(overrides: list[str], said: str) -> None:
    with pytest.raises(InputError) as error:
        lm_eval.check(spec(*overrides))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_groups_and_patterns_of_tasks_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for overrides in (["quality=leaderboard"], ["quality=quick"], ["quality.tasks=['tiny_*']"]):
        lm_eval.check(spec(*overrides))
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        with pytest.raises(InputError, match="apt install bubblewrap"):
            lm_eval.check(spec("quality=code", "quality.run_generated_code=true"))
    (tmp_path / "bwrap").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    lm_eval.check(spec("quality=code", "quality.run_generated_code=true"))


def test_generated_code_runs_by_both_of_lm_evals_confirmations(tmp_path: Path) -> None:
    allowed = spec("quality=code", "quality.run_generated_code=true")
    made = lm_eval.call_config(allowed, server(), "endpoint", ["humaneval"], None, 0, tmp_path)
    assert made["confirm_run_unsafe_code"] is True
    env = process.environment(tmp_path, server(), allowed.quality)
    assert env["HF_ALLOW_CODE_EVAL"] == "1"


def test_own_tasks_come_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: mine\noutput_type: generate_until\n")
    own = spec("quality.tasks=[mine]", f"quality.task_dir={tmp_path}")
    lm_eval.check(own)
    made = lm_eval.call_config(own, server(), "endpoint", ["mine"], None, 0, tmp_path)
    assert str(tmp_path) in made["include_path"]


def test_the_cause_of_a_failure_is_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("INFO fine\rmore\nKeyError: 'task nope not found'\n")
    assert process.cause(log, 1) == "lm-eval failed (exit 1): KeyError: 'task nope not found'."
    log.write_text("bench: BOS parity: the server does not …\n")
    assert process.cause(log, 65) == "BOS parity: the server does not …"


def test_repeats_are_averaged_but_no_new_items() -> None:
    one = TaskScore(
        task="t", metric="acc", filter="none", value=0.5, stderr=0.1, n=25, higher_is_better=True
    )
    (mean,) = lm_eval.mean_over_samples([one, replace(one, value=0.7)])
    assert mean.value == pytest.approx(0.6)
    assert (mean.stderr, mean.n) == (0.1, 25)


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.stem)
def test_every_preset_is_a_specification(path: Path) -> None:
    preset: QualitySpec = run_spec(compose([f"quality={path.stem}", "gpus=0"])).quality
    assert preset.name == path.stem
    assert set(preset.fewshot) <= set(preset.tasks)
    assert not preset.run_generated_code, "executing generated code is for the user to allow"


def test_preset_tasks_exist_in_lm_eval() -> None:
    from lm_eval.tasks import TaskManager

    bundled = Path(bench.assets.__file__).parent / "tasks"
    known = set(TaskManager(include_path=str(bundled)).all_tasks)
    for path in PRESETS:
        tasks = yaml.safe_load(path.read_text())["tasks"]
        assert set(tasks) <= known, path.stem
