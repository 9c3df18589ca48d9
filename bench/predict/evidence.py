"""Rows of evidence: one measured rate with its conditions and its terms; published ones as CSV.

`bench/assets/throughput/published.csv` holds what `scripts/predict_evidence.py` made of the
published rows: nothing is fitted in it. Rows of one's own runs have the same form.
"""

from __future__ import annotations

import csv
import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bench.predict.terms import TERMS

PUBLISHED = Path(__file__).parents[1] / "assets" / "throughput" / "published.csv"
OWN_SPREAD = 0.06
"""Log spread of one's own load points by the model's own error between loads: what published
curves show after a refit on their ends, less what launches differ by (docs/predict.md). Repeats and
launches scatter beyond it (`log_sd`)."""
PUBLISHED_SPREAD = 0.12
"""Log spread of published rows around the model."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured output rate (tokens/s over all GPUs) and what it was measured under.

    `terms` are those of `bench.predict.terms` for one of `replicas`. `mode` is how requests came:
    throughput (as many as admitted), server and interactive (under a latency limit), static.
    `log_sd` is how far its repeats scatter (standard error of the logarithm of the rate); where
    rows are fitted, launches as well (`bench.predict.noise`). `host` names the processor that
    served and `cores` those that the engine had, where no GPU did.
    `source` says where it stands. None is not known: tokens per prompt as stated, `assumed_input`
    is what stood in; `itl_ms` is the median, `watts` of all GPUs together.
    """

    id: str
    source: str
    date: str
    collection: str
    engine: str
    version: str
    model: str
    quant: str
    gpu: str
    gpus: int
    replicas: int
    mode: str
    input_tokens: float | None
    assumed_input: float | None
    output_tokens: float
    concurrency: float | None
    batch: float
    tokens_per_s: float
    terms: tuple[float, ...]
    itl_ms: float | None = None
    ttft_ms: float | None = None
    watts: float | None = None
    log_sd: float | None = None
    host: str = ""
    cores: float | None = None
    own: bool = False

    @property
    def spread(self) -> float:
        """Log standard deviation that the fit allows around it."""
        return math.hypot(OWN_SPREAD, self.log_sd or 0.0) if self.own else PUBLISHED_SPREAD

    @property
    def seconds(self) -> float:
        """Seconds per output token of one replica."""
        return self.replicas / self.tokens_per_s

    @property
    def pair(self) -> str:
        """Model, quantisation and engine: what a deviation of its own may belong to."""
        own = "|own" if self.own else ""
        return f"{self.model}|{self.quant}|{self.engine}{own}"

    @property
    def family(self) -> str:
        """The model's name up to its first figure: llama, qwen, gpt-oss."""
        return family(self.model)


FAMILIES = ("llama", "qwen", "mixtral", "mistral", "gemma", "gpt-oss", "phi", "glm", "granite")


@functools.cache
def family(model: str) -> str:
    """`llama-3.1-8b` -> llama; `deepseek-r1-distill-qwen-7b` -> qwen (what it is made of)."""
    plain = model.casefold()
    return next((name for name in FAMILIES if name in plain), plain.split("-")[0])


_PLAIN = [f.name for f in fields(Row) if f.name not in ("terms", "own")]
_NUMBERS = {
    *("input_tokens", "assumed_input", "output_tokens", "concurrency", "batch", "tokens_per_s"),
    *("itl_ms", "ttft_ms", "watts", "log_sd", "cores"),
}


def write(rows: Iterable[Row], path: Path) -> None:
    """The rows as CSV, in a form that a repeated call reproduces byte for byte."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow([*_PLAIN, *(f"{t}_s" for t in TERMS)])
        for row in rows:
            cells = [_cell(getattr(row, name)) for name in _PLAIN]
            out.writerow([*cells, *(f"{t:.5g}" for t in row.terms)])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def read(path: Path) -> tuple[Row, ...]:
    """The rows of such a CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_row(cells) for cells in csv.DictReader(file))


def _row(cells: dict[str, str]) -> Row:
    found: dict[str, Any] = {name: cells.get(name) or "" for name in _PLAIN}
    for name in _NUMBERS:
        found[name] = float(found[name]) if found[name] else None
    found |= {"gpus": int(cells["gpus"]), "replicas": int(cells["replicas"])}
    return Row(**found, terms=tuple(float(cells[f"{t}_s"]) for t in TERMS))


@functools.cache
def published() -> tuple[Row, ...]:
    """The published rows that ship with this package."""
    return read(PUBLISHED)
