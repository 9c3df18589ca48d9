"""Why an engine did not start, read from its log: a code, what happened, and the remedy.

The kinds stand in `bench.engines.failure_kinds`, causes before what they bring about; the log's own
sentence is kept. tests/data/engine_logs holds excerpts of those that could be provoked here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.engines.failure_kinds import KINDS

_MAX_TEXT = 200


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A classified failure: `text` is the log's own words, `remedy` what to change."""

    code: str
    text: str
    remedy: str

    @property
    def line(self) -> str:
        """One line for a person."""
        return f"{self.text.rstrip('.:')}. {self.remedy}"


_ERROR = re.compile(r"\b\w*(?:Error|Exception)\b: \S|(?:^|: )error: \S|Value error, ")
_WRAPPERS = re.compile(
    r"Engine core initialization failed|WorkerProc initialization failed|validation error for"
    r"|Worker failed with error|ChildProcessError|Engine process failed|EngineDeadError"
)
_BEFORE = (
    r"(?:\d{4}-\d\d-\d\dT[\d:.]+Z?\s+)?(?:\[rank\d+\]:\s*)?(?:\([^)]*pid=\d+[^)]*\)\s*)?"
    r"(?:\[rank\d+\]:\s*)?"
)
"""What may stand before a level: a container's time, a process, a rank."""
_NO_ERROR = re.compile(
    rf"^{_BEFORE}(?:(?:DEBUG|INFO|WARNING)\s|\S*\d: \w*Warning: |"
    r".*\[W\d+ [\d:.]+ \S+\] Warning: |.*\bNCCL (?:INFO|TRACE) )"
)
"""What is no error although it may name one: levels of vLLM, of PyTorch, of Python and of NCCL."""
# A line of source in a traceback names the error but not what happened.
_SOURCE = re.compile(r'raise |File "|except |[\^~ ]+$|Dumping ')
_RAISED = re.compile(r"[\w.]+(?:Error|Exception|Exit|Interrupt|NotFound|Resources)\b(?::|$)")
_PROCESS = re.compile(r"\([^)]*pid=\d+[^)]*\)|\[rank\d+\]")
# Pydantic shows all that it was given behind the message: names of keys that are not the matter.
_DUMPED = re.compile(r",? input_value=.*|(?<=engine )\(v[\d.]+\S*\) with config: .*")
# "(EngineCore pid=1) ERROR 01-02 03:04:05 [core.py:1] " before the message itself; until 0.8 the
# place had no opening bracket.
_PREFIX = re.compile(
    rf"^{_BEFORE}((DEBUG|INFO|WARNING|ERROR|CRITICAL)\s+[\d-]+ [\d:]+ \[?[\w./-]+:\d+\]\s*)?"
)


def classify(log: str, exit_code: int | None = None) -> Failure:
    """The failure that this log tells of; `exit_code` helps where the log ends in mid-sentence."""
    lines = _told_as_error(log)
    for kind in KINDS:
        expression = re.compile(kind.pattern, re.IGNORECASE)
        for line in lines:
            if match := expression.search(line):
                text = _sentence(line, match.start())
                return Failure(code=kind.code, text=text, remedy=kind.remedy)
    if exit_code in (135, -7):
        return Failure(
            code="shared_memory",
            text="the engine was killed (SIGBUS), most likely for want of room in /dev/shm",
            remedy="Start the container with --ipc=host or --shm-size=8g, or use gpus=1.",
        )
    if exit_code in (137, -9):
        return Failure(
            code="out_of_memory",
            text="the engine was killed (SIGKILL), most likely by the kernel for want of memory",
            remedy="See dmesg; use a smaller model or quant, or stop what else holds memory.",
        )
    return Failure(
        code="engine_failed",
        text=last_error(log) or f"the engine ended with code {exit_code} and named no error",
        remedy="The log has the details.",
    )


def message_of(line: str) -> str:
    """A line of an engine's log without the process, level, time and place before its message."""
    return _PREFIX.sub("", line).strip()


def last_error(log: str) -> str | None:
    """The last line that names an error and is not a mere wrapper round another one."""
    errors = [line for line in _told_as_error(log) if _ERROR.search(line)]
    causes = [line for line in errors if not _WRAPPERS.search(line)]
    found = (causes or errors)[-1:]
    return _sentence(found[0]) if found else None


def _told_as_error(log: str) -> list[str]:
    """The messages that could tell of an error: neither a warning of one to come, nor a line of
    source in a traceback, nor the settings that are dumped beside the error."""
    told = []
    source_follows: set[str] = set()
    for line in log.splitlines():
        if _NO_ERROR.match(line):
            continue
        process = _PROCESS.search(line)
        whose = process[0] if process else ""
        text = _DUMPED.sub("", message_of(line))
        if text.startswith('File "'):
            source_follows.add(whose)
            continue
        is_source = whose in source_follows and not _RAISED.match(text)
        source_follows.discard(whose)
        if text and not is_source and not _SOURCE.match(text):
            told.append(text)
    return told


def _sentence(line: str, at: int = 0) -> str:
    """The sentence round position `at`, one line of at most 200 characters."""
    ends = [match.end() for match in re.finditer(r"\. (?=[A-Z])| \[type=", line)]
    begin = max((end for end in ends if end <= at), default=0)
    end = min((end for end in ends if end > at), default=len(line))
    text = re.sub(r" ?\[type=\S*$", "", line[begin:end]).removeprefix("Value error, ").strip()
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
