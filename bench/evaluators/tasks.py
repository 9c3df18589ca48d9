"""Which lm-eval tasks there are: names and permissions settled before an engine is started."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import bench.assets
from bench.evaluators.sandbox import check_sandbox
from bench.values.errors import InputError
from bench.values.spec import QualitySpec

_LIST = "python -m lm_eval ls tasks lists them; a folder of your own goes into quality.task_dir."


def folders(quality: QualitySpec) -> list[str]:
    """Folders of tasks beside lm-eval's own: the bundled ones, then the user's."""
    own = [] if quality.task_dir is None else [str(Path(quality.task_dir).absolute())]
    return [str(Path(bench.assets.__file__).parent / "tasks"), *own]


def check_tasks(quality: QualitySpec) -> None:
    """InputError for a name that lm-eval does not know, and for generated code without leave.

    lm-eval's own index takes seconds to read and is left alone when the folders have every name.
    """
    index = _index(tuple(folders(quality)), False)
    if not all(_matches(name, index) for name in quality.tasks):
        index = _index(tuple(folders(quality)), True)
    for name in (*quality.tasks, *quality.fewshot):
        if not _matches(name, index):
            close = difflib.get_close_matches(name, index, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else _LIST
            raise InputError(f"quality.tasks: lm-eval has no task {name!r}. {hint}")
    risky = [n for n in quality.tasks if any(_runs_code(m, index) for m in _matches(n, index))]
    if risky and not quality.run_generated_code:
        raise InputError(
            f"quality.tasks: {risky[0]} executes what the model writes, in a sandbox that still "
            "has the network. If that will do, say quality.run_generated_code=true."
        )
    if risky:
        check_sandbox()


def needs_logprobs(quality: QualitySpec) -> bool:
    """Whether any of the tasks is scored by log-probabilities of its prompt's own tokens."""
    index = _index(tuple(folders(quality)), False)
    if not all(_matches(name, index) for name in quality.tasks):
        index = _index(tuple(folders(quality)), True)
    return any(_scored_by_logprobs(m, index) for n in quality.tasks for m in _matches(n, index))


def _scored_by_logprobs(name: str, index: Mapping[str, Any]) -> bool:
    entry = index.get(name)
    if entry is None:
        return False
    config = entry.cfg or {}
    kind = config.get("output_type")
    if kind is not None:
        return bool(kind != "generate_until")
    inside = entry.tags if entry.kind.name == "TAG" else _members(config)
    return any(_scored_by_logprobs(member, index) for member in inside if member != name)


def _matches(name: str, index: Mapping[str, Any]) -> list[str]:
    """The names that a word stands for: itself, or all that fit a pattern with * or ?."""
    if name in index or not set(name) & {"*", "?"}:
        return [name] if name in index else []
    return [known for known in index if fnmatch(known, name)]


def _runs_code(name: str, index: Mapping[str, Any]) -> bool:
    """Whether a task, or any task within a group or a tag, is marked as unsafe by lm-eval."""
    entry = index.get(name)
    if entry is None:
        return False
    config = entry.cfg or {}
    if config.get("unsafe_code"):
        return True
    inside = entry.tags if entry.kind.name == "TAG" else _members(config)
    return any(_runs_code(member, index) for member in inside if member != name)


def _members(config: Mapping[str, Any]) -> Iterator[str]:
    """Names of a group's tasks; those that it defines in place are tasks of their own."""
    listed = config.get("task")
    for member in listed if isinstance(listed, list) else ():
        name = member.get("task") if isinstance(member, Mapping) else member
        if isinstance(name, str):
            yield name


@cache
def _index(paths: tuple[str, ...], with_defaults: bool) -> Mapping[str, Any]:
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=list(paths), include_defaults=with_defaults)
    index: Mapping[str, Any] = manager.task_index
    return index
