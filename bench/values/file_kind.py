"""Which verb reads a file, by its name: for the file that was given to another one."""

from __future__ import annotations

from pathlib import Path

_READERS: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    ((".yaml", ".yml"), "YAML", "claim", "bench claim {} reads a claim"),
    ((".json",), "JSON", "audit", "bench audit {} reads another tool's result"),
    ((".jsonl",), "JSONL", "workload", "bench workload {} reads requests"),
    ((".csv",), "CSV", "prices", "bench prices import {} reads prices, bench workload {} a trace"),
    ((".gguf",), "a GGUF file", "", "model.weights={} names one"),
    ((".safetensors",), "a file of weights", "", "model.path=FOLDER names the folder around one"),
    ((".html", ".svg", ".png"), "a report", "", "bench report writes one and reads runs"),
    ((".parquet",), "Parquet", "", "bench show RUN --format parquet writes one and reads runs"),
)


def other_reader(name: str, verb: str) -> str:
    """A clause that says what a file is and which verb reads it; empty where there is no such file
    or `verb` is the one."""
    path = Path(name)
    try:
        if not name or not path.is_file():
            return ""
    except (OSError, ValueError):
        return ""
    if path.name == "run.json":
        return "" if verb == "run" else f" A run is named by its folder: bench show {path.parent}."
    for endings, what, reader, how in _READERS:
        if path.suffix.casefold() in endings and verb != reader:
            return f" {name} is {what}: {how.format(name, name)}."
    return ""
