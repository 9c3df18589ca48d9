"""Reading a `quantization_config` into a WeightFormat: one function per tool that writes them.

A method whose layout is not known, or that a config.json does not describe far enough to be
counted, is refused by name.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bench.sizing.declared import geometry_of
from bench.sizing.formats import WeightFormat
from bench.sizing.gguf_mix import tensor_sums
from bench.values.errors import InputError, nearest
from bench.values.spec import ModelSpec, QuantSpec

_NESTED = ("text_config", "llm_config", "language_config")
_EXPERTS_ONLY = ("routed_expert",)
_FP8 = {"bits": 8, "activation_bits": 8, "integer": False}
# Four-bit floats: one scale byte per block of 16 (NVFP4) or 32 (MXFP4).
_NVFP4 = {"bits": 4, "integer": False, "group_size": 16, "scale_bytes": 1}
_MXFP4 = {"bits": 4, "integer": False, "group_size": 32, "scale_bytes": 1}
_MXFP8 = {**_FP8, "group_size": 32, "scale_bytes": 1}
_ONLINE: Mapping[str, dict[str, Any]] = {
    "fp8": _FP8,
    "fp8_per_tensor": _FP8,
    "fp8_per_channel": {**_FP8, "channel": True},
    "fp8_per_block": {**_FP8, "block": (128, 128)},
    "int8_per_channel_weight_only": {"bits": 8, "channel": True},
    "mxfp8": _MXFP8,
}


def weight_format(model: ModelSpec, quant: QuantSpec, method: str | None = None) -> WeightFormat:
    """The format of `model` served as `quant`; InputError where it is not known.

    `method` is the engine's --quantization: what it makes of native weights, or the name of what
    the checkpoint is.
    """
    config = _laid_out(model, quantisation_config(model, quant))
    if is_local(model):
        _check_local(model, quant, from_hf(config, quant.name), method_of(config))
    if method is None:
        return from_hf(config, quant.name)
    if not config:
        return online(method, method)
    own = method_of(config)
    if method not in _SERVED_AS.get(own, (own,)):
        raise InputError(
            f"engine.args --quantization {method} contradicts quant={quant.name}: its weights of "
            f"{model.name} are {own!r}. Leave one out."
        )
    return from_hf(config, quant.name)


def is_local(model: ModelSpec) -> bool:
    return model.weights not in ("hub", "bundled", "dummy")


def _check_local(model: ModelSpec, quant: QuantSpec, fmt: WeightFormat, method: str) -> None:
    """InputError where a folder or file holds another format than the quantisation's name says."""
    if not is_local(model) or quant.name == "none" or not method:
        return
    is_file = method == "gguf"
    other = is_file != quant.is_gguf
    if not other and not is_file and fmt.bits is not None:
        named = from_hf(quant.hf_quantization_config or {}, quant.name)
        other = fmt.integer != named.integer or abs(fmt.bits - (named.bits or 16)) > 1
    if other:
        what = "a GGUF file" if is_file else f"{fmt.bits or 'mixed'}-bit {method}"
        raise InputError(
            f"quant={quant.name} contradicts model.weights={model.weights}, which holds {what}: "
            "leave quant out, or name the folder that holds it."
        )


def _laid_out(model: ModelSpec, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same, with a GGUF type that stands by its name alone spread over the model's tensors."""
    if method_of(config) != "gguf" or "file_type" not in config:
        return config
    sums = tensor_sums(geometry_of(model), str(config["file_type"]))
    return {"quant_method": "gguf", "tensors": sums}


def quantisation_config(model: ModelSpec, quant: QuantSpec) -> Mapping[str, Any]:
    """The `quantization_config` of `model` served as `quant`; empty for native weights.

    The checkpoint's own comes first where conf/model gives one; `none` and any quantisation
    published in the same repository are the model's native format; else the quantisation's own
    description stands for the checkpoint.
    """
    native = model.checkpoints.get("none")
    chosen = model.checkpoints.get(quant.name)
    own = chosen.quantization_config if chosen is not None else None
    is_native = native is not None and chosen is not None and native.repo == chosen.repo
    if is_local(model) and (held := own_quantisation(model.config)):
        # A folder or file says itself what it holds, whatever was listed of a repository.
        return _with_experts(held, model.config)
    if own is not None:
        return own
    if quant.hf_quantization_config is None or is_native:
        return _with_experts(own_quantisation(model.config), model.config)
    return quant.hf_quantization_config


def _with_experts(quantisation: Mapping[str, Any], config: Mapping[str, Any]) -> Mapping[str, Any]:
    """DeepSeek V4 says beside its `quantization_config` what its experts are; FP4 where it does
    not (vLLM 0.32.0, models/deepseek_v4/quant_config.py)."""
    if config.get("model_type") != "deepseek_v4" or method_of(quantisation) != "fp8":
        return quantisation
    return {"expert_dtype": config.get("expert_dtype", "fp4"), **quantisation}


# The names under which vLLM 0.32 serves a checkpoint of each method, kernels included.
_SERVED_AS: Mapping[str, tuple[str, ...]] = {
    "awq": ("awq", "auto_awq", "awq_marlin", "moe_wna16", "humming"),
    "gptq": ("gptq", "auto_gptq", "gptq_marlin", "moe_wna16", "humming"),
    "fp8": ("fp8", "deepseek_v4_fp8"),
    "fbgemm-fp8": ("fbgemm_fp8",),
    "modelopt": ("modelopt", "modelopt_fp4", "modelopt_mxfp8", "modelopt_mixed"),
    "mxfp4": ("mxfp4", "gpt_oss_mxfp4"),
    "auto-round": ("inc", "auto-round", "auto_round"),
    "compressed-tensors": ("compressed-tensors",),
}


def method_of(config: Mapping[str, Any]) -> str:
    """The method of a `quantization_config`, one name for each layout."""
    if isinstance(config.get("quantization"), Mapping):  # hf_quant_config.json
        return "modelopt"
    if "quant_method" not in config and config.get("quant_algo"):
        return "modelopt"  # some of its exporters name no method
    method = str(config.get("quant_method", "")).lower().replace("_", "-")
    same = {"awq-marlin": "awq", "gptq-marlin": "gptq", "modelopt-fp4": "modelopt"}
    return same.get(method, method).removeprefix("intel/")


def own_quantisation(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `quantization_config` of a config.json, wherever in it the tool put it; {} for none."""
    places = [config, *(config[k] for k in _NESTED if isinstance(config.get(k), Mapping))]
    for place in places:
        for key in ("quantization_config", "compression_config"):
            if isinstance(place.get(key), Mapping) and place[key]:
                return dict(place[key])
    return {}


def from_hf(config: Mapping[str, Any], name: str) -> WeightFormat:
    """Read a `quantization_config`; InputError for a method whose layout is not known here."""
    if not config:
        return WeightFormat(name=name)
    if isinstance(config.get("quantization"), Mapping):  # hf_quant_config.json
        config = {"quant_method": "modelopt", **config["quantization"]}
    method = str(config.get("quant_method", "")).lower().replace("_", "-")
    method = method or method_of(config)
    reader = _READERS.get(method)
    if reader is None:
        raise InputError(
            f"quant: the memory layout of quant_method {method!r} is not known here; known are "
            f"{', '.join(sorted(_READERS))}. Use fit.force=true to run without a fit."
        )
    return reader(config, name)


def online(method: str, name: str) -> WeightFormat:
    """What `--quantization METHOD` makes of native weights while it loads them (vLLM 0.32.0).

    Source: vllm/model_executor/layers/quantization/online.
    """
    scheme = _ONLINE.get(method)
    if scheme is not None:
        return _made(name, scheme)
    if method in ("bitsandbytes", "inflight"):
        return _bitsandbytes({"load_in_4bit": True}, name)
    raise InputError(
        f"engine.args --quantization: what {method!r} makes of unquantised weights is not known "
        f"here.{nearest(method, (*_ONLINE, 'bitsandbytes'))} Use fit.force=true to run without a "
        "fit."
    )


def _made(name: str, scheme: Mapping[str, Any], **more: Any) -> WeightFormat:
    return WeightFormat(name=name, **{**scheme, **more})


def _ignored(config: Mapping[str, Any]) -> tuple[str, ...]:
    for key in ("modules_to_not_convert", "ignored_layers", "ignore", "exclude_modules"):
        if config.get(key):
            return _named(config[key])
    return ()


_EXPERT = re.compile(r"\\.experts\\.\\d+\\.")
_EXPERT_PARTS = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}


def _named(modules: Iterable[Any]) -> tuple[str, ...]:
    """Modules of a list as they are named here: one expert for all, its parts by what they do."""
    found: dict[str, None] = {}
    for module in map(str, modules):
        if "*" not in module and not module.startswith("re:"):
            module = _EXPERT.sub(".experts.0.", module)
            stem, _, last = module.rpartition(".")
            if stem.endswith(".experts.0") and last in _EXPERT_PARTS:
                module = f"{stem}.{_EXPERT_PARTS[last]}"
        found[module] = None
    return tuple(found)


def _fp8(config: Mapping[str, Any], name: str) -> WeightFormat:
    block = config.get("weight_block_size")
    pair = (int(block[0]), int(block[1])) if block else None
    experts = _expert_scheme(config)
    if experts is None:
        return _made(name, _FP8, block=pair, ignore=_ignored(config))
    # What NVIDIA's files list under `ignore` is what was left as it was: in FP8.
    listed = {k: v for k, v in config.items() if k in ("modules_to_not_convert", "ignored_layers")}
    rules = ((("ffn.experts",), _made(name, experts)),)
    return _made(name, _FP8, block=pair, ignore=_ignored(listed), rules=rules)


def _expert_scheme(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The four bits of DeepSeek V4's experts; None where they are as everything else."""
    kind = config.get("expert_dtype", "fp8")
    if kind not in ("fp4", "fp8"):
        raise InputError(
            f"model.config.expert_dtype: {kind!r} is not known here; known are fp4 and fp8. Use "
            "fit.force=true to run without a fit."
        )
    if kind == "fp8":
        return None
    return _NVFP4 if str(config.get("moe_quant_algo")).upper() == "NVFP4" else _MXFP4


def _fbgemm(config: Mapping[str, Any], name: str) -> WeightFormat:
    """Meta's FP8: one float32 scale per output; which layers are left out stands in the list."""
    return _made(name, _FP8, channel=True, ignore=_ignored(config))


def _integers(config: Mapping[str, Any], name: str) -> WeightFormat:
    """AWQ, GPTQ and their kin: integers in groups, with zero points."""
    group = int(config.get("group_size") or config.get("q_group_size") or 128)
    ignore, rules = list(_ignored(config)), []
    base = WeightFormat(
        name=name,
        bits=float(config.get("bits") or config.get("w_bit") or 4),
        group_size=group if group > 0 else None,
        channel=group <= 0,
        # GPTQ files hold zero points even where they are all alike (`sym: true`).
        zero_points=bool(config.get("zero_point", True)),
        quantised_head=bool(config.get("lm_head", False)),
    )
    # GPTQModel: "-:expression" leaves modules out, "+:expression" gives them bits of their own.
    for expression, own in (config.get("dynamic") or {}).items():
        if expression.startswith("-:"):
            ignore.append(f"re:{expression[2:]}")
            continue
        other = dataclasses.replace(
            base,
            bits=float(own.get("bits", base.bits)),
            group_size=int(own.get("group_size", base.group_size or 0)) or None,
        )
        rules.append(((f"re:{expression.removeprefix('+:')}",), other))
    return dataclasses.replace(base, ignore=tuple(ignore), rules=tuple(rules))


def _auto_round(config: Mapping[str, Any], name: str) -> WeightFormat:
    """AutoRound: GPTQ's or AWQ's packing, with exceptions by module in `extra_config`."""
    data_type = str(config.get("data_type", "int"))
    if not data_type.startswith("int"):
        raise InputError(
            f"quant: auto-round with data_type {data_type!r} is not counted here. Use "
            "fit.force=true to run without a fit."
        )
    base = _integers(config, name)
    ignore, rules = list(base.ignore), []
    for module, own in (config.get("extra_config") or {}).items():
        bits = float(own.get("bits", base.bits))
        if bits >= 16:
            ignore.append(str(module))
        elif bits != base.bits or own.get("group_size", base.group_size) != base.group_size:
            group = int(own.get("group_size", base.group_size or 0)) or None
            other = dataclasses.replace(base, bits=bits, group_size=group)
            rules.append(((str(module),), other))
    return dataclasses.replace(base, ignore=tuple(ignore), rules=tuple(rules))


def _mxfp4(config: Mapping[str, Any], name: str) -> WeightFormat:
    """gpt-oss: the experts in MXFP4, everything else native (vLLM quantises nothing beside)."""
    return _made(name, _MXFP4, only=_EXPERTS_ONLY, ignore=_ignored(config))


def _bitsandbytes(config: Mapping[str, Any], name: str) -> WeightFormat:
    """NF4/FP4 with a float32 scale per 64 (vLLM expands doubly quantised ones), or INT8 by row."""
    skipped = tuple(config.get("llm_int8_skip_modules") or ())
    if config.get("load_in_8bit") and not config.get("load_in_4bit"):
        return WeightFormat(name=name, bits=8, channel=True, ignore=skipped)
    return WeightFormat(
        name=name, bits=4, integer=False, group_size=64, scale_bytes=4, ignore=skipped
    )


def _hqq(config: Mapping[str, Any], name: str) -> WeightFormat:
    nested = (config.get("quant_config") or {}).get("weight_quant_params") or config
    if not nested.get("nbits") or not nested.get("group_size"):
        raise InputError(
            "quant: this HQQ checkpoint does not say its bits and group size "
            "(quant_config.weight_quant_params), so that its weights cannot be counted. Add them, "
            "or use fit.force=true to run without a fit."
        )
    return WeightFormat(
        name=name,
        bits=float(nested["nbits"]),
        group_size=int(nested["group_size"]),
        scale_bytes=4,  # scale and zero point, 16 bits each
        ignore=tuple(config.get("skip_modules") or ("lm_head",)),
    )


def _modelopt(config: Mapping[str, Any], name: str) -> WeightFormat:
    """NVIDIA's Model Optimizer, from config.json or from hf_quant_config.json."""
    algorithm = str(config.get("quant_algo") or "").upper()
    ignore = _ignored(config)
    if algorithm == "MIXED_PRECISION":
        return _modelopt_mixed(config, name, ignore)
    scheme = _MODELOPT.get(algorithm)
    if scheme is None:
        raise InputError(
            f"quant: modelopt's quant_algo {algorithm or 'is missing, and'!r} is not known here; "
            f"known are {', '.join(_MODELOPT)} and MIXED_PRECISION. Use fit.force=true to run "
            "without a fit."
        )
    group = config.get("group_size")
    if group and "group_size" in scheme:
        scheme = {**scheme, "group_size": int(group)}
    return _made(name, scheme, ignore=ignore)


def _modelopt_mixed(config: Mapping[str, Any], name: str, ignore: tuple[str, ...]) -> WeightFormat:
    """Each module by name; one that is not listed stays native."""
    by_scheme: dict[str, list[str]] = {}
    for module, own in (config.get("quantized_layers") or {}).items():
        by_scheme.setdefault(str(own.get("quant_algo")).upper(), []).append(module)
    if not by_scheme or any(key not in _MODELOPT for key in by_scheme):
        raise InputError(
            "quant: modelopt's MIXED_PRECISION without quantized_layers of known formats cannot "
            "be counted. Use fit.force=true to run without a fit."
        )
    rules = tuple(
        (_named(modules), _made(name, _MODELOPT[key])) for key, modules in by_scheme.items()
    )
    return WeightFormat(name=name, ignore=ignore, rules=rules)


_MODELOPT: dict[str, dict[str, Any]] = {
    "FP8": _FP8,
    "FP8_PER_CHANNEL_PER_TOKEN": {**_FP8, "channel": True},
    "FP8_PB_WO": {**_FP8, "block": (128, 128)},
    "NVFP4": {**_NVFP4, "activation_bits": 4},
    "NVFP4_AWQ": {**_NVFP4, "activation_bits": 4},
    "W4A16_NVFP4": _NVFP4,
    "MXFP8": _MXFP8,
}


def _compressed_tensors(config: Mapping[str, Any], name: str) -> WeightFormat:
    """The group that targets linear layers, others as rules; `ignore` and `format` per group."""
    groups = [g for g in (config.get("config_groups") or {}).values() if g.get("weights")]
    ignore = _named(config.get("ignore") or ())
    if not groups:
        raise InputError(
            "quant: compressed-tensors without weights in its config_groups cannot be counted. "
            "Use fit.force=true to run without a fit."
        )
    made = [(_named(g.get("targets") or ("Linear",)), _group(g, config, name)) for g in groups]
    broad = [fmt for targets, fmt in made if _by_class(targets)]
    rules = tuple((targets, fmt) for targets, fmt in made if not _by_class(targets))
    if len(broad) > 1:
        raise InputError(
            "quant: compressed-tensors with several config_groups for the same class of layers is "
            "not counted here. Use fit.force=true to run without a fit."
        )
    if broad:
        return dataclasses.replace(broad[0], ignore=ignore, rules=rules)
    main = rules[0][1]
    return WeightFormat(
        name=name,
        activation_bits=main.activation_bits,
        integer=main.integer,
        ignore=ignore,
        rules=rules,
    )


def _by_class(targets: Sequence[str]) -> bool:
    """Whether a group is for a class of layers (`Linear`) rather than for named modules."""
    return any("." not in t and not t.startswith("re:") and t[:1].isupper() for t in targets)


def _group(group: Mapping[str, Any], config: Mapping[str, Any], name: str) -> WeightFormat:
    weights: Mapping[str, Any] = group["weights"]
    activations = group.get("input_activations") or {}
    strategy, block = weights.get("strategy"), weights.get("block_structure")
    bits = float(weights.get("num_bits", 16))
    packed = str(group.get("format") or config.get("format") or "")
    floating = weights.get("type", "int") != "int"
    grouped = strategy in ("group", "tensor_group")
    small = bits == 4 and floating
    size = int(weights.get("group_size") or (32 if "mxfp4" in packed else 16)) if grouped else None
    return WeightFormat(
        name=name,
        bits=bits,
        activation_bits=int(activations.get("num_bits", 16)),
        integer=not floating,
        group_size=size,
        scale_bytes=1 if small or "mxfp" in packed else 2,
        block=(int(block[0]), int(block[1])) if strategy == "block" and block else None,
        channel=strategy == "channel",
        zero_points=not weights.get("symmetric", True),
    )


def _gguf(config: Mapping[str, Any], name: str) -> WeightFormat:
    """A file's own sums by role (`bench.models.gguf`): bits per weight of each, scales included."""
    sums = config.get("tensors")
    if not isinstance(sums, Mapping) or not sums:
        raise InputError(
            "quant: a GGUF file has a type per tensor, which its config.json does not tell: give "
            "the file itself with model.weights=FILE.gguf, or use fit.force=true to run without a "
            "fit."
        )
    weights = sum(int(one["weights"]) for one in sums.values())
    stored = sum(int(one["bytes"]) for one in sums.values())
    return WeightFormat(
        name="gguf",
        bits=8 * stored / weights,
        by_role={role: 8 * one["bytes"] / one["weights"] for role, one in sums.items()},
    )


_READERS: dict[str, Callable[[Mapping[str, Any], str], WeightFormat]] = {
    "compressed-tensors": _compressed_tensors,
    "fp8": _fp8,
    "fbgemm-fp8": _fbgemm,
    "awq": _integers,
    "gptq": _integers,
    "awq-marlin": _integers,
    "gptq-marlin": _integers,
    "auto-round": _auto_round,
    "intel/auto-round": _auto_round,
    "mxfp4": _mxfp4,
    "bitsandbytes": _bitsandbytes,
    "hqq": _hqq,
    "modelopt": _modelopt,
    "modelopt-fp4": _modelopt,
    "gguf": _gguf,
}
