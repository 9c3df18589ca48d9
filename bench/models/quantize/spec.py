"""What `bench quantize` is asked for: a model, a recipe, and the texts to calibrate it on."""

from __future__ import annotations

from dataclasses import dataclass

from bench.values.spec import ModelSpec, QuantSpec


@dataclass(frozen=True, kw_only=True)
class CalibrationSpec:
    """Texts that a recipe measures activations on: a JSON-lines file, or a data set on the hub.

    `file` may be `bundled:NAME`, a file of this package. `column` holds the text; of more than
    `samples` texts, that many are drawn with the seed; each is cut at `max_tokens`.
    """

    name: str
    file: str | None = None
    dataset: str | None = None
    split: str | None = None
    column: str = "text"
    samples: int = 128
    max_tokens: int = 256
    source: str = ""

    def __post_init__(self) -> None:
        if (self.file is None) == (self.dataset is None):
            raise ValueError("file or dataset must be given, not both")
        if self.dataset is not None and self.split is None:
            raise ValueError("split must be given with dataset")
        for key in ("samples", "max_tokens"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be at least 1")


@dataclass(frozen=True, kw_only=True)
class QuantizeSpec:
    """One checkpoint to be made; `force` replaces one that is there. `gguf` makes a file of that
    format for llama.cpp instead of what `quant` says."""

    model: ModelSpec
    quant: QuantSpec
    calibration: CalibrationSpec
    seed: int = 0
    checkpoints_dir: str = "checkpoints"
    force: bool = False
    gguf: str | None = None
