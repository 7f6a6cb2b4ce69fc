"""What a node's engine answers on the wire: calls in, engine calls, replies out.

It checks who calls and what is asked; it does not know what a token means or why it was wanted.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from netgpt import __version__
from netgpt.core.errors import NotSupported
from netgpt.core.spelling import did_you_mean
from netgpt.core.transport import Call, Payload, Peer
from netgpt.engine.contract import Engine
from netgpt.models.generation import Capabilities, Embed, Generate, Prefill, Recall, Recalled, Remember, Remembered, Rollback, Score, Tokens, Verify
from netgpt.models.tokenizer import Tokenizer
from netgpt.network.offer import Offer
from netgpt.node.recode import generate_text
from netgpt.wire.codec import decode, encode, pack
from netgpt.wire.messages import CALLS_SINCE, FIELDS_SINCE, PROTOCOL_VERSION, Hello, Stats, Welcome, agreed_version

TEXT_SINCE = FIELDS_SINCE[Generate]["text"]  # and grammars and embeddings, which came with it
METHODS = ("hello", "generate", "prefill", "verify", "rollback", "embed", "score", "stats", "recall", "remember")


class Keeper(Protocol):
    """Keeps answers: `inference.cache`."""

    bytes: int  # that they take

    def __len__(self) -> int: ...

    async def recall(self, asked: Recall) -> Recalled: ...

    async def remember(self, answer: Remember, by: Peer | None) -> Remembered: ...


class EngineService:
    """Serves `engine` to the network's members."""

    def __init__(
        self,
        node: str,
        engine: Engine,
        identify: Callable[[Call], object],
        tokenizer: Tokenizer | None = None,
        *,
        version: int = PROTOCOL_VERSION,
        keeper: Keeper | None = None,
        offer: Offer | None = None,
    ) -> None:
        """Args:
        identify: who calls; raises AuthenticationFailed for anybody who is no member.
        tokenizer: of the engine's model; with it, sessions of other tokenizers are served too.
        version: of the protocol; an older one than ours knows fewer calls.
        keeper: of answers; None: this node keeps none.
        offer: what the node says of its pace, power and prices; None: nothing.
        """
        self._offer = offer
        self._node = node
        self._engine = engine
        self._identify = identify
        self._tokenizer = tokenizer
        self._version = version
        self._keeper = keeper
        self._single: Mapping[str, Callable[[Call], Awaitable[object]]] = self._calls()

    def handle(self, call: Call) -> AsyncGenerator[Payload, None]:
        """A `core.transport.Handler`. A near caller gets the engine's own iterator."""
        self._identify(call)
        if CALLS_SINCE.get(call.method, 1) > self._version:
            raise self._unknown(call.method)
        if call.method != "generate":
            return self._reply(call)
        replies = self._generate(decode(Generate, call.payload))
        return replies if call.near else _encoded(replies)

    async def _reply(self, call: Call) -> AsyncGenerator[Payload, None]:
        yield pack(await self._answer(call), near=call.near)

    def _generate(self, request: Generate) -> AsyncGenerator[Tokens, None]:
        if request.variant:
            self._check_variant(request.variant)
        if request.text is None or self._tokenizer is None:
            return self._engine.generate(request)
        return generate_text(self._engine, self._tokenizer, request, request.text)

    def _check_variant(self, name: str) -> None:
        offered = [variant.name for variant in self._offer.variants] if self._offer else []
        if name not in offered:
            raise NotSupported(f"node {self._node!r} does not run its model in {name!r}", hint=did_you_mean(name, offered), param="variant")

    def _capabilities(self, version: int) -> Capabilities:
        """What the engine can do, as far as it can be asked for in that version of the protocol."""
        own = self._engine.capabilities
        if version < TEXT_SINCE:
            return replace(own, grammar=False, embed=False, text=False, reads=False)
        return replace(own, text=own.text or self._tokenizer is not None, keeps=self._keeper is not None)

    async def _answer(self, call: Call) -> object:
        answer = self._single.get(call.method)
        if answer is None:
            raise self._unknown(call.method)
        return await answer(call)

    def _calls(self) -> dict[str, Callable[[Call], Awaitable[object]]]:
        """What has one reply."""
        engine, keeper = self._engine, self._keeper
        calls: dict[str, Callable[[Call], Awaitable[object]]] = {
            "hello": self._welcome,
            "prefill": lambda call: engine.prefill(decode(Prefill, call.payload)),
            "verify": lambda call: engine.verify(decode(Verify, call.payload)),
            "rollback": lambda call: engine.rollback(decode(Rollback, call.payload)),
            "embed": lambda call: engine.embed(decode(Embed, call.payload)),
            "score": lambda call: engine.score(decode(Score, call.payload)),
            "stats": self._load,
        }
        if keeper is not None:
            calls["recall"] = lambda call: keeper.recall(decode(Recall, call.payload))
            calls["remember"] = lambda call: keeper.remember(decode(Remember, call.payload), call.peer)
        return calls

    async def _welcome(self, call: Call) -> Welcome:
        hello = decode(Hello, call.payload)
        version = agreed_version(hello.protocol_version, ours=self._version)
        able = self._capabilities(version)
        return Welcome(protocol_version=version, node=self._node, card=self._engine.card, capabilities=able, offer=self._offer)

    async def _load(self, call: Call) -> object:
        decode(Stats, call.payload)
        load, keeper = self._engine.load(), self._keeper
        return load if keeper is None else replace(load, kept_answers=len(keeper), kept_bytes=keeper.bytes)

    def _unknown(self, method: str) -> NotSupported:
        return NotSupported(f"node {self._node!r} has no method {method!r} (release {__version__})", hint=did_you_mean(method, METHODS))


async def _encoded(replies: AsyncGenerator[Tokens, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(replies):
        async for tokens in replies:
            yield encode(tokens)
