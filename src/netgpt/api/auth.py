"""Who may call which route: the middleware before every route of doors and of the controller.

Deny is the default. `OPEN_PATHS` answer anybody; every other path needs a key whose scopes cover it, also a path that does
not exist, so that a route is never open because nobody thought of it. While no key was ever made and the server is bound
to loopback, all of this machine may call: a first run needs no account.

It decides before a byte of the body is read, at the cost of one hash and one look-up. Of a key it tells others the id alone.
`/ready` is open since supervisors and balancers that hold no key ask it, and it says only whether a model can answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netgpt.api.connection import MAX_BODY_BYTES
from netgpt.api.hosts import HostRule, is_loopback
from netgpt.api.key_file import KeyFile
from netgpt.api.keys import ApiKey
from netgpt.api.limits import KeyLimits
from netgpt.api.reply import DOCS_PATH, OPENAPI_PATH, PLAN_PATH, REQUEST_ID, BodyTooLarge, error_response
from netgpt.core.clock import Clock, WallClock
from netgpt.core.errors import KeyRefused, NetgptError, ScopeMissing
from netgpt.core.storage import SimulatedStorage
from netgpt.core.units import format_bytes
from netgpt.telemetry.metrics import Metrics

KEY_ID = "netgpt.key"  # where a request's ASGI scope has the id of its key; empty while all is open
OPEN_PATHS = frozenset({"/health", "/ready"})
VIEW_PATHS = frozenset({"/metrics", "/api/v1/nodes", "/api/v1/events", "/api/v1/links"})
USE_PREFIX = "/v1/"
USE_PATHS = frozenset({OPENAPI_PATH, DOCS_PATH, PLAN_PATH})  # what is under the prefix, described; and what it would choose
POLICY_VIOLATION = 1008  # RFC 6455: why a WebSocket is closed
_MAX_HEADER_BYTES = 512  # of an Authorization; ours have 55
_MAKE_ONE = "send 'Authorization: Bearer ngpt_...', or set NETGPT_API_KEY for a command; the operator makes keys: netgpt keys create"


def needed_scope(path: str) -> str:
    """The scope that a path needs unless it is one of `OPEN_PATHS`."""
    if path.startswith(USE_PREFIX) or path in USE_PATHS:
        return "use"
    return "view" if path in VIEW_PATHS else "admin"


class Guard:
    """Judges requests by their head. One for each server; it counts what the keys do there."""

    def __init__(
        self, *, keys: KeyFile, clock: Clock, bind: str = "127.0.0.1", allowed_hosts: frozenset[str] = frozenset(), metrics: Metrics | None = None
    ) -> None:
        """Args:
        bind: the address at which the server listens: only at loopback it may be open, and only while there is no key.
        allowed_hosts: names besides loopback's that Host and Origin may have.
        """
        self._keys = keys
        self._clock = clock
        self._may_be_open = is_loopback(bind)
        self._rule = HostRule(bind, allowed_hosts)
        self._metrics = metrics
        self._limits = KeyLimits()
        self._ring = keys.ring()

    def admit(self, scope: Scope) -> ApiKey | None:
        """The key of a request that may pass; None where none is needed. With a key `leave` must follow.

        Raises:
            OriginRefused, KeyRefused, ScopeMissing, RateLimited, BodyTooLarge: it may not.
            StorageFailed: the keys cannot be read, hence nobody may.
        """
        found: dict[bytes, list[bytes]] = {b"host": [], b"origin": [], b"authorization": [], b"content-length": []}
        for name, value in scope["headers"]:
            if name in found:
                found[name].append(value)
        self._rule.check(found[b"host"], found[b"origin"])
        path = scope["path"]
        if path in OPEN_PATHS:
            return None
        key = None
        if not self._may_be_open or self._keys.made().keys:  # a key that has ended counts: its end must not open the door
            key = self._authenticate(found[b"authorization"])
            if not key.allows(needed := needed_scope(path)):
                raise ScopeMissing(f"key {key.id!r} lacks the scope {needed!r}", hint=f"use a key made with: netgpt keys create --scope {needed}")
        if any(int(length) > MAX_BODY_BYTES for length in found[b"content-length"]):
            raise BodyTooLarge(f"the body has more than {format_bytes(MAX_BODY_BYTES)}", hint="shorten the request")
        if key is not None:
            self._limits.enter(key, self._clock.now_s())
        return key

    def leave(self, key: ApiKey) -> None:
        self._limits.leave(key)

    def limit_headers(self, key: ApiKey) -> Mapping[str, str]:
        return self._limits.headers(key, self._clock.now_s())

    def count(self, error: NetgptError) -> None:
        if self._metrics is not None:
            self._metrics.refusals.labels(error.code).inc()

    def _authenticate(self, given: list[bytes]) -> ApiKey:
        if not given:
            raise KeyRefused("no API key was given", hint=_MAKE_ONE)
        scheme, _, secret = given[0].partition(b" ")
        if len(given) > 1 or len(given[0]) > _MAX_HEADER_BYTES or scheme.lower() != b"bearer":
            raise KeyRefused("the Authorization header is not one bearer key", hint=_MAKE_ONE)
        ring = self._keys.ring()
        if ring is not self._ring:
            self._limits.forget_others(ring.keys)
            self._ring = ring
        key = ring.find(secret.strip())
        if key is None:
            raise KeyRefused("this API key is not known here", hint=_MAKE_ONE)
        if (state := key.state(self._clock.date_s())) != "valid":
            raise KeyRefused(f"API key {key.id!r} " + ("was revoked" if state == "revoked" else "has expired"), hint=_MAKE_ONE)
        return key


def open_guard() -> Guard:
    """A guard without keys, as on a first run: loopback alone, and no foreign page."""
    clock = WallClock()
    return Guard(keys=KeyFile(SimulatedStorage(), clock), clock=clock)


class Guarded:
    """ASGI middleware: lets through what its guard admits and answers the rest. Below `RequestIds`, above all routes."""

    def __init__(self, app: ASGIApp, *, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            key = self._guard.admit(scope)
        except NetgptError as error:
            self._guard.count(error)
            await refuse(error, scope, receive, send)
            return
        scope[KEY_ID] = key.id if key else ""
        if key is None:
            await self._app(scope, receive, send)
            return
        try:
            headers = self._guard.limit_headers(key)
            await self._app(scope, receive, _with_headers(send, headers) if headers else send)
        finally:
            self._guard.leave(key)


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers)
        await send(message)

    return send_with_headers


async def refuse(error: NetgptError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that its guard does not admit."""
    if scope["type"] != "http":  # a WebSocket, closed before it was accepted: its client sees 403
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": error.code})
        return
    response = error_response(error, scope[REQUEST_ID])
    if isinstance(error, KeyRefused):
        response.headers["WWW-Authenticate"] = "Bearer"
    await response(scope, receive, send)
