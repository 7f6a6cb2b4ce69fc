"""What a node's engine answers on the wire: calls in, engine calls, replies out.

It checks who calls and what is asked; it does not know what a token means or why it was wanted.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from netgpt import __version__
from netgpt.core.errors import NotSupported
from netgpt.core.spelling import did_you_mean
from netgpt.core.transport import Call
from netgpt.engine.contract import Engine
from netgpt.models.generation import Generate, Prefill, Rollback, Verify
from netgpt.wire.codec import decode, encode
from netgpt.wire.messages import CALLS_SINCE, PROTOCOL_VERSION, Hello, Stats, Welcome, agreed_version

METHODS = ("hello", "generate", "prefill", "verify", "rollback", "stats")


class EngineService:
    """Serves `engine` to the network's members."""

    def __init__(self, node: str, engine: Engine, identify: Callable[[Call], object], *, version: int = PROTOCOL_VERSION) -> None:
        """Args:
        identify: who calls; raises AuthenticationFailed for anybody who is no member.
        version: of the protocol; an older one than ours knows fewer calls.
        """
        self._node = node
        self._engine = engine
        self._identify = identify
        self._version = version

    async def handle(self, call: Call) -> AsyncGenerator[bytes, None]:
        """A `core.transport.Handler`."""
        self._identify(call)
        if CALLS_SINCE.get(call.method, 1) > self._version:
            raise self._unknown(call.method)
        if call.method == "generate":
            async with aclosing(self._engine.generate(decode(Generate, call.payload))) as replies:
                async for tokens in replies:
                    yield encode(tokens)
            return
        yield encode(await self._answer(call))

    async def _answer(self, call: Call) -> object:
        match call.method:
            case "hello":
                hello = decode(Hello, call.payload)
                version = agreed_version(hello.protocol_version, ours=self._version)
                return Welcome(protocol_version=version, node=self._node, card=self._engine.card, capabilities=self._engine.capabilities)
            case "prefill":
                return await self._engine.prefill(decode(Prefill, call.payload))
            case "verify":
                return await self._engine.verify(decode(Verify, call.payload))
            case "rollback":
                return await self._engine.rollback(decode(Rollback, call.payload))
            case "stats":
                decode(Stats, call.payload)
                return self._engine.load()
        raise self._unknown(call.method)

    def _unknown(self, method: str) -> NotSupported:
        return NotSupported(f"node {self._node!r} has no method {method!r} (release {__version__})", hint=did_you_mean(method, METHODS))
