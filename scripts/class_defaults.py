"""Write bench/sizing/class_defaults.json: what transformers assumes where a config.json is silent.

A published config.json leaves out what equals its class's defaults (nested ones always do), so the
geometry needs them without importing transformers. Facts read from the installed configuration
classes: numbers, switches, other names of a key, and the types of nested configs.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from asked_help import answer_help

from bench.sizing.architecture import ALIASES
from bench.sizing.families import FAMILIES
from bench.sizing.vision import JOINTS, TOWERS

TARGET = Path(__file__).resolve().parents[1] / "bench/sizing/class_defaults.json"
# Keys of every configuration that say nothing about a shape.
_EVERYWHERE = frozenset(
    "output_hidden_states return_dict chunk_size_feed_forward is_encoder_decoder initializer_range "
    "rms_norm_eps layer_norm_eps layer_norm_epsilon norm_eps use_cache bos_token_id eos_token_id "
    "pad_token_id attention_dropout hidden_dropout resid_pdrop embd_pdrop attn_pdrop "
    "output_router_logits output_attentions router_aux_loss_coef pretraining_tp".split()
)


def defaults_of(cls: Any) -> dict[str, Any]:
    """The plain defaults of one configuration class, its aliases and the types of nested ones."""
    found: dict[str, Any] = {
        f.name: f.default
        for f in dataclasses.fields(cls)
        if isinstance(f.default, int | float) and f.name not in _EVERYWHERE
    }
    aliases = {k: v for k, v in cls.attribute_map.items() if "token" not in k}
    if aliases:
        found["_aliases"] = aliases
    nested = {
        key: sub.model_type
        for key, sub in (cls.sub_configs or {}).items()
        if getattr(sub, "model_type", "")
    }
    if nested:
        found["_nested"] = nested
    return found


def collected() -> dict[str, Any]:
    """The configuration classes of what is counted, and of what they nest, by model type."""
    import transformers
    from transformers import CONFIG_MAPPING

    wanted = {*FAMILIES, *ALIASES, *JOINTS, *TOWERS}
    found: dict[str, Any] = {"transformers": transformers.__version__}
    pending = [CONFIG_MAPPING[name] for name in CONFIG_MAPPING if name in wanted]
    while pending:
        cls = pending.pop()
        name = getattr(cls, "model_type", "")
        if not name or name in found or not dataclasses.is_dataclass(cls):
            continue
        found[name] = defaults_of(cls)
        pending.extend((getattr(cls, "sub_configs", None) or {}).values())
    return found


def main() -> int:
    lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(collected().items())]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{TARGET}: {len(lines) - 1} model types, {TARGET.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    answer_help(__doc__)
    sys.exit(main())
