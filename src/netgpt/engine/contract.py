"""The engine contract: what a node's model runner offers, whatever runs the model.

Implementations: `engine.hash_engine` (a language without weights, for simulation and as the sharpest
checker), `engine.torch_engine`, and `engine.replay_engine` (recorded answers). `engine.timed` wraps any of them with a hardware profile.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from netgpt.models.card import ModelCard
from netgpt.models.generation import Capabilities, Embed, Embedding, Generate, Held, Load, Prefill, Rollback, Score, Scores, Tokens, Verdict, Verify


class Engine(Protocol):
    """Runs one model for many sessions at once. All methods are called on one event loop.

    A call of an epoch older than one the session has already seen raises `SessionNotFound`.
    """

    @property
    def card(self) -> ModelCard: ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def prefill(self, request: Prefill) -> Held: ...

    def generate(self, request: Generate) -> AsyncGenerator[Tokens, None]:
        """Yield tokens as they are made; the last item has `finish`.

        Closing the iterator frees the slot, and the KV too unless `request.hold`.

        Raises:
            ContextLengthExceeded: prompt plus `max_tokens` do not fit `card.context_tokens`.
            SessionNotFound: fewer than `keep` tokens are held.
            Overloaded: the engine's queue is full.
            InvalidRequest: an id outside the vocabulary, no token at all, or a grammar that cannot be followed.
            NotSupported: a grammar, or penalties, and `capabilities` say no to them.
        """
        ...

    async def verify(self, request: Verify) -> Verdict: ...

    async def rollback(self, request: Rollback) -> Held: ...

    async def embed(self, request: Embed) -> Embedding:
        """The vector of some tokens: the mean of their states, or what `parts` asks for.

        Raises:
            NotSupported: this engine makes none (`capabilities.embed`).
            ContextLengthExceeded, Overloaded, InvalidRequest: as of `generate`; or the parts are not all of the tokens.
        """
        ...

    async def score(self, request: Score) -> Scores:
        """How likely each token is, given those before it.

        Raises:
            NotSupported: this engine does not say (`capabilities.reads`).
            ContextLengthExceeded, Overloaded, InvalidRequest: as of `generate`.
        """
        ...

    def load(self) -> Load: ...

    async def close(self) -> None:
        """End every call in flight and free everything."""
        ...
