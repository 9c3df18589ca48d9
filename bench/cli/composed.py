"""From a command line's words to the values that verbs work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.arguments import Arguments
from bench.cli.conflicts import refuse_never_full, refuse_without_effect
from bench.config.compose import conf_dir, run_spec, split_results_dir
from bench.values.errors import InputError, nearest

if TYPE_CHECKING:
    from bench.values.spec import RunSpec


def run_asked(data: dict[str, Any], arguments: Arguments) -> RunSpec:
    """The run of composed data, its model replaced by what a typed model.path or model.repo is."""
    from bench.preflight import resolve_model

    spec: RunSpec = run_spec(data)
    refuse_without_effect(spec, arguments.typed_keys)
    refuse_never_full(spec)
    spec = replace(spec, model=resolve_model(spec.model, arguments.typed_keys))
    return expecting(spec, arguments.typed_keys)


def expecting(spec: RunSpec, typed: frozenset[str]) -> RunSpec:
    """The run, its endpoint told which model it has to serve where one was typed."""
    from bench.values.spec import EndpointSpec

    engine = spec.engine
    if not isinstance(engine, EndpointSpec) or engine.expects_model or "model" not in typed:
        return spec
    return replace(spec, engine=replace(engine, expects_model=spec.model.name))


def check_address(spec: RunSpec, typed: frozenset[str]) -> None:
    """InputError for an endpoint without an address where nothing listens at the usual one."""
    import socket
    from urllib.parse import urlsplit

    from bench.values.spec import EndpointSpec

    engine = spec.engine
    if not isinstance(engine, EndpointSpec) or typed & {"engine.base_url", "engine"} != {"engine"}:
        return
    if engine.base_url != EndpointSpec.base_url:
        return
    at = urlsplit(engine.base_url)
    try:
        socket.create_connection((at.hostname, at.port or 80), timeout=1.0).close()
    except ConnectionRefusedError:
        raise InputError(
            f"engine=endpoint: nothing listens at {engine.base_url}, where a server is looked for "
            "when no address is typed: add engine.base_url=http://HOST:PORT/v1."
        ) from None
    except OSError:
        return  # the probe says what is wrong there


def results_dir_only(arguments: Arguments) -> str:
    """`results_dir=…` for the verbs that only read; they take no other override."""
    chosen, others = split_results_dir(arguments.overrides)
    if others:
        key = others[0].partition("=")[0]
        raise InputError(f"{key!r}: this verb takes results_dir=FOLDER only.")
    return chosen


def row_format(arguments: Arguments, others: Sequence[str] = ()) -> str | None:
    """`--format csv`, md, parquet or one of `others`; None when tables or JSON are asked for."""
    from bench.report.rows import FORMATS, known_format

    form = known_format(arguments.option("--format"), (*FORMATS, *others))
    if form is not None and arguments.as_json:
        raise InputError(f"--json and --format {form} are two forms of one answer: keep one.")
    return form


def allowed(arguments: Arguments) -> tuple[str, ...]:
    """The keys of every `--allow KEY[,KEY]`; InputError for one that no run has."""
    keys = tuple(k for value in arguments.options.get("--allow", ()) for k in value.split(","))
    if keys:
        from bench.compare.allow import check_allowed

        check_allowed(keys)
    return keys


def own_words(
    arguments: Arguments, own: Sequence[str], verb: str
) -> tuple[dict[str, str | None], tuple[str, ...]]:
    """A verb's own KEY=VALUE apart from those of the price book; InputError for any other."""
    said: dict[str, str | None] = dict.fromkeys(own)
    book: list[str] = []
    for override in arguments.overrides:
        key, _, value = override.partition("=")
        if key in said and not value:
            raise InputError(f"{key}= has no value: type {key}=NAME, or leave it out.")
        if key in said:
            said[key] = value
        elif key.lstrip("+~").partition(".")[0] == "prices":
            book.append(override)
        else:
            names = (*own, "prices.book", "prices.as_of")
            raise InputError(f"{key!r} is no key of bench {verb}.{nearest(key, names)}")
    return said, tuple(book)


def claim_folders(config_dirs: Sequence[str]) -> tuple[Path, ...]:
    """Where published numbers are: the catalogue's and those of your own groups."""
    return tuple(root / "claims" for root in (conf_dir(), *map(Path, config_dirs)))
