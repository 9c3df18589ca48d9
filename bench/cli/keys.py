"""Keys and flags that several verbs share, in words."""

from __future__ import annotations

from bench.cli.verb import Flag

WHAT_IS_SERVED = (
    ("model=NAME", "what is served; model.path=FOLDER or model.repo=NAME for one of your own"),
    ("quant=NAME", "its quantisation; none is the model as published"),
    ("gpu=NAME", "what it is served on; auto looks, cpu is this host"),
    ("gpus=N", "how many of them"),
)
RESULTS_DIR = ("results_dir=FOLDER", "where runs are stored (results)")
ROWS = Flag(
    name="--format",
    value="FORMAT",
    what="rows for other programs instead of a table",
    choices=("md", "csv", "parquet"),
)
ALLOW = Flag(name="--allow", value="KEY[,KEY]", what="keys that may differ between the runs")
