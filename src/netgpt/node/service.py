"""What a node's engine answers on the wire: calls in, engine calls, replies out.

It checks who calls and what is asked; it does not know what a token means or why it was wanted.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from netgpt import __version__
from netgpt.core.errors import NotSupported
from netgpt.core.spelling import did_you_mean
from netgpt.core.transport import Call
from netgpt.engine.contract import Engine
from netgpt.models.generation import Capabilities, Embed, Generate, Prefill, Rollback, Tokens, Verify
from netgpt.models.tokenizer import Tokenizer
from netgpt.node.recode import generate_text
from netgpt.wire.codec import decode, encode
from netgpt.wire.messages import Hello, Stats, Welcome, agreed_version

METHODS = ("hello", "generate", "prefill", "verify", "rollback", "embed", "stats")


class EngineService:
    """Serves `engine` to the network's members."""

    def __init__(self, node: str, engine: Engine, check: Callable[[str], str], tokenizer: Tokenizer | None = None) -> None:
        """Args:
        check: the member's name for a credential; raises AuthenticationFailed.
        tokenizer: of the engine's model; with it, sessions of other tokenizers are served too.
        """
        self._node = node
        self._engine = engine
        self._check = check
        self._tokenizer = tokenizer

    async def handle(self, call: Call) -> AsyncGenerator[bytes, None]:
        """A `core.transport.Handler`."""
        self._check(call.credential)
        if call.method == "generate":
            async with aclosing(self._generate(decode(Generate, call.payload))) as replies:
                async for tokens in replies:
                    yield encode(tokens)
            return
        yield encode(await self._answer(call))

    def _generate(self, request: Generate) -> AsyncGenerator[Tokens, None]:
        if request.text is None or self._tokenizer is None:
            return self._engine.generate(request)
        return generate_text(self._engine, self._tokenizer, request, request.text)

    def _capabilities(self) -> Capabilities:
        own = self._engine.capabilities
        return own if self._tokenizer is None else replace(own, text=True)

    async def _answer(self, call: Call) -> object:
        match call.method:
            case "hello":
                hello = decode(Hello, call.payload)
                version = agreed_version(hello.protocol_version)
                return Welcome(protocol_version=version, node=self._node, card=self._engine.card, capabilities=self._capabilities())
            case "prefill":
                return await self._engine.prefill(decode(Prefill, call.payload))
            case "verify":
                return await self._engine.verify(decode(Verify, call.payload))
            case "rollback":
                return await self._engine.rollback(decode(Rollback, call.payload))
            case "embed":
                return await self._engine.embed(decode(Embed, call.payload))
            case "stats":
                decode(Stats, call.payload)
                return self._engine.load()
        raise NotSupported(f"node {self._node!r} has no method {call.method!r} (release {__version__})", hint=did_you_mean(call.method, METHODS))
