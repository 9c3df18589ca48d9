"""Every way in which a figure of energy goes wrong: each is caught, and only its own check does it.

The board draws 100 W idle and 400 W from 9.5 s on, with the sensors' steps and a little noise of
its own, so that a sound trace passes everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from power_support import MARKS, at, board_telemetry, code, header, load_part, measured

from bench.meters.synthetic import Sensors, steps
from bench.power.idle import baseline
from bench.power.measure import PointPower
from bench.values.telemetry import Telemetry

Line = dict[str, Any]
Edit = Callable[[Line], Line | None]

# 0.5 W up and down every second: a reading that moves, as real ones do.
CURVE = steps(
    [(9.5, 400.0), *((10.0 + i, 400.5 if i % 2 else 399.5) for i in range(100))], before_w=100.0
)
OWN = [[100, 2**30, [1]]]


def sound_line(line: Line) -> Line:
    """The run's own process, 100, is on the board."""
    return {**line, "v": OWN} if line["k"] == "processes" else line


def trace(edit: Edit | None = None, *, source: str = "nvml", boards: int = 1) -> Telemetry:
    """A sound trace with an edit applied, as if it had come from `source`."""

    def both(line: Line) -> Line | None:
        return edit(sound_line(line)) if edit else sound_line(line)

    made = board_telemetry(CURVE, 100.0, Sensors(), edit=both, boards=boards)
    return header(made, source=source, note=None)


def three(**how: Any) -> list[Any]:
    """Three repeats of the same window."""
    return [load_part(repeat=i, **how) for i in range(3)]


def during(line: Line, start_s: float = 40.0, end_s: float = 42.0) -> bool:
    """Whether a line was read between two moments inside the window."""
    return line["k"] != "header" and at(start_s) <= int(line["t"]) < at(end_s)


def energy_of(power: PointPower) -> float | None:
    """The headline."""
    return power.metrics["energy_per_output_token_j"].value


def test_a_sound_trace_passes_every_check() -> None:
    """400 W ÷ 20 tokens/s = 20 J/token; 400 W ÷ 25 = 16; one request a second: 400 J each."""
    power = measured(trace(), three())
    wrong = [f for f in power.findings if f.severity in ("warn", "fail")]
    assert wrong == []
    value = {name: m.value for name, m in power.metrics.items()}
    assert value["energy_per_output_token_j"] == pytest.approx(20.0, rel=2e-3)
    assert value["energy_per_total_token_j"] == pytest.approx(16.0, rel=2e-3)
    assert value["energy_per_request_j"] == pytest.approx(400.0, rel=2e-3)
    # 100 W with the model resident: (400 - 100) W / 20 tokens/s
    assert value["energy_above_idle_per_output_token_j"] == pytest.approx(15.0, rel=2e-3)
    assert value["output_tokens_per_s_per_w"] == pytest.approx(0.05, rel=2e-3)
    assert value["power_mean_w"] == pytest.approx(400.0, rel=2e-3)
    assert value["power_peak_w"] == pytest.approx(400.5)
    assert value["idle_before_launch_w"] == pytest.approx(100.0)
    assert value["idle_resident_w"] == pytest.approx(100.0)
    assert value["energy_edge_error"] == pytest.approx(0.1 / 70)
    assert power.metrics["energy_per_output_token_j"].arose == "measured"
    assert power.metrics["energy_per_output_token_j"].scope == "GPU board"
    assert power.metrics["energy_instrument_error"].value == 0.05
    assert power.metrics["energy_instrument_error"].arose == "quoted"


def test_boards_are_summed_by_uuid_idle_ones_too() -> None:
    """Two boards of 400 W for 20 tokens/s: 40 J/token, and each board's own facts beside it."""
    power = measured(trace(boards=2), three(), gpus=2)
    assert energy_of(power) == pytest.approx(40.0, rel=2e-3)
    assert power.metrics["power_peak_w"].value == pytest.approx(801.0)
    assert power.metrics["idle_resident_w"].value == pytest.approx(200.0)
    assert power.details is not None
    uuids = {w["uuid"] for w in power.details["windows"]}
    assert uuids == {"GPU-synthetic-0", "GPU-synthetic-1"}


# ---------------------------------------------------------------- the rows of the table


def no_counter(line: Line) -> Line:
    return (
        {**line, "v": {"energy_mj": None}, "why": {"energy_mj": "Not Supported"}}
        if line["k"] == "energy"
        else line
    )


def test_counter_unsupported() -> None:
    """Null with the reason; the integral stands in under its own method."""
    power = measured(trace(no_counter), three())
    found = code(power, "energy_counter")
    assert found.severity == "warn"
    assert "Not Supported" in found.text
    assert "integrated_instant" in found.text
    assert power.details is not None
    assert power.details["windows"][0]["counter_j"] is None
    assert power.details["windows"][0]["method"] == "integrated_instant"
    assert energy_of(power) == pytest.approx(20.0, rel=2e-3)


def test_neither_counter_nor_power() -> None:
    def edit(line: Line) -> Line:
        if line["k"] == "power":
            return {**line, "v": {"instant_mw": None}, "why": {"instant_mw": "Not Supported"}}
        return no_counter(line)

    power = measured(trace(edit), three())
    assert code(power, "energy_counter").severity == "fail"
    assert power.metrics["energy_per_output_token_j"].value is None
    assert power.metrics["power_mean_w"].value is None
    assert power.metrics["power_peak_w"].value is None


def test_counters_and_integrals_are_never_added_up() -> None:
    power = measured(
        trace(lambda x: no_counter(x) if x.get("d") == 1 else x, boards=2), three(), gpus=2
    )
    assert code(power, "energy_method").severity == "fail"
    assert energy_of(power) is None


def counter_from(start_s: float, offset_mj: int) -> Edit:
    def edit(line: Line) -> Line:
        if line["k"] == "energy" and line["t"] >= at(start_s):
            return {**line, "v": {"energy_mj": line["v"]["energy_mj"] + offset_mj}}
        return line

    return edit


def test_driver_reload_makes_the_counter_fall() -> None:
    power = measured(trace(counter_from(45, -1_000_000_000)), three())
    assert code(power, "energy_reset").severity == "fail"
    assert "reloaded or reset" in code(power, "energy_reset").text
    assert energy_of(power) is None


def test_a_reset_that_leaves_a_plausible_rise() -> None:
    """The counter starts again at 0 J at 45 s: 22 kJ left of 28, a mean of 314 W. No meter of power
    is there to contradict it."""
    made = trace(lambda x: None if x["k"] == "power" else counter_from(45, -1_007_000_000)(x))
    power = measured(made, three())
    fallen = measured(trace(lambda x: None if x["k"] == "power" else x), three())
    assert energy_of(fallen) == pytest.approx(20.0, rel=5e-3)  # the same trace without the reset
    assert code(power, "energy_reset").severity == "fail"
    assert energy_of(power) is None


@pytest.mark.parametrize(
    "offset_mj",
    [
        -26_000_000,  # 28 - 26 = 2 kJ in 70 s: 29 W, below half of 100 W idle
        +32_000_000,  # 28 + 32 = 60 kJ: 857 W, above 1.2 x 700 W
    ],
)
def test_a_mean_power_that_cannot_be(offset_mj: int) -> None:
    power = measured(trace(counter_from(45, offset_mj)), three())
    assert code(power, "energy_reset").severity == "fail"
    assert energy_of(power) is None


def test_mig_is_refused() -> None:
    made = trace()
    split = header(made, devices=(replace(made.header.devices[0], mig=True),))
    power = measured(split, three())
    assert code(power, "mig").severity == "fail"
    assert energy_of(power) is None


def with_processes(listed: Any) -> Edit:
    return lambda line: {**line, "v": listed} if line["k"] == "processes" and during(line) else line


def test_a_foreign_process_at_any_sample() -> None:
    """It is on the board for 2 of 70 s; both speed and energy are refused."""
    power = measured(trace(with_processes([*OWN, [777, 2**20, [1]]])), three())
    found = code(power, "gpu_shared")
    assert found.severity == "fail"
    assert found.withholds == "all"
    assert "777" in found.text


def test_a_process_of_another_container_is_foreign() -> None:
    """/proc does not show it, although it shows the run's own."""
    power = measured(trace(with_processes([*OWN, [888, 2**20, None]])), three())
    assert code(power, "gpu_shared").severity == "fail"


def test_children_of_the_run_are_its_own() -> None:
    power = measured(trace(with_processes([[555, 2**20, [400, 100, 1]]])), three())
    assert code(power, "gpu_shared").severity == "pass"


def always(listed: Any, why: str | None = None) -> Edit:
    return lambda line: (
        {**line, "v": listed, **({"why": why} if why else {})} if line["k"] == "processes" else line
    )


@pytest.mark.parametrize(
    ("listed", "why", "said"),
    [
        ([], None, "not even the run's own"),
        ([[31337, 2**30, None]], None, "the container hides"),
        (None, "Insufficient Permissions", "Insufficient Permissions"),
    ],
)
def test_a_container_that_hides_processes(listed: Any, why: str | None, said: str) -> None:
    power = measured(trace(always(listed, why)), three())
    found = code(power, "gpu_shared")
    assert found.severity == "warn"
    assert "exclusivity unverified" in found.text
    assert said in found.text
    assert energy_of(power) is not None


def test_a_server_that_somebody_else_started_is_unverified() -> None:
    power = measured(trace(with_processes([[777, 1, [1]]])), three(), own_pids=None)
    assert code(power, "gpu_shared").severity == "warn"


def test_a_gpu_of_the_deployment_is_not_metered() -> None:
    power = measured(trace(), three(), gpus=2)
    found = code(power, "gpu_set")
    assert found.severity == "fail"
    assert "1 boards are metered, the run has 2" in found.text
    assert energy_of(power) is None


def test_the_boards_are_those_the_run_used() -> None:
    """The run's process is on the second board: the first one's power is not the run's."""
    power = measured(
        trace(lambda x: {**x, "v": []} if x["k"] == "processes" and x["d"] == 0 else x, boards=2),
        three(),
    )
    assert "GPU-synthetic-1" in code(power, "gpu_set").text
    assert "GPU-synthetic-0" not in code(power, "gpu_set").text
    assert energy_of(power) == pytest.approx(20.0, rel=2e-3)


def test_a_board_listed_twice_is_not_counted_twice() -> None:
    made = trace(boards=2)
    first, second = made.header.devices
    twice = header(made, devices=(first, replace(second, uuid=first.uuid)))
    power = measured(twice, three(), gpus=2)
    assert code(power, "gpu_set").severity == "fail"
    assert energy_of(power) is None


def test_the_order_of_the_boards_does_not_matter() -> None:
    """UUIDs name them: a trace whose boards come in another order gives the same figure."""

    def swapped(line: Line) -> Line:
        return line if line["k"] == "header" else {**line, "d": 1 - line["d"]}

    made = trace(swapped, boards=2)
    first, second = made.header.devices
    other = header(
        made, devices=(replace(first, uuid=second.uuid), replace(second, uuid=first.uuid))
    )
    assert energy_of(measured(other, three(), gpus=2)) == pytest.approx(
        energy_of(measured(trace(boards=2), three(), gpus=2))
    )


@pytest.mark.parametrize(
    ("kind", "missing_s", "severity"),
    [
        ("power", 0.2, "pass"),
        ("power", 0.3, "fail"),
        ("energy", 1.0, "pass"),
        ("energy", 2.0, "fail"),
    ],
)
def test_sampling_gaps(kind: str, missing_s: float, severity: str) -> None:
    """Dropped readings make a gap one period longer: 250 ms of power, 1.5 s of the counter."""
    power = measured(
        trace(lambda x: None if x["k"] == kind and during(x, 40, 40 + missing_s - 0.01) else x),
        three(),
    )
    assert code(power, "sampling_gap").severity == severity
    assert (energy_of(power) is None) == (severity == "fail")


def test_a_sensor_that_stops_being_supported_midway_is_a_gap() -> None:
    def edit(line: Line) -> Line:
        if line["k"] == "power" and during(line):
            return {**line, "v": {"instant_mw": None}, "why": {"instant_mw": "GPU is lost"}}
        return line

    power = measured(trace(edit), three())
    assert code(power, "sampling_gap").severity == "fail"
    assert power.details is not None
    assert power.details["windows"][0]["integral_why"] == "GPU is lost"


def test_a_window_that_readings_do_not_bracket() -> None:
    """The meters end at 80.0 s, the window a hair later: within the gap allowed, and no energy."""
    power = measured(
        trace(lambda x: None if x["k"] != "header" and x["t"] > at(79.95) else x), three()
    )
    assert code(power, "window_bracketed").severity == "fail"
    assert code(power, "sampling_gap").severity == "pass"
    assert energy_of(power) is None


def violation(name: str, share: float) -> Edit:
    def edit(line: Line) -> Line:
        if line["k"] == "state":
            ns = max(0, line["t"] - at(10)) * share
            return {**line, "v": {**line["v"], name: round(ns)}}
        return line

    return edit


def test_thermal_throttling_is_flagged_and_the_power_cap_reported() -> None:
    hot = measured(trace(violation("violation_thermal_ns", 0.02)), three())
    assert code(hot, "throttling").severity == "warn"
    assert code(hot, "throttling").figure == pytest.approx(0.02, rel=0.02)
    capped = measured(trace(violation("violation_power_ns", 0.4)), three())
    assert code(capped, "throttling").severity == "pass"
    assert code(capped, "power_cap").severity == "info"
    assert code(capped, "power_cap").figure == pytest.approx(0.4, rel=0.02)


def state(**values: Any) -> Edit:
    return lambda line: {**line, "v": {**line["v"], **values}} if line["k"] == "state" else line


def test_the_power_brake_is_flagged() -> None:
    power = measured(trace(state(event_reasons=0x80)), three())
    assert code(power, "throttling").severity == "warn"
    assert "power brake" in code(power, "throttling").text


def test_heat_that_only_the_event_reasons_tell_of() -> None:
    """The board has no counter of violations; its reasons show a thermal slowdown for 2 of 70 s."""

    def edit(line: Line) -> Line | None:
        hot = {"event_reasons": 0x40} if during(line) else {}
        return state(violation_thermal_ns=None, **hot)(line)

    found = code(measured(trace(edit), three()), "throttling")
    assert found.severity == "warn"
    assert found.figure == pytest.approx(2 / 70, rel=0.1)


def test_boards_that_do_not_tell_of_throttling() -> None:
    names = ("power", "thermal", "board", "reliability")
    nothing = {f"violation_{n}_ns": None for n in names} | {"event_reasons": None}
    power = measured(trace(state(**nothing)), three())
    assert code(power, "throttling").severity == "info"
    assert [f for f in power.findings if f.code == "power_cap"] == []


def test_a_power_limit_below_the_default() -> None:
    power = measured(trace(state(limit_mw=500_000)), three())
    found = code(power, "power_limit")
    assert found.severity == "warn"
    assert "500 W of 700 W" in found.text


def test_clocks_that_somebody_set() -> None:
    power = measured(trace(state(event_reasons=0x02, sm_mhz=1200)), three())
    assert code(power, "user_clocks").severity == "warn"
    assert code(power, "user_clocks").figure == 1200


def test_a_stuck_sensor() -> None:
    """Field 186 stands at 400 W from 40 s to 42.5 s."""

    def edit(line: Line) -> Line:
        stuck = line["k"] == "power" and during(line, 40, 42.5)
        return {**line, "v": {"instant_mw": 400_000}} if stuck else line

    power = measured(trace(edit), three())
    assert code(power, "stuck_sensor").severity == "warn"
    assert energy_of(power) is not None


def test_failed_requests_cost_energy_and_bring_no_tokens() -> None:
    """14 of 70 fail: the energy is the same, 56 x 20 tokens are left: 20 x 70/56 = 25 J/token."""
    power = measured(trace(), three(failed=14), max_error_rate=0.25)
    assert energy_of(power) == pytest.approx(25.0, rel=2e-3)
    assert code(power, "energy_failures").figure == pytest.approx(0.2)
    capped = measured(trace(), three(failed=14), max_error_rate=0.05)
    assert code(capped, "energy_failures").severity == "fail"
    assert energy_of(capped) is None


def test_a_sampler_that_was_killed() -> None:
    """Its last line is missing: what it read stands, and the result says so."""
    whole = trace()
    assert code(measured(whole, three()), "sampler").severity == "info"
    assert code(measured(whole, three()), "sampler").figure == pytest.approx(0.01, rel=0.01)
    cut = measured(replace(whole, end=None), three())
    assert code(cut, "sampler").severity == "warn"
    assert energy_of(cut) == pytest.approx(20.0, rel=2e-3)


# ---------------------------------------------------------------- windows and second sensors


@pytest.mark.parametrize(
    ("end_s", "severity"), [(39.0, "fail"), (42.0, "warn"), (68.0, "warn"), (70.0, "pass")]
)
def test_windows_are_long_enough(end_s: float, severity: str) -> None:
    power = measured(trace(), three(end_s=end_s))
    assert code(power, "energy_window").severity == severity
    assert (energy_of(power) is None) == (severity == "fail")


def test_short_windows_keep_their_number_out_of_sight() -> None:
    metric = measured(trace(), three(end_s=30.0)).metrics["energy_per_output_token_j"]
    assert metric.value is None
    assert metric.withheld_value == pytest.approx(20.0, rel=5e-3)
    assert metric.reason is not None
    assert metric.reason.startswith("energy_window: ")


@pytest.mark.parametrize(
    ("gain", "severity"),
    [(1.02, "pass"), (1.04, "warn"), (0.96, "warn"), (1.06, "fail"), (0.94, "fail")],
)
def test_counter_and_integral_disagree(gain: float, severity: str) -> None:
    def edit(line: Line) -> Line:
        if line["k"] == "power":
            return {**line, "v": {"instant_mw": line["v"]["instant_mw"] * gain}}
        return line

    power = measured(trace(edit), three())
    found = code(power, "energy_cross_check")
    assert found.severity == severity
    assert found.figure == pytest.approx(gain - 1, abs=2e-3)
    assert (energy_of(power) is None) == (severity == "fail")
    assert power.details is not None
    kept = power.details["windows"][0]
    assert kept["counter_j"] == pytest.approx(28_000, rel=2e-3)
    assert kept["integral_j"] == pytest.approx(28_000 * gain, rel=2e-3)


def test_halves_that_disagree() -> None:
    """20 tokens/s, then 22: the halves differ by 2 x (18.2 - 20) / 38.2 = -9.5 %."""
    power = measured(trace(), three(late_tokens_per_s=22))
    found = code(power, "energy_halves")
    assert found.severity == "fail"
    assert found.figure == pytest.approx(-0.095, abs=2e-3)


def test_one_repeat_says_nothing_of_repeatability() -> None:
    power = measured(trace(), [load_part()])
    assert code(power, "energy_repeats").severity == "warn"
    assert power.metrics["energy_per_output_token_j"].ci_low is None


def test_repeatability_is_its_own_line() -> None:
    """20, 20.2 and 20.4 tokens... J/token of 20, 19.05, 18.18: mean 19.08, t interval of ± 2.26."""
    parts = [load_part(repeat=i, tokens_per_s=t) for i, t in enumerate((20, 21, 22))]
    metric = measured(trace(), parts).metrics["energy_per_output_token_j"]
    assert metric.value == pytest.approx(19.08, abs=0.02)
    assert metric.value is not None
    assert metric.ci_low is not None
    # sd of the three = 0.910; t(2) = 4.303; 4.303 x 0.910 / sqrt(3) = 2.26
    assert metric.value - metric.ci_low == pytest.approx(2.26, abs=0.02)


def test_a_board_that_is_still_warming_up() -> None:
    def edit(line: Line) -> Line:
        if line["k"] == "state":
            warmer = 50 + (line["t"] - at(10)) / 1e9 / 7  # 10 °C in 70 s
            return {**line, "v": {**line["v"], "temperature_c": warmer}}
        return line

    assert code(measured(trace(edit), three()), "temperature").severity == "warn"


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize("source", ["replay", "synthetic"])
def test_what_was_not_measured_says_so(source: str) -> None:
    power = measured(trace(source=source), three())
    assert power.metrics["energy_per_output_token_j"].arose == source
    assert power.metrics["power_mean_w"].arose == source
    assert power.metrics["idle_resident_w"].arose == source
    found = code(power, "power_source")
    assert found.severity == "warn"
    assert "not to be published as measured" in found.text


def test_joules_and_tokens_are_of_the_same_time() -> None:
    """300 W and 10 tokens/s in the first wave, until 20 s; then 100 W and 20 tokens/s. The rate is
    a mean over (20, 70] and (30, 80], and so is the power: 5 J/token. That of all 70 s was 128.6 W,
    which gave 6.4."""
    early = steps([(5.0, 300.0), (20.0, 100.0)], before_w=50.0)
    telemetry = header(board_telemetry(early, 100.0, edit=sound_line), source="nvml", note=None)
    part = load_part()
    sizes = np.where(part.data.chunk_ns > at(20), 20, 10)
    window = replace(
        part.window, openings=(at(20), at(30)), closings=(at(70), at(80)), slots=2, waves=2
    )
    data = replace(part.data, chunk_tokens=sizes)
    parts = [replace(part, data=data, window=window)]
    power = measured(telemetry, parts)
    figure = power.metrics["energy_per_output_token_j"]
    found = figure.value if figure.withheld_value is None else figure.withheld_value
    assert found == pytest.approx(5.0, rel=2e-3)
    watts = power.metrics["power_mean_w"]
    found = watts.value if watts.withheld_value is None else watts.withheld_value
    assert found == pytest.approx(100.0, rel=2e-3)


def test_a_wall_clock_that_jumps_changes_nothing() -> None:
    jumped = header(trace(), wall_iso="1999-01-01T00:00:00+00:00")
    assert energy_of(measured(jumped, three())) == energy_of(measured(trace(), three()))


def test_no_device_has_no_idle_power_and_not_zero() -> None:
    """A sum over no device was 0 W once."""
    found = baseline("resident", trace(), (), MARKS)
    assert found.total_w is None
    assert found.reason == "no device is metered"


def test_no_idle_baseline_leaves_the_gross_figure() -> None:
    marks = {k: v for k, v in MARKS.items() if not k.startswith("resident")}
    power = measured(trace(), three(), marks=marks)
    assert energy_of(power) is not None
    above = power.metrics["energy_above_idle_per_output_token_j"]
    assert above.value is None
    assert power.metrics["idle_resident_w"].value is None
    assert "no idle time" in (power.metrics["idle_resident_w"].reason or "")
