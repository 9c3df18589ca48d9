"""The rules for the load behind a figure of energy: long enough, even, repeated, successful."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.values.finding import Finding, Severity, energy

HALVES_LIMIT = 0.03
ENOUGH_REPEATS = 3
P95_MULTIPLE = 3


@dataclass(frozen=True, kw_only=True)
class WindowLimits:
    """How long a window must be: below `least_s` no energy, below `enough_s` flagged short."""

    least_s: float
    enough_s: float


# A board's counter steps every 100 ms and undercounts short windows (-3.7 % at 2 s on one board);
# RAPL counts every millisecond, so only the load itself has to be long enough.
WINDOW_LIMITS = {"rapl": WindowLimits(least_s=5.0, enough_s=15.0)}
DEFAULT_LIMITS = WindowLimits(least_s=30.0, enough_s=60.0)


@dataclass(frozen=True, kw_only=True)
class LoadWindow:
    """What the load did in one window: tokens of successful requests, however failed ones cost.

    `half_tokens` are output tokens per half, `half_energy_j` the deployment's energy per half.
    `spans` are the windows of whole waves that the tokens are a mean over: the energy is of them,
    too, so that joules and tokens are of the same time. Empty: the window itself.
    """

    repeat: int
    start_ns: int
    end_ns: int
    output_tokens: float
    input_tokens: float
    requests: float
    failed_share: float
    p95_latency_s: float | None
    half_tokens: tuple[float, float] = (0.0, 0.0)
    half_energy_j: tuple[float | None, float | None] = (None, None)
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return (self.end_ns - self.start_ns) / 1e9


def failed_requests(loads: Sequence[LoadWindow], limit: float) -> Finding:
    """Failed requests burn energy and give no tokens: few, or the figure is of the failures."""
    worst = max((w.failed_share for w in loads), default=0.0)
    if worst > limit:
        text = f"{worst:.1%} of requests failed: their energy counts, their tokens do not"
        return energy("energy_failures", "fail", text, worst)
    return energy("energy_failures", "pass", f"{worst:.1%} of requests failed", worst)


def long_enough(loads: Sequence[LoadWindow], limits: WindowLimits) -> Finding:
    """A window of 60 s and three times the p95 latency; below 30 s there is no figure."""
    if not loads:
        return energy("energy_window", "fail", "there is no steady window")
    shortest = min(loads, key=lambda w: w.seconds)
    remedy = "load=energy, or raise load.duration_s"
    if shortest.seconds < limits.least_s:
        text = (
            f"windows of {shortest.seconds:.1f} s give no energy, {limits.least_s:g} s do: {remedy}"
        )
        return energy("energy_window", "fail", text, shortest.seconds)
    p95 = [(w.p95_latency_s, w) for w in loads if w.p95_latency_s is not None]
    hurried = [w for p, w in p95 if p is not None and w.seconds < P95_MULTIPLE * p]
    if shortest.seconds < limits.enough_s or hurried:
        text = (
            f"short windows ({shortest.seconds:.1f} s; {limits.enough_s:g} s and {P95_MULTIPLE}x "
            f"the p95 latency are enough): {remedy}"
        )
        return energy("energy_window", "warn", text, shortest.seconds)
    return energy("energy_window", "pass", f"windows of {shortest.seconds:.1f} s", shortest.seconds)


def halves(loads: Sequence[LoadWindow]) -> Finding:
    """J/token of the two halves of every window agree within 3 %."""
    worst: float | None = None
    for w in loads:
        (a_j, b_j), (a_tokens, b_tokens) = w.half_energy_j, w.half_tokens
        if a_j is None or b_j is None or not a_tokens or not b_tokens:
            continue
        a, b = a_j / a_tokens, b_j / b_tokens
        difference = 2 * (b - a) / (a + b)
        if worst is None or abs(difference) > abs(worst):
            worst = difference
    if worst is None:
        return energy("energy_halves", "info", "the halves of the windows cannot be compared")
    text = f"J/token of the halves of a window differ by {worst:+.1%}"
    severity: Severity = "fail" if abs(worst) > HALVES_LIMIT else "pass"
    return energy("energy_halves", severity, text, worst)


def enough_repeats(loads: Sequence[LoadWindow]) -> Finding:
    """Three repeats, or nothing is known of how well the figure repeats."""
    n = len({w.repeat for w in loads})
    if n < ENOUGH_REPEATS:
        return energy(
            "energy_repeats", "warn", f"{n} repeat(s): how well it repeats is not known", n
        )
    return energy("energy_repeats", "pass", f"{n} repeats", n)


def load_checks(
    loads: Sequence[LoadWindow], *, source: str, max_error_rate: float
) -> tuple[Finding, ...]:
    """Every rule over all repeats of one load point; `source` says how its energy was counted."""
    return (
        failed_requests(loads, max_error_rate),
        long_enough(loads, WINDOW_LIMITS.get(source, DEFAULT_LIMITS)),
        halves(loads),
        enough_repeats(loads),
    )
