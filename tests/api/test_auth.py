"""The guard before every route: who gets in, what the others are told, and what is left of them."""

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from netgpt.api.app import create_door_app
from netgpt.api.auth import OPEN_PATHS, USE_PATHS, USE_PREFIX, VIEW_PATHS, Guard, Guarded, needed_scope
from netgpt.api.control import create_control_app
from netgpt.api.key_file import KEYS, KeyFile
from netgpt.api.keys import KeyRing, KeyWishes, make_key, write_ring
from netgpt.api.links import create_links_app
from netgpt.controller.gate import TokenGate
from netgpt.controller.service import Controller
from netgpt.core.chance import SeededChance
from netgpt.core.clock import WallClock
from netgpt.core.storage import SimulatedStorage
from netgpt.inference.request import Answer, Delta
from netgpt.telemetry.events import EventLog
from netgpt.telemetry.metrics import Metrics
from netgpt.wire.identity import JoinAuthority
from netgpt.wire.shaper_network import LinkNetwork

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "netgpt-edge", "messages": [{"role": "user", "content": "Hello"}]}


class HandClock:
    def __init__(self) -> None:
        self.at_s = 100.0

    def now_s(self) -> float:
        return self.at_s

    def date_s(self) -> float:
        return 1e9 + self.at_s

    async def sleep(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)


class Keys:
    """A home's keys in memory, and servers that read them."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.storage = SimulatedStorage()
        self.ring = KeyRing()
        self.metrics = Metrics()

    def make(self, *scopes: str, **wishes: Any) -> str:
        entropy = bytes([len(self.ring.keys) + 1]) * 40
        secret, key = make_key(KeyWishes(scopes=scopes or ("use",), **wishes), entropy=entropy, taken=(), now_s=self.clock.date_s())
        self.write(self.ring.with_key(key))
        return secret

    def revoke(self, index: int) -> None:
        self.write(self.ring.revoke(self.ring.keys[index].id, self.clock.date_s()))

    def write(self, ring: KeyRing) -> None:
        self.ring = ring
        self.storage.replace(KEYS, write_ring(ring))

    def guard(self, bind: str = "127.0.0.1") -> Guard:
        return Guard(keys=KeyFile(self.storage, self.clock), clock=self.clock, bind=bind, metrics=self.metrics)

    def door(self, door: Any, bind: str = "127.0.0.1") -> Starlette:
        return create_door_app(
            door, node_id="device1", metrics=self.metrics, ready=lambda: True, chance=SeededChance(1), clock=self.clock, guard=self.guard(bind)
        )

    def controller(self) -> Starlette:
        clock = WallClock()
        return create_control_app(
            Controller(EventLog(clock, SimulatedStorage()), TokenGate(JoinAuthority(b"k" * 32, clock.date_s)), clock), guard=self.guard()
        )

    def shaper(self) -> Starlette:
        network = LinkNetwork([], full="hold")
        return create_links_app(SimpleNamespace(network=network, clock=self.clock), mode="stream", guard=self.guard())


@pytest.fixture
def keys() -> Keys:
    return Keys()


def calling(app: Starlette, work: Callable[[httpx.AsyncClient], Any], host: str = "localhost") -> Any:
    async def main() -> Any:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{host}") as client:
            return await work(client)

    return asyncio.run(main())


def get(app: Starlette, path: str, headers: Any = None, method: str = "GET", host: str = "localhost", **sent: Any) -> httpx.Response:
    return calling(app, lambda client: client.request(method, path, headers=headers, **sent), host)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def routes(app: Starlette) -> list[Route]:
    return [route for route in app.routes if isinstance(route, Route)]


def test_every_route_of_every_server_is_closed_unless_it_is_on_the_list(keys: Keys, scripted: Any) -> None:
    keys.make()
    for app in (keys.door(scripted([])), keys.controller(), keys.shaper()):
        for route in routes(app):
            path = route.path.replace("{name}", "auto").replace("{link}", "edge1-cloud1")
            for method in ("GET", "POST", "OPTIONS", "HEAD", "PATCH"):
                reply = get(app, path, method=method)
                assert (reply.status_code == 401) == (path not in OPEN_PATHS), (method, path)
            chosen = path in OPEN_PATHS | VIEW_PATHS | USE_PATHS or path.startswith((USE_PREFIX, "/api/v1/links/"))
            assert chosen, "a route whose scope nobody chose needs admin"
    assert needed_scope("/api/v1/links/edge1-cloud1") == "admin"
    assert {"/health", "/ready"} == OPEN_PATHS


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/v1", "//v1/models", "/v1/../metrics", "/%76%31/models", "/V1/models", "/health/", "/metrics/", "/docs"]
)
def test_a_path_that_nobody_thought_of_is_closed_too(path: str, keys: Keys, scripted: Any) -> None:
    keys.make()
    assert get(keys.door(scripted([])), path).status_code == 401
    assert needed_scope("/anything") == "admin"


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("use", {"/v1/models"}),
        ("view", {"/metrics", "/api/v1/nodes", "/api/v1/events"}),
        ("admin", {"/v1/models", "/metrics", "/api/v1/nodes", "/api/v1/events"}),
    ],
)
def test_a_scope_opens_what_it_names(scope: str, allowed: set[str], keys: Keys, scripted: Any) -> None:
    secret = keys.make(scope)
    door, controller = keys.door(scripted([])), keys.controller()
    for app, paths in ((door, ("/v1/models", "/metrics")), (controller, ("/metrics", "/api/v1/nodes", "/api/v1/events"))):
        for path in paths:
            reply = get(app, path, bearer(secret))
            assert reply.status_code == (200 if path in allowed else 403)
            if path not in allowed:
                assert reply.json()["error"]["code"] == "insufficient_scope"
                assert keys.ring.keys[0].id in reply.json()["error"]["message"]


def test_a_first_run_needs_no_key_and_the_first_key_closes_the_door_within_a_second(keys: Keys, scripted: Any) -> None:
    app = keys.door(scripted([]))
    assert get(app, "/v1/models").status_code == 200
    secret = keys.make()
    keys.clock.at_s += 1.0
    assert get(app, "/v1/models").status_code == 401
    assert get(app, "/v1/models", bearer(secret)).status_code == 200


def test_a_revoked_key_is_refused_within_a_second(keys: Keys, scripted: Any) -> None:
    old, new = keys.make(), keys.make()
    app = keys.door(scripted([]))
    assert [get(app, "/v1/models", bearer(one)).status_code for one in (old, new)] == [200, 200]
    keys.revoke(0)
    keys.clock.at_s += 1.0
    reply = get(app, "/v1/models", bearer(old))
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
    assert "revoked" in reply.json()["error"]["message"]
    assert get(app, "/v1/models", bearer(new)).status_code == 200


def test_an_expired_key_is_refused_and_does_not_open_the_door(keys: Keys, scripted: Any) -> None:
    secret = keys.make(lifetime_s=30.0)
    app = keys.door(scripted([]))
    assert get(app, "/v1/models", bearer(secret)).status_code == 200
    keys.clock.at_s += 30.0
    assert "expired" in get(app, "/v1/models", bearer(secret)).json()["error"]["message"]
    assert get(app, "/v1/models").status_code == 401


def test_a_door_beyond_loopback_is_never_open(keys: Keys, scripted: Any) -> None:
    app = keys.door(scripted([]), bind="0.0.0.0")
    assert get(app, "/v1/models").status_code == 401, "not even if its last key went after it was started"
    assert get(app, "/health").status_code == 200


def test_a_broken_key_file_lets_nobody_in(keys: Keys, scripted: Any) -> None:
    secret = keys.make()
    app = keys.door(scripted([]))
    keys.storage.replace(KEYS, b"{")
    keys.clock.at_s += 1.0
    for headers in (None, bearer(secret)):
        reply = get(app, "/v1/models", headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (500, "storage_failed")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": "Bearer ngpt_" + "A" * 43},
        {"Authorization": "Bearer " + "A" * 100_000},
        {"Authorization": "Bearer ngpt_" + "A" * 43 + "\n"},
        {"Authorization": "Bearer ngpt_" + "A" * 42 + "="},
        [(b"authorization", b"Bearer \xff\xfe\x00\x80")],
        [(b"authorization", "Bearer ngpt_пароль".encode())],
        [(b"authorization", b"Bearer ngpt_" + bytes(43))],
    ],
)
def test_wrong_keys_of_every_kind_get_one_answer(headers: Any, keys: Keys, scripted: Any) -> None:
    keys.make()
    reply = get(keys.door(scripted([])), CHAT, headers, "POST", json=HELLO)
    assert reply.status_code == 401
    told = reply.json()
    assert told["error"]["code"] == "invalid_api_key"
    assert told["error"]["type"] == "authentication_error"
    assert told["request_id"] == reply.headers["x-request-id"]
    assert "netgpt keys create" in told["hint"]
    assert reply.headers["www-authenticate"] == "Bearer"
    assert len(reply.content) < 600


def test_two_authorizations_are_none(keys: Keys, scripted: Any) -> None:
    secret = keys.make()
    headers = [("authorization", f"Bearer {secret}"), ("authorization", "Bearer other")]
    assert get(keys.door(scripted([])), "/v1/models", headers).status_code == 401


def test_the_scheme_is_read_as_rfc_9110_says(keys: Keys, scripted: Any) -> None:
    secret = keys.make()
    assert get(keys.door(scripted([])), "/v1/models", {"Authorization": f"bEARER  {secret}"}).status_code == 200


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}])
def test_a_web_page_cannot_make_a_loopback_door_compute(headers: Mapping[str, str], keys: Keys, scripted: Any) -> None:
    door = scripted([Delta(text="a", origin="edge1")])
    reply = get(keys.door(door), CHAT, {**headers, "Content-Type": "text/plain"}, "POST", content=b'{"model": "auto", "messages": []}')
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "origin_refused")
    assert door.seen == []


def test_no_reply_allows_another_origin_to_read_it(keys: Keys, scripted: Any) -> None:
    app = keys.door(scripted([]))
    for method, path in (("OPTIONS", CHAT), ("GET", "/v1/models")):
        reply = get(app, path, {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}, method)
        assert not [name for name in reply.headers if name.startswith("access-control")]


def test_a_rate_is_kept_and_told_as_openais_clients_read_it(keys: Keys, scripted: Any, answer: tuple[Answer, ...]) -> None:
    secret = keys.make(rate_per_minute=2)
    app = keys.door(scripted(answer))
    replies = [get(app, CHAT, bearer(secret), "POST", json=HELLO) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert [reply.headers.get("x-ratelimit-remaining-requests") for reply in replies[:2]] == ["1", "0"]
    assert replies[2].json()["error"]["code"] == "rate_limit_exceeded"
    assert replies[2].json()["error"]["type"] == "rate_limit_error"
    assert replies[2].headers["retry-after"] == "30"
    keys.clock.at_s += 30
    assert get(app, CHAT, bearer(secret), "POST", json=HELLO).status_code == 200


def test_requests_at_once_are_bounded_and_a_client_that_leaves_frees_its_place(keys: Keys, scripted: Any, answer: tuple[Answer, ...]) -> None:
    secret = keys.make(concurrency=1)

    async def work(client: httpx.AsyncClient) -> None:
        first = asyncio.ensure_future(client.post(CHAT, json=HELLO, headers=bearer(secret)))
        await door.opened.wait()
        second = await client.get("/v1/models", headers=bearer(secret))
        assert (second.status_code, second.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert (await client.get("/v1/models", headers=bearer(secret))).status_code == 200

    door = scripted([60.0])
    calling(keys.door(door), work)


def test_a_body_that_is_declared_too_large_is_refused_before_it_is_read(keys: Keys, scripted: Any) -> None:
    reply = get(keys.door(scripted([])), CHAT, {"Content-Length": str(10**12)}, "POST", content=b"{}")
    assert reply.status_code == 413


def test_the_request_carries_its_keys_id_to_the_door(keys: Keys, scripted: Any, answer: tuple[Answer, ...]) -> None:
    door = scripted(answer)
    app = keys.door(door)
    get(app, CHAT, None, "POST", json=HELLO)
    secret = keys.make()
    keys.clock.at_s += 1
    get(app, CHAT, bearer(secret), "POST", json={**HELLO, "key": "mine"})
    assert [request.key for request in door.seen] == ["", keys.ring.keys[0].id]


def test_refusals_are_counted_by_code_and_name_no_key(keys: Keys, scripted: Any) -> None:
    app = keys.door(scripted([]))
    secret = keys.make("admin")
    keys.clock.at_s += 1
    for number in range(5):
        get(app, "/v1/models", bearer(f"ngpt_{number}"))
    text = get(app, "/metrics", bearer(secret)).text
    assert 'netgpt_refusals_total{code="invalid_api_key"} 5.0' in text
    assert secret not in text
    assert keys.ring.keys[0].id not in text


def test_many_wrong_keys_take_no_memory(keys: Keys) -> None:
    keys.make(rate_per_minute=5)
    guard = keys.guard()

    async def nothing(*_: Any) -> None: ...

    async def knock(numbers: range) -> None:
        app = Guarded(nothing, guard=guard)
        for number in numbers:
            headers = [(b"host", b"localhost"), (b"authorization", b"Bearer ngpt_%043d" % number)]
            await app({"type": "http", "path": CHAT, "method": "POST", "headers": headers, "netgpt.request_id": "req-1"}, nothing, nothing)  # type: ignore[arg-type]

    asyncio.run(knock(range(50)))
    gc.collect()
    tracemalloc.start()
    try:
        asyncio.run(knock(range(2000)))
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


def test_a_websocket_is_judged_like_a_request(keys: Keys) -> None:
    secret = keys.make("admin")
    reached: list[str] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["netgpt.key"])

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        guarded = Guarded(app, guard=keys.guard())
        for headers in ([], [(b"authorization", f"Bearer {secret}".encode())]):
            await guarded({"type": "websocket", "path": "/console", "headers": [(b"host", b"localhost"), *headers]}, send, send)  # type: ignore[arg-type]

    asyncio.run(main())
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "invalid_api_key"}]
    assert reached == [keys.ring.keys[0].id]


def test_openais_client_sees_its_own_errors(keys: Keys, scripted: Any, serving: Any, answer: tuple[Answer, ...]) -> None:
    good, viewer = keys.make(rate_per_minute=2), keys.make("view")

    async def main() -> None:
        async with serving(keys.door(scripted(answer))) as url:

            def client(secret: str) -> openai.AsyncOpenAI:
                return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=secret, max_retries=0)

            async with client("wrong") as unknown, client(viewer) as watching, client(good) as known:
                with pytest.raises(openai.AuthenticationError) as caught:
                    await unknown.chat.completions.create(**HELLO)
                assert caught.value.code == "invalid_api_key"
                with pytest.raises(openai.PermissionDeniedError):
                    await watching.chat.completions.create(**HELLO)
                raw = await known.chat.completions.with_raw_response.create(**HELLO)
                assert raw.headers["x-ratelimit-limit-requests"] == "2"
                assert (await known.models.list()).data
                with pytest.raises(openai.RateLimitError):
                    await known.chat.completions.create(**HELLO)

    asyncio.run(main())
