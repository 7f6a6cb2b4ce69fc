import asyncio
import json
import socket
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import uvloop

from netgpt.api.server import DRAIN_S, listen, serve_http
from netgpt.core.errors import PortInUse, UsageError
from netgpt.inference.request import Answer, Delta

STREAM = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}], "stream": True}


def test_a_port_in_use_is_named_with_the_next_step(scripted: Any, door_app: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(PortInUse, match=str(port)) as caught:
            asyncio.run(serve_http(door_app(scripted([])), host="127.0.0.1", port=port, ready=lambda _: None, stop=asyncio.Event()))
        assert str(port) in caught.value.hint


def test_accepted_connections_send_small_parts_at_once() -> None:
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("127.0.0.1", 70_000)])
def test_an_address_that_cannot_be_used_is_a_usage_error(host: str, port: int, scripted: Any, door_app: Any) -> None:
    with pytest.raises(UsageError):
        asyncio.run(serve_http(door_app(scripted([])), host=host, port=port, ready=lambda _: None, stop=asyncio.Event()))


def test_an_idle_server_stops_at_once_and_frees_its_port(scripted: Any, door_app: Any) -> None:
    async def main() -> None:
        stop, ports = asyncio.Event(), []

        def ready(port: int) -> None:
            ports.append(port)
            stop.set()

        async with asyncio.timeout(DRAIN_S):
            await serve_http(door_app(scripted([])), host="127.0.0.1", port=0, ready=ready, stop=stop)
        socket.create_server(("127.0.0.1", ports[0])).close()

    asyncio.run(main())


def test_an_answer_in_flight_may_end_while_the_server_stops(scripted: Any, door_app: Any, answer: tuple[Answer, ...]) -> None:
    async def main() -> None:
        stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
        door = scripted([0.5, *answer])
        serving = asyncio.ensure_future(serve_http(door_app(door), host="127.0.0.1", port=0, ready=port.set_result, stop=stop))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{await port}") as client:
            reply = asyncio.ensure_future(client.post("/v1/chat/completions", json=STREAM))
            await door.opened.wait()
            stop.set()
            assert (await reply).text.endswith("data: [DONE]\n\n")
        await serving

    asyncio.run(main())


def test_a_stream_that_goes_on_is_cut_when_the_drain_is_over(scripted: Any, door_app: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
        door = scripted([Delta(text="a", origin="edge1"), 60.0])
        serving = asyncio.ensure_future(serve_http(door_app(door), host="127.0.0.1", port=0, ready=port.set_result, stop=stop))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{await port}") as client:
            reply = asyncio.ensure_future(client.post("/v1/chat/completions", json=STREAM))
            await door.opened.wait()
            stop.set()
            async with asyncio.timeout(DRAIN_S + 1.5):
                await serving
            assert door.open == 0
            with pytest.raises(httpx.RemoteProtocolError):
                await reply

    asyncio.run(main())
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_cancelled_server_frees_its_port(scripted: Any, door_app: Any) -> None:
    async def main() -> None:
        port = asyncio.get_running_loop().create_future()
        serving = asyncio.ensure_future(serve_http(door_app(scripted([])), host="127.0.0.1", port=0, ready=port.set_result, stop=asyncio.Event()))
        number = await port
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        socket.create_server(("127.0.0.1", number)).close()

    asyncio.run(main())


def test_connections_that_come_at_once_are_accepted_in_few_turns(scripted: Any, door_app: Any) -> None:
    async def main() -> int:
        stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
        door, turns = scripted([60.0]), 0
        serving = asyncio.ensure_future(serve_http(door_app(door), host="127.0.0.1", port=0, ready=port.set_result, stop=stop))
        body = json.dumps(STREAM).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        with ExitStack() as stack:
            for client in [stack.enter_context(socket.create_connection(("127.0.0.1", await port))) for _ in range(32)]:
                client.sendall(head + body)
            while door.open < 32:
                turns += 1
                await asyncio.sleep(0)
        stop.set()
        await serving
        return turns

    assert uvloop.run(asyncio.wait_for(main(), 30)) < 16, "not one a turn"
