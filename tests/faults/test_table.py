"""Every fault of the table, done for real: its promise is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from misbehaving import Misbehave
from table import FAULTS, Fault, Place


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{f.point}: {f.name}"[:60] for f in FAULTS])
def test_a_fault(fault: Fault, tmp_path: Path, misbehave: Misbehave) -> None:
    fault.do(Place(tmp_path, misbehave))


def test_every_kind_is_in_the_table() -> None:
    """Kinds 2, 6 and the signals of 8 need processes of their own: test_engine_death,
    test_secrets, test_endings and test_residue."""
    assert {f.point for f in FAULTS} == {1, 3, 4, 5, 7, 8, 9, 10}
    assert len({f.name for f in FAULTS}) == len(FAULTS) >= 150
