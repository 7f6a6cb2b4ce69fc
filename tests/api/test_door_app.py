"""The door's HTTP surface over real sockets: OpenAI's own client, every error, and clients that leave."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from netgpt.core.errors import InvalidRequest, NodeUnreachable, Overloaded
from netgpt.inference.request import Answer, Delta

HELLO: dict[str, Any] = {"model": "netgpt-edge", "messages": [{"role": "user", "content": "Hello"}]}
CHAT = "/v1/chat/completions"
WAIT = 60.0  # of a scripted door; longer than any test


def test_openais_async_client_reads_answers_streams_and_models(scripted: Any, door_app: Any, serving: Any, answer: tuple[Answer, ...]) -> None:
    async def main() -> None:
        async with serving(door_app(scripted(answer))) as url, openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="-") as client:
            whole = await client.chat.completions.create(**HELLO, extra_body={"privacy": "device-only"})
            assert whole.choices[0].message.content == "Grüß dich"
            assert whole._request_id == whole.id
            assert whole.id.startswith("chatcmpl-")
            stream = await client.chat.completions.create(**HELLO, stream=True, stream_options={"include_usage": True})
            chunks = [chunk async for chunk in stream]
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Grüß dich"
            assert chunks[-1].usage is not None
            assert (chunks[-1].model_extra or {})["netgpt"]["entry"] == "device1"
            models = [model async for model in client.models.list()]
            assert [model.id for model in models] == ["netgpt-edge", "auto"]
            assert (await client.models.retrieve("netgpt-edge")).owned_by == "netgpt"

    asyncio.run(main())


def test_openais_sync_client_reads_answers_and_streams(scripted: Any, door_app: Any, serving: Any, answer: tuple[Answer, ...]) -> None:
    def talk(url: str) -> tuple[str | None, str]:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="-") as client:
            whole = client.chat.completions.create(**HELLO, seed=3, stop=["x"], logprobs=True)
            stream = client.chat.completions.create(**HELLO, stream=True)
            return whole.choices[0].message.content, "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    async def main() -> None:
        async with serving(door_app(scripted(answer))) as url:
            assert await asyncio.to_thread(talk, url) == ("Grüß dich", "Grüß dich")

    asyncio.run(main())


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_before_the_first_text_is_a_plain_error_reply(stream: bool, scripted: Any, door_app: Any, serving: Any) -> None:
    async def main() -> None:
        door = scripted([Overloaded("full", hint="come back", retry_after_s=2.5)])
        async with serving(door_app(door)) as url, httpx.AsyncClient(base_url=url) as client:
            reply = await client.post(CHAT, json={**HELLO, "stream": stream})
            assert reply.status_code == 503
            assert reply.headers["retry-after"] == "3"
            assert reply.json() == Overloaded("full", hint="come back").body(reply.headers["x-request-id"])

    asyncio.run(main())


def test_an_error_after_some_text_is_the_streams_last_frame(scripted: Any, door_app: Any, serving: Any) -> None:
    async def main() -> None:
        door = scripted([Delta(text="half", origin="edge1"), NodeUnreachable("edge1 is lost")])
        async with serving(door_app(door)) as url:
            async with httpx.AsyncClient(base_url=url) as client:
                text = (await client.post(CHAT, json={**HELLO, "stream": True})).text
                last = json.loads(text.removesuffix("\n\n").rpartition("data: ")[2])
                assert last["error"]["code"] == "node_unreachable"
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as client:
                with pytest.raises(openai.APIError, match="edge1 is lost"):
                    async for _ in await client.chat.completions.create(**HELLO, stream=True):
                        pass

    asyncio.run(main())


def test_an_unexpected_failure_says_nothing_of_its_cause(scripted: Any, door_app: Any, serving: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(door_app(scripted([RuntimeError("secret")]))) as url, httpx.AsyncClient(base_url=url) as client:
            reply = await client.post(CHAT, json=HELLO)
            assert reply.status_code == 500
            assert reply.json()["error"]["code"] == "internal_error"
            assert reply.json()["request_id"] == reply.headers["x-request-id"]
            assert "secret" not in reply.text

    asyncio.run(main())
    assert "secret" in caplog.text  # the server's own log has it


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nowhere", b"", 404, "invalid_request"),
        ("GET", "/v1/models/", b"", 404, "invalid_request"),
        ("GET", "/v1/models/gpt-9", b"", 404, "model_not_found"),
        ("GET", CHAT, b"", 405, "invalid_request"),
        ("POST", "/health", b"", 405, "invalid_request"),
        ("POST", CHAT, b"", 400, "invalid_request"),
        ("POST", CHAT, b"{", 400, "invalid_request"),
        ("POST", CHAT, b"\xff\xfe", 400, "invalid_request"),
        ("POST", CHAT, b"[" * 100_000, 400, "invalid_request"),
        ("POST", CHAT, b"[]", 400, "invalid_request"),
        ("POST", CHAT, b'{"model": "\\ud800"}', 400, "invalid_request"),
        ("POST", CHAT, b" " * (1 << 20) + b"{}", 413, "invalid_request"),
    ],
)
def test_every_refusal_has_one_shape(method: str, path: str, body: bytes, status: int, code: str, scripted: Any, door_app: Any, serving: Any) -> None:
    async def main() -> None:
        async with serving(door_app(scripted([]))) as url, httpx.AsyncClient(base_url=url) as client:
            reply = await client.request(method, path, content=body)
            assert reply.status_code == status
            told = reply.json()
            assert told.keys() == {"error", "request_id", "hint"}
            assert told["error"].keys() == {"message", "type", "param", "code"}
            assert told["error"]["code"] == code
            assert told["hint"]
            assert told["request_id"] == reply.headers["x-request-id"]
            assert ("allow" in reply.headers) == (status == 405)

    asyncio.run(main())


@pytest.mark.parametrize(("body", "why"), [(b'{"seed":' + b"9" * 5000 + b"}", "too many digits"), (b"[" * 100_000, "nested too deeply")])
def test_what_is_wrong_with_a_body_is_said_to_who_sent_it_and_not_to_who_runs_the_door(
    body: bytes, why: str, scripted: Any, door_app: Any, serving: Any
) -> None:
    async def main() -> None:
        async with serving(door_app(scripted([]))) as url, httpx.AsyncClient(base_url=url) as client:
            message = (await client.post(CHAT, content=body)).json()["error"]["message"]
            assert why in message
            assert "sys." not in message
            assert "recursion" not in message

    asyncio.run(main())


def test_a_content_type_does_not_matter_and_a_clients_id_is_not_used(scripted: Any, door_app: Any, serving: Any, answer: tuple[Answer, ...]) -> None:
    async def main() -> None:
        door = scripted(answer)
        async with serving(door_app(door)) as url, httpx.AsyncClient(base_url=url) as client:
            headers = {"content-type": "text/plain", "x-request-id": "mine"}
            first = await client.post(CHAT, content=json.dumps(HELLO), headers=headers)
            second = await client.post(CHAT, content=json.dumps(HELLO), headers=headers)
            ids = [request.request_id for request in door.seen]
            assert ids == [first.headers["x-request-id"], second.headers["x-request-id"]] == [first.json()["id"], second.json()["id"]]
            assert len({*ids, "mine"}) == 3

    asyncio.run(main())


def test_one_failed_choice_ends_the_others_and_the_stream(scripted: Any, door_app: Any, serving: Any) -> None:
    async def main() -> None:
        door = scripted([Delta(text="half", origin="edge1"), 0.05, NodeUnreachable("edge1 is lost")])
        async with serving(door_app(door)) as url, httpx.AsyncClient(base_url=url) as client:
            frames = (await client.post(CHAT, json={**HELLO, "stream": True, "n": 3})).text.split("\n\n")[:-1]
            told = [json.loads(frame.removeprefix("data: ")) for frame in frames]
            assert {choice["index"] for frame in told[:-1] for choice in frame["choices"]} == {0, 1, 2}
            assert told[-1]["error"]["code"] == "node_unreachable"
            reply = await client.post(CHAT, json={**HELLO, "n": 3})
            assert reply.status_code == 503
            assert door.open == 0

    asyncio.run(main())


@pytest.mark.parametrize("chars", [1, 200_000])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_closes_the_door_at_once(stream: bool, chars: int, scripted: Any, door_app: Any, serving: Any) -> None:
    async def main() -> None:
        door = scripted([Delta(text="a", origin="edge1"), WAIT])
        async with serving(door_app(door)) as url:
            body = json.dumps({**HELLO, "messages": [{"role": "user", "content": "x" * chars}], "stream": stream}).encode()
            host, port = httpx.URL(url).host, httpx.URL(url).port
            _, writer = await asyncio.open_connection(host, port)
            writer.write(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body)) + body)
            await asyncio.wait_for(door.opened.wait(), 5)
            writer.close()
            await writer.wait_closed()
            await asyncio.wait_for(door.closed.wait(), 1)
            assert door.open == 0

    asyncio.run(main())


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_a_server_without_our_way_to_tell_closes_the_door_too(stream: bool, scripted: Any, door_app: Any) -> None:
    async def main() -> None:
        door = scripted([Delta(text="a", origin="edge1"), WAIT])
        body = json.dumps({**HELLO, "stream": stream}).encode()
        messages = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]

        async def receive() -> Any:
            if len(messages) == 1:
                await door.opened.wait()
            return messages.pop(0)

        async def send(_: Any) -> None: ...

        scope = {"type": "http", "method": "POST", "path": CHAT, "headers": [(b"host", b"localhost")]}
        async with asyncio.timeout(5):
            await door_app(door)(scope, receive, send)
        assert door.open == 0

    asyncio.run(main())


def test_a_client_that_stops_reading_frees_its_slot(scripted: Any, door_app: Any, serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netgpt.api.connection.STALLED_AFTER_S", 0.2)

    async def main() -> None:
        door = scripted([Delta(text="x" * 1_000_000, origin="edge1")] * 50)
        async with serving(door_app(door)) as url:
            body = json.dumps({**HELLO, "stream": True}).encode()
            _, writer = await asyncio.open_connection(httpx.URL(url).host, httpx.URL(url).port, limit=1)
            writer.write(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body)) + body)
            await asyncio.wait_for(door.closed.wait(), 10)
            writer.transport.abort()

    asyncio.run(main())


def test_health_readiness_and_metrics(scripted: Any, door_app: Callable[..., Any], serving: Any) -> None:
    async def main() -> None:
        for ready, status in ((True, 200), (False, 503)):
            async with serving(door_app(scripted([]), ready=ready)) as url, httpx.AsyncClient(base_url=url) as client:
                assert (await client.get("/health")).json() == {"status": "ok", "node": "device1"}
                reply = await client.get("/ready")
                assert reply.status_code == status
                assert ("retry-after" in reply.headers) == (not ready)
                text = await client.get("/metrics")
                assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
                assert "netgpt_requests_running 0.0" in text.text
                assert all("x-request-id" in r.headers for r in (reply, text))

    asyncio.run(main())


def test_a_refusal_names_the_parameter(scripted: Any, door_app: Any, serving: Any) -> None:
    async def main() -> None:
        async with serving(door_app(scripted([]))) as url, openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="-") as client:
            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(**HELLO, n=17)
            assert caught.value.param == "n"
            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(**HELLO, extra_body={"privacy": "cloud"})
            assert caught.value.param == "privacy"
            assert caught.value.code == InvalidRequest.code

    asyncio.run(main())
