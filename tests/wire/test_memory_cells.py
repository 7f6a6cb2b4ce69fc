"""Calls over the cells of the simulated world: devices share the air, queues are bounded, handovers lose nothing."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from netgpt.core.clock import VirtualClock, run_virtual
from netgpt.core.errors import NodeUnreachable
from netgpt.core.scheduling import TaskOwner
from netgpt.core.transport import Call
from netgpt.network.link import Link, Ways
from netgpt.network.radio import Radio
from netgpt.network.scenario_file import parse_scenario
from netgpt.network.service import ConstantRate
from netgpt.network.wired import OneWay
from netgpt.wire.memory_transport import DETECTION_S, MemoryNetwork
from netgpt.wire.segments import charged_bytes

from .worlds import replies

SITE = """
[[node]]
id = "edge{number}"
tier = "edge"
model = "m"
profile = "edge-server"
[[cell]]
id = "cell{number}"
at = "edge{number}"
bandwidth = "20MHz"
tdd = "DDDSU"
{keys}
"""
DEVICES = """
[[node]]
id = "ue"
count = {count}
tier = "device"
model = "m"
profile = "phone"
[[attach]]
node = "ue"
cell = "cell1"
efficiency_up = 3.0
efficiency_down = 4.0
{handover}
"""
PIECE = 5000  # bytes of an upload
XN_S = 0.002  # between the sites


class Sites:
    """Two sites with a cell each, devices in the first one, and a link between."""

    def __init__(self, count: int = 2, *, keys: str = "", handover: str = "", queue_s: float = math.inf) -> None:
        text = "".join(SITE.format(number=number, keys=keys) for number in (1, 2)) + DEVICES.format(count=count, handover=handover)
        self.radio = Radio(parse_scenario(text, where="two-sites.toml"), seed=1)
        xn = OneWay(service=ConstantRate(8e6), delay_s=XN_S, queue_s=queue_s)
        self.link = Link(("edge1", "edge2"), up=xn, down=xn)
        self.network = MemoryNetwork(VirtualClock(), Ways([self.link], self.radio))
        self.uploaded: Counter[str] = Counter()  # bytes of payload by who sent them
        self.work = TaskOwner()

    async def listen(self, node: str) -> None:
        async def take(call: Call) -> AsyncGenerator[bytes, None]:
            self.uploaded[call.credential] += len(call.payload)
            yield b""

        await self.network.transport(node).listen(node, take)

    def upload(self, source: str, target: str = "edge1", size: int = PIECE, calls: int = 4, name: str = "") -> None:
        """Keep a node's queue full, with prompts; they are counted under a name, by default the node's."""

        async def forever() -> None:
            while True:
                await replies(self.network.transport(source).connect(target, credential=name or source), "embed", bytes(size))

        for number in range(calls):
            self.work.spawn(forever(), name=f"{source}-{number}")

    async def rates(self, duration_s: float) -> dict[str, float]:
        """Bytes a second of each uploader, once all are at work."""
        await asyncio.sleep(0.5)
        self.uploaded.clear()
        await asyncio.sleep(duration_s)
        return {source: count / duration_s for source, count in self.uploaded.items()}


def on_sites(story: Callable[[Sites], Awaitable[None]], count: int = 2, **given: object) -> None:
    async def main() -> None:
        sites = Sites(count, **given)  # type: ignore[arg-type]
        await story(sites)
        await sites.work.close()

    run_virtual(main())


def uploading(count: int, duration_s: float) -> dict[str, float]:
    rates: dict[str, float] = {}

    async def story(sites: Sites) -> None:
        await sites.listen("edge1")
        for number in range(1, count + 1):
            sites.upload(f"ue{number}")
        rates.update(await sites.rates(duration_s))

    on_sites(story, 20)
    return rates


def test_twenty_devices_share_what_one_would_have() -> None:
    alone, shared = uploading(1, 4.0), uploading(20, 12.0)
    assert len(shared) == 20
    assert sum(shared.values()) == pytest.approx(alone["ue1"], rel=0.03)
    assert min(shared.values()) > 0.95 * alone["ue1"] / 20
    assert max(shared.values()) < 1.05 * alone["ue1"] / 20


def test_a_users_rate_falls_when_a_neighbour_uploads() -> None:
    alone, both = uploading(1, 4.0), uploading(2, 4.0)
    assert both["ue1"] == pytest.approx(alone["ue1"] / 2, rel=0.05)


def new_message_s(sites: Sites, source: str, target: str, qos: str = "standard") -> Awaitable[float]:
    """How long a small prompt takes to come, whatever waits."""

    async def came(call: Call) -> AsyncGenerator[bytes, None]:
        arrived.set_result(asyncio.get_running_loop().time())
        yield b""

    arrived: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def send() -> float:
        listener = await sites.network.transport(target).listen(f"{target}:small", came)
        sent_s = asyncio.get_running_loop().time()
        async for _ in sites.network.transport(source).connect(f"{target}:small").call("embed", bytes(64), deadline_s=60, qos=qos):
            break
        await listener.close()
        return await arrived - sent_s

    return send()


def test_ahead_of_a_new_message_there_is_at_most_the_stated_queue_of_a_link() -> None:
    async def story(sites: Sites) -> None:
        await sites.listen("edge2")
        sites.upload("edge1", "edge2", size=300_000)
        await asyncio.sleep(1.0)
        took_s = await new_message_s(sites, "edge1", "edge2")
        own_s, segment_s = 8 * charged_bytes(64) / 8e6 + XN_S, 8 * 1500 / 8e6
        assert 0.05 < took_s <= 0.1 + segment_s + own_s
        assert (await sites.rates(3.0))["edge1"] == pytest.approx(1e6 * 1448 / 1500, rel=0.12), "the link is never idle; whole uploads count"

    on_sites(story, queue_s=0.1)


def test_senders_who_wait_for_one_queue_take_turns() -> None:
    async def story(sites: Sites) -> None:
        await sites.listen("edge2")
        for name in ("one", "other"):
            sites.upload("edge1", "edge2", size=400_000, calls=1, name=name)
        await asyncio.sleep(1.0)
        began_s = asyncio.get_running_loop().time()
        await replies(sites.network.transport("edge1").connect("edge2"), "embed", bytes(40_000))
        took_s, alone_s = asyncio.get_running_loop().time() - began_s, 8 * charged_bytes(40_000) / 8e6
        assert took_s == pytest.approx(3 * alone_s + 0.05, abs=0.02), "a third of the rate, behind what is queued; the others have 800 kB to send"
        rates = await sites.rates(12.0)
        assert rates["one"] == pytest.approx(rates["other"], rel=0.1)

    on_sites(story, queue_s=0.05)


def test_ahead_of_a_new_message_there_is_at_most_the_stated_queue_of_a_cell() -> None:
    async def story(sites: Sites) -> None:
        await sites.listen("edge1")
        sites.upload("ue1", size=300_000)
        await asyncio.sleep(1.0)
        took_s = await new_message_s(sites, "ue1", "edge1")
        assert 0.02 < took_s <= 0.1 + 0.03, "30 ms: its own time on the air, and a piece that went in when there was room"

    on_sites(story, keys='queue = "100ms"')


@pytest.mark.parametrize("scheduler", ["proportional-fair", "strict-priority", "delay-aware"])
def test_what_an_interactive_user_asks_goes_before_what_others_have_waiting(scheduler: str) -> None:
    took_s: dict[str, float] = {}

    async def story(sites: Sites) -> None:
        await sites.listen("edge1")
        for device in ("ue1", "ue2", "ue3"):
            sites.upload(device, size=100_000)
        await asyncio.sleep(1.0)
        for qos in ("interactive", "standard"):
            took_s[qos] = await new_message_s(sites, "ue1", "edge1", qos)

    on_sites(story, 3, keys=f'queue = "300ms"\nscheduler = "{scheduler}"')
    assert took_s["standard"] > 0.15
    assert took_s["interactive"] < 0.03


@pytest.mark.parametrize("queue", ["", 'queue = "20ms"'])
def test_a_handover_in_the_middle_of_streams_loses_nothing_and_keeps_their_order(queue: str) -> None:
    count, asked = 400, 40

    async def story(sites: Sites) -> None:
        async def stream(call: Call) -> AsyncGenerator[bytes, None]:
            for number in range(count):
                await asyncio.sleep(0.005)
                yield number.to_bytes(2, "big") + bytes(1500)  # more than there is air for

        async def echo(call: Call) -> AsyncGenerator[bytes, None]:
            yield call.payload

        async def download(device: str) -> list[int]:
            got = sites.network.transport(device).connect("edge1:stream").call("generate", b"", deadline_s=60)
            return [int.from_bytes(reply[:2], "big") async for reply in got]

        async def ask(device: str) -> list[bytes]:
            connection = sites.network.transport(device).connect("edge1:echo")
            return [(await replies(connection, "embed", bytes([number]) * 9000, deadline_s=60))[0] for number in range(asked)]

        edge = sites.network.transport("edge1")
        await edge.listen("edge1:stream", stream)
        await edge.listen("edge1:echo", echo)
        first, second, answers = await asyncio.gather(download("ue1"), download("ue2"), ask("ue1"))
        assert first == second == [*range(count)]
        assert answers == [bytes([number]) * 9000 for number in range(asked)]
        assert sites.radio.handovers == 4
        assert sites.radio.site("ue1") == "edge1"

    handover = '[[attach.handover]]\nat = "700ms"\nto = "cell2"\n[[attach.handover]]\nat = "1100ms"\nto = "cell1"\n'
    on_sites(story, keys=queue, handover=handover)


def test_a_failed_cell_breaks_calls_off_and_serves_again_when_it_is_mended() -> None:
    async def story(sites: Sites) -> None:
        async def slow(call: Call) -> AsyncGenerator[bytes, None]:
            for _ in range(100):
                yield b"x"
                await asyncio.sleep(0.1)

        await sites.network.transport("edge1").listen("edge1", slow)
        await sites.listen("edge2")
        connection = sites.network.transport("ue1").connect("edge1")
        got = connection.call("generate", b"", deadline_s=60)
        await anext(got)
        failed_s = asyncio.get_running_loop().time()
        sites.network.fail("cell1", 10.0)
        with pytest.raises(NodeUnreachable):
            await anext(got)
        assert asyncio.get_running_loop().time() == pytest.approx(failed_s + DETECTION_S)
        with pytest.raises(NodeUnreachable):
            await replies(connection, "generate")
        assert await replies(sites.network.transport("edge1").connect("edge2"), "stats") == [b""], "others do not notice"
        await asyncio.sleep(failed_s + 10.0 - asyncio.get_running_loop().time())
        sites.network.mend("cell1")
        assert len(await replies(connection, "generate", deadline_s=60)) == 100
        assert sites.network.in_flight == 0

    on_sites(story)
