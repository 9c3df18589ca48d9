"""What one unit is in another, for who needs the number and no vectors of it (`bench.values.units`
has those, and numpy, whose import is a sixth of `bench fit`)."""

from __future__ import annotations

HOURS_PER_MONTH = 730.0
SECONDS_PER_MONTH = 2.628e6
SECONDS_PER_HOUR = 3600.0
TOKENS_PER_MTOK = 1e6
MONTHS_PER_YEAR = 12.0
