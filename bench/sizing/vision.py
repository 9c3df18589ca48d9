"""The vision tower of a multimodal config.json as matrices, and what joins it to the decoder.

A tower is described by its own `model_type`, the joint by that of the whole model. Either one
unknown refuses the model: a text token does not pass through the tower, but its weights are there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.sizing.geometry import Matrix
from bench.sizing.keys import Config, Flag, Keys, class_defaults
from bench.values.errors import InputError

WIDTH: Keys = ("embed_dim", "hidden_size")
DEPTH: Keys = ("depth", "num_hidden_layers")
HEADS: Keys = ("num_heads", "num_attention_heads")
CHANNELS: Keys = ("in_channels", "in_chans", "num_channels")
Joint = Callable[[Config, Config, int], list[Matrix]]
VISION_KEYS = ("vision_config", "vit_config", "visual")
AUDIO_KEYS = ("audio_config", "speech_config")


def _matrix(name: str, rows: int, cols: int = 1, *, quantisable: bool = True) -> Matrix:
    # active=0: a text token does not pass through the tower.
    return Matrix(
        name=name,
        role="vision",
        rows=rows,
        cols=cols,
        active=0,
        quantisable=quantisable and cols > 1,
    )


def _linear(name: str, rows: int, cols: int, *, bias: bool = True) -> list[Matrix]:
    found = [_matrix(name, rows, cols)]
    return [*found, _matrix(f"{name}.bias", rows)] if bias else found


def _side(value: Any, default: int) -> int:
    """A size that may be a number or a list of two alike."""
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        value = value[0]
    return int(value) if isinstance(value, int | float) else default


@dataclass(frozen=True, kw_only=True)
class Tower:
    """A vision transformer: what its layers hold and what stands around them.

    `positions` is one row per patch of the picture (plus one with `class_token`), a number given
    by a key, or none. `scales` are two vectors per layer. `norms` of the layer have a bias where
    `norm_bias`. `around` counts vectors as long as the width: class token, outer norms.
    """

    inner: Keys = "intermediate_size"
    inner_ratio: Keys | None = None
    gated: bool = False
    mlp_bias: bool = True
    qkv_bias: Flag = True
    o_bias: Flag = True
    head_dim: Keys | None = None
    kv_heads: Keys | None = None
    qk_norm: bool = False
    norms: int = 2
    norm_bias: bool = True
    scales: bool = False
    temporal: bool = False
    patch_bias: bool = True
    positions: Literal["patches"] | tuple[str, ...] | None = "patches"
    class_token: bool = False
    around: int = 2
    head: Flag = False

    def build(self, v: Config) -> list[Matrix]:
        width, depth = v.int(WIDTH), v.int(DEPTH)
        patch = _side(v.get("patch_size"), 14)
        frames = v.int(("temporal_patch_size",), 2) if self.temporal else 1
        pixels = v.int(CHANNELS, 3) * frames * patch * patch
        found = _linear("vision_tower.patch_embed", width, pixels, bias=self.patch_bias)
        found.append(_matrix("vision_tower.around", self.around * width))
        rows = self._positions(v, patch)
        if rows:
            found.append(_matrix("vision_tower.positions", rows, width, quantisable=False))
        for index in range(depth):
            found += self._layer(v, f"vision_tower.layers.{index}", width)
        if v.flag(self.head):
            found += _attention_pool(v, width)
        return found

    def _positions(self, v: Config, patch: int) -> int:
        extra = 1 if self.class_token else 0
        if self.positions is None:
            return 0
        if self.positions == "patches":
            return (_side(v.get("image_size"), 224) // patch) ** 2 + extra
        rows = 1
        for key in self.positions:
            rows *= v.int(key)
        return rows + extra

    def _layer(self, v: Config, at: str, width: int) -> list[Matrix]:
        heads = v.int(HEADS)
        dim = v.int(self.head_dim, width // heads) if self.head_dim else width // heads
        kv = v.int(self.kv_heads, heads) if self.kv_heads else heads
        inner = (
            int(width * float(v.get(self.inner_ratio, 4)))
            if self.inner_ratio and not v.given(self.inner)
            else v.int(self.inner)
        )
        found = []
        for name, rows in (("q", heads * dim), ("k", kv * dim), ("v", kv * dim)):
            found += _linear(f"{at}.attn.{name}_proj", rows, width, bias=v.flag(self.qkv_bias))
        found += _linear(f"{at}.attn.o_proj", width, heads * dim, bias=v.flag(self.o_bias))
        for name in ("gate_proj", "fc1") if self.gated else ("fc1",):
            found += _linear(f"{at}.mlp.{name}", inner, width, bias=self.mlp_bias)
        found += _linear(f"{at}.mlp.fc2", width, inner, bias=self.mlp_bias)
        size = self.norms * (2 if self.norm_bias else 1) + (2 if self.scales else 0)
        found.append(_matrix(f"{at}.norms", size * width))
        if self.qk_norm:
            found.append(_matrix(f"{at}.qk_norms", 2 * dim))
        return found


def _attention_pool(v: Config, width: int) -> list[Matrix]:
    """SigLIP's pooling head, which a decoder does not use but its class holds by default."""
    at, inner = "vision_tower.head", v.int("intermediate_size")
    return [
        *_linear(f"{at}.in_proj", 3 * width, width),
        *_linear(f"{at}.out_proj", width, width),
        *_linear(f"{at}.mlp.fc1", inner, width),
        *_linear(f"{at}.mlp.fc2", width, inner),
        _matrix(f"{at}.norms", 3 * width),
    ]


_SIGLIP = Tower(head="!_headless")
_QWEN3 = Tower(temporal=True, positions=("num_position_embeddings",), around=0)
_QWEN2_5 = Tower(
    gated=True, norm_bias=False, temporal=True, patch_bias=False, positions=None, around=0
)
_MOON = Tower(positions=("init_pos_emb_height", "init_pos_emb_width"))
_GLM4V = Tower(
    gated=True,
    inner="_inner",
    mlp_bias=False,
    qkv_bias="attention_bias",
    o_bias=False,
    norm_bias=False,
    temporal=True,
    around=2,
)
TOWERS: dict[str, Tower] = {
    "siglip_vision_model": _SIGLIP,
    "siglip2_vision_model": Tower(positions=("num_patches",), head="!_headless"),
    "clip_vision_model": Tower(class_token=True, patch_bias=False, around=5),
    "idefics3_vision": Tower(),
    "smolvlm_vision": Tower(),
    "pixtral": Tower(
        gated=True,
        mlp_bias=False,
        qkv_bias=False,
        o_bias=False,
        norm_bias=False,
        patch_bias=False,
        positions=None,
        around=1,
    ),
    "llama4_vision_model": Tower(patch_bias=False, class_token=True, around=5),
    "qwen2_vl_vision": Tower(
        inner="_inner",
        inner_ratio="mlp_ratio",
        temporal=True,
        patch_bias=False,
        positions=None,
        around=0,
    ),
    "qwen2_5_vl_vision": _QWEN2_5,
    "exaone4_5_vision": Tower(
        gated=True,
        norm_bias=False,
        temporal=True,
        patch_bias=False,
        positions=None,
        around=0,
        kv_heads="num_key_value_heads",
    ),
    "qwen3_vl_vision": _QWEN3,
    "qwen3_vl_moe_vision": _QWEN3,
    "qwen3_5_vision": _QWEN3,
    "qwen3_5_moe_vision": _QWEN3,
    "moonvit": _MOON,
    "kimi_k25_vision": Tower(positions=("pos_emb_height", "pos_emb_width")),
    "internvl_vision": Tower(qkv_bias="attention_bias", scales=True, class_token=True, around=1),
    "glm4v_vision": _GLM4V,
    "glm4v_moe_vision": _GLM4V,
    "gemma4_vision": Tower(
        gated=True,
        mlp_bias=False,
        qkv_bias="attention_bias",
        o_bias="attention_bias",
        head_dim="head_dim",
        kv_heads="num_key_value_heads",
        qk_norm=True,
        norms=4,
        norm_bias=False,
        patch_bias=False,
        positions=("_two", "position_embedding_size"),
        around=0,
    ),
    "ernie4_5_vl_moe_vision": Tower(temporal=False, patch_bias=False, positions=None, around=2),
    "step3p5_vision": Tower(scales=True, patch_bias=False),
    "minimax_m3_vl_vision": Tower(temporal=True, patch_bias=False, positions=None),
    "paddleocr_vl_vision": Tower(),
    "kimi_k3_vision": Tower(
        mlp_bias=False,
        qkv_bias="attn_bias",
        o_bias="attn_bias",
        head_dim="head_dim",
        norm_bias=False,
        patch_bias=False,
        positions=("init_pos_emb_height", "init_pos_emb_width"),
        around=1,
    ),
}


def _mlp_joint(hidden_key: Keys | None = None, *, flag: str = "multimodal_projector_bias") -> Joint:
    """Two biased matrices from the tower's width to the decoder's."""

    def joint(c: Config, v: Config, text: int) -> list[Matrix]:
        layers = c.get("vision_feature_layer")
        wide = v.int(WIDTH) * (len(layers) if isinstance(layers, list) else 1)
        bias = c.flag(flag) if flag else True
        at = "multi_modal_projector"
        return [
            *_linear(f"{at}.linear_1", text, wide, bias=bias),
            *_linear(f"{at}.linear_2", text, text, bias=bias),
        ]

    return joint


def _vipllava(c: Config, v: Config, text: int) -> list[Matrix]:
    layers = c.get("vision_feature_layers")
    wide = v.int(WIDTH) * (len(layers) if isinstance(layers, list) else 1)
    at = "multi_modal_projector"
    return [
        _matrix(f"{at}.layernorm", 2 * wide),
        *_linear(f"{at}.linear_1", text, wide),
        *_linear(f"{at}.linear_2", text, text),
    ]


def _with_newline(inner: Joint) -> Joint:
    def joint(c: Config, v: Config, text: int) -> list[Matrix]:
        return [*inner(c, v, text), _matrix("image_newline", text)]

    return joint


def _gemma3(c: Config, v: Config, text: int) -> list[Matrix]:
    width = v.int(WIDTH)
    return [_matrix("multi_modal_projector", text, width), _matrix("mm_soft_emb_norm", width)]


def _gemma4(c: Config, v: Config, text: int) -> list[Matrix]:
    return [_matrix("embed_vision.embedding_projection", text, v.int(WIDTH))]


def _linear_joint(c: Config, v: Config, text: int) -> list[Matrix]:
    return _linear("multi_modal_projector.linear", text, v.int(WIDTH))


def _mistral3(c: Config, v: Config, text: int) -> list[Matrix]:
    width, merge = v.int(WIDTH), c.int("spatial_merge_size", 2)
    bias = c.flag("multimodal_projector_bias")
    at = "multi_modal_projector"
    return [
        _matrix(f"{at}.norm", width),
        _matrix(f"{at}.patch_merger.merging_layer", width, merge * merge * width),
        *_linear(f"{at}.linear_1", text, width, bias=bias),
        *_linear(f"{at}.linear_2", text, text, bias=bias),
    ]


def _llama4(c: Config, v: Config, text: int) -> list[Matrix]:
    """The published checkpoint's 108,641,793,536 parameters exceed the text model by this tower."""
    shuffled = round(v.int(WIDTH) / float(v.get("pixel_shuffle_ratio", 0.5)) ** 2)
    joined, out = v.int("projector_input_dim"), v.int("projector_output_dim")
    return [
        _matrix("vision_model.vision_adapter.mlp.fc1", joined, shuffled),
        _matrix("vision_model.vision_adapter.mlp.fc2", out, joined),
        _matrix("multi_modal_projector.linear_1", text, v.int("vision_output_dim", out)),
    ]


def _merger(out_keys: Keys, *, norm_bias: bool = True, deep: bool = False) -> Joint:
    """Qwen's patch merger: neighbours joined, two matrices; with one more per deepstack layer."""

    def joint(c: Config, v: Config, text: int) -> list[Matrix]:
        width, merge = v.int(WIDTH), v.int("spatial_merge_size", 2)
        wide, out = merge * merge * width, v.int(out_keys, text)
        pair = [*_linear("visual.merger.fc1", wide, wide), *_linear("visual.merger.fc2", out, wide)]
        found = [*pair, _matrix("visual.merger.norm", width * (2 if norm_bias else 1))]
        listed = v.get("deepstack_visual_indexes") if deep else None
        # The class of Qwen3-VL takes three layers where the config names none.
        times = 0 if not deep else 3 if listed is None else len(listed)
        for _ in range(times):
            found += [*pair, _matrix("visual.deepstack.norm", 2 * wide)]
        return found

    return joint


def _kimi(c: Config, v: Config, text: int) -> list[Matrix]:
    width, kernel = v.int(WIDTH), v.get("merge_kernel_size") or (2, 2)
    wide = int(kernel[0]) * int(kernel[1]) * width
    return [
        _matrix("mm_projector.pre_norm", 2 * width),
        *_linear("mm_projector.linear_1", wide, wide),
        *_linear("mm_projector.linear_2", text, wide),
    ]


def _kimi_k3(c: Config, v: Config, text: int) -> list[Matrix]:
    if v.get("mm_projector_type") != "patchmergerv2" or v.get("linear_bias"):
        raise InputError(_refusal(v.where, "a projector other than Kimi K3's"))
    kernel = v.get("merge_kernel_size") or (2, 2)
    wide = int(kernel[0]) * int(kernel[1]) * v.int(WIDTH)
    return [
        _matrix("mm_projector.linear_1", wide, wide),
        _matrix("mm_projector.linear_2", text, wide),
        _matrix("mm_projector.post_norm", text),
    ]


def _minimax_m3(c: Config, v: Config, text: int) -> list[Matrix]:
    """Each patch through two matrices, then neighbours joined through two more."""
    inner, merge = c.int("projector_hidden_size"), v.int("spatial_merge_size", 2)
    at = "multi_modal_projector"
    return [
        *_linear(f"{at}.linear_1", inner, v.int(WIDTH)),
        *_linear(f"{at}.linear_2", text, inner),
        *_linear(f"{at}.merge_linear_1", inner, text * merge * merge),
        *_linear(f"{at}.merge_linear_2", text, inner),
    ]


def _aya(c: Config, v: Config, text: int) -> list[Matrix]:
    wide = v.int(WIDTH) * c.int("downsample_factor", 2) ** 2
    inner = c.int("alignment_intermediate_size", text)
    return [
        _matrix("multi_modal_projector.layernorm", 2 * wide),
        *_linear("multi_modal_projector.linear_1", inner, wide),
        *_linear("multi_modal_projector.linear_2", text, inner // 2),
    ]


def _aria(c: Config, v: Config, text: int) -> list[Matrix]:
    """Learned queries that attend to the picture once, and an MLP."""
    width, at = v.int(WIDTH), "multi_modal_projector"
    listed = c.get("projector_patch_to_query_dict") or {"1225": 128, "4900": 256}
    return [
        _matrix(f"{at}.query", max(int(n) for n in listed.values()), width, quantisable=False),
        *(_matrix(f"{at}.cross_attn.{n}_proj", width, width) for n in ("q", "k", "v")),
        *_linear(f"{at}.cross_attn.multihead_attn.in_proj", 3 * width, width),
        *_linear(f"{at}.cross_attn.multihead_attn.out_proj", width, width),
        *_linear(f"{at}.cross_attn.linear", width, width),
        _matrix(f"{at}.norms", 6 * width),
        _matrix(f"{at}.feed_forward.linear_in", text, width),
        _matrix(f"{at}.feed_forward.linear_out", text, text),
    ]


def _internvl(c: Config, v: Config, text: int) -> list[Matrix]:
    wide = round(v.int(WIDTH) / float(c.get("downsample_ratio", 0.5)) ** 2)
    return [
        _matrix("multi_modal_projector.layer_norm", 2 * wide),
        *_linear("multi_modal_projector.linear_1", text, wide),
        *_linear("multi_modal_projector.linear_2", text, text),
    ]


def _glm4v(c: Config, v: Config, text: int) -> list[Matrix]:
    width, out = v.int(WIDTH), v.int("out_hidden_size", text)
    inner, merge = v.int("intermediate_size"), v.int("spatial_merge_size", 2)
    return [
        *_linear("visual.downsample", out, width * merge * merge),
        _matrix("visual.merger.proj", out, out),
        _matrix("visual.merger.post_projection_norm", 2 * out),
        *(m for n in ("gate", "up") for m in _linear(f"visual.merger.{n}", inner, out, bias=False)),
        _matrix("visual.merger.down", out, inner),
    ]


def _shuffle(c: Config, v: Config, text: int) -> list[Matrix]:
    """Idefics 3 and SmolVLM: neighbours joined, one matrix."""
    factor = c.int("scale_factor", 2)
    return [_matrix("connector.proj", text, v.int(WIDTH) * factor * factor)]


def _lfm2(c: Config, v: Config, text: int) -> list[Matrix]:
    wide = v.int(WIDTH) * c.int("downsample_factor", 2) ** 2
    inner, bias = c.int("projector_hidden_size"), c.flag("projector_bias")
    norm = [_matrix("projector.norm", 2 * wide)] if c.flag("projector_use_layernorm") else []
    return [
        *norm,
        *_linear("projector.linear_1", inner, wide, bias=bias),
        *_linear("projector.linear_2", text, inner, bias=bias),
    ]


def _cohere2(c: Config, v: Config, text: int) -> list[Matrix]:
    wide, inner = (
        v.int(WIDTH) * c.int("downsample_factor", 2) ** 2,
        c.int("alignment_intermediate_size", 36864),
    )
    return [
        *_linear("multi_modal_projector.linear_1", inner, wide),
        *_linear("multi_modal_projector.linear_2", text, inner // 2),
    ]


def _step3p7(c: Config, v: Config, text: int) -> list[Matrix]:
    width = v.int(WIDTH)
    return [
        *_linear("vision_model.downsampler1", 2 * width, width * 9),
        *_linear("vision_model.downsampler2", 4 * width, 2 * width * 9),
        *_linear("multi_modal_projector", text, 4 * width, bias=c.flag("projector_bias")),
    ]


def _paddle(c: Config, v: Config, text: int) -> list[Matrix]:
    width, merge = v.int(WIDTH), v.int("spatial_merge_size", 2)
    wide = width * merge * merge
    return [
        _matrix("projector.pre_norm", 2 * width),
        *_linear("projector.linear_1", wide, wide),
        *_linear("projector.linear_2", text, wide),
    ]


# Vision and sound of Gemma 3n as published: what the 7,849,978,192 parameters of E4B and the
# 5,439,438,272 of E2B both have beside their decoders and the projections of `_gemma3n`.
GEMMA3N_TOWERS = 983_281_504
_GEMMA3N = {"vision_config": {"hidden_size": 2048}, "audio_config": {"hidden_size": 1536}}


def _gemma3n(config: Mapping[str, Any], text_hidden: int) -> tuple[Matrix, ...]:
    """Both towers, and the keys and values that layers which share a cache hold and do not use."""
    for key, sizes in _GEMMA3N.items():
        given = config.get(key) or {}
        if any(given.get(k, size) != size for k, size in sizes.items()) or text_hidden != 2048:
            raise InputError(_refusal(f"model.config.{key}", "a Gemma 3n of another size"))
    c = Config(config.get("text_config") or {}, "gemma3n_text")
    dim, shared = c.int("head_dim"), c.int("num_kv_shared_layers")
    unused = 2 * c.int("num_key_value_heads") * dim * text_hidden + dim
    return (
        _matrix("towers", GEMMA3N_TOWERS),
        _matrix("unused_projections", shared * unused),
    )


_LLAVA = _mlp_joint()
JOINTS: dict[str, Joint] = {
    "llava": _LLAVA,
    "vipllava": _vipllava,
    "llava_next": _with_newline(_LLAVA),
    "llava_next_video": _with_newline(_LLAVA),
    "llava_onevision": _with_newline(_LLAVA),
    "deepseek_vl": _mlp_joint(flag=""),
    "gemma3": _gemma3,
    "shieldgemma2": _gemma3,
    "gemma4": _gemma4,
    "paligemma": _linear_joint,
    "mistral3": _mistral3,
    "lighton_ocr": _mistral3,
    "llama4": _llama4,
    "qwen2_vl": _merger("hidden_size"),
    "qwen2_5_vl": _merger("out_hidden_size", norm_bias=False),
    "exaone4_5": _merger("out_hidden_size", norm_bias=False),
    "qwen3_vl": _merger("out_hidden_size", deep=True),
    "qwen3_vl_moe": _merger("out_hidden_size", deep=True),
    "qwen3_5": _merger("out_hidden_size"),
    "qwen3_5_moe": _merger("out_hidden_size"),
    "kimi_vl": _kimi,
    "kimi_k25": _kimi,
    "internvl": _internvl,
    "glm4v": _glm4v,
    "glm46v": _glm4v,
    "glm4v_moe": _glm4v,
    "idefics3": _shuffle,
    "smolvlm": _shuffle,
    "lfm2_vl": _lfm2,
    "cohere2_vision": _cohere2,
    "step3p7": _step3p7,
    "paddleocr_vl": _paddle,
    "kimi_k3": _kimi_k3,
    "minimax_m3_vl": _minimax_m3,
    "aya_vision": _aya,
    "aria": _aria,
}
# Wrappers whose tower is of one kind, whatever its config says or leaves out.
_ONE_TOWER = {
    "kimi_k3": "kimi_k3_vision",
    "minimax_m3_vl": "minimax_m3_vl_vision",
    "aria": "idefics3_vision",
}


# Wrappers whose class builds no tower where the config.json names none.
_TOWERLESS = frozenset({"gemma4"})


def towers(config: Mapping[str, Any], outer: str, text_hidden: int) -> tuple[Matrix, ...]:
    """The tower and its joint; InputError where either, or a tower for sound, is not known."""
    if outer == "gemma3n":
        return _gemma3n(config, text_hidden)
    sound = next((k for k in AUDIO_KEYS if isinstance(config.get(k), Mapping)), None)
    if sound is not None:
        raise InputError(_refusal(f"model.config.{sound}", f"the sound encoder of a {outer}"))
    key = next((k for k in VISION_KEYS if isinstance(config.get(k), Mapping)), None)
    nested = class_defaults().get(outer, {}).get("_nested", {})
    if key is None and (outer not in JOINTS or outer in _TOWERLESS):
        return ()
    key = key or VISION_KEYS[0]
    vision: Mapping[str, Any] = config.get(key) or {}
    kind = str(vision.get("model_type") or nested.get(key) or "unknown")
    # Before transformers 5 some towers bore the name of the whole model.
    kind = kind if kind in TOWERS else str(nested.get(key, kind))
    kind = _ONE_TOWER.get(outer, kind)
    tower, joint = TOWERS.get(kind), JOINTS.get(outer)
    if tower is None:
        raise InputError(_refusal(f"model.config.{key}", f"a vision tower of type {kind!r}"))
    if joint is None:
        raise InputError(_refusal(f"model.config.{key}", f"what joins the tower of a {outer}"))
    v = Config(_derived(vision, kind), kind, where=f"model.config.{key}")
    found = [*tower.build(v), *joint(Config(config, outer), v, text_hidden)]
    v.ignore("hidden_size", "num_key_value_heads", "projection_dim")
    return tuple(found)


def _derived(vision: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Keys that follow from others: absent heads, widths from ratios."""
    found: dict[str, Any] = {"_two": 2, "_headless": vision.get("vision_use_head") is False}
    if kind in ("glm4v_vision", "glm4v_moe_vision"):
        default = class_defaults().get(kind, {})
        found["_inner"] = vision.get("out_hidden_size", default.get("out_hidden_size"))
    found |= {key.removeprefix("vt_"): v for key, v in vision.items() if key.startswith("vt_")}
    if kind == "kimi_k3_vision":
        heads = found.get("num_attention_heads")
        if heads and vision.get("qkv_hidden_size"):
            found["head_dim"] = vision["qkv_hidden_size"] // heads
    nested = vision.get("img_token_compression_config")
    if kind == "minimax_m3_vl_vision" and isinstance(nested, Mapping):
        found |= {
            k: nested[k] for k in ("spatial_merge_size", "temporal_patch_size") if k in nested
        }
    return {**vision, **found}


def _refusal(where: str, what: str) -> str:
    return (
        f"{where}: {what} is not counted here, so that the fit of this model is unknown. "
        "Declare its size (model.total_params_b=N), serve the text alone (give the decoder's own "
        "config.json), or use fit.force=true to run without a fit."
    )
