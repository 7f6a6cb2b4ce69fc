"""What a UE's radio spends: power by state, integrated over the time in each.

Relative power is TR 38.840's for FR1 (clause 8.1; uplink, bandwidth scaling and transitions as 5G-LENA implements them, the states' values
second-hand). Its unit has no wattage: a named fit to measurements gives it one. Power of the rest of the phone (screen, processor) is not in it.

Left out: PUCCH and random access, transmit power below the given one, receive chains switched off. What a UE neither sends nor receives
while it listens counts as PDCCH monitoring, in uplink slots too.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from netgpt.core.errors import UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.network.access import Access
from netgpt.network.activity import Activity
from netgpt.network.medium import Direction

State = Literal["deep sleep", "light sleep", "micro sleep", "listening", "receiving", "sending", "waking"]

DEEP, LIGHT, MICRO, LISTENING, RECEIVING = 1.0, 20.0, 45.0, 100.0, 300.0  # PDCCH only 100, PDCCH and PDSCH 300
SENDING_0_DBM, SENDING_23_DBM = 250.0, 700.0
DEEP_TRANSITION_S, DEEP_TRANSITION_UNIT_S = 0.020, 0.450  # a sleep and a return: at least so long, and so much more energy
LIGHT_TRANSITION_S, LIGHT_TRANSITION_UNIT_S = 0.006, 0.100
PAGING_S = 0.002  # listened to in each paging cycle while inactive or idle: assumption, a paging occasion and its synchronisation


@dataclass(frozen=True, kw_only=True)
class PowerFit:
    """Watts of one relative unit, from measured slopes of a phone's power over its throughput.

    Going from listening to full throughput adds `RECEIVING - LISTENING` units downlink and `SENDING_23_DBM - LISTENING`
    uplink; measured, it adds slope * throughput. `watts_per_unit` is the least-squares fit to the two.
    """

    name: str
    down_mw_per_mbps: float
    down_mbps: float  # full throughput in the same measurements
    up_mw_per_mbps: float
    up_mbps: float
    source: str

    @property
    def watts_per_unit(self) -> float:
        down_units, up_units = RECEIVING - LISTENING, SENDING_23_DBM - LISTENING
        down_w, up_w = self.down_mw_per_mbps * self.down_mbps / 1e3, self.up_mw_per_mbps * self.up_mbps / 1e3
        return (down_units * down_w + up_units * up_w) / (down_units**2 + up_units**2)


_SOURCE = "slopes: own fit to phone power in SIGCOMM21-5G/artifact; throughput: medians of its speed tests"
FITS: dict[str, PowerFit] = {
    fit.name: fit
    for fit in (
        PowerFit(name="low-band", down_mw_per_mbps=11.5, down_mbps=118, up_mw_per_mbps=32.2, up_mbps=73, source=_SOURCE),
        PowerFit(name="mmwave", down_mw_per_mbps=1.73, down_mbps=1922, up_mw_per_mbps=8.88, up_mbps=86, source=_SOURCE + ", servers within 100 km"),
        PowerFit(name="lte", down_mw_per_mbps=11.5, down_mbps=117, up_mw_per_mbps=76.7, up_mbps=31, source=_SOURCE),
    )
}


def fit_named(name: str) -> PowerFit:
    """A fit of `FITS`.

    Raises:
        UsageError: unknown name.
    """
    if name not in FITS:
        raise UsageError(f"unknown power fit {name!r}", hint=did_you_mean(name, FITS))
    return FITS[name]


@dataclass(frozen=True, kw_only=True)
class Energy:
    """What one UE's radio has spent."""

    seconds: dict[State, float]  # in each state
    joules: float
    flow_joules: dict[tuple[Direction, str], float]  # above listening, while it sent or received for this flow
    watts_per_unit: float

    @property
    def shared_joules(self) -> float:
        """Listening, sleeping and waking: for all flows or for none."""
        return self.joules - sum(self.flow_joules.values())


def sending_units(power_dbm: float) -> float:
    """Relative power of an uplink slot, linear in dBm between 0 and 23 dBm."""
    share = min(max(power_dbm, 0.0), 23.0) / 23.0
    return SENDING_0_DBM + (SENDING_23_DBM - SENDING_0_DBM) * share


def bandwidth_factor(bandwidth_mhz: float) -> float:
    """Of the power to receive: 1 at 100 MHz."""
    return 0.4 + 0.6 * (bandwidth_mhz - 20) / 80


def spent(
    activity: Activity, access: Access, now_s: float, *, bandwidth_mhz: float = 100.0, power_dbm: float = 23.0, fit: str = "low-band"
) -> Energy:
    """The energy of one UE's radio since it was attached.

    Args:
        activity: `Cell.activity(now_s, station)`.
        access: the cell's access parameters: DRX and RRC timers decide how it sleeps.
        power_dbm: transmit power of an uplink slot.
        fit: name of the wattage, in `FITS`.

    Raises:
        UsageError: unknown fit.
    """
    watts = fit_named(fit).watts_per_unit
    scale = bandwidth_factor(bandwidth_mhz)
    seconds: defaultdict[State, float] = defaultdict(float)
    for silence_s, count in activity.silences(now_s).items():
        for state, of_one_s in silent_states(silence_s, access).items():
            seconds[state] += count * of_one_s
    seconds["sending"], seconds["receiving"] = activity.busy_s["up"], activity.busy_s["down"]
    whole_s = now_s - activity.since_s
    quiet_s = sum(seconds[state] for state in ("deep sleep", "light sleep", "micro sleep", "listening", "sending", "receiving"))
    seconds["listening"] += max(whole_s - quiet_s, 0.0)  # slots between those it was at work in
    units = {
        "deep sleep": DEEP,
        "light sleep": LIGHT,
        "micro sleep": MICRO,
        "listening": LISTENING * scale,
        "receiving": RECEIVING * scale,
        "sending": sending_units(power_dbm),
        "waking": 1.0,  # its seconds are unit seconds already
    }
    above = {"up": max(units["sending"] - units["listening"], 0.0), "down": units["receiving"] - units["listening"]}
    return Energy(
        seconds=dict(seconds),
        joules=watts * sum(units[state] * of_state_s for state, of_state_s in seconds.items()),
        flow_joules={key: watts * above[key[0]] * busy_s for key, busy_s in activity.flow_busy_s.items()},
        watts_per_unit=watts,
    )


def silent_states(silence_s: float, access: Access) -> dict[State, float]:
    """How a UE spends a silence after its last transmission: seconds in each state; "waking" in unit seconds."""
    drx, rrc = access.drx, access.rrc
    connected_s = min(silence_s, rrc.inactive_after_s)
    seconds: defaultdict[State, float] = defaultdict(float)
    if drx is None:
        seconds["listening"] += connected_s
    else:
        awake_s = min(connected_s, drx.inactivity_s)
        cycles = (connected_s - awake_s) / drx.cycle_s
        seconds["listening"] += awake_s + cycles * drx.on_duration_s
        _sleep(seconds, drx.cycle_s - drx.on_duration_s, cycles)
    cycles = (silence_s - connected_s) / rrc.paging_cycle_s
    listened_s = min(PAGING_S, rrc.paging_cycle_s)
    seconds["listening"] += cycles * listened_s
    _sleep(seconds, rrc.paging_cycle_s - listened_s, cycles)
    return dict(seconds)


def _sleep(seconds: defaultdict[State, float], sleep_s: float, times: float) -> None:
    """The deepest sleep that fits, so many times."""
    if sleep_s >= DEEP_TRANSITION_S:
        seconds["deep sleep"] += times * sleep_s
        seconds["waking"] += times * DEEP_TRANSITION_UNIT_S
    elif sleep_s >= LIGHT_TRANSITION_S:
        seconds["light sleep"] += times * sleep_s
        seconds["waking"] += times * LIGHT_TRANSITION_UNIT_S
    else:
        seconds["micro sleep"] += times * sleep_s
