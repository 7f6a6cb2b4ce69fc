"""A client hears of nodes by their names: neither their addresses nor those of the servers behind them."""

from __future__ import annotations

import asyncio

import pytest

from netgpt.core.clock import WallClock
from netgpt.core.errors import DeadlineExceeded, NetgptError, NodeUnreachable, Overloaded
from netgpt.models.generation import GREEDY
from netgpt.models.tokenizer import ByteTokenizer
from netgpt.network.member import Member
from netgpt.node.handle import NodeHandle
from netgpt.node.session import Session
from netgpt.node.told import name_node
from netgpt.wire.grpc_transport import GrpcTransport
from netgpt.wire.messages import PROTOCOL_VERSION

NOWHERE = "127.0.0.1:9"  # discard: nobody listens there


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("'generate' at 127.0.0.1:35911 took longer than 0.01 s", "'generate' at edge1 took longer than 0.01 s"),
        ("[2001:db8::2]:7001 does not answer: ipv4:10.0.0.2:7001: refused", "edge1 does not answer: edge1: refused"),
        ("http://10.1.2.3:8000/v1 does not answer", "edge1 does not answer"),
        ("https://models.example.org/v1 answers 500: out of memory", "edge1 answers 500: out of memory"),
        ("8 calls wait for 2 slots of 'qwen:2.5' at 12:30", "8 calls wait for 2 slots of 'qwen:2.5' at 12:30"),
    ],
)
def test_addresses_give_way_to_the_name_and_other_words_stay(message: str, told: str) -> None:
    error = name_node(Overloaded(message, hint="wait", retry_after_s=3), "edge1")
    assert (error.message, str(error), error.hint) == (told, told, "wait")


def test_a_deadline_is_the_requests_own() -> None:
    error = name_node(DeadlineExceeded("'generate' at 127.0.0.1:1 took longer than 1 s", hint="see the load: netgpt ps"), "edge1")
    assert (error.param, error.message) == ("deadline_s", "node 'edge1' did not finish its answer in time")
    assert "deadline_s" in error.hint
    assert error.message == "node 'edge1' did not finish its answer in time"


@pytest.mark.parametrize("method", ["generate", "embed"])
def test_a_node_that_is_gone_is_named(method: str) -> None:
    async def main() -> NetgptError:
        member = Member(
            id="edge1", tier="edge", engine_address=NOWHERE, door_url="-", model="m", tokenizer=ByteTokenizer.hash, protocol_version=PROTOCOL_VERSION
        )
        connection = GrpcTransport().connect(NOWHERE)
        handle = NodeHandle(member, connection, ByteTokenizer(), WallClock(), is_entry=False)
        session = Session(
            id="s", prompt_ids=(1,), tokenizer=ByteTokenizer.hash, max_tokens=1, sampling=GREEDY, stop_ids=(), deadline_s=WallClock().now_s() + 20
        )
        try:
            with pytest.raises(NodeUnreachable) as caught:
                await (anext(handle.generate(session)) if method == "generate" else handle.embed(session))
        finally:
            await connection.close()
        return caught.value

    error = asyncio.run(main())
    assert "edge1 does not answer" in error.message
    assert "127.0.0.1" not in error.message
