"""A server's application: Starlette's, with a short way to the endpoints that are asked most.

What a door adds to an answer is to be less than a millisecond, of which Starlette's layers would take a tenth. The short way finds
an endpoint by its path and calls it as it is; its rules are those of every route: an id on the reply, the guard first, the limits
of the key in the headers, one shape of errors. Everything else, other methods too, goes through Starlette.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from netgpt.api.auth import KEY_ID, Guard, Guarded, refuse
from netgpt.api.reply import EXCEPTION_HANDLERS, REQUEST_ID, Headed, RequestIds, as_netgpt_error, error_response, with_id
from netgpt.core.errors import NetgptError


class Front(Starlette):
    """The routes of one server behind its guard.

    Args:
        ends: of the ids of requests; both ways draw from it.
        quick: endpoints whose `POST` goes the short way, by path.
    """

    def __init__(self, routes: Sequence[Route], *, guard: Guard, ends: Iterator[str], quick: Mapping[str, ASGIApp]) -> None:
        middleware: list[Any] = [Middleware(RequestIds, ends=ends), Middleware(Guarded, guard=guard)]
        super().__init__(routes=routes, middleware=middleware, exception_handlers=dict(EXCEPTION_HANDLERS))
        self.router.redirect_slashes = False  # a redirect would be built from the client's own Host header
        self._guard = guard
        self._ends = ends
        self._quick = quick

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._quick.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if endpoint is None:
            await super().__call__(scope, receive, send)
            return
        reply = with_id(scope, send, self._ends)
        try:
            key = self._guard.admit(scope)
        except NetgptError as error:
            self._guard.count(error)
            await refuse(error, scope, receive, reply)
            return
        try:
            scope[KEY_ID] = "" if key is None else key.id
            if key is not None and key.rate_per_minute is not None:
                reply.headers += ((name.encode(), value.encode()) for name, value in self._guard.limit_headers(key).items())
            await _answer(endpoint, scope, receive, reply)
        finally:
            if key is not None:
                self._guard.leave(key)


async def _answer(endpoint: ASGIApp, scope: Scope, receive: Receive, reply: Headed) -> None:
    """Call the endpoint. An error before its first word is the reply; one that nobody expected is the server's log's too."""
    try:
        await endpoint(scope, receive, reply)
    except Exception as error:
        was_told = reply.started
        if not was_told:
            await error_response(as_netgpt_error(error, scope), scope[REQUEST_ID])(scope, receive, reply)
        if was_told or not isinstance(error, NetgptError):
            raise
