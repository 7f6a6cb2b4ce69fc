"""Replies that all routes share: JSON, errors in OpenAI's shape, and an id on each reply.

It decides what an exception looks like to a client. It knows no route and no door.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netgpt.core.compact import to_json
from netgpt.core.errors import InvalidRequest, NetgptError, Overloaded
from netgpt.core.spelling import did_you_mean

REQUEST_ID = "netgpt.request_id"  # the key of a request's id in its ASGI scope
REQUEST_ID_HEADER = "x-request-id"
_REQUEST_ID_NAME = REQUEST_ID_HEADER.encode()
CHAT_PATH = "/v1/chat/completions"
COMPLETIONS_PATH = "/v1/completions"
EMBEDDINGS_PATH = "/v1/embeddings"
PLAN_PATH = "/api/v1/plan"
OPENAPI_PATH = "/openapi.json"
DOCS_PATH = "/docs"
_ID_PREFIX = {CHAT_PATH: "chatcmpl", COMPLETIONS_PATH: "cmpl", EMBEDDINGS_PATH: "embd"}  # as OpenAI's; others have "req"
RETRY_AFTER_S = 1.0  # when the error does not say
_RETRIED = (429, 503)


class RouteNotFound(InvalidRequest):
    """A path that this server does not have."""

    type, status = "not_found_error", 404


class MethodNotAllowed(InvalidRequest):
    """A path that exists, asked with another method."""

    status = 405


class BodyTooLarge(InvalidRequest):
    """A body beyond the limit; it is not read to its end."""

    status = 413


async def send_json(send: Send, value: object) -> None:
    """Answer with 200 and `value`."""
    body = to_json(value)
    headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def json_response(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(to_json(value), status_code=status, headers=headers, media_type="application/json")


def error_response(error: NetgptError, request_id: str) -> Response:
    """The error in OpenAI's shape; 429 and 503 say when to come back."""
    headers = {REQUEST_ID_HEADER: request_id}
    if error.status in _RETRIED:
        after_s = error.retry_after_s if isinstance(error, Overloaded) else RETRY_AFTER_S
        headers["Retry-After"] = str(math.ceil(after_s))
    return json_response(error.body(request_id), status=error.status, headers=headers)


def as_netgpt_error(error: Exception, scope: Scope) -> NetgptError:
    """What a client is told of any exception; of one that nobody expected, only that it happened."""
    if isinstance(error, NetgptError):
        return error
    if isinstance(error, HTTPException) and error.status_code == 404:
        return RouteNotFound(f"no route {scope['path']!r}", hint=did_you_mean(scope["path"], [route.path for route in scope["app"].routes]))
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return MethodNotAllowed(f"{scope['path']!r} does not answer {scope['method']}", hint=f"use {allowed}")
    return NetgptError("the server failed on this request", hint="the server's log has the cause; report it with the request id")


async def _handle(request: Request, error: Exception) -> Response:
    response = error_response(as_netgpt_error(error, request.scope), request.scope[REQUEST_ID])
    if isinstance(error, HTTPException):
        response.headers.update(error.headers or {})
    return response


# `Exception` itself is answered by Starlette's outermost layer, which then raises it again for the server's log.
EXCEPTION_HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    NetgptError: _handle,
    HTTPException: _handle,
    Exception: _handle,
}


class Headed:
    """The way of a reply to its client, on which its head gets headers more; one of the same name that it has already gives way."""

    __slots__ = ("_send", "headers", "started")

    def __init__(self, send: Send, *headers: tuple[bytes, bytes]) -> None:
        self._send = send
        self.headers = list(headers)
        self.started = False

    def __call__(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.started = True
            names = {name for name, _ in self.headers}
            message = {**message, "headers": [*(pair for pair in message.get("headers", ()) if pair[0] not in names), *self.headers]}
        return self._send(message)


class RequestIds:
    """ASGI middleware: draws an id for each request and puts it on the reply as `X-Request-Id`.

    A completion's request id is the completion's own. What a client sends as X-Request-Id is not
    used: ids name sessions, and a client must not choose another's.
    """

    def __init__(self, app: ASGIApp, *, ends: Iterator[str]) -> None:
        """Args:
        ends: what ids have behind their prefix (`core.ids.ends_of_ids`), for everybody who draws for this server.
        """
        self._app = app
        self._ends = ends

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, with_id(scope, send, self._ends) if scope["type"] == "http" else send)


def with_id(scope: Scope, send: Send, ends: Iterator[str]) -> Headed:
    """Give the request an id, and its reply too."""
    request_id = scope[REQUEST_ID] = f"{_ID_PREFIX.get(scope['path'], 'req')}-{next(ends)}"
    return Headed(send, (_REQUEST_ID_NAME, request_id.encode()))
