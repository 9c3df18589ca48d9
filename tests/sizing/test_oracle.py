"""Parameters counted from config.json against the classes of the installed transformers.

Small configurations of every family that is counted, and the configs of the evidence, on torch's
meta device; scripts/fit_oracle.py has the defaults of all classes and every key changed in turn.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.sizing.architecture import KNOWN_TYPES
from bench.sizing.keys import class_defaults
from bench.sizing.vision import JOINTS

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import class_defaults as generator  # noqa: E402
import fit_oracle  # noqa: E402

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")
# Counted from published figures: the installed transformers cannot build them.
NOT_BUILT = {"gemma3n-e4b", "kimi-vl-a3b", "minimax-text-01", "step35-flash"}
INCOMPLETE = {"qwen3-embedding-noheads"}


def _unlike() -> list[Path]:
    """The configs, one for each set of keys that the parameters hang on."""
    found: dict[str, Path] = {}
    for path in sorted(fit_oracle.CONFIGS.glob("*.json")):
        config = json.loads(path.read_text())
        config.pop("quantization_config", None)
        found.setdefault(json.dumps(config, sort_keys=True), path)
    return list(found.values())


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> None:
    fit_oracle.quiet()


def test_every_known_type_is_counted_to_the_parameter() -> None:
    """Right or refused; wrong never. Types that transformers lacks are counted elsewhere."""
    found: dict[str, list[str]] = {"right": [], "refused": [], "wrong": [], "unbuilt": []}
    for kind in fit_oracle.model_types():
        if kind not in KNOWN_TYPES and kind not in JOINTS:
            continue
        config = fit_oracle.default_config(kind)
        if config is None:
            continue
        case = fit_oracle.Case(name=kind, config=fit_oracle.small_config(config))
        outcome, why = fit_oracle.verdict(case)
        found[outcome].append(f"{kind}: {why}")
    assert found["wrong"] == []
    assert len(found["right"]) >= 115
    assert len(found["refused"]) <= 6, found["refused"]


@pytest.mark.parametrize("path", _unlike(), ids=lambda p: p.stem)
def test_published_configs(path: Path) -> None:
    case = fit_oracle.Case(name=path.stem, config=json.loads(path.read_text()))
    outcome, why = fit_oracle.verdict(case)
    expected = "right"
    if path.stem in NOT_BUILT:
        expected = "unbuilt"
    elif path.stem in INCOMPLETE:
        expected = "refused"
    assert outcome == expected, why


def test_class_defaults_are_those_of_the_installed_transformers() -> None:
    """scripts/class_defaults.py was run since transformers changed."""
    fresh = generator.collected()
    if fresh["transformers"] != json.loads(generator.TARGET.read_text())["transformers"]:
        pytest.skip("another version of transformers than the file was written from")
    assert {k: v for k, v in fresh.items() if isinstance(v, dict)} == class_defaults()
