"""`bench claim --predict`: another program's prediction as a claim, beside bound and prediction."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from bench.cli.arguments import Arguments
from bench.config.compose import catalogue, compose, run_spec
from bench.values.errors import InputError, nearest
from bench.values.json_text import json_text

PREDICTORS = ("aiconfigurator",)


def predicted(arguments: Arguments, name: str) -> Path:
    """Ask the predictor, print its answer beside bench's own, and write the claim; its file."""
    from bench.predict import aiconfigurator as other
    from bench.predict.answer import predictions
    from bench.predict.own import kept
    from bench.predict.question import question
    from bench.preflight import for_planning, resolve
    from bench.report.console import console
    from bench.report.predict_table import banded, print_predictions

    if name not in PREDICTORS:
        raise InputError(f"--predict: {name!r} is no predictor.{nearest(name, PREDICTORS)}")
    for word in (*arguments.words, *(arguments.flags & {"--all"})):
        raise InputError(f"--predict judges what {name} predicts: leave {word!r} out.")
    known = catalogue(arguments.config_dirs)
    spec = run_spec(compose(arguments.overrides, arguments.config_dirs), detect_gpus=False)
    spec = resolve(for_planning(spec, arguments.typed_keys, known), arguments.typed_keys, known)
    if spec.load.mode != "closed" or len(spec.load.concurrency) != 1:
        raise InputError("--predict takes one load: load.concurrency=[N].")
    asked, at = question(spec), spec.load.concurrency[0]
    answer = other.ask(arguments.option("--command") or name, asked, at)
    ours = predictions(asked, spec.load, kept(spec.results_dir))
    rate = answer.figures["output_tokens_per_s"]
    if not arguments.as_json:
        print_predictions(ours, console(), f"{spec.model.name} {spec.quant.name}, c{at}")
        band = ours[0].figures["output_tokens_per_s"]
        place = "inside" if band.low <= rate <= band.high else "outside"
        print(
            f"claimed by {name}: {rate:,.0f} tokens/s, without a band; {place} the predicted "
            f"{banded(band)}"
        )
    day = datetime.now(tz=UTC).date().isoformat()
    file = Path(
        f"{name}-{spec.model.name}-{spec.quant.name}-{spec.gpus}x{spec.gpu.name}-c{at}.yaml"
    )
    content = other.as_claim(asked, answer, day)
    # JSON is YAML: no key of ours needs more.
    file.write_text(json_text(content, indent=2) + "\n", encoding="utf-8")
    return file
