"""What Python programs ask: stored runs as tables, what fits, and what a token costs.

`import bench` gives these names without importing anything heavy; the same functions work behind
`bench show`, `bench runs`, `bench fit` and `bench tco`. None and NaN mean not measured. No package
of bench may have one of these names: importing it would put it in the function's place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bench.values.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from bench.measure.measurement import Measurement
    from bench.measure.stats import Floats
    from bench.money.answer import TcoAnswer
    from bench.sizing.report import FitReport
    from bench.values.record import PointData, Run

__all__ = ["StoredRun", "fit", "load", "runs", "tco"]


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A run on disk: its raw record, and every number derived from it on first use."""

    raw: Run

    @property
    def name(self) -> str:
        """`<model>/<run>`, as `bench runs` prints it."""
        return "/".join(Path(self.raw.path).parts[-2:])

    @cached_property
    def measurement(self) -> Measurement:
        """Every metric and finding, derived now: what `bench show` prints."""
        from bench.derive import derive

        return derive(self.raw)

    @property
    def valid(self) -> bool:
        """Whether its figures may be quoted: no finding takes them away."""
        return self.measurement.valid

    @property
    def trust(self) -> str:
        """ok, partly, rehearsal, incomplete or FAILED, as `bench runs` says it; empty without a
        load. No row of `points` is trusted more than its run lets it be."""
        return self.measurement.trust or ""

    @cached_property
    def points(self) -> pd.DataFrame:
        """One row per load point: `load`, `valid`, `trust`, `requests`, then each metric under its
        name (which has the unit) with `_ci_low` and `_ci_high`. NaN: not measured or withheld."""
        _need_pandas()
        import pandas as pd

        rows = []
        for point in self.measurement.points:
            row: dict[str, object] = {
                "load": point.point.label,
                "valid": point.valid,
                "trust": point.trust,
                "requests": point.requests,
            }
            for name, metric in point.metrics.items():
                row[name] = metric.value
                row[f"{name}_ci_low"] = metric.ci_low
                row[f"{name}_ci_high"] = metric.ci_high
            rows.append(row)
        table = pd.DataFrame(rows)
        texts = [c for c in ("load", "valid", "trust", "requests") if c in table]
        return table.astype({c: "float64" for c in table.columns if c not in texts})

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """One row per load point and metric: value, unit, interval, counts, and how it arose: the
        rows of `bench show --format csv`."""
        _need_pandas()
        import pandas as pd

        from bench.report.rows import metric_rows

        return pd.DataFrame(metric_rows(self.raw, self.measurement))

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row per request that was sent, warm-up left out: `load`, `repeat`, `ok`, when it was
        sent (`sent_s` after its load point began), `ttft_ms`, `tpot_ms`, `e2e_ms`, and its tokens.
        Latencies of requests that failed are NaN here; percentiles in `points` count them."""
        _need_pandas()
        import pandas as pd

        tables = [_request_table(data) for data in self.raw.points]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    @cached_property
    def findings(self) -> pd.DataFrame:
        """What is wrong or worth knowing: `load` (empty: the whole run), code, severity, text."""
        _need_pandas()
        import pandas as pd

        columns = ["load", "code", "severity", "text"]
        rows = [("", f.code, f.severity, f.text) for f in self.measurement.findings]
        for point in self.measurement.points:
            label = point.point.label
            rows += [(label, f.code, f.severity, f.text) for f in point.findings]
        return pd.DataFrame(rows, columns=columns)

    def __repr__(self) -> str:
        return f"<StoredRun {self.name}: {self.raw.status}, {len(self.raw.points)} points>"


def _need_pandas() -> None:
    """InputError where it is missing; it is an extra, which measuring does without."""
    if find_spec("pandas") is None:
        raise InputError(
            "Tables need pandas, which is not installed: pip install 'selfhost-bench[pandas]'."
        )


def _request_table(data: PointData) -> pd.DataFrame:
    """The requests of one repeat of a load point."""
    import numpy as np
    import pandas as pd

    from bench.measure.requests import Requests

    seen = Requests(data=data)

    def where_ok(values: Floats) -> Floats:
        return np.where(seen.ok, values, np.nan)

    columns = {
        "load": data.point.label,
        "repeat": data.point.repeat,
        "discarded": data.discarded is not None,
        "ok": seen.ok,
        "sent_s": (data.requests["sent_ns"] - data.start_ns) / 1e9,
        "ttft_ms": where_ok(seen.ttft_ms),
        "tpot_ms": where_ok(seen.tpot_ms),
        "e2e_ms": where_ok(seen.e2e_ms),
        "prompt_tokens": seen.prompt_tokens,
        "output_tokens": seen.output_tokens,
    }
    return pd.DataFrame(columns, index=range(data.count))


def load(name: str | Path = "latest", results_dir: str | Path = "results") -> StoredRun:
    """A stored run by folder, by name as `bench runs` lists it, or the latest. `results_dir` is a
    folder, or an address that fsspec knows: the run is fetched then.

    InputError when there is none of that name, StoreError when it cannot be read.
    """
    from bench.store import find_run, load_run
    from bench.sweep.mirror import mirrored

    if not isinstance(name, (str, Path)):
        raise InputError(f"load: {name!r} is no name of a run: bench.load('latest').")
    folder, found = mirrored(str(results_dir), str(name))
    return StoredRun(load_run(find_run(found or str(name), folder)))


def runs(results_dir: str | Path = "results") -> tuple[StoredRun, ...]:
    """All stored runs, oldest first. Nothing is derived before it is asked for."""
    from bench.store import list_runs, load_run
    from bench.sweep.mirror import mirrored

    folder, _ = mirrored(str(results_dir))
    return tuple(StoredRun(load_run(path)) for path in list_runs(folder))


def fit(*keys: str, config_dirs: Sequence[str] = (), **choices: object) -> tuple[FitReport, ...]:
    """What `bench fit` answers: one report per quantisation and GPU count that is not chosen.

    Choices are those of the command line: `fit(model="llama-3.1-8b", gpu="h100-sxm", gpus=1)`;
    keys with a dot are typed as there: `fit("engine.max_model_len=8192", model=…)`. InputError
    for what the command line would refuse.
    """
    from bench.ask.fits import reports
    from bench.config.compose import catalogue

    words = tuple(_words(keys, choices))
    return reports(words, catalogue(config_dirs), config_dirs)


def tco(
    *runs: StoredRun, keys: Sequence[str] = (), config_dirs: Sequence[str] = (), **choices: object
) -> TcoAnswer:
    """What `bench tco` answers: `tco(run, tco="cpu-host", keys=["power.usd_per_kwh=0.2"])`.

    InputError where the question is incomplete or implausible; not a number is made up for it.
    """
    from bench.ask.costs import answered, cost_question
    from bench.money.of_run import tco_run

    for run in runs:
        if not isinstance(run, StoredRun):
            raise InputError(
                f"tco: {run!r} is no run that was read: bench.tco(bench.load('latest'))."
            )
    question = cost_question(tuple(_words(keys, choices)), config_dirs, measured=bool(runs))
    return answered(question, tuple(tco_run(run.raw, run.measurement) for run in runs))


def _words(keys: Sequence[str], choices: dict[str, object]) -> Iterator[str]:
    """The KEY=VALUE words that the same question has on the command line."""
    if isinstance(keys, str):  # whose items are letters
        raise InputError(f"keys={keys!r} is no list: write keys=[{keys!r}].")
    for key in keys:
        if "=" not in key:
            raise InputError(f"{key!r} is no KEY=VALUE.")
        yield key
    for name, value in choices.items():
        if isinstance(value, (dict, set)):
            raise InputError(f"{name}={value!r} is no choice: type its keys, '{name}.KEY=VALUE'.")
        listed = list(value) if isinstance(value, tuple) else value
        yield f"{name}={'null' if value is None else listed}"
