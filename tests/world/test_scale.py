"""Membership in a network of hundreds of devices, and beside nodes and controllers that know whole snapshots alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise

import pytest

from netgpt.controller.gate import TokenGate
from netgpt.controller.pace import BEAT_INTERVAL_S, BEATS_PER_S, lost_after_s
from netgpt.controller.service import CHECK_INTERVAL_S, SETTLING_S, Controller
from netgpt.core.clock import VirtualClock, run_virtual
from netgpt.core.storage import SimulatedStorage
from netgpt.core.transport import Call
from netgpt.network.link import Link, Ways
from netgpt.network.member import Member, Snapshot, Tier
from netgpt.network.scenario import FaultSpec, LinkSpec, NodeSpec, Scenario
from netgpt.network.scenario_file import load_scenario
from netgpt.network.service import ConstantRate
from netgpt.network.wired import OneWay
from netgpt.node.call import ask
from netgpt.node.membership import Membership
from netgpt.telemetry.events import EventLog
from netgpt.telemetry.metrics import Metrics
from netgpt.wire.codec import decode, encode
from netgpt.wire.identity import JoinAuthority
from netgpt.wire.memory_transport import MemoryNetwork
from netgpt.wire.messages import Beat, Heartbeat, Join, Joined
from netgpt.world.report import render, summarise
from netgpt.world.simulated import CONTROLLER, SimulatedWorld

WIRES = load_scenario("wires")
RTT_S = 0.1  # more than any way to the controller and back takes here


def wires_of(devices: int) -> Scenario:
    """The wires without users and faults, with so many devices of the kind of its first."""
    pattern = WIRES.node("device1")
    access = next(link for link in WIRES.links if "device1" in link.between)
    rest = tuple(node for node in WIRES.nodes if node.tier != "device")
    nodes = tuple(replace(pattern, id=f"phone{number}") for number in range(devices))
    links = tuple(link for link in WIRES.links if not any(end.startswith("device") for end in link.between))
    return replace(
        WIRES, nodes=(*rest, *nodes), links=(*links, *(_access(access, node) for node in nodes)), users=(), faults=(), default_node=nodes[0].id
    )


def _access(link: LinkSpec, node: NodeSpec) -> LinkSpec:
    return replace(link, between=tuple(node.id if end == "device1" else end for end in link.between))


def heartbeat_bytes(devices: int) -> float:
    """Payload bytes that a device's link carries for a heartbeat and its answer, on average over four seconds."""

    async def main() -> float:
        world = SimulatedWorld(wires_of(devices), 1, SimulatedStorage())
        await world.start()
        await world.clock.sleep(1.0)
        before = carried(world)
        await world.clock.sleep(4.0)
        after = carried(world)
        await world.close()
        return (after[1] - before[1]) / ((after[0] - before[0]) / 2)  # a request and a reply each

    return run_virtual(main())


def carried(world: SimulatedWorld) -> tuple[int, int]:
    """(payloads, bytes) of heartbeats on links to devices."""
    sent = [each for (link, _, method), each in world.network.carried.items() if "phone" in link and method == "heartbeat"]
    return sum(each.payloads for each in sent), sum(each.payload_bytes for each in sent)


def test_what_a_heartbeat_carries_does_not_grow_with_the_network() -> None:
    few, many = heartbeat_bytes(20), heartbeat_bytes(300)
    assert many < few + 20  # ids and counts have a few digits more
    assert many < 400


def test_three_hundred_devices_learn_within_the_stated_time_that_an_edge_is_lost() -> None:
    async def main() -> float:
        scenario = wires_of(300)
        world = SimulatedWorld(scenario, 1, SimulatedStorage())
        await world.start()
        await world.clock.sleep(1.0)
        doors = [world.membership(node.id) for node in scenario.nodes if node.id != "edge1"]
        assert all(state(door, "edge1") == "ready" for door in doors)
        began_s = world.clock.now_s()
        world.background.spawn(world.break_and_mend(FaultSpec(at_s=0, for_s=60, node="edge1")), name="fault")
        while {state(door, "edge1") for door in doors} != {"lost"}:
            await world.clock.sleep(0.01)
            assert world.clock.now_s() < began_s + 5
        took_s = world.clock.now_s() - began_s
        await world.close()
        return took_s

    wait_s = max(BEAT_INTERVAL_S, 300 / BEATS_PER_S)
    # what was on its way counts as heard; then the silence, the next look, and each device's next heartbeat
    assert run_virtual(main()) < RTT_S + lost_after_s(BEAT_INTERVAL_S + 2 / BEATS_PER_S) + CHECK_INTERVAL_S + wait_s + RTT_S


def state(door: Membership, node: str) -> str:
    return next((member.state for member in door.members() if member.id == node), "unknown")


def test_an_edge_hears_of_every_device_and_a_device_of_none_but_counts_all() -> None:
    async def main() -> None:
        world = SimulatedWorld(wires_of(30), 1, SimulatedStorage())
        await world.start()
        await world.clock.sleep(1.0)
        edge, phone = world.membership("edge1"), world.membership("phone7")
        assert len(edge.members()) == edge.doors() == phone.doors() == len(world.scenario.nodes)
        assert {member.id for member in phone.members() if member.tier == "device"} == {"phone7"}
        assert all(member.state == "ready" for member in (*edge.members(), *phone.members()))
        await world.close()

    run_virtual(main())


def test_a_node_of_the_release_before_is_told_of_everybody_in_whole_snapshots() -> None:
    async def main() -> None:
        world = SimulatedWorld(wires_of(3), 1, SimulatedStorage())
        await world.start()
        await world.clock.sleep(1.0)
        older = world.network.transport("phone0").connect(CONTROLLER, credential=world.membership("phone0").credential)
        me = world.membership("phone0").member
        answer = await ask(older, "heartbeat", Heartbeat(node="phone0", member=me, known_version=1), Beat, deadline_s=1)
        assert answer.changes is None
        assert answer.snapshot is not None
        assert ({member.id for member in answer.snapshot.members}, answer.snapshot.untold) == ({node.id for node in world.scenario.nodes}, 0)
        again = Heartbeat(node="phone0", member=me, known_version=answer.snapshot.version)
        assert (await ask(older, "heartbeat", again, Beat, deadline_s=1)).snapshot is None
        await world.close()

    run_virtual(main())


def test_nobody_speaks_as_another_member_or_of_another_tier() -> None:
    async def main() -> None:
        world = SimulatedWorld(wires_of(2), 1, SimulatedStorage())
        await world.start()
        own = world.membership("phone0")
        liar = replace(own.member, id="edge1", tier="cloud")
        connection = world.network.transport("phone0").connect(CONTROLLER, credential=own.credential)
        answer = await ask(connection, "heartbeat", Heartbeat(node="phone0", member=liar), Beat, deadline_s=1)
        assert answer.snapshot is not None
        seen = {member.id: member for member in answer.snapshot.members}
        assert (seen["phone0"].tier, seen["edge1"].engine_address) == ("device", "edge1:engine")
        await world.close()

    run_virtual(main())


@pytest.mark.parametrize("wait_s", [0.0, 1.0])
def test_a_node_beats_as_the_controller_says_and_as_ever_beside_an_older_one(wait_s: float) -> None:
    """An older controller tells no wait, and whole snapshots alone."""

    async def main() -> None:
        clock = VirtualClock()
        way = OneWay(service=ConstantRate(1e9), delay_s=0.001)
        network = MemoryNetwork(clock, Ways([Link(("edge1", "controller"), up=way, down=way)]))
        beats_s: list[float] = []

        async def controller(call: Call) -> AsyncGenerator[bytes, None]:
            if call.method == "join":
                joined = decode(Join, call.payload)
                yield encode(Joined(credential="c", snapshot=Snapshot(version=1, members=(joined.member,))))
                return
            beats_s.append(clock.now_s())
            beat = decode(Heartbeat, call.payload)
            other = Member(id="cloud1", tier="cloud", engine_address="x", door_url="")
            yield encode(Beat(snapshot=Snapshot(version=2, members=(beat.member, other)), wait_s=wait_s))

        await network.transport("controller").listen("controller", controller)
        me = Member(id="edge1", tier="edge", engine_address="edge1:engine", door_url="")
        membership = Membership(
            me, "controller", network.transport("edge1"), clock, token="t", metrics=Metrics(), record=lambda kind, node, **data: None
        )
        await membership.join()
        live = asyncio.ensure_future(membership.live())
        await clock.sleep(5.5)
        live.cancel()
        assert ([member.id for member in membership.members()], membership.doors()) == (["edge1", "cloud1"], 2)
        gaps_s = [after - before for before, after in pairwise(beats_s)]
        assert gaps_s == pytest.approx([(wait_s or BEAT_INTERVAL_S) + 0.002] * len(gaps_s), abs=0.001)
        assert len(gaps_s) >= 5

    run_virtual(main())


class Lives:
    """A controller that is started again and again on what it has stored."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self._storage = SimulatedStorage()
        self._authority = JoinAuthority(bytes(32), self.clock.date_s)
        self.start()

    def start(self) -> None:
        self.controller = Controller(EventLog(self.clock, self._storage), TokenGate(self._authority), self.clock)

    async def _call(self, method: str, message: object, node: str) -> bytes:
        call = Call(method=method, payload=encode(message), credential=self._authority.credential(node))
        async with aclosing(self.controller.handle(call)) as replies:
            return await anext(replies)

    async def join(self, member: Member) -> Snapshot:
        join = Join(token=self._authority.issue(member.id, 60), member=member, takes_changes=True)
        return decode(Joined, await self._call("join", join, member.id)).snapshot

    async def beat(self, member: Member, known: int) -> Beat:
        return decode(
            Beat, await self._call("heartbeat", Heartbeat(node=member.id, member=member, known_version=known, takes_changes=True), member.id)
        )


def test_a_controller_that_has_just_started_takes_nobody_off_the_doors_lists() -> None:
    def member(node: str, tier: Tier) -> Member:
        return Member(id=node, tier=tier, engine_address=node, door_url="", state="ready")

    async def main() -> None:
        lives = Lives()
        phone, edge = member("phone1", "device"), member("edge1", "edge")
        await lives.join(edge)
        known = (await lives.join(phone)).version
        lives.start()
        answer = await lives.beat(phone, known)
        assert (answer.snapshot, answer.changes) == (None, None), "it goes on with what it knows"
        await lives.clock.sleep(SETTLING_S)
        await lives.beat(edge, known)
        answer = await lives.beat(phone, known)
        assert answer.snapshot is not None
        assert [each.id for each in answer.snapshot.members] == ["edge1"]
        assert answer.snapshot.version > known

    run_virtual(main())


def test_a_report_of_a_thousand_links_is_still_read() -> None:
    links = {f"phone{number}-edge1 up": number for number in range(1000)}
    declared = {"edge1": "a server", **{f"phone{number}": "a phone" for number in range(1000)}}
    report = summarise([], scenario="big", seed=1, duration_s=1.0, events=0, link_bytes=links, declared=declared)
    lines = render(report).splitlines()
    assert len(lines) < 50
    assert sum("of payload" in line for line in lines) == 32
    assert any("link phone999-edge1 up" in line for line in lines)
    assert any("968 directions" in line for line in lines)
    assert [line.split(":")[0].strip() for line in lines if "a phone" in line] == ["timing of phone0 and 999 more"]
    assert sum("a server" in line for line in lines) == 1
