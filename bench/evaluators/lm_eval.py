"""lm-eval as a subprocess against the engine that was just measured, and its results as values."""

from __future__ import annotations

import gzip
import importlib.util
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bench.evaluators.process import run_lm_eval
from bench.evaluators.samples import answer_stats, not_finite
from bench.evaluators.samples import items as read_items
from bench.evaluators.samples import scores as read_scores
from bench.evaluators.tasks import check_tasks, folders, needs_logprobs
from bench.values.errors import BenchError, InputError
from bench.values.json_text import json_text
from bench.values.record import QualityItem, QualityResult, TaskScore
from bench.values.server import ProgressCallback, Server
from bench.values.spec import QualitySpec, RunSpec
from bench.web.fetch import FetchError, fetch
from bench.web.tls import context_of

Backend = Literal["endpoint", "chat", "hf"]

_MODELS: dict[Backend, str] = {"endpoint": "bench-completions", "chat": "bench-chat", "hf": "hf"}
_APART = (
    "lm_eval_version",
    "parity",
    "cut_prompts",
    "not_finite",
)  # fields of their own in the result


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A result for run.json, and its items for the table beside it."""

    result: QualityResult
    items: tuple[QualityItem, ...]


def check(spec: RunSpec) -> None:
    """Refuse, before an engine is started, what could not be scored later."""
    quality = spec.quality
    if not quality.tasks:
        return
    missing = [name for name in ("lm_eval", "datasets") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"quality={quality.name} needs lm-eval, which is not installed here: run make quality, "
            "or pip install with the extra [quality]; quality=none goes without."
        )
    if spec.engine.kind == "truth":
        raise InputError("engine=truth emits a schedule, no answers: choose quality=none with it.")
    if spec.model.weights == "dummy":
        raise InputError("model.weights=dummy has no quality to score: choose quality=none.")
    if quality.task_dir is not None and not Path(quality.task_dir).is_dir():
        raise InputError(
            f"quality.task_dir: {quality.task_dir!r} is not a folder of lm-eval tasks."
        )
    if quality.backend == "hf" and importlib.util.find_spec("torch") is None:
        raise InputError("quality.backend: hf needs torch; use endpoint.")
    check_tasks(quality)


def score(spec: RunSpec, server: Server, run_dir: Path, progress: ProgressCallback) -> Scored:
    """Score `server`'s model on the tasks of `spec.quality`; BenchError when lm-eval fails.

    Everything that lm-eval wrote stays below run_dir/quality, the sample logs compressed.
    """
    quality, left_out = scorable(spec.quality, server)
    spec = replace(spec, quality=quality)
    backend = choose_backend(quality, server)
    folder = run_dir / "quality"
    folder.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    scores: list[TaskScore] = []
    items: list[QualityItem] = []
    facts: list[dict[str, Any]] = []
    for sample in range(quality.samples):
        for number, (shots, tasks) in enumerate(calls(quality)):
            where = folder / f"seed-{sample}" / f"call-{number}"
            config = call_config(spec, server, backend, tasks, shots, sample, where)
            run_lm_eval(config, where, server, quality, progress)
            found, rows, said = collect(where, sample)
            scores += found
            items += rows
            facts.append(said)
    return Scored(
        result=QualityResult(
            preset=quality.name,
            backend=backend,
            scores=mean_over_samples(scores),
            answers=answer_stats(items),
            samples=quality.samples,
            took_s=time.monotonic() - began_s,
            lm_eval_version=facts[-1]["lm_eval_version"],
            parity=worst_parity([f["parity"] for f in facts if f["parity"]]),
            cut_prompts=sum(f["cut_prompts"] for f in facts),
            not_finite=tuple(sorted({name for f in facts for name in f["not_finite"]})),
            left_out=left_out,
            settings={k: v for k, v in facts[-1].items() if k not in _APART},
        ),
        items=tuple(items),
    )


def worst_parity(found: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The parity check that showed least, of all calls: fewest items compared, then the largest
    difference; None without any."""
    return min(
        found, key=lambda p: (p["checked"], -(p["max_difference_nats"] or 0.0)), default=None
    )


def check_server(spec: RunSpec, server: Server) -> None:
    """Refuse, before the load, what this server could not be scored on afterwards."""
    quality = spec.quality
    if server.engine in ("vllm", "truth", "none"):
        return
    quality, _ = scorable(quality, server)
    backend, scored = choose_backend(quality, server), needs_logprobs(quality)
    if backend == "endpoint" and scored and not gives_prompt_logprobs(server):
        raise InputError(
            "quality.backend: these tasks need log-probabilities of the prompt, which this "
            "server does not give: choose tasks that generate, serve the model with vLLM, or "
            "say quality=none."
        )
    if backend == "chat" and scored:
        raise InputError(
            "quality.backend: these tasks need log-probabilities of the prompt, which the chat "
            "interface has not: set engine.api=completions, or choose tasks that generate."
        )
    known = quality.tokenizer or server.model_path or spec.model.repo
    if backend == "endpoint" and not known:
        raise InputError(
            "quality.tokenizer: prompts are cut into tokens here, and this model names no "
            "tokenizer: set quality.tokenizer to its folder or repository."
        )


def choose_backend(quality: QualitySpec, server: Server) -> Backend:
    """The backend asked for, or the one that this server can be scored through."""
    if quality.backend != "auto":
        if quality.backend == "hf" and server.model_path is None:
            raise InputError(
                "quality.backend: hf reads the served checkpoint from this machine, and its "
                "folder is not known; use endpoint."
            )
        return quality.backend
    if server.engine == "none":
        return "hf"
    if server.api == "chat":
        return "chat"
    if (
        server.engine == "vllm"
        and server.model_path is not None
        and not gives_prompt_logprobs(server)
    ):
        return "hf"
    return "endpoint"


OWN = ("transformers", "llamacpp", "sglang", "trtllm")
"""Engines that are scored on what they serve themselves: another program's score of the same
checkpoint would say nothing about them."""


def scorable(quality: QualitySpec, server: Server) -> tuple[QualitySpec, dict[str, str]]:
    """What of the quality asked for this server can be scored on, and why each other task is not.

    Prompt log-probabilities are asked for first; an engine that gives none is scored on tasks that
    generate. InputError where there is no such task.
    """
    if server.engine not in OWN or quality.backend == "hf" or not needs_logprobs(quality):
        return quality, {}
    if server.api != "chat" and gives_prompt_logprobs(server):
        return quality, {}
    lost = [t for t in quality.tasks if needs_logprobs(replace(quality, tasks=(t,)))]
    left = tuple(t for t in quality.tasks if t not in lost)
    if not left:
        raise InputError(
            f"quality={quality.name}: every task needs log-probabilities of the prompt, which "
            f"{server.engine} does not give: choose tasks that generate, or quality=none."
        )
    why = f"{server.engine} gives no log-probabilities of a prompt"
    return replace(quality, tasks=left), dict.fromkeys(lost, why)


def gives_prompt_logprobs(server: Server) -> bool:
    """Whether the server returns log-probabilities of a prompt's own tokens.

    Of the first token there is none: a number there is of an answer that nobody asked for.
    """
    body = {
        "model": server.served_model,
        "prompt": "one two three" if server.prompt == "text" else [7, 11, 13],
        "max_tokens": 1,
        "echo": True,
        "logprobs": 1,
    }
    tls = server.base_url.startswith("https:")
    try:
        reply = fetch(
            f"{server.base_url}/completions",
            data=json_text(body).encode(),
            headers={"Content-Type": "application/json", **server.headers},
            timeout_s=600,
            context=context_of(server.tls_verify, server.ca_file) if tls else None,
        )
        given = json.loads(reply.text)["choices"][0]["logprobs"]["token_logprobs"]
        return len(given) > 1 and given[0] is None
    except (FetchError, ValueError, LookupError, TypeError):
        return False


def calls(quality: QualitySpec) -> Iterator[tuple[int | None, tuple[str, ...]]]:
    """(few-shot examples, tasks) of each call: starting lm-eval takes seconds, so few calls."""
    by_shots: dict[int | None, list[str]] = {}
    for task in quality.tasks:
        by_shots.setdefault(quality.fewshot.get(task, quality.num_fewshot), []).append(task)
    for shots, tasks in by_shots.items():
        yield shots, tuple(tasks)


def call_config(
    spec: RunSpec,
    server: Server,
    backend: Backend,
    tasks: Sequence[str],
    shots: int | None,
    sample: int,
    where: Path,
) -> dict[str, Any]:
    """lm-eval's configuration file for one call; nothing in it is secret."""
    quality = spec.quality
    config: dict[str, Any] = {
        "model": _MODELS[backend],
        "model_args": _model_args(spec, server, backend, sample),
        "tasks": list(tasks),
        "include_path": folders(quality),
        "log_samples": True,
        "output_path": str(where / "out"),
        "seed": [sample, 1234 + sample, 1234 + sample, 1234],
        "batch_size": quality.hf_batch_size if backend == "hf" else 1,
        "apply_chat_template": quality.chat_template,
        "confirm_run_unsafe_code": quality.run_generated_code,
    }
    optional = {
        "num_fewshot": shots,
        "limit": quality.limit,
        "gen_kwargs": dict(quality.gen_kwargs) or None,
        "system_instruction": quality.system_instruction,
        "device": "cpu" if backend == "hf" and spec.gpus == 0 else None,
    }
    return config | {k: v for k, v in optional.items() if v is not None}


def _model_args(spec: RunSpec, server: Server, backend: Backend, sample: int) -> dict[str, Any]:
    quality = spec.quality
    if backend == "hf":
        dtype = quality.hf_dtype or ("float32" if spec.gpus == 0 else "auto")
        return {"pretrained": server.model_path, "dtype": dtype}
    arguments: dict[str, Any] = {
        "model": server.served_model,
        "num_concurrent": quality.concurrency,
        "seed": sample,
        "max_retries": 3,
        "timeout": 3600,
        **({} if server.tls_verify else {"verify_certificate": False}),
        **({"tokenized_requests": False} if server.prompt == "text" else {}),
    }
    if backend == "chat":
        return arguments | {"base_url": f"{server.base_url}/chat/completions"}
    # lm-eval keeps one token of max_length back for an answer that log-likelihoods do not have.
    length = (server.max_model_len or spec.model.max_context_tokens) + 1
    return arguments | {
        "base_url": f"{server.base_url}/completions",
        "tokenizer": quality.tokenizer or server.model_path or spec.model.repo,
        "tokenizer_backend": "huggingface",
        "max_length": length,
    }


def collect(
    where: Path, sample: int
) -> tuple[tuple[TaskScore, ...], tuple[QualityItem, ...], dict[str, Any]]:
    """Scores, items and settings of one call; its sample logs are compressed in passing."""
    found = sorted((where / "out").rglob("results_*.json"))
    if not found:
        raise BenchError(f"lm-eval wrote no results below {where}.")
    results = json.loads(found[-1].read_text())
    answers = _answers(where / "answers.jsonl")
    items: list[QualityItem] = []
    for task, config in results["configs"].items():
        for path in sorted(found[-1].parent.glob(f"samples_{task}_????-??-??T*.jsonl")):
            with path.open(encoding="utf-8") as file:
                rows = map(json.loads, file)
                kind = config.get("output_type")
                items += read_items(
                    rows, task=task, output_type=kind, sample=sample, answers=answers
                )
            _compress(path)
    parity = where / "parity.json"
    facts = {
        "lm_eval_version": results.get("lm_eval_version"),
        "parity": json.loads(parity.read_text()) if parity.exists() else None,
        "cut_prompts": _cut_prompts(where / "cut.jsonl"),
        "model_args": results["config"].get("model_args"),
        "gen_kwargs": results["config"].get("gen_kwargs"),
        "limit": results["config"].get("limit"),
        "chat_template_sha": results.get("chat_template_sha"),
        "system_instruction_sha": results.get("system_instruction_sha"),
        "fewshot_as_multiturn": results.get("fewshot_as_multiturn"),
        "tokenizer_bos_token": results.get("tokenizer_bos_token"),
        "max_length": results.get("max_length"),
        "transformers_version": results.get("transformers_version"),
    }
    wrong = facts["not_finite"] = not_finite(results, items)
    scores = [s for s in read_scores(results, items) if f"{s.task}:{s.metric}" not in wrong]
    kept = tuple(i for i in items if f"{i.task}:{i.metric}" not in wrong)
    return tuple(scores), kept, facts


def _answers(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What was recorded of generations, by the digests of prompt and scored text."""
    if not path.exists():
        return {}
    rows = map(json.loads, path.read_text().splitlines())
    return {(row["prompt_sha256"], row["text_sha256"]): row for row in rows}


def _cut_prompts(path: Path) -> int:
    """How many prompts lost their beginning because they did not fit into the context."""
    if not path.exists():
        return 0
    return sum(json.loads(line)["prompts"] for line in path.read_text().splitlines())


def _compress(path: Path) -> None:
    with path.open("rb") as plain, gzip.open(f"{path}.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    path.unlink()


def mean_over_samples(scores: Sequence[TaskScore]) -> tuple[TaskScore, ...]:
    """One score per metric: the mean over the repeats of the evaluation.

    The standard error is that of one repeat: repeats of the same items are no new items.
    """
    by_metric: dict[tuple[str, str, str], list[TaskScore]] = {}
    for s in scores:
        by_metric.setdefault((s.task, s.metric, s.filter), []).append(s)
    return tuple(
        replace(group[0], value=sum(s.value for s in group) / len(group))
        for group in by_metric.values()
    )
