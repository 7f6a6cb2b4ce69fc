"""Whether a shaped link serves what its trace says: flat figures for `netgpt bench links`.

A trace with outages is never kept full by TCP, so its service is measured by datagrams, sent faster than the trace ever serves; what TCP makes
of the same link is reported beside it. Not even datagrams keep a queue full that is limited in time: after an outage it holds next to nothing, and
a burst of opportunities finds it empty. Such opportunities are counted where the transmitter passes them by, and are none of those that a
backlogged link must use. Mode `stream` has no losses and is kept full by its back-pressure.
"""

from __future__ import annotations

import socket
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netgpt.bench.links_shaper import RAMP_S, SOURCE, TARGET, Mode, backlogged, modes_permitted, rig, run_alone, run_traffic
from netgpt.core.errors import UsageError
from netgpt.core.scheduling import TaskGroup
from netgpt.network.service import OPPORTUNITY_BYTES, Cursor, Service
from netgpt.network.trace import OPPORTUNITY, Trace
from netgpt.network.trace_file import load_trace
from netgpt.network.wired import OneWay
from netgpt.wire.shaper_link import Wire

GENERATED = ("vehicle-drive-up", "crowd-edge-up")  # spectral efficiencies of TR 38.901 channels
BANDWIDTH_HZ = 10e6  # of one UE that has a carrier to itself
DELAY_S = 0.01
QUEUES_S: dict[Mode, float] = {"packet": 0.1, "stream": 1.0}  # a proxy refills its queue later than a burst of opportunities empties a short one
FLOOD = 1.5  # times the largest rate of a trace over 100 ms
DATAGRAM_BYTES = 1472  # of payload: 1,500 with IPv4's and UDP's headers
FULL_S, TCP_S, QUICK_S = 60.0, 20.0, 5.0


class Watched:
    """A service that remembers what its transmitter passed by, because nothing was queued."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._times_s: list[float] = []  # when something was queued again
        self._missed_bytes: list[float] = []  # by then, in all

    def serve(self, cursor: Cursor, ready_s: float, size_bytes: float) -> Cursor:
        after = self._service.serve(cursor, ready_s, size_bytes)
        if after.next_index:  # single opportunities, of which several may have the same time
            passed_bytes = (after.next_index - cursor.next_index) * OPPORTUNITY_BYTES + cursor.spare_bytes - after.spare_bytes
        else:
            passed_bytes = self._service.capacity_bytes(cursor.time_s, after.time_s)
        if passed_bytes - size_bytes > 1e-3:  # beyond rounding
            self._missed_bytes.append(self.missed_bytes(ready_s) + passed_bytes - size_bytes)
            self._times_s.append(ready_s)
        return after

    def missed_bytes(self, until_s: float) -> float:
        """What went by unused, of all that was queued again by that time."""
        place = bisect_right(self._times_s, until_s)
        return self._missed_bytes[place - 1] if place else 0.0

    def backlog_bytes(self, cursor: Cursor, now_s: float) -> float:
        return self._service.backlog_bytes(cursor, now_s)

    def rate_bps(self, at_s: float) -> float:
        return self._service.rate_bps(at_s)

    def capacity_bytes(self, start_s: float, end_s: float) -> float:
        return self._service.capacity_bytes(start_s, end_s)

    def finish_s(self, start_s: ArrayLike, size_bytes: ArrayLike) -> NDArray[np.float64]:
        return self._service.finish_s(start_s, size_bytes)


def traces_of(folder: Path | None) -> dict[str, tuple[Service, float]]:
    """Generated traces, and Mahimahi's of a folder (`NAME.up`, `NAME.down`): their services, and the rate in bit/s to flood them with.

    Raises:
        UsageError: no such folder, or no trace in it.
    """
    found = {name: load_trace(name) for name in GENERATED}
    if folder is not None:
        files = sorted(path for path in folder.glob("*") if path.suffix in (".up", ".down"))
        if not files:
            raise UsageError(f"no Mahimahi traces in {folder}", hint="name a folder with files such as NAME.up and NAME.down", param="traces")
        found |= {path.name: load_trace(str(path)) for path in files}
    return {name: _service(trace) for name, trace in found.items()}


def _service(trace: Trace) -> tuple[Service, float]:
    ue = next(iter(trace.series))
    rates = trace if trace.unit == OPPORTUNITY else trace.as_rate(BANDWIDTH_HZ)
    return rates.service(ue), FLOOD * float(rates.binned(0.1).of(ue).values.max())


def figures(*, quick: bool, folder: Path | None = None, tell: Callable[[str], None] = lambda _: None) -> dict[str, float]:
    """For each trace NAME: `shaper_packet_NAME_served_share`, served IP bytes over opportunities while something was queued, with
    `..._backlogged_share`, how many of all opportunities those are; `..._goodput_mbps` of four TCP connections beside its bound; and
    `shaper_stream_NAME_served_share` of charged bytes.

    Args:
        tell: is told what is being measured.
    """
    found: dict[str, float] = {}
    whole_s, tcp_s = (QUICK_S, QUICK_S) if quick else (FULL_S, TCP_S)
    for mode in modes_permitted():
        for name, (service, flood_bps) in traces_of(folder).items():
            tell(f"{mode} over {name}, {tcp_s + (whole_s if mode == 'packet' else 0):.0f} s")
            told = run_alone(backlogged(mode, name, _link(service, mode), _capacity(service), seconds=tcp_s))
            if mode == "packet":  # TCP does not keep a link full that changes its rate
                del told[f"shaper_packet_{name}_served_share"]
                served, backlogged_share = run_alone(flooded(service, flood_bps, seconds=whole_s))
                told |= {f"shaper_packet_{name}_served_share": served, f"shaper_packet_{name}_backlogged_share": backlogged_share}
            found |= told
    return {name: float(f"{value:.5g}") for name, value in found.items()}


def _link(service: Service, mode: Mode) -> Wire:
    way = OneWay(service=service, delay_s=DELAY_S, queue_s=QUEUES_S[mode])
    mean_bps = 8 * service.capacity_bytes(0.0, FULL_S) / FULL_S
    return Wire((SOURCE, TARGET), {"up": way, "down": way}, mean_bps={"up": mean_bps, "down": mean_bps})


def _capacity(service: Service) -> Callable[[float, float], float]:
    """What has arrived left `DELAY_S` before."""
    return lambda begin_s, end_s: service.capacity_bytes(begin_s - DELAY_S, end_s - DELAY_S)


async def flooded(service: Service, flood_bps: float, *, seconds: float) -> tuple[float, float]:
    """Served IP bytes over opportunities that found something queued, in mode `packet`, after a ramp of a second; and how many those are."""
    watched = Watched(service)
    async with rig("packet", _link(watched, "packet")) as made, TaskGroup() as tasks:
        assert made.networks is not None
        with made.networks.socket(TARGET, socket.SOCK_DGRAM) as listener:
            listener.bind((made.networks.addresses[TARGET], 0))
            address = listener.getsockname()
            tasks.create_task(
                run_traffic(made.networks.socket(SOURCE, socket.SOCK_DGRAM), "flood", *address, seconds + 3 * RAMP_S, flood_bps, DATAGRAM_BYTES)
            )
            carried = made.link.carried["up"]
            while not carried.delivered_bytes:
                await made.clock.sleep(0.01)
            await made.clock.sleep(RAMP_S)
            begin_s, begin_bytes = made.clock.now_s(), carried.delivered_bytes
            await made.clock.sleep(seconds)
            end_s, end_bytes = made.clock.now_s(), carried.delivered_bytes
    whole_bytes = _capacity(service)(begin_s, end_s)
    missed_bytes = watched.missed_bytes(end_s - DELAY_S) - watched.missed_bytes(begin_s - DELAY_S)
    return (end_bytes - begin_bytes) / (whole_bytes - missed_bytes), 1 - missed_bytes / whole_bytes
