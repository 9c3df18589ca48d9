"""Reading the keys of one config.json: what is absent, what its class assumes, what nobody read.

Every key that a family reads is remembered, so that a key which describes layers and was not read
can be refused: a shape that the family does not know of would be miscounted.
"""

from __future__ import annotations

import builtins
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from bench.values.errors import InputError

Keys = str | tuple[str, ...]
# A switch of a family: always, never, or what a key says ("!key" inverts it).
Flag = bool | str

# Keys that describe layers by their name. One that is set and that nobody read is refused.
_DESCRIBES = re.compile(
    r"expert|moe|mamba|ssm|hybrid|attn_type|attention_type|layer_types?$|layers|block_type|^global_"
    r"|_list$|_rank$|state|conv|linear|^index|compress|^hc_|altup|laurel|per_layer|shared|group|kda"
    r"|gat(e|ing)|sink|swa|sliding|window|_dims?$|_size$|_heads?$|inner|intermediate|ffn|mlp"
    r"|expand|kernel|pattern|^num_|^n_|depth|repeat|recurrent|memory|lora|adapter|ratio|engram"
)
# Those of them that change neither a shape nor what is cached, whatever the family.
_HARMLESS = re.compile(
    r"(^n_group|topk_group|num_expert_group|use_grouped_topk|norm_topk_prob|topk_method"
    r"|scoring_func|max_window_layers|num_logits_to_keep|num_labels|num_beams?|num_return_sequences|num_image_tokens"
    r"|num_beam_groups|n_ctx|no_repeat_ngram_size|chunk_size_feed_forward|chunk_size|ep_size"
    r"|tp_size|block_size|rotary_dim|moe_layer_use_mtp|moe_renormalize|norm_expert_weight"
    r"|moe_router.*|router_.*|use_moe|moe_dropout_prob|moe_norm_min|moe_use_.*|moe_gate_.*"
    r"|moe_multi.*|moe_capacity|moe_aux.*|moe_apply_.*|need_fp32_gate|.*_multipliers?"
    r"|.*_rope_theta|rope_.*|.*rotary.*|mamba_chunk_size|use_mamba_kernels|ssm_dtype"
    r"|indexer_rope_.*|index_share_for_mtp_iteration|index_skip_topk_offset"
    r"|mamba_ssm_dtype|mamba_ssm_cache_dtype|mamba_norm_before_gate|.*_rms_norm|mamba_hidden_act"
    r"|rescale_prenorm_residual|time_step_.*|linear_dt_.*|linear_a_log_.*|linear_allow_.*"
    r"|no_rope_layers?|no_rope_layer_interval|.*_init_.*|initializer_.*|ffn_dropout|.*_token_id"
    r"|.*_token_index|.*_id|.*_ids|layernorm_.*|layer_norm_.*|swiglu_.*|gate_softcap.*"
    r"|output_gate_type|full_attention_interval|activation_sparsity_pattern|altup_(lr|coef).*"
    r"|altup_active_idx|altup_correct_scale|.*_alpha_factor|.*_beta_factor|residual_.*"
    r"|attn_temperature_tuning|floor_scale|attn_scale|query_pre_attn_scalar|qk_head_dim"
    r"|model_max_length|seq_length|max_seq_len|max_sequence_length|max_model_len"
    r"|original_max_position_embeddings|vision_feature_layer|vision_feature_.*|mm_.*|image_.*"
    r"|tokens_per_.*|.*_loss_.*|pretraining_.*|group_norm_eps|num_nextn_predict_layers"
    r"|expert_selection_fn|shared_expert_combination_strategy|.*_act(_fn)?|.*activation.*|num_mtp_.*|mtp_.*|nextn_.*|attention_value_scale|index_topk_pattern|index_topk_freq)$"
)


@cache
def class_defaults() -> Mapping[str, Mapping[str, Any]]:
    """What configuration classes assume, by model type (scripts/class_defaults.py)."""
    text = files("bench.sizing").joinpath("class_defaults.json").read_text(encoding="utf-8")
    return {k: v for k, v in json.loads(text).items() if isinstance(v, dict)}


class Config:
    """The keys of one config.json of `model_type`, with its class's defaults behind them.

    A key that is present wins, null included: null means that the model lacks the thing, not that
    the default holds.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        model_type: str = "",
        *,
        where: str = "model.config",
        defaults: str | None = None,
    ) -> None:
        self.data = data
        self.model_type = model_type
        self.where = where
        self.read: set[str] = set()
        self.defaults = class_defaults().get(defaults or model_type, {})
        self._also: dict[str, list[str]] = {}
        for name, real in self.defaults.get("_aliases", {}).items():
            self._also.setdefault(real, []).append(name)
            self._also.setdefault(name, []).append(real)

    def _spellings(self, keys: Keys) -> list[str]:
        asked = (keys,) if isinstance(keys, str) else keys
        return [name for key in asked for name in (key, *self._also.get(key, ()))]

    def given(self, keys: Keys) -> bool:
        """Whether the config.json itself sets one of the keys to something."""
        return any(self.data.get(name) is not None for name in self._spellings(keys))

    def get(self, keys: Keys, default: Any = None) -> Any:
        """The first of the keys that the file gives, else its class's default, else `default`."""
        names = self._spellings(keys)
        self.read.update(names)
        present = [name for name in names if name in self.data]
        for name in present:
            if self.data[name] is not None:
                return self.data[name]
        if not present:
            for name in names:
                if self.defaults.get(name) is not None:
                    return self.defaults[name]
        return default

    def int(self, keys: Keys, default: int | None = None) -> int:
        """A whole number; InputError where neither the file nor its class gives one."""
        value = self.get(keys, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            name = keys if isinstance(keys, str) else keys[0]
            raise InputError(
                f"{self.where}.{name} is missing or not a whole number, and a {self.model_type} "
                "cannot be counted without it. Give the model's whole config.json, or its "
                "directory with model.path=DIR."
            )
        return value

    def at(
        self, keys: Keys, index: builtins.int, default: builtins.int | None = None
    ) -> builtins.int:
        """A number that may be given per layer as a list: that of layer `index`."""
        value = self.get(keys, default)
        if isinstance(value, Sequence) and not isinstance(value, str) and index < len(value):
            value = value[index]
            if isinstance(value, builtins.int):
                return value
        return self.int(keys, default)

    def flag(self, flag: Flag) -> bool:
        """What a switch says; a key that is absent everywhere is off."""
        if isinstance(flag, bool):
            return flag
        return not self.get(flag[1:]) if flag.startswith("!") else bool(self.get(flag))

    def ignore(self, *keys: str) -> None:
        """Mark keys as known not to matter here."""
        self.read.update(keys)

    def unread(self) -> tuple[str, ...]:
        """Keys that describe layers, are set unlike the class's default, and were not read."""
        return tuple(
            key
            for key, value in self.data.items()
            if key not in self.read
            and _says_something(value)
            and _DESCRIBES.search(key)
            and not _HARMLESS.fullmatch(key)
            and not (key in self.defaults and self.defaults[key] == value)
        )


def _says_something(value: Any) -> bool:
    """Whether a value can describe a shape: numbers above zero, true, and what holds such."""
    if isinstance(value, Mapping):
        return any(_says_something(v) for v in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return any(_says_something(v) for v in value)
    return bool(value)
