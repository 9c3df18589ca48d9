"""conf/ as values: Hydra's composition, checked and decoded into the types of this package.

The only importer of hydra and omegaconf besides the command line's own `hydra.main`, and only once
something is to be composed.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.config.yaml_file import check_folders, load
from bench.values.errors import InputError, nearest
from bench.values.ggml import DYNAMIC, is_dynamic
from bench.values.serving import ON_GPUS, ON_HOST

GROUPS = ("model", "quant", "gpu", "engine", "workload", "load", "meter", "nodes", "quality")
"""The groups that a run is composed of."""


def conf_dir() -> Path:
    """conf/ inside an installed package, or beside the package in a checkout."""
    inside = Path(__file__).parents[1] / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "conf"


def options(group: str, config_dirs: Sequence[str] = ()) -> list[str]:
    """The names that a group can be set to."""
    roots = [conf_dir(), *map(Path, config_dirs)]
    return sorted({p.stem for root in roots for p in (root / group).glob("*.yaml")})


def prepared(overrides: Sequence[str], config_dirs: Sequence[str]) -> list[str]:
    """Overrides for Hydra: group names checked, every other key may be new (the codec judges)."""
    check_folders(config_dirs, overrides)
    groups = {p.name for root in (conf_dir(), *map(Path, config_dirs)) for p in root.iterdir()}
    result = []
    for override in overrides:
        key, _, value = override.partition("=")
        bare = key.lstrip("+~").partition("@")[0]
        if not bare:
            raise InputError(f"{override!r} has no key before its '=': write KEY=VALUE.")
        if bare in groups and key.startswith(("+", "~")):
            raise InputError(
                f"{override}: a run has one of each group, none is added or taken away: "
                f"{bare}={value or 'NAME'}."
            )
        if bare in groups and key != bare:
            raise InputError(f"{override}: a group has one place: {bare}={value}.")
        if bare in groups:
            _check_choice(bare, value, config_dirs)
            result.append(override)
        elif key.startswith(("+", "~", "hydra")):
            result.append(override)
        else:
            result.append(f"++{override}")
    if config_dirs:
        paths = ",".join(f"file://{d}" for d in config_dirs)
        result.append(f"hydra.searchpath=[{paths}]")
    return result


def _check_choice(group: str, value: str, config_dirs: Sequence[str]) -> None:
    valid = options(group, config_dirs)
    if value.startswith(("{", "[")):
        inner = re.match(r"\{ *(\w+) *: *([^,{}]+)", value)
        keys = f", its keys one by one: {group}.{inner[1]}={inner[2]}" if inner else ""
        raise InputError(f"{group}={value}: a group is chosen by its name, {group}=NAME{keys}.")
    for name in value.split(","):
        plain = name.strip().strip("'\"")
        if plain not in valid and not any(c in plain for c in "(*[{"):
            hint = _elsewhere(group, plain, valid) or nearest(plain, valid)
            raise InputError(f"{group}={plain}: there is no such {group}.{hint}")


_OTHER_NAMES = {
    ("quant", "int4 uint4 nf4 fp4 4bit 4-bit w4a16 q4 bnb bitsandbytes"): (
        " 4-bit weights are quant=awq or quant=gptq."
    ),
    ("quant", "bf16 bfloat16 fp16 float16 half fp32 float32"): (
        " quant=none is the model as published; engine.dtype says in what it computes."
    ),
    ("quant", "8bit 8-bit w8a8 q8"): " 8-bit weights are quant=int8 or quant=fp8.",
    (
        "engine",
        "tgi ollama lmdeploy mlc mii openai exllama triton dynamo",
    ): (
        " bench does not launch it: start it yourself and measure it by its address, "
        "engine=endpoint engine.base_url=http://HOST:PORT/v1."
    ),
}
"""What others call a choice that has another name here, or none."""


def _elsewhere(group: str, name: str, valid: Sequence[str]) -> str:
    """A clause for a name that is known elsewhere, or that is a path; else empty."""
    first, *rest = name.split() or [""]
    if rest and all("=" in word for word in rest):
        return f" Words are typed apart, not in one quote: {group}={first} {' '.join(rest)}"
    if name.lower() in valid:
        return f" Names are in lower case: {group}={name.lower()}."
    if group == "quant" and is_dynamic(name):
        return DYNAMIC
    for (of, names), hint in _OTHER_NAMES.items():
        if group == of and name.lower() in names.split():
            return hint
    if group == "model" and Path(name, "config.json").is_file():
        return f" A folder is model.path=…: model.path={name}."
    if group == "model" and "/" in name:
        kind = "path" if name.startswith(("/", ".", "~")) or Path(name).exists() else "repo"
        return f" A folder is model.path=…, a hub repository model.repo=…: model.{kind}={name}."
    return ""


def _check_syntax(overrides: Sequence[str]) -> None:
    """InputError that names the word which Hydra's grammar does not take."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    for override in overrides:
        try:
            parser.parse_override(override)
        except HydraException as error:
            said = " ".join(str(error).split()).partition(" See http")[0]
            remedy = "close every bracket and quote, and quote a text that holds = , or a bracket"
            key, _, value = override.partition("=")
            whole = all(value.count(a) == value.count(b) for a, b in ("[]", "{}", "()"))
            whole = whole and value.count('"') % 2 == value.count("'") % 2 == 0
            if value and whole and _is_read(parser, quoted := f'{key}="{value}"'):
                remedy = f"quote its value, {shlex.quote(quoted)}"
            raise InputError(
                f"{override!r} is no KEY=VALUE that Hydra can read ({said}): {remedy}."
            ) from error


def _is_read(parser: Any, override: str) -> bool:
    """Whether Hydra's grammar takes a word."""
    from hydra.errors import HydraException

    try:
        parser.parse_override(override)
    except HydraException:
        return False
    return True


def choices(override: str) -> tuple[str, ...]:
    """`quant=A,B` as `quant=A` and `quant=B`; one that offers no choice as it is."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    _check_syntax([override])
    parsed = OverridesParser.create().parse_override(override)
    if not parsed.is_sweep_override():
        return (override,)
    return tuple(f"{parsed.get_key_element()}={v}" for v in parsed.sweep_string_iterator())


def keys_within(overrides: Sequence[str]) -> frozenset[str]:
    """The dotted keys inside the values that were typed as a whole, `a={b: {c: 1}}`: a.b, a.b.c.
    The overrides are ones that Hydra has read."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    whole = [o for o in overrides if o.partition("=")[2].lstrip().startswith("{")]
    parsed = OverridesParser.create().parse_overrides(whole)
    return frozenset(k for o in parsed for k in _keys_below(o.get_key_element(), o.value()))


def _keys_below(name: str, value: object) -> Iterator[str]:
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        below = f"{name.lstrip('+')}.{key}"
        yield below
        yield from _keys_below(below, inner)


def compose(
    overrides: Sequence[str], config_dirs: Sequence[str] = (), config: str = "config"
) -> dict[str, Any]:
    """The composed configuration as plain data; InputError in one line when it does not compose."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    ready = prepared(overrides, config_dirs)
    try:
        with initialize_config_dir(str(conf_dir().absolute()), version_base="1.3"):
            composed = hydra_compose(config, overrides=ready)
        data = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except RecursionError as error:
        raise InputError("a value is nested too deeply to be read.") from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        _check_syntax(overrides)
        raise InputError(_in_our_words(str(error), config)) from error
    assert isinstance(data, dict)
    if config_dirs and "workload" in data:
        data["workload"] = _own_as_typed(data["workload"], overrides, config_dirs)
    return {str(k): v for k, v in data.items()}


def _in_our_words(text: str, config: str) -> str:
    """What Hydra says of a word, in one line, without its advice for other programs."""
    said = " ".join(text.split()).replace("++", "")
    if found := re.match(r"Could not override '([^']+)'\. No match", said):
        own = re.findall(r"(?m)^  - (\w+):", (conf_dir() / f"{config}.yaml").read_text())
        return f"{found[1]}: this verb has no such group.{nearest(found[1], own)}"
    if found := re.match(r"Ambiguous value for argument '([^=]+)=([^']*)'", said):
        key, values = found[1], found[2]
        if re.fullmatch(r"\D?\d{1,3}(,\d{3})+(\.\d+)?\D?", values):
            plain = f"{key}={re.sub('[^0-9.]', '', values)}"
            return f"{key}={values} offers a choice: a number has no commas, {plain}."
        if re.fullmatch(r"0,\d+" if config == "config" else r"\d+,\d{1,2}", values):
            plain = f"{key}={values.replace(',', '.')}"
            return f"{key}={values} offers a choice: a decimal has a point, {plain}."
        if config != "config":
            one = f"{key}={values.partition(',')[0]}"
            return f"{key}={values} offers a choice, and this verb takes one: {one}."
        begins = f"{key}={values} offers a choice: a sweep over it begins with bench -m, "
        if key in GROUPS:
            return f"{begins}else name one: {key}={values.partition(',')[0]}."
        return f"{begins}a list is typed {key}=[{values}]."
    return said[:300]


def run_spec(data: dict[str, Any], *, detect_gpus: bool = True) -> Any:
    """The RunSpec of composed data; `gpus: null` becomes what this machine and engine imply."""
    from bench.config.rents import with_rents
    from bench.models.checkpoints import with_local_checkpoints
    from bench.values.codec import decode
    from bench.values.spec import RunSpec

    data = {k: v for k, v in data.items() if k not in OTHER_GROUPS}
    _check_whose(data)
    remember_keys(data.get("engine"))
    check_finite(data)
    engine = data.get("engine")
    if isinstance(engine, dict) and isinstance(engine.get("args"), list):
        data["engine"] = {**engine, "args": _as_words(engine["args"])}
    if data.get("gpus") is None:
        local = detect_gpus and isinstance(data.get("engine"), dict)
        wants_gpu = local and data["engine"].get("kind") in (*ON_HOST, *ON_GPUS)
        data["gpus"] = _gpus_here() if wants_gpu else 0
    for group in ("workload", "load"):
        data[group] = _for_machine(data[group], data)
    data["workload"] = _named_as_typed(data["workload"])
    spec = with_local_checkpoints(decode(RunSpec, data))
    return dataclasses.replace(spec, gpu=with_rents(spec.gpu))


def _check_whose(data: Mapping[str, Any]) -> None:
    """InputError for a key typed without the group that has it: `concurrency` for `load.…`."""
    groups = {k: v.get("on_gpu", v) for k, v in data.items() if isinstance(v, Mapping)}
    for key in data:
        whose = [g for g, keys in groups.items() if g in GROUPS and key in keys]
        if key not in GROUPS and key not in ("name", "kind") and whose:
            meant = " or ".join(f"{group}.{key}" for group in whose)
            raise InputError(f"Unknown key {key!r}. Did you mean {meant}?")


def remember_keys(engine: Any) -> None:
    """Every key that an engine's settings hold or name: no echo of it is stored or shown."""
    from bench.values import redact

    if not isinstance(engine, Mapping):
        return
    redact.remember(engine)
    name, headers = engine.get("api_key_env"), engine.get("extra_headers")
    if isinstance(name, str):
        redact.keep(os.environ.get(name, ""))
    for value in headers.values() if isinstance(headers, Mapping) else ():
        redact.keep(str(value))


def _as_words(args: list[Any]) -> list[Any]:
    """Words of a command line: the number in [--data-parallel-size,2] is typed without quotes."""
    after_flag = [False, *(isinstance(a, str) and a.startswith("-") for a in args)]
    return [
        str(a) if flag and type(a) in (int, float) else a
        for a, flag in zip(args, after_flag, strict=False)
    ]


def check_finite(data: Any, path: str = "") -> None:
    """InputError for an infinite number or one that is none (nan): nothing lasts or is so long."""
    if isinstance(data, float) and not math.isfinite(data):
        raise InputError(f"{path}: {data} is not a finite number.")
    children = dict(enumerate(data)) if isinstance(data, list) else data
    for key, value in children.items() if isinstance(children, dict) else ():
        check_finite(value, f"{path}.{key}" if path else str(key))


def _for_machine(group: Any, data: Mapping[str, Any]) -> Any:
    """A group set to `auto` as what suits the machine that serves, typed keys on top."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not isinstance(group, dict) or "on_gpu" not in group:
        return group
    gpu = data.get("gpu")
    on_gpu = bool(data["gpus"]) or (isinstance(gpu, dict) and gpu.get("kind") == "gpu")
    chosen = group["on_gpu" if on_gpu else "on_cpu"]
    typed = {k: v for k, v in group.items() if k not in ("on_gpu", "on_cpu")}
    try:
        return OmegaConf.to_container(OmegaConf.merge(chosen, typed))
    except OmegaConfBaseException:  # keys where a list is meant: the codec names the key
        return {**chosen, **typed}


def _named_as_typed(workload: Any) -> Any:
    """A workload of conf where something that is sent was typed over is another one: `chat-1k-1k`
    of 16 tokens would be a wrong name in every table. What it is stands there; where it began, too.
    """
    name = workload.get("name") if isinstance(workload, dict) else None
    file = conf_dir() / "workload" / f"{name}.yaml"
    if (
        not isinstance(name, str)
        or workload.get("file") is not None
        or name not in options("workload")
    ):
        return workload
    return _renamed(workload, load(file))


def _own_as_typed(workload: Any, overrides: Sequence[str], config_dirs: Sequence[str]) -> Any:
    """The same of a workload in a folder of the user's, which may build on another one: what it is
    without the words that were typed over it is composed."""
    keys = [o.lstrip("+").partition("=")[0] for o in overrides]
    over = [o for o, key in zip(overrides, keys, strict=True) if key in _SENT_KEYS]
    if not over or not isinstance(workload, dict) or "workload.name" in keys:
        return workload
    if workload.get("file") or workload.get("name") in options("workload"):
        return workload
    try:
        before = compose([o for o in overrides if o not in over], config_dirs)["workload"]
    except InputError:  # it is none without them
        return workload
    return _renamed(workload, before)


def _renamed(workload: Mapping[str, Any], before: Mapping[str, Any]) -> Mapping[str, Any]:
    name = workload["name"]
    typed = [k for k, unsaid in _SENT.items() if workload.get(k, unsaid) != before.get(k, unsaid)]
    if not typed:
        return workload
    source = f"{', '.join(typed)} typed over those of {name}, whose other settings it has"
    return {**workload, "name": f"{name} (changed)", "source": source}


_SENT = {
    **dict.fromkeys(("input_tokens", "output_tokens")),
    **{"shared_prefix_tokens": 0, "shared_prefix_count": 1, "turns": 1, "turn_gap_s": 0},
}
"""What of a workload shapes the requests, with what counts where it is not said."""
_SENT_KEYS = {f"workload.{key}" for key in _SENT}

OTHER_GROUPS = ("tco", "prices", "power", "claims", "calibration", "cluster")
"""Groups that belong to other verbs than run."""


def _gpus_here() -> int:
    from bench.meters.gpus import list_gpus

    return min(1, len(list_gpus().devices))


def catalogue(config_dirs: Sequence[str] = ()) -> Any:
    """Every model, quantisation and GPU. Those of conf are read when they are asked for, a user's
    own at once: a wrong one is an InputError whatever was chosen."""
    from bench.config.catalogue import Catalogue
    from bench.config.rents import with_rents
    from bench.values.codec import decode
    from bench.values.spec import GpuSpec, ModelSpec, QuantSpec

    def group(name: str, kind: Any) -> _Options:
        own = [p for root in config_dirs for p in sorted((Path(root) / name).glob("*.yaml"))]
        read = {file.stem: decode(kind, load(file), str(file)) for file in own}
        if kind is GpuSpec:
            read = {name: with_rents(gpu) for name, gpu in read.items()}
        return _Options(sorted((conf_dir() / name).glob("*.yaml")), kind, read)

    return Catalogue(
        models=group("model", ModelSpec),
        quants=group("quant", QuantSpec),
        gpus=group("gpu", GpuSpec),
    )


class _Options(Mapping[str, Any]):
    """The values of conf's files by their names, and of others that are `read` already, which come
    before those of the same name. Most runs ask for none of a hundred files."""

    def __init__(self, files: Sequence[Path], kind: Any, read: Mapping[str, Any]) -> None:
        self._files = {file.stem: file for file in files}
        self._kind = kind
        self._read = dict(read)
        self._names = dict.fromkeys([*self._files, *read])

    def __getitem__(self, name: str) -> Any:
        import yaml

        from bench.config.rents import with_rents
        from bench.values.codec import decode
        from bench.values.spec import GpuSpec

        if name not in self._read:
            file = self._files[name]
            with file.open(encoding="utf-8") as opened:
                loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
                found = decode(self._kind, yaml.load(opened, loader), str(file))
            self._read[name] = with_rents(found) if isinstance(found, GpuSpec) else found
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def check_sweep(
    overrides: Sequence[str], config_dirs: Sequence[str]
) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """The combinations that Hydra makes of these words, in its order, and what each composes to.

    Every swept value comes first, so that a misspelt one is found at once, not at its combination.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    _check_syntax(overrides)
    parser = OverridesParser.create()
    values: list[list[str]] = []
    for override in overrides:
        parsed = parser.parse_override(override)
        swept = parsed.is_sweep_override()
        key = override.partition("=")[0]
        values.append(
            [f"{key}={v}" for v in parsed.sweep_string_iterator()] if swept else [override]
        )
    first = [v[0] for v in values]
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for i, choices in enumerate(values):
        for choice in choices if len(choices) > 1 or i == 0 else []:
            words = (*first[:i], choice, *first[i + 1 :])
            if words not in found:
                found[words] = compose(words, config_dirs)
                run_spec(found[words], detect_gpus=False)
    return [
        (words, found.get(words) or compose(words, config_dirs))
        for words in itertools.product(*values)
    ]


def split_results_dir(overrides: Sequence[str]) -> tuple[str, list[str]]:
    """`results_dir=…` (default `results`) apart from the other overrides."""
    chosen = [o.partition("=")[2] for o in overrides if o.startswith("results_dir=")]
    if "" in chosen:
        raise InputError("results_dir= names no folder.")
    for name in chosen:
        if "://" not in name and Path(name).expanduser().is_file():
            raise InputError(f"results_dir={name} is a file: name the folder of the results.")
    return (chosen or ["results"])[-1], [o for o in overrides if not o.startswith("results_dir=")]


def claim_costs(config_dirs: Sequence[str] = ()) -> tuple[Any, Any]:
    """The default price book's rows, and the cost model as a function of question and overrides."""
    import copy
    import functools
    from datetime import UTC, datetime

    import yaml

    from bench.money.answer import answer
    from bench.money.document import to_json
    from bench.money.prices.book import PricesSpec
    from bench.money.prices.shipped import configured
    from bench.money.spec import TcoRequest
    from bench.values.codec import decode

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with (conf_dir() / "prices" / "default.yaml").open(encoding="utf-8") as file:
        prices = decode(PricesSpec, yaml.load(file, loader), "prices")

    @functools.cache
    def composed(question: str, groups: tuple[str, ...]) -> dict[str, Any]:
        data = compose([f"tco={question}", *groups], config_dirs, "cost")
        return {k: v for k, v in data.items() if k in ("tco", "prices", "power")}

    @functools.cache
    def ask(question: str, overrides: tuple[str, ...]) -> dict[str, Any]:
        groups = tuple(o for o in overrides if "." not in o.partition("=")[0])
        data = copy.deepcopy(composed(question, groups))
        for override in overrides:  # set here: composing anew takes a third of a second
            key, _, value = override.partition("=")
            *path, last = key.split(".")
            if path:
                functools.reduce(lambda group, name: group[name], path, data)[last] = yaml.load(
                    value, loader
                )
        request = decode(TcoRequest, data, f"tco={question}")
        rows = configured(request.prices)
        return to_json(answer(request, (), rows, None, datetime.now(tz=UTC).date()))

    return configured(prices), ask
