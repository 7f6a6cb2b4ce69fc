"""What the link shaper adds and carries, in both modes: flat figures for `netgpt bench links`.

The shaper runs here, traffic in processes of its own. On one machine shaper, sender and receiver share its cores:
figures of a busy machine say more of the machine than of the shaper.
"""

from __future__ import annotations

import asyncio
import json
import math
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import uvloop

from netgpt.core.clock import ElapsedClock, WallClock
from netgpt.core.errors import NetgptError, UsageError
from netgpt.core.scheduling import TaskGroup
from netgpt.wire.namespaces import MTU, Namespaces, check_namespaces
from netgpt.wire.shaper_link import ShapedLink, Wire, Wires, plain_wires
from netgpt.wire.shaper_network import LinkNetwork
from netgpt.wire.shaper_packet import PacketShaper
from netgpt.wire.shaper_pump import Pump
from netgpt.wire.shaper_stream import HEADER_BYTES, SEGMENT_BYTES, StreamShaper, Way

Mode = Literal["direct", "stream", "packet"]
MODES: tuple[Mode, ...] = ("stream", "packet")
SOURCE, TARGET, PORT = "source", "target", 5000
TCP_BOUND = SEGMENT_BYTES / (SEGMENT_BYTES + HEADER_BYTES)  # goodput of full segments over IP bytes
RAMP_S = 1.0  # before this a connection may not have filled the link
LARGE_MTU = 9000
_Sockets = Callable[[], tuple[socket.socket, tuple[str, int], socket.socket]]  # a listener, where to call it, a caller


@dataclass(frozen=True, kw_only=True)
class Rig:
    """One link that is shaped, and sockets at its ends."""

    sockets: _Sockets
    link: ShapedLink
    clock: ElapsedClock
    networks: Namespaces | None = None  # of mode `packet`: where sockets of other kinds are made


def wired(wires: Wires) -> Wire:
    return Wire((SOURCE, TARGET), wires, seed=1)


@asynccontextmanager
async def rig(mode: Mode, link: ShapedLink, *, mtu: int = MTU) -> AsyncIterator[Rig]:
    """The link in a mode; "direct": past it.

    Raises:
        UsageError: mode `packet` is not permitted here.
    """
    clock = ElapsedClock(WallClock())  # traces begin with the rig
    pump = Pump(LinkNetwork([link], full="drop" if mode == "packet" else "hold"), clock)
    try:
        if mode == "packet":
            with Namespaces() as networks:
                for node in (SOURCE, TARGET):
                    networks.add(node, mtu=mtu)
                shaper = PacketShaper(pump, networks.tuns, networks.addresses)
                yield Rig(sockets=lambda: _inside(networks), link=link, clock=clock, networks=networks)
                shaper.close()
        else:
            stream = StreamShaper(pump)
            yield Rig(sockets=lambda: _through(stream if mode == "stream" else None), link=link, clock=clock)
            stream.close()
    finally:
        pump.close()


def _inside(networks: Namespaces) -> tuple[socket.socket, tuple[str, int], socket.socket]:
    listener = networks.socket(TARGET)
    listener.bind((networks.addresses[TARGET], 0))
    listener.listen()
    return listener, listener.getsockname(), networks.socket(SOURCE)


def _through(shaper: StreamShaper | None) -> tuple[socket.socket, tuple[str, int], socket.socket]:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    if shaper is not None:
        address = ("127.0.0.1", shaper.listen(Way(source=SOURCE, target=TARGET, address=address)))
    return listener, address, socket.socket()


async def run_traffic(own: socket.socket, what: str, *rest: object) -> Any:
    """Run a program of `links_traffic` with a socket; what it says."""
    with own:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "netgpt.bench.links_traffic", what, str(own.fileno()), *map(str, rest)),
            pass_fds=[own.fileno()],
            stdout=asyncio.subprocess.PIPE,
        )
    told, _ = await process.communicate()
    if process.returncode:
        raise NetgptError(f"the traffic program {what!r} ended with {process.returncode}", hint="its error is above")
    return json.loads(told)


async def _pair(made: Rig, receive: str, send: str, *rest: object, most_s: float = math.inf) -> Any:
    """Run a receiver, for so long at most, and a sender over one connection; what the receiver says."""
    listener, address, caller = made.sockets()
    async with TaskGroup() as tasks:
        received = tasks.create_task(run_traffic(listener, receive, *([most_s] if most_s < math.inf else [])))
        tasks.create_task(run_traffic(caller, send, *address, *rest))
    return received.result()


async def one_way_ms(mode: Mode, wires: Wires, *, count: int, interval_s: float = 0.002) -> list[float]:
    """How long each of `count` messages of 64 B is on the way over an idle link, from write to read."""
    async with rig(mode, wired(wires)) as made:
        found = await _pair(made, "delays", "stamps", count, interval_s)
    return found[min(10, len(found) // 10) :]  # the first ones also pay for the connection


async def goodput_bps(mode: Mode, wires: Wires, *, seconds: float, mtu: int = MTU) -> tuple[float, float]:
    """What one connection carries as fast as it can: bits of payload a second, and a second of the shaper's processor.

    The latter says what the shaper could do on a machine whose processor it does not have to share.
    """
    async with rig(mode, wired(wires), mtu=mtu) as made:
        begin_s = time.process_time()
        told = await _pair(made, "sink", "send", seconds)
        used_s = time.process_time() - begin_s
    return 8 * told["bytes"] / told["seconds"], 8 * told["bytes"] / used_s


async def backlogged(
    mode: Mode, name: str, link: ShapedLink, opportunity_bytes: Callable[[float, float], float], *, seconds: float, connections: int = 4
) -> dict[str, float]:
    """What a link serves while some connections keep its uplink full.

    Args:
        name: of the trace, for the figures.
        link: between `SOURCE` and `TARGET`, with any medium.
        opportunity_bytes: what the medium could have delivered from one time to another, both by the medium's clock.

    Returns:
        `shaper_MODE_NAME_served_share`: IP bytes that came out over opportunities, after a ramp of a second;
        `..._goodput_mbps` with `..._goodput_bound_mbps`, what full segments leave of the served bytes;
        `..._dropped_share` of packets.
    """
    async with rig(mode, link) as made, TaskGroup() as tasks:
        pairs = [tasks.create_task(_pair(made, "sink", "send", seconds + 2 * RAMP_S, most_s=seconds + 2 * RAMP_S)) for _ in range(connections)]
        carried = link.carried["up"]
        while carried.delivered_bytes == 0:
            await made.clock.sleep(0.01)
        await asyncio.sleep(RAMP_S)
        begin_s, begin_bytes = made.clock.now_s(), carried.delivered_bytes
        await asyncio.sleep(seconds)
        end_s, served = made.clock.now_s(), carried.delivered_bytes - begin_bytes
    told = [pair.result() for pair in pairs]
    goodput = 8 * sum(each["bytes"] for each in told) / max(each["seconds"] for each in told)
    packets = carried.charged_bytes / (SEGMENT_BYTES + HEADER_BYTES)
    prefix = f"shaper_{mode}_{name}"
    return {
        f"{prefix}_served_share": served / opportunity_bytes(begin_s, end_s),
        f"{prefix}_goodput_mbps": goodput / 1e6,
        f"{prefix}_goodput_bound_mbps": 8 * served / (end_s - begin_s) * TCP_BOUND / 1e6,
        f"{prefix}_dropped_share": carried.dropped / (carried.dropped + packets),
    }


async def charged_share(mode: Mode, wires: Wires, *, seconds: float) -> float:
    """Bytes charged over those of a full-segment TCP transfer of the same payload."""
    link = wired(wires)
    async with rig(mode, link) as made:
        told = await _pair(made, "sink", "send", seconds)
    return link.carried["up"].charged_bytes * TCP_BOUND / told["bytes"]


def delay_figures(mode: Mode, *, count: int) -> dict[str, float]:
    """`..._idle_added_p50_ms` beside a direct connection of the same moment, and `..._20ms_p50_ms`, `..._20ms_p99_ms`."""
    direct, idle = run_alone(one_way_ms("direct", plain_wires(), count=count)), run_alone(one_way_ms(mode, plain_wires(), count=count))
    far = run_alone(one_way_ms(mode, plain_wires(delay_s=0.02), count=count))
    return {
        f"shaper_{mode}_direct_p50_ms": _quantile(direct, 50),
        f"shaper_{mode}_idle_added_p50_ms": _quantile(idle, 50) - _quantile(direct, 50),
        f"shaper_{mode}_20ms_p50_ms": _quantile(far, 50),
        f"shaper_{mode}_20ms_p99_ms": _quantile(far, 99),
    }


def rate_figures(mode: Mode, *, seconds: float) -> dict[str, float]:
    """What goes over an unlimited link (packets of 1,500 B, and of 9,000 B apart), and how near a rate of 20 Mbit/s is held."""
    unlimited_bps, processor_bps = run_alone(goodput_bps(mode, plain_wires(), seconds=seconds))
    wires = plain_wires(up_bps=20e6, down_bps=20e6, delay_s=0.01)
    figures = {f"shaper_{mode}_unlimited_{unit}": unlimited_bps / scale for unit, scale in (("gbps", 1e9), ("mbps", 1e6))}
    figures[f"shaper_{mode}_unlimited_mbps_per_cpu"] = processor_bps / 1e6
    if mode == "packet":
        figures["shaper_packet_unlimited_mtu9000_mbps"] = run_alone(goodput_bps(mode, plain_wires(), seconds=seconds, mtu=LARGE_MTU))[0] / 1e6
    figures[f"shaper_{mode}_20mbps_charged_share"] = run_alone(charged_share(mode, wires, seconds=seconds))
    steady = backlogged(mode, "20mbps", wired(wires), lambda begin_s, end_s: 20e6 * (end_s - begin_s) / 8, seconds=seconds)
    return figures | run_alone(steady)


def figures(*, quick: bool, modes: Sequence[Mode] = MODES) -> dict[str, float]:
    """All figures of the modes that this machine permits; those of a mode that it does not permit are missing."""
    found: dict[str, float] = {}
    for mode in modes_permitted(modes):
        found |= delay_figures(mode, count=200 if quick else 10_000)
        found |= rate_figures(mode, seconds=2.0 if quick else 10.0)
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def modes_permitted(modes: Sequence[Mode] = MODES) -> tuple[Mode, ...]:
    """Those of them that this machine allows."""
    try:
        check_namespaces()
    except UsageError:
        return tuple(mode for mode in modes if mode != "packet")
    return tuple(modes)


def run_alone(work: Coroutine[Any, Any, Any]) -> Any:
    """Run it on a loop of its own, of the kind that the shaper has."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _quantile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent))
