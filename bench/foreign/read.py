"""Which tool wrote a result, and what it says."""

from __future__ import annotations

from pathlib import Path

from bench.foreign import aiperf, guidellm, mlperf, summaries, vllm_bench
from bench.foreign.result import Reader, Result, parsed_file, whole_file
from bench.values.errors import InputError
from bench.values.file_kind import other_reader

READERS: tuple[Reader, ...] = (
    vllm_bench.read,
    guidellm.read,
    aiperf.read,
    summaries.read,
    mlperf.read,
)


def results(path: str) -> list[Result]:
    """The load points of a file, or of a folder that AIPerf wrote; InputError for any other."""
    name = aiperf.summary_of(path) if Path(path).is_dir() else path
    text = whole_file(name)
    if (logged := mlperf.read_text(name, text)) is not None:
        return logged
    found = parsed_file(name, text)
    for read in READERS:
        known = read(name, found)
        if known is not None:
            return known
    if own := other_reader(path, "audit"):  # a run of bench's own
        raise InputError(f"audit: {path}: no result of another tool.{own}")
    keys = ", ".join(sorted(map(str, found))[:6]) if isinstance(found, dict) else "no object"
    raise InputError(
        f"audit: {path}: none of vLLM's or SGLang's serving benchmark (--save-result), GuideLLM "
        f"(benchmarks.json), AIPerf (its artifact folder), inference-perf, InferenceX or MLPerf "
        f"(mlperf_log_summary.txt); its keys are {keys}."
    )
