"""What a run is asked to be: the typed form of the composed configuration.

Every class is a frozen value. What is chosen from (catalogue), which engine with which options
(engines), what is sent (load), and the run as a whole (run).
"""

from __future__ import annotations

from bench.values.spec.catalogue import (
    SAID_OF,
    Checkpoint,
    GpuSpec,
    Licence,
    ModelSpec,
    OtherFormat,
    Price,
    QuantSpec,
)
from bench.values.spec.engines import (
    ContainedSpec,
    EndpointSpec,
    EngineSpec,
    LlamacppSpec,
    NoneSpec,
    OtherSpec,
    SglangSpec,
    TransformersSpec,
    TrtllmSpec,
    TruthSpec,
    VllmSpec,
)
from bench.values.spec.load import (
    MOST_IN_FLIGHT,
    MOST_REQUESTS,
    MOST_TOKENS,
    PRECISION_LEAST,
    LengthSpec,
    LoadSpec,
    SloSpec,
    WorkloadSpec,
)
from bench.values.spec.nodes import NodesSpec
from bench.values.spec.run import FitOptions, MeterSpec, QualitySpec, RunSpec

__all__ = [
    "MOST_IN_FLIGHT",
    "MOST_REQUESTS",
    "MOST_TOKENS",
    "PRECISION_LEAST",
    "SAID_OF",
    "Checkpoint",
    "ContainedSpec",
    "EndpointSpec",
    "EngineSpec",
    "FitOptions",
    "GpuSpec",
    "LengthSpec",
    "Licence",
    "LlamacppSpec",
    "LoadSpec",
    "MeterSpec",
    "ModelSpec",
    "NodesSpec",
    "NoneSpec",
    "OtherFormat",
    "OtherSpec",
    "Price",
    "QualitySpec",
    "QuantSpec",
    "RunSpec",
    "SglangSpec",
    "SloSpec",
    "TransformersSpec",
    "TrtllmSpec",
    "TruthSpec",
    "VllmSpec",
    "WorkloadSpec",
]
