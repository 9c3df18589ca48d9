"""What a run is predicted to show, kept in it before anything is started."""

from __future__ import annotations

from typing import Any

from bench.predict.answer import predictions
from bench.predict.own import kept
from bench.predict.question import question
from bench.values.codec import encode
from bench.values.errors import InputError
from bench.values.spec import RunSpec


def foretold(spec: RunSpec) -> dict[str, Any]:
    """`points`, the predictions by load point, or `none`, why there are none."""
    try:
        own = kept(spec.results_dir)
        found = predictions(question(spec), spec.load, own)
    except InputError as error:
        return {"none": str(error)}
    return {"points": encode(found)} if found else {"none": "a search has no load point yet"}
