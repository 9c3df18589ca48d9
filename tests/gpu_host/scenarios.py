"""Every way in which a GPU host misbehaves, what is true of it, and what bench has to say.

`auto` is what gpu=auto has to make of it: a GPU and a number, or "refused". `watts` is what the
deployment really draws, None where no honest figure of energy can be had; `says` are words that
have to stand in what the doctor, the detection or the run says. `doctor` are the doctor's codes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

OWN = 100_000_001
"""A process id that no system gives: the run's own, where a scenario lists it."""

BOARD = "GPU-b0a7d00{}-5afe-4000-8000-000000000000"
SLICE = "MIG-5ca1ab1e-0000-4000-8000-{:06d}{:06d}"


def own(*boards: int) -> str:
    """Orders that put the run's own process on boards."""
    return "".join(f"process {b} compute {OWN} 9000\n" for b in boards)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Orders for the library (`later`: seconds into the trace, and orders added then), the run that
    is asked for, and what has to come of it. `without` are symbols that the driver lacks."""

    name: str
    orders: str = ""
    gpus: int = 1
    env: dict[str, str] = field(default_factory=dict)
    later: tuple[tuple[float, str], ...] = ()
    own: str = own(0)
    without: str = ""
    auto: str = "h100-sxm 1"
    watts: float | None = 300.0
    doctor: tuple[str, ...] = ()
    says: tuple[str, ...] = ()

    def ask(self) -> dict[str, Any]:
        """As the probe reads it."""
        return asdict(self)


S = Scenario
SHIFTED = "CUDA's numbers may be shifted"
TWO = "boards 2\n"

SOUND = (
    S(name="one board"),
    S(name="two boards", orders=TWO, own=own(0, 1), gpus=2, auto="h100-sxm 2", watts=610),
    S(
        name="eight boards",
        orders="boards 8\n",
        own=own(*range(8)),
        gpus=8,
        auto="h100-sxm 8",
        watts=2680,
    ),
    S(
        name="one of eight",
        orders="boards 8\n",
        own=own(5),
        auto="h100-sxm 8",
        watts=350,
    ),
)

NO_ANSWER = (
    S(name="no boards", orders="boards 0\n", auto="cpu 0", watts=None, doctor=("gpus",)),
    S(name="no library", orders="init 12\n", auto="cpu 0", watts=None, doctor=("gpus",)),
    S(name="driver not loaded", orders="init 9\n", auto="cpu 0", watts=None, doctor=("gpus",)),
    *(
        S(
            name=f"nvmlInit: {text}",
            orders=f"init {rc}\n",
            auto="refused",
            watts=None,
            doctor=("gpus",),
            says=("cannot be told", text),
        )
        for rc, text in (
            (4, "Insufficient Permissions"),
            (15, "GPU is lost"),
            (18, "version mismatch"),
            (999, "Unknown Error"),
        )
    ),
    S(
        name="the count fails",
        orders="code nvmlDeviceGetCount_v2 * 999\n",
        auto="refused",
        watts=None,
        doctor=("gpus",),
        says=("does not list its GPUs",),
    ),
)

LOST = (
    S(name="a lost sibling", orders=TWO + "lost 1\n", doctor=("gpu_lost",), says=("GPU 1 does",)),
    S(
        name="the first of two lost",
        orders=TWO + "lost 0\n",
        own=own(1),
        watts=310,
        doctor=("gpu_lost",),
    ),
    S(
        name="both asked for, one lost",
        orders=TWO + "lost 1\n",
        gpus=2,
        watts=None,
        doctor=("gpu_lost", "gpus"),
        says=("1 boards are metered, the run has 2",),
    ),
    S(
        name="the only board lost",
        orders="lost 0\n",
        auto="refused",
        watts=None,
        doctor=("gpus",),
        says=("GPU is lost",),
    ),
    S(name="a sibling without a handle", orders=TWO + "unlisted 1\n", doctor=("gpu_lost",)),
    S(
        name="numbered behind a lost one",
        orders=TWO + "lost 0\n",
        own=own(1),
        env={"CUDA_VISIBLE_DEVICES": "1"},
        auto="refused",
        watts=None,
        doctor=("gpus",),
        says=(SHIFTED,),
    ),
    S(
        name="named by UUID beside a lost one",
        orders=TWO + "lost 0\n",
        own=own(1),
        env={"CUDA_VISIBLE_DEVICES": BOARD.format(1)},
        watts=310,
        doctor=("gpu_lost",),
    ),
    S(name="lost in mid-run", later=((30.0, "lost 0\n"),), watts=None, says=("sampling_gap",)),
    S(
        name="a sibling lost in mid-run",
        orders=TWO,
        later=((30.0, "lost 1\n"),),
        auto="h100-sxm 2",
    ),
)

COUNTERS = (
    S(
        name="counter reset in mid-run",
        later=((30.0, "reset 0 9000000\n"),),
        watts=None,
        says=("reset",),
    ),
    S(
        name="counter 12 % above the sensor",
        orders="gain 1.12\n",
        watts=None,
        says=("energy_cross_check",),
    ),
    S(
        name="counter 4 % above the sensor",
        orders="gain 1.04\n",
        watts=312,
        says=("warn: integrated power",),
    ),
    S(
        name="no counter",
        orders="field 83 * 3\n",
        doctor=("sensor_energy_mj",),
        says=("not to be ranked",),
    ),
    S(
        name="no counter on one of two",
        orders=TWO + "field 83 1 3\n",
        own=own(0, 1),
        gpus=2,
        auto="h100-sxm 2",
        watts=None,
        doctor=("sensor_energy_mj",),
        says=("unlike ways",),
    ),
    S(
        name="no instant power",
        orders="field 186 * 3\n",
        doctor=("sensor_instant_mw",),
        says=("no second sensor",),
    ),
    S(
        name="no field values",
        orders="code nvmlDeviceGetFieldValues * 3\n",
        watts=None,
        doctor=("sensor_energy_mj", "sensor_instant_mw"),
        says=("gives no energy",),
    ),
    *(S(name=f"counter as value type {t}", orders=f"type 83 {t}\n") for t in (0, 1, 2, 4, 5)),
    S(
        name="counter as 16 bits, which wrap",
        orders="type 83 6\n",
        watts=None,
        says=("energy_reset",),
    ),
    S(
        name="counter of an unknown type",
        orders="type 83 9\n",
        doctor=("sensor_energy_mj",),
        says=("unknown value type 9",),
    ),
    S(name="stuck power sensor", orders="freeze 0\n", says=("stood still",)),
    S(name="slow calls", orders="call_ms 2\n"),
)

MIG_SAYS = ("MIG",)
SLICED = "mig 0 2\n"
SPLIT = (
    S(name="MIG on, no slice", orders="mig 0 0\n", auto="refused", watts=None, doctor=("mig",)),
    S(
        name="MIG slices",
        orders=SLICED,
        auto="refused",
        watts=None,
        doctor=("mig", "sensor_energy_mj", "sensor_event_reasons", "sensor_instant_mw"),
        says=(SLICE.format(0, 0), SLICE.format(0, 1)),
    ),
    *(
        S(
            name=f"a MIG slice by {how}",
            orders=SLICED,
            env={"CUDA_VISIBLE_DEVICES": word},
            auto="refused",
            watts=None,
            doctor=("mig", "sensor_energy_mj", "sensor_event_reasons", "sensor_instant_mw"),
            says=(SLICE.format(0, 1), "NVML counts the whole board"),
        )
        for how, word in (
            ("UUID", SLICE.format(0, 1)),
            ("its old name", "MIG-" + BOARD.format(0) + "/8/0"),
        )
    ),
    S(
        name="a MIG slice that is not there",
        orders=SLICED,
        env={"CUDA_VISIBLE_DEVICES": "MIG-00000000-0000-4000-8000-000000000009"},
        auto="refused",
        watts=None,
        doctor=("gpus",),
        says=("names none of what NVML lists",),
    ),
    S(
        name="two slices for one process",
        orders=SLICED,
        gpus=2,
        auto="refused",
        watts=None,
        doctor=("gpus", "mig", "sensor_energy_mj", "sensor_event_reasons", "sensor_instant_mw"),
        says=("one MIG slice at most",),
    ),
    S(
        name="MIG on a sibling",
        orders="boards 2\nmig 1 2\n",
        auto="refused",
        doctor=(
            *("cuda_order", "mig"),
            *("sensor_energy_mj", "sensor_event_reasons", "sensor_instant_mw"),
        ),
        says=MIG_SAYS,
    ),
)

VISIBLE = (
    *(
        S(
            name=f"hidden by {word!r}",
            env={"CUDA_VISIBLE_DEVICES": word},
            auto="cpu 0",
            watts=None,
            doctor=("gpus",),
            says=("hides every GPU",),
        )
        for word in ("", "-1")
    ),
    S(
        name="a number that is not there",
        env={"CUDA_VISIBLE_DEVICES": "7"},
        auto="refused",
        watts=None,
        doctor=("gpus",),
        says=("names none of what NVML lists",),
    ),
    S(
        name="the second by number",
        orders=TWO,
        own=own(1),
        env={"CUDA_VISIBLE_DEVICES": "1"},
        watts=310,
    ),
    S(
        name="the second by UUID",
        orders=TWO,
        own=own(1),
        env={"CUDA_VISIBLE_DEVICES": BOARD.format(1)},
        watts=310,
    ),
    S(
        name="numbered the other way",
        orders=TWO + "reversed\n",
        own=own(1),
        env={"CUDA_VISIBLE_DEVICES": "0"},
        watts=310,
    ),
)

SHARED = (
    S(
        name="somebody else computes",
        orders="process 0 compute 1 2000\n",
        watts=None,
        doctor=("gpu_shared",),
        says=("not this run's",),
    ),
    S(
        name="somebody comes and goes",
        later=((20.0, "process 0 compute 1 2000\n"), (40.0, "")),
        watts=None,
        says=("not this run's",),
    ),
    S(
        name="somebody hidden computes",
        orders="process 0 compute 99999999 2000\n",
        watts=None,
        doctor=("gpu_shared",),
        says=("not this run's",),
    ),
    S(
        name="a screen",
        orders="process 0 graphics 1 200\n",
        doctor=("gpu_graphics",),
        says=("a screen is drawn",),
    ),
    S(
        name="a game",
        orders="process 0 graphics 1 20000\n",
        watts=None,
        doctor=("gpu_graphics",),
        says=("not this run's",),
    ),
    S(
        name="somebody's MPS client",
        orders="process 0 mps 1 2000\n",
        watts=None,
        doctor=("gpu_shared",),
        says=("not this run's",),
    ),
    S(
        name="memory of a process not told",
        orders="process 0 compute 1 -1\n",
        watts=None,
        doctor=("gpu_shared",),
    ),
    S(
        name="nobody is told",
        orders="code nvmlDeviceGetComputeRunningProcesses_v3 * 4\n",
        doctor=("gpu_processes",),
        says=("exclusivity unverified",),
    ),
    S(
        name="the container hides everybody",
        orders="process 0 compute 99999999 2000\n",
        own="",
        doctor=("gpu_shared",),
        says=("the container hides",),
    ),
    S(name="memory in use, nobody listed", orders="used 0 30000\n", doctor=("gpu_memory",)),
)

STATE = (
    S(name="slowed by heat", orders="reasons 0 40\n", doctor=("throttling",), says=("heat",)),
    S(name="power brake", orders="reasons 0 80\n", doctor=("throttling",), says=("power brake",)),
    S(name="limited power", orders="limit 0 400\n", doctor=("power_limit",), says=("like limits",)),
    S(
        name="above its limit",
        orders="limit 0 200\n",
        watts=None,
        doctor=("power_limit",),
        says=("the counter jumped",),
    ),
    S(name="warms up", later=((30.0, "temperature 0 80\n"),), says=("warm up longer",)),
    S(name="no persistence", orders="persistence 0 0\n", doctor=("persistence",)),
    S(name="an unknown product", orders="name NVIDIA X999\n", auto="refused", says=("X999",)),
    S(
        name="a known product, other memory",
        orders="memory_mib 40000\n",
        auto="refused",
        says=("39.1 GiB",),
    ),
)

REFUSED_CALLS = (
    *(
        S(name=f"{call} refused", orders=f"code {call} * 3\n", doctor=doctor)
        for call, doctor in (
            ("nvmlDeviceGetMemoryInfo_v2", ("sensor_used_bytes",)),
            ("nvmlDeviceGetMigMode", ()),
            ("nvmlDeviceGetEnforcedPowerLimit", ()),
            ("nvmlDeviceGetCurrentClocksEventReasons", ("sensor_event_reasons",)),
            ("nvmlDeviceGetViolationStatus", ()),
            ("nvmlDeviceGetUtilizationRates", ()),
            ("nvmlDeviceGetPciInfo_v3", ()),
            ("nvmlSystemGetDriverVersion", ()),
            ("nvmlDeviceGetGraphicsRunningProcesses_v3", ()),
            ("nvmlDeviceGetMPSComputeRunningProcesses_v3", ()),
        )
    ),
    S(
        name="nvmlDeviceGetMemoryInfo refused",
        orders="code nvmlDeviceGetMemoryInfo * 3\n",
        auto="refused",
        says=("does not tell its memory",),
    ),
    *(
        S(
            name=f"{call} refused",
            orders=f"code {call} * 3\n",
            auto="refused",
            watts=None,
            doctor=("gpus",),
            says=("does not answer (Not Supported)",),
        )
        for call in ("nvmlDeviceGetUUID", "nvmlDeviceGetName")
    ),
    *(
        S(
            name=f"{call} fails on a sibling",
            orders=f"{TWO}code {call} 1 999\n",
            doctor=("gpu_lost",),
        )
        for call in ("nvmlDeviceGetUUID", "nvmlDeviceGetName")
    ),
    S(
        name="nvmlDeviceGetMemoryInfo fails on a sibling",
        orders=TWO + "code nvmlDeviceGetMemoryInfo 1 999\n",
        auto="refused",
    ),
    S(
        name="nvmlDeviceGetMigMode fails",
        orders="code nvmlDeviceGetMigMode * 999\n",
        says=("whether it is split (MIG) is not told",),
    ),
    S(
        name="nvmlDeviceGetMigMode fails on a sibling",
        orders=TWO + "code nvmlDeviceGetMigMode 1 999\n",
        auto="h100-sxm 2",
    ),
)

OLD_DRIVERS = (
    *(
        S(name=f"no {call}", without=call, doctor=doctor)
        for call, doctor in (
            ("nvmlDeviceGetMPSComputeRunningProcesses_v3", ()),
            ("nvmlDeviceGetGraphicsRunningProcesses_v3", ()),
            ("nvmlDeviceGetMemoryInfo_v2", ("sensor_used_bytes",)),
            ("nvmlDeviceGetCurrentClocksEventReasons", ()),
            ("nvmlDeviceGetMigMode", ()),
            ("nvmlDeviceGetViolationStatus", ()),
            ("nvmlErrorString", ()),
            ("nvmlShutdown", ()),
        )
    ),
    S(
        name="no nvmlDeviceGetComputeRunningProcesses_v3",
        without="nvmlDeviceGetComputeRunningProcesses_v3",
        doctor=("gpu_processes",),
        says=("exclusivity unverified",),
    ),
    S(
        name="no nvmlDeviceGetFieldValues",
        without="nvmlDeviceGetFieldValues",
        watts=None,
        doctor=("sensor_energy_mj", "sensor_instant_mw"),
        says=("this driver has no such call",),
    ),
    *(
        S(
            name=f"no {call}",
            without=call,
            auto="refused",
            watts=None,
            doctor=("gpus",),
            says=("this driver has no such call",),
        )
        for call in ("nvmlDeviceGetUUID", "nvmlDeviceGetCount_v2", "nvmlInitWithFlags")
    ),
)

ALL = (
    *SOUND,
    *NO_ANSWER,
    *LOST,
    *COUNTERS,
    *SPLIT,
    *VISIBLE,
    *SHARED,
    *STATE,
    *REFUSED_CALLS,
    *OLD_DRIVERS,
)
