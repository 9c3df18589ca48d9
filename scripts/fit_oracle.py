"""Parameters counted from config.json against every model class of the installed transformers.

    python scripts/fit_oracle.py [--only WORD] [--perturb] [--configs DIR] [--verbose]

Each causal and image-text model is instantiated without memory (torch's meta device) from its
class's default configuration, from a small one, and from the configs in tests/data/evidence; with
--perturb from its default with each key changed in turn. Counted right means within 0.1 %; what is
refused is not wrong. Exit 1 when anything is wrong. Some minutes with --perturb.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.sizing.architecture import from_config
from bench.values.errors import InputError

CONFIGS = Path(__file__).parents[1] / "tests" / "data" / "evidence" / "configs"
TOLERANCE = 1e-3
# What a class's default lacks to be instantiated at all.
COMPLETIONS: dict[str, dict[str, Any]] = {
    "nemotron": {"num_key_value_heads": 8},
    "ministral": {"head_dim": 128},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "dots1": {"n_routed_experts": 32, "n_shared_experts": 2, "num_experts_per_tok": 4},
    "deepseek_v2": {"num_experts_per_tok": 6},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 16},
    "dbrx": {},
    # Its class keeps rows in one of two matrices for experts that compute nothing; files have none.
    "longcat_flash": {"zero_expert_num": 0},
}
# Keys whose change leaves what a class can build, or that only name something.
_LEFT_ALONE = frozenset(
    "architectures model_type torch_dtype dtype transformers_version is_encoder_decoder "
    "is_decoder add_cross_attention return_dict output_attentions output_hidden_states "
    "chunk_size_feed_forward".split()
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One configuration: where it is from, the config.json as data, and the class to build."""

    name: str
    config: dict[str, Any]


def quiet() -> None:
    """No network, no chatter."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.filterwarnings("ignore")
    import transformers

    transformers.logging.set_verbosity_error()


def model_types() -> list[str]:
    """Every type with a causal or an image-text class."""
    from transformers.models.auto import modeling_auto as auto

    names = {
        **auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        **auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    }
    return list(names)


def truth(config: dict[str, Any]) -> int | None:
    """Parameters of the class that transformers builds from a config.json; None if it cannot."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto import modeling_auto as auto

    left = {k: v for k, v in config.items() if k not in ("model_type", "quantization_config")}
    kind = config.get("model_type", "")
    named = (config.get("architectures") or [""])[0]
    if not isinstance(config.get("text_config"), dict):
        # A decoder's own keys under a wrapper's name: the class that `architectures` names.
        by_class = {v: k for k, v in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items()}
        kind = by_class.get(named, kind)
    pictures = kind in auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    chosen = AutoModelForImageTextToText if pictures else AutoModelForCausalLM
    try:
        made = AutoConfig.for_model(kind, **copy.deepcopy(left))
        _tie_as_vllm(made, left)
        with torch.device("meta"):
            model = chosen.from_config(made)
    except Exception:  # noqa: BLE001 - whatever a class raises for a configuration that it cannot build
        return None
    return int(sum(p.numel() for p in model.parameters()))


def _tie_as_vllm(made: Any, config: dict[str, Any]) -> None:
    """Where a wrapper's file says nothing of tying, vLLM asks the decoder's class, not its own."""
    inner = getattr(made, "text_config", None)
    if inner is not None and "tie_word_embeddings" not in config:
        made.tie_word_embeddings = inner.tie_word_embeddings


def default_config(kind: str) -> dict[str, Any] | None:
    """The class's default configuration as its config.json would be."""
    from transformers import CONFIG_MAPPING

    try:
        made = CONFIG_MAPPING[kind](**COMPLETIONS.get(kind, {}))
        data = json.loads(made.to_json_string(use_diff=True))
    except Exception:  # noqa: BLE001 - a class without a default
        return None
    for place in (data, data.get("text_config") or {}):
        place.pop("time_step_limit", None)  # holds an infinity, which JSON cannot
    return {**data, "model_type": kind}


def small_config(config: dict[str, Any]) -> dict[str, Any]:
    """The same with five layers, a larger vocabulary and half the KV heads, so that keys count."""
    found = copy.deepcopy(config)
    inner = found.get("text_config")
    text = inner if isinstance(inner, dict) else found
    for key in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"):
        layers = text.get(key)
        if not isinstance(layers, int) or layers <= 5:
            continue
        text[key] = 5
        for name, value in text.items():
            if isinstance(value, list) and len(value) == layers:
                text[name] = value[:5]
            if name == "per_layer_config" and isinstance(value, dict):
                text[name] = {k: v for k, v in value.items() if not k.isdigit() or int(k) < 5}
    if isinstance(text.get("vocab_size"), int):
        text["vocab_size"] += 64
    for key in ("num_key_value_heads", "num_kv_heads"):
        if isinstance(text.get(key), int) and text[key] % 2 == 0:
            text[key] //= 2
    return found


def perturbed(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The config with one number doubled or one switch turned, key by key."""
    inner = config.get("text_config")
    text = inner if isinstance(inner, dict) else config
    for key, value in text.items():
        if key in _LEFT_ALONE or isinstance(value, float | str | list | dict) or value is None:
            continue
        if not isinstance(value, bool) and value <= 0:
            continue
        changed = copy.deepcopy(config)
        target = changed["text_config"] if isinstance(inner, dict) else changed
        target[key] = (not value) if isinstance(value, bool) else 2 * value
        yield key, changed


def verdict(case: Case) -> tuple[str, str]:
    """right, refused, wrong or unbuilt, with the numbers or the reason."""
    try:
        counted = from_config(case.config).total_params
    except InputError as error:
        return "refused", str(error)
    expected = truth(case.config)
    if expected is None:
        return "unbuilt", ""
    share = counted / expected - 1
    return ("right" if abs(share) <= TOLERANCE else "wrong"), (
        f"{counted:,} counted, {expected:,} instantiated ({share:+.2%})"
    )


def cases(only: str, configs: Path, *, perturb: bool) -> Iterator[tuple[str, Case]]:
    """Every case with the group that it is summed in."""
    for kind in model_types():
        if only not in kind or (config := default_config(kind)) is None:
            continue
        if perturb:
            small = small_config(config)
            for key, changed in perturbed(small):
                yield "perturbed", Case(name=f"{kind}.{key}", config=changed)
        else:
            yield "default", Case(name=kind, config=config)
            yield "small", Case(name=kind, config=small_config(config))
    for path in [] if perturb else sorted(configs.glob("*.json")):
        if only in path.stem:
            yield "published", Case(name=path.stem, config=json.loads(path.read_text()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", default="", help="model types that contain this word")
    parser.add_argument("--perturb", action="store_true", help="each key changed in turn")
    parser.add_argument("--configs", type=Path, default=CONFIGS, help="folder of NAME.json")
    parser.add_argument("--verbose", action="store_true", help="name what is refused or unbuilt")
    args = parser.parse_args()
    quiet()
    sums: dict[str, Counter[str]] = {}
    for group, case in cases(args.only, args.configs, perturb=args.perturb):
        found, why = verdict(case)
        sums.setdefault(group, Counter())[found] += 1
        if found == "wrong" or args.verbose:
            print(f"{found:8} {group:9} {case.name:40} {why[:160]}", flush=True)
    for group, counts in sums.items():
        print(
            f"{group}: counted right {counts['right']} / refused {counts['refused']} / wrong "
            f"{counts['wrong']} (not buildable by transformers: {counts['unbuilt']})"
        )
    return 1 if any(counts["wrong"] for counts in sums.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
