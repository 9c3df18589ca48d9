"""Trends as JSON: the figures that the page shows and that claims are held against."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

from bench.trend.frontier import Frontier
from bench.trend.line import Line
from bench.trend.prices import PriceTrend
from bench.trend.rating import RatingTrend, per_month

YEAR_ENDS = (2026, 2027, 2028)


def day_text(day: float) -> str | None:
    """An ordinal day as a date; None where it never comes or lies beyond the calendar."""
    if not math.isfinite(day) or not 1 <= day < date.max.toordinal():
        return None
    return date.fromordinal(round(day)).isoformat()


def rating_document(t: RatingTrend) -> dict[str, Any]:
    """Rates in points per month with 95 % intervals; the crossing as quantiles and shares."""
    meets = t.meets
    return {
        "board": t.board,
        "snapshots": [
            {
                "day": day,
                "scale": scale,
                "open": {"model": o.model, "rating": o.rating, "rank": o.rank},
                "closed": {"model": c.model, "rating": c.rating, "rank": c.rank},
                "gap": gap,
            }
            for day, scale, o, c, gap in zip(
                t.days, t.scales, t.best_open, t.best_closed, t.gaps, strict=True
            )
        ],
        "points_per_month": {name: _rate(line) for name, line in t.lines.items()},
        "steps": {
            name: [
                {"after": day_text(s.after_day), "size": s.size, "low": s.low, "high": s.high}
                for s in line.steps
            ]
            for name, line in t.lines.items()
            if line is not None
        },
        "parity": None
        if meets is None
        else {
            "low": day_text(meets.low_day),
            "median": day_text(meets.median_day),
            "high": day_text(meets.high_day),
            "never": meets.never,
            "already": meets.already,
            "by": {str(y): meets.by(date(y, 12, 31).toordinal()) for y in YEAR_ENDS},
        },
        "gap_at": {f"{y}-12-31": _at(t.lines["gap"], date(y, 12, 31)) for y in YEAR_ENDS},
        "tenth": {"value": t.tenth, "low": None, "high": None, "day": t.days[-1]},
        "findings": list(t.findings),
    }


def _at(line: Line | None, day: date) -> dict[str, Any] | None:
    """A line's value on a day, with its interval."""
    ends = None if line is None else line.interval_at(day.toordinal())
    if line is None or ends is None:
        return None
    return {"value": line.at(day.toordinal()), "low": ends[0], "high": ends[1]}


def _rate(line: Line | None) -> dict[str, Any] | None:
    rate = per_month(line)
    if rate is None or line is None:
        return None
    value, low, high = rate
    return {"value": value, "low": low, "high": high, "dates": line.points, "scales": line.scales}


def frontier_document(f: Frontier) -> dict[str, Any]:
    """What the best closed model costs for each dollar of the best open one."""
    ends = {f"{y}-12-31": f.ratio_at(date(y, 12, 31).toordinal()) for y in YEAR_ENDS}
    return {
        "pairs": [
            {
                "day": p.day,
                "closed": p.closed,
                "open": p.open,
                "closed_usd_per_mtok": p.closed_usd,
                "open_usd_per_mtok": p.open_usd,
                "ratio": p.ratio,
                "points_behind": p.gap,
            }
            for p in f.pairs
        ],
        "ratio_at": {
            day: None if at is None else {"value": at[0], "low": at[1], "high": at[2]}
            for day, at in ends.items()
        },
    }


def price_document(t: PriceTrend) -> dict[str, Any]:
    """Changes a year as shares (-0.4 is 40 % less), with a 95 % interval over models."""
    return {
        "per_year": t.per_year,
        "low": t.low,
        "high": t.high,
        "counted": t.counted,
        "known_on_one_day_only": t.single,
        "why_none": t.why,
        "series": [
            {
                "provider": s.key[0],
                "model": s.key[1],
                "kind": s.key[2],
                "days": s.days,
                "first_usd": s.first.usd,
                "first_day": s.first.as_of,
                "last_usd": s.last.usd,
                "last_day": s.last.as_of,
                "per_year": s.per_year,
                "low": s.low,
                "high": s.high,
                "dates": len(s.points) or None,
                "memory": None if s.line is None else s.line.memory,
                "steps": [
                    {"after": x.after, "before": x.before, "usd": x.usd, "relative": x.relative}
                    for x in s.steps
                ],
            }
            for s in t.series
        ],
    }
