"""What engines without weights share: bounded slots, and threads, one item a token of each session.

Bookkeeping only, as `engine.sessions` is for engines with KV. What an item is, the engine decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from netgpt.core.errors import ContextLengthExceeded, InvalidRequest, NotSupported, Overloaded, SessionNotFound
from netgpt.models.card import ModelCard
from netgpt.models.generation import Generate

Item = TypeVar("Item")


def check_fits(card: ModelCard, ids: Sequence[int], keep: int, more: int) -> None:
    """Refuse what can never be served; `more` tokens may follow those given.

    Raises:
        InvalidRequest: no token at all, or an id outside the vocabulary.
        ContextLengthExceeded: it does not fit the model's context.
    """
    if not ids and not keep:
        raise InvalidRequest("a session needs at least one token", hint="send the prompt's ids")
    if any(not 0 <= i < card.vocabulary for i in ids):
        raise InvalidRequest(f"an id is outside the vocabulary of {card.vocabulary}", hint="use the model's own tokenizer")
    if keep + len(ids) + more > card.context_tokens:
        raise ContextLengthExceeded(
            f"{keep + len(ids)} tokens and {more} more do not fit the context of {card.context_tokens}",
            hint="shorten the prompt, or lower max_tokens",
        )


def check_no_grammar(card: ModelCard, request: Generate) -> None:
    """Refuse what would be ignored otherwise. Raises NotSupported."""
    if request.grammar is not None:
        raise NotSupported(
            f"model {card.id!r} cannot hold an answer to a schema", hint="ask a model that torch runs, or leave it out", param=request.grammar.param
        )


def check_no_penalties(card: ModelCard, request: Generate) -> None:
    """Refuse what would be ignored otherwise. Raises NotSupported."""
    if request.penalties is not None:
        param = "logit_bias" if request.penalties.bias_ids else "presence_penalty" if request.penalties.presence else "frequency_penalty"
        raise NotSupported(f"model {card.id!r} knows no {param}", hint="ask a model that torch runs, or leave it out", param=param)


@dataclass
class Thread(Generic[Item]):
    """What the engine holds of one session: an item for each token."""

    epoch: int
    items: list[Item] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        return len(self.items)


class Threads(Generic[Item]):
    """The sessions that an engine holds, by name."""

    def __init__(self) -> None:
        self._held: dict[str, Thread[Item]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._held)

    @property
    def held_tokens(self) -> int:
        return sum(thread.tokens for thread in self._held.values())

    def resume(self, session: str, epoch: int, keep: int) -> Thread[Item]:
        """The session's thread, rolled back to `keep` tokens.

        Raises:
            SessionNotFound: it has seen a newer epoch, or holds fewer tokens.
        """
        thread = self._held.get(session)
        if thread is not None and epoch < thread.epoch:
            raise SessionNotFound(f"session {session!r} is at epoch {thread.epoch}, not {epoch}", hint="the attempt is stale: drop it")
        if keep and (thread is None or thread.tokens < keep):
            raise SessionNotFound(f"session {session!r} holds fewer than {keep} tokens here", hint="send all ids with keep=0")
        resumed = Thread(epoch, thread.items[:keep] if thread is not None else [])
        self._held[session] = resumed
        return resumed

    def rollback(self, session: str, length: int) -> int:
        """Forget the session's tokens past `length`, all of it if that is 0; returns how many are left."""
        thread = self._held.get(session)
        if thread is None or length == 0:
            self._held.pop(session, None)
            return 0
        del thread.items[length:]
        return thread.tokens

    def drop(self, session: str, thread: Thread[Item]) -> None:
        """Forget `thread`, unless its name has passed to a newer one."""
        if self._held.get(session) is thread:
            del self._held[session]

    def clear(self) -> None:
        self._held.clear()


class Slots:
    """Calls that run at once, each within `async with slots`, and a bounded queue of calls that wait."""

    def __init__(self, model: str, count: int, queue: int) -> None:
        self.count = count
        self.running = 0
        self.waiting = 0
        self._model = model
        self._queue = queue
        self._free = asyncio.Semaphore(count)

    async def __aenter__(self) -> None:
        """Wait for a slot and hold it until `__aexit__`.

        Raises:
            Overloaded: the queue is full.
        """
        if self._free.locked() and self.waiting >= self._queue:
            raise Overloaded(f"{self.waiting} calls wait for {self.count} slots of {self._model!r}", hint="retry after a second, or ask another node")
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.running += 1

    async def __aexit__(self, *_: object) -> None:
        self.running -= 1
        self._free.release()
