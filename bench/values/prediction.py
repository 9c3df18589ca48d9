"""A prediction as a value: figures with their 80 % band, what they rest on, later their error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Band:
    """A value and its 80 % band, in the value's own unit."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Band:
        """All three times a positive factor."""
        return Band(value=self.value * factor, low=self.low * factor, high=self.high * factor)

    def inverse(self, of: float = 1.0) -> Band:
        """`of` ÷ each: the band turns round."""
        return Band(value=of / self.value, low=of / self.high, high=of / self.low)

    @property
    def width(self) -> float:
        """high ÷ low."""
        return self.high / self.low


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What one load point is predicted to show.

    `figures` go by the names of metrics (output_tokens_per_s, ttft_p50_ms, tpot_p50_ms,
    output_tokens_per_s_per_user, energy_per_output_token_j), and usd_per_mtok at the GPU's listed
    rent; what cannot be predicted is left out. `bound_tokens_per_s` is physics,
    `expected_tokens_per_s` the plan at the hardware's published limits: neither was fitted.
    `novelty` says how new the question is to the evidence; `rows` counts published rows,
    `own_rows` load points of one's own on the
    engine and device, `own_of_model` those of the model; `nearest` are the closest in words.
    """

    load: str
    figures: Mapping[str, Band]
    bound_tokens_per_s: float | None = None
    expected_tokens_per_s: float | None = None
    novelty: Literal["same", "model", "gpu", "engine"]
    rows: int
    own_rows: int = 0
    own_of_model: int = 0
    nearest: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)
    arose: Literal["predicted"] = "predicted"


@dataclass(frozen=True, kw_only=True)
class PredictionError:
    """A predicted figure beside what was measured: `error` is predicted ÷ measured - 1.

    `inside` judges the measured value alone, whatever its own 95 % interval (`measured_low` to
    `measured_high`; None: it has none) reaches.
    """

    load: str
    metric: str
    unit: str
    predicted: Band
    measured: float
    error: float
    inside: bool
    measured_low: float | None = None
    measured_high: float | None = None

    @property
    def overlaps(self) -> bool | None:
        """Whether band and interval have values in common; None where nothing bounds the measured
        value."""
        if self.measured_low is None or self.measured_high is None:
            return None
        return self.measured_low <= self.predicted.high and self.measured_high >= self.predicted.low
