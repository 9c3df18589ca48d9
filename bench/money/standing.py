"""What a comparison of two bills may be said to show: the central figures and the draws, as one.

The shares are those of a report read by people who decide (Mastrandrea et al., "Guidance Note for
Lead Authors of the IPCC Fifth Assessment Report on Consistent Treatment of Uncertainties", 2010):
"likely" is two thirds of the cases, "about as likely as not" between one and two thirds. A flat
"is cheaper" takes more, 95 %, as every interval of this program does.
"""

from __future__ import annotations

from typing import Literal

SURE = 0.95
"""Share of the draws from which on a comparison counts as settled."""
LIKELY = 2 / 3
"""Share of the draws from which on it is probable; below it is as likely as not, or worse."""

Standing = Literal["self-host", "probably self-host", "cannot be told", "probably api", "api"]
"""Which side is cheaper, and how surely."""


def surely(share: float | None) -> Literal["", "probably ", "cannot be told"]:
    """What stands before a verdict that holds in this share of the draws; None: there are none, and
    the central figures are all that is known. Where most draws say otherwise than the centre, the
    two disagree, and neither is a verdict."""
    if share is None or share >= SURE:
        return ""
    return "probably " if share >= LIKELY else "cannot be told"


def standing(ours: float, price: float, odds: float | None) -> Standing:
    """A bill of one's own against an API's price; `odds` is the share of draws in which one's own
    is lower."""
    own = ours < price
    share = None if odds is None else odds if own else 1 - odds
    match surely(share), own:
        case "", True:
            return "self-host"
        case "", False:
            return "api"
        case "probably ", True:
            return "probably self-host"
        case "probably ", False:
            return "probably api"
    return "cannot be told"
