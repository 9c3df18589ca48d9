"""The rules for the boards behind a figure of energy: one function a pitfall, one finding each.

A failure here withholds the energy and leaves the speed, except where another's process shared
the board: that is somebody else's speed too. Limits stand beside the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.power.window import DeviceWindow
from bench.values.finding import Finding, energy, finding

RESIDUAL_PASS, RESIDUAL_FAIL = 0.03, 0.05
FAST_GAP_S, SLOW_GAP_S = 0.25, 1.5
STUCK_S = 2.0
FLAT_C = 3.0
IDLE_SHARE, LIMIT_SHARE = 0.5, 1.2
INTEGRATED = "integrated_instant"


Windows = Sequence[DeviceWindow]


def counter(windows: Windows) -> Finding:
    """The counter is there; without it the integral stands in, and says so."""
    missing = [w for w in windows if w.counter_j is None and w.counter_bracketed]
    if not missing:
        return energy("energy_counter", "pass", "energy is the rise of the board's own counter")
    why = missing[0].counter_why or "not read"
    if all(w.integral_j is not None for w in missing):
        text = (
            f"{missing[0].label} has no energy counter ({why}): method={INTEGRATED}, not to be "
            "ranked against counters"
        )
        return energy("energy_counter", "warn", text)
    return energy("energy_counter", "fail", f"{missing[0].label} gives no energy: {why}")


def one_method(windows: Windows) -> Finding:
    """Boards of one deployment are all measured in one way, or their sum is of neither."""
    methods = sorted({str(w.method) for w in windows})
    if len(methods) > 1:
        text = f"energy was had in unlike ways: {', '.join(methods)}"
        return energy("energy_method", "fail", text)
    return energy("energy_method", "pass", f"method={methods[0] if methods else 'none'}")


def plausible(windows: Windows) -> Finding:
    """No reset: the counter rose, to a mean power between half of idle and 1.2 x the limit."""
    for w in windows:
        if w.counter_fell or (w.counter_j is not None and w.counter_j <= 0):
            text = f"the counter of {w.label} fell or stood: the driver was reloaded or reset"
            return energy("energy_reset", "fail", text, w.counter_j)
        if w.mean_w is None:
            continue
        low = None if w.idle_w is None else IDLE_SHARE * w.idle_w
        high = None if w.limit_w is None else LIMIT_SHARE * w.limit_w
        if (low is not None and w.mean_w < low) or (high is not None and w.mean_w > high):
            text = (
                f"{w.label} would have drawn {w.mean_w:.0f} W, outside half of idle to "
                f"{LIMIT_SHARE} x its limit: the counter jumped"
            )
            return energy("energy_reset", "fail", text, w.mean_w)
    return energy("energy_reset", "pass", "mean power is between idle and the limit")


def mig(windows: Windows) -> Finding:
    """No MIG: every instance would repeat the whole board's counter."""
    on = [w for w in windows if w.device.mig]
    if on:
        what = "is a MIG slice" if on[0].device.slice_of else "is split (MIG)"
        text = f"{on[0].label} {what}: energy is counted for whole boards alone"
        return energy("mig", "fail", text)
    unknown = [w for w in windows if w.device.mig is None and "mig" in w.device.why]
    if unknown:
        why = unknown[0].device.why["mig"]
        text = f"{unknown[0].label}: whether it is split (MIG) is not told ({why})"
        return energy("mig", "warn", text)
    return energy("mig", "pass", "no board is split (MIG)")


def shared(windows: Windows) -> Finding:
    """Nobody else was on the boards at any sample; speed and energy would be theirs too."""
    if not any(w.device.scope == "GPU board" for w in windows):
        return finding("gpu_shared", "info", "a processor is shared with whatever the host runs")
    foreign = [w for w in windows if w.sharing.foreign]
    if foreign:
        pids = ", ".join(map(str, foreign[0].sharing.foreign))
        text = f"processes that are not this run's used {foreign[0].label}: {pids}"
        return finding("gpu_shared", "fail", text)
    unverified = next((w.sharing.unverified for w in windows if w.sharing.unverified), None)
    if unverified:
        text = f"exclusivity unverified: {unverified}"
        return finding("gpu_shared", "warn", text)
    drawing = next((w for w in windows if w.sharing.drawing), None)
    if drawing:
        pids = ", ".join(map(str, drawing.sharing.drawing))
        text = f"a screen is drawn by {drawing.label} (process {pids}): a headless board draws less"
        return finding("gpu_shared", "warn", text)
    return finding("gpu_shared", "pass", "no other process was on the boards at any sample")


def gaps(windows: Windows) -> Finding:
    """Readings without a hole: 250 ms for power, 1.5 s for the counter."""
    for name, limit in (("fast_gap_s", FAST_GAP_S), ("slow_gap_s", SLOW_GAP_S)):
        known = [(g, w) for w in windows if (g := getattr(w, name)) is not None]
        worst, at = max(known, key=lambda pair: pair[0], default=(0.0, None))
        if at is not None and worst > limit:
            text = f"no reading of {at.label} for {worst:.2f} s; at most {limit} s may pass"
            return energy("sampling_gap", "fail", text, worst)
    return energy("sampling_gap", "pass", "the readings have no gap")


def bracketed(windows: Windows) -> Finding:
    """Readings on both sides of every window."""
    cut = [w for w in windows if not (w.counter_bracketed and w.power_bracketed)]
    if cut:
        text = f"the readings of {cut[0].label} do not reach both ends of the window"
        return energy("window_bracketed", "fail", text)
    return energy("window_bracketed", "pass", "every window lies between readings")


def cross_check(windows: Windows) -> Finding:
    """Counter and integrated field 186 agree: ≤ 3 % passes, above 5 % there is no figure.

    Agreement shows consistency, not accuracy: one sensor may feed both.
    """
    known = [w for w in windows if w.residual is not None]
    if not known:
        return energy("energy_cross_check", "warn", "no second sensor to check the energy against")
    worst = max(known, key=lambda w: abs(w.residual or 0.0))
    share = worst.residual or 0.0
    text = (
        f"integrated power of {worst.label} is {worst.integral_j:.1f} J, its counter says "
        f"{worst.counter_j:.1f} J ({share:+.1%})"
    )
    if abs(share) > RESIDUAL_FAIL:
        return energy("energy_cross_check", "fail", text, share)
    return energy(
        "energy_cross_check", "warn" if abs(share) > RESIDUAL_PASS else "pass", text, share
    )


def throttling(windows: Windows) -> Iterator[Finding]:
    """Heat or the power brake slowed a board (flag); the share under its power cap (report)."""
    hot = [(share, w) for w in windows if (share := _thermal(w))]
    braked = [(w.brake_share, w) for w in windows if w.brake_share]
    known = bool(windows) and all(_thermal(w) is not None for w in windows)
    if hot or braked:
        share, w = max(hot or braked, key=lambda pair: pair[0] or 0.0)
        cause = "heat" if hot else "the power brake"
        text = f"{cause} slowed {w.label} for {share:.1%} of the window"
        yield finding("throttling", "warn", text, share, "1")
    elif known:
        yield finding("throttling", "pass", "neither heat nor the power brake slowed a board", 0.0)
    else:
        yield finding("throttling", "info", "the boards do not say whether they throttled")
    capped = [s for w in windows if (s := w.throttled.get("power cap")) is not None]
    if capped:
        share = max(capped)
        text = f"under the power cap for {share:.1%} of the window"
        yield finding("power_cap", "info", text, share, "1")


def _thermal(w: DeviceWindow) -> float | None:
    """The larger of what the counter of thermal violations and the event reasons tell."""
    told = (w.throttled.get("thermal"), w.thermal_share)
    return max((share for share in told if share is not None), default=None)


def settings(windows: Windows) -> Iterator[Finding]:
    """Power limits below the default and clocks set by somebody: another board than the usual."""
    for w in windows:
        default = w.device.power_limit_default_w
        if w.limit_w is not None and default is not None and w.limit_w < default - 0.5:
            text = (
                f"{w.label} is limited to {w.limit_w:.0f} W of {default:.0f} W: compare like limits"
            )
            yield finding("power_limit", "warn", text, w.limit_w, "W")
            break
    locked = [w for w in windows if w.user_clock_share]
    if locked:
        text = f"somebody set the clocks of {locked[0].label} ({locked[0].sm_mhz or 0:.0f} MHz)"
        yield finding("user_clocks", "warn", text, locked[0].sm_mhz, "MHz")


def stuck(windows: Windows) -> Finding:
    """Field 186 moves under load."""
    known = [(w.stuck_s, w) for w in windows if w.stuck_s is not None]
    worst, at = max(known, key=lambda pair: pair[0] or 0.0, default=(None, None))
    if at is not None and worst is not None and worst > STUCK_S:
        text = f"the power reading of {at.label} stood still for {worst:.1f} s under load"
        return finding("stuck_sensor", "warn", text, worst, "s")
    return finding("stuck_sensor", "pass", "no power reading stood still", worst, "s")


def flat_temperature(windows: Windows) -> Finding:
    """Boards were warm before the window began."""
    known = [(abs(w.temperature_rise_c), w) for w in windows if w.temperature_rise_c is not None]
    if not known:
        return finding("temperature", "info", "no temperature was read")
    worst, at = max(known, key=lambda pair: pair[0])
    if worst > FLAT_C:
        text = f"{at.label} changed by {at.temperature_rise_c:+.0f} °C in a window: warm up longer"
        return finding("temperature", "warn", text, worst, "°C")
    return finding("temperature", "pass", f"temperatures moved by {worst:.0f} °C", worst, "°C")


DEVICE_CHECKS: tuple[Callable[[Windows], Finding], ...] = (
    counter,
    one_method,
    plausible,
    mig,
    shared,
    gaps,
    bracketed,
    cross_check,
    stuck,
    flat_temperature,
)


CLOCK_SHARE = 0.01
"""A window whose ends may lie elsewhere by more of its length has no energy."""


def node_clocks(windows: Windows) -> Iterator[Finding]:
    """Where boards are on several machines: how well their clocks are known against the head's."""
    far = [
        (2 * w.device.clock_error_ns / 1e9 / w.seconds, w)
        for w in windows
        if w.device.clock_error_ns is not None and w.seconds > 0
    ]
    if not far:
        return
    share, worst = max(far, key=lambda pair: pair[0])
    error_ms = (worst.device.clock_error_ns or 0) / 1e6
    text = f"the clock of {worst.device.node} was known to ± {error_ms:.3f} ms at worst"
    if share > CLOCK_SHARE:
        text = f"{text}: the window of {worst.seconds:.2f} s is not the same one there"
        yield energy("node_clocks", "fail", text, share)
    else:
        yield energy("node_clocks", "pass", text, share)


def board_checks(windows: Windows) -> tuple[Finding, ...]:
    """Every rule over all devices and repeats of one load point."""
    return (
        *(check(windows) for check in DEVICE_CHECKS),
        *node_clocks(windows),
        *throttling(windows),
        *settings(windows),
    )
