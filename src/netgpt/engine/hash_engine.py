"""A language without weights: the next token is a pure function of (model id, every earlier token).

Any lost, doubled or stale token changes all that follows, so no fault in the layers above can hide;
and a token costs a microsecond, so that one process runs thousands of nodes. Integer arithmetic only:
equal on every machine.

The law. A 64-bit state runs over all tokens of the session. The *reference* token of a state is common
to all models; a model deviates from it with probability 1 - `agreement`, at states that it alone
determines. At temperature 0 a model gives its own token; above, it gives a second choice with the
probability that its reported log-probability says, drawn by (seed, position).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from netgpt.core.chance import digest64
from netgpt.core.clock import Clock
from netgpt.core.errors import ContextLengthExceeded, InvalidRequest, Overloaded, SessionNotFound
from netgpt.models.card import ModelCard
from netgpt.models.generation import Capabilities, Generate, Held, Load, Prefill, Rollback, Sampling, Timings, Tokens, TopLogprobs, Verdict, Verify
from netgpt.models.tokenizer import ByteTokenizer

_MASK = (1 << 64) - 1
_UNIT = 1 / (1 << 64)
_LETTERS = b"etaoin shrdlu cmfwyp"
END_SHARE = 1 / 96  # of reference tokens that end the turn


def mix(value: int) -> int:
    """SplitMix64's finaliser (Steele, Lea, Flood, OOPSLA 2014): 64 bits to 64 well-mixed bits."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def absorb(state: int, ids: Iterable[int]) -> int:
    """The state after more tokens."""
    for token in ids:
        state = mix(state ^ (token + 1))
    return state


@dataclass(frozen=True)
class HashLaw:
    """One model's law of the next token."""

    model: str
    agreement: float

    def choose(self, state: int, sampling: Sampling, position: int) -> tuple[int, float, int]:
        """(token, its probability, the other candidate) after `state`, for the token at `position`."""
        own = mix(state ^ digest64("hash law", self.model))
        first = _token(mix(state) if own * _UNIT < self.agreement else mix(own))
        second = _token(mix(own ^ 0xA5A5))
        if second == first:
            second = 65 + first % 26
        probability = 0.5 + 0.5 * mix(own ^ 0x5A5A) * _UNIT
        if sampling.temperature > 0 and mix(digest64("draw", sampling.seed, position)) * _UNIT >= probability:
            return second, 1 - probability, first
        return first, probability, second


def _token(bits: int) -> int:
    if (bits >> 32) * 2.0**-32 < END_SHARE:
        return ByteTokenizer.end_id
    return _LETTERS[bits % len(_LETTERS)]


@dataclass
class _Thread:
    """What the engine holds of one session: the state before each token position."""

    epoch: int
    states: list[int] = field(default_factory=lambda: [0])  # states[n]: after n tokens

    def extend(self, ids: Iterable[int]) -> None:
        for token in ids:
            self.states.append(absorb(self.states[-1], (token,)))

    @property
    def tokens(self) -> int:
        return len(self.states) - 1


class HashEngine:
    """The engine contract over `HashLaw`. Slots, queue and held sessions behave as a real engine's do."""

    def __init__(self, card: ModelCard, clock: Clock, *, agreement: float = 1.0, slots: int = 16, queue: int = 256) -> None:
        self.card = card
        self.capabilities = Capabilities(logprobs=True, verify=True, hold=True)
        self._clock = clock
        self._law = HashLaw(card.id, agreement)
        self._slots = slots
        self._queue = queue
        self._free = asyncio.Semaphore(slots)
        self._running = 0
        self._waiting = 0
        self._held: dict[str, _Thread] = {}

    async def generate(self, request: Generate) -> AsyncGenerator[Tokens, None]:
        self._check(request.ids, request.keep, request.max_tokens)
        arrival_s = self._clock.now_s()
        async with self._slot():
            start_s = self._clock.now_s()
            thread, cached = self._resume(request.session, request.epoch, request.keep, request.ids)
            try:
                for left in reversed(range(request.max_tokens)):
                    await asyncio.sleep(0)  # others get their turn between any two tokens
                    tokens = self._step(thread, request)
                    finish = "stop" if tokens.ids[0] in request.stop_ids else "" if left else "length"
                    if finish:
                        timings = Timings(queue_s=start_s - arrival_s, decode_s=self._clock.now_s() - start_s)
                        yield replace(tokens, finish=finish, timings=timings, cached=cached)
                        return
                    yield tokens
            finally:
                if not request.hold and self._held.get(request.session) is thread:
                    del self._held[request.session]

    def _step(self, thread: _Thread, request: Generate) -> Tokens:
        position = thread.tokens
        token, probability, other = self._law.choose(thread.states[-1], request.sampling, position)
        thread.extend((token,))
        top = ()
        if request.top_logprobs:
            ranked = sorted(((probability, token), (1 - probability, other)), reverse=True)[: request.top_logprobs]
            top = (TopLogprobs(ids=tuple(i for _, i in ranked), logprobs=tuple(math.log(max(p, 1e-9)) for p, _ in ranked)),)
        return Tokens(epoch=request.epoch, position=position, ids=(token,), logprobs=(math.log(max(probability, 1e-9)),), top=top)

    async def prefill(self, request: Prefill) -> Held:
        self._check(request.ids, request.keep, 0)
        async with self._slot():
            thread, _ = self._resume(request.session, request.epoch, request.keep, request.ids)
        return Held(session=request.session, tokens=thread.tokens)

    async def verify(self, request: Verify) -> Verdict:
        self._check(request.ids + request.drafts, request.keep, 1)
        async with self._slot():
            thread, _ = self._resume(request.session, request.epoch, request.keep, request.ids)
            logprobs: list[float] = []
            for accepted, draft in enumerate((*request.drafts, None)):
                token, probability, _ = self._law.choose(thread.states[-1], request.sampling, thread.tokens)
                logprobs.append(math.log(max(probability, 1e-9)))
                if token != draft:
                    return Verdict(epoch=request.epoch, accepted=accepted, next_id=token, logprobs=tuple(logprobs))
                thread.extend((token,))
        raise AssertionError("the position after the last draft always ends the loop")

    async def rollback(self, request: Rollback) -> Held:
        thread = self._held.get(request.session)
        if thread is None or request.length == 0:
            self._held.pop(request.session, None)
            return Held(session=request.session, tokens=0)
        del thread.states[request.length + 1 :]
        return Held(session=request.session, tokens=thread.tokens)

    def load(self) -> Load:
        return Load(
            running=self._running,
            waiting=self._waiting,
            slots=self._slots,
            held_tokens=sum(thread.tokens for thread in self._held.values()),
            capacity_tokens=self._slots * self.card.context_tokens,
            sessions=tuple(self._held),
        )

    async def close(self) -> None:
        self._held.clear()

    def _check(self, ids: tuple[int, ...], keep: int, more: int) -> None:
        if not ids and not keep:
            raise InvalidRequest("a session needs at least one token", hint="send the prompt's ids")
        if any(not 0 <= i < self.card.vocabulary for i in ids):
            raise InvalidRequest(f"an id is outside the vocabulary of {self.card.vocabulary}", hint="use the model's own tokenizer")
        if keep + len(ids) + more > self.card.context_tokens:
            raise ContextLengthExceeded(
                f"{keep + len(ids)} tokens and {more} more do not fit the context of {self.card.context_tokens}",
                hint="shorten the prompt, or lower max_tokens",
            )

    def _resume(self, session: str, epoch: int, keep: int, ids: tuple[int, ...]) -> tuple[_Thread, int]:
        """The session's thread, rolled back to `keep` and extended by `ids`; and how much of it was held."""
        thread = self._held.get(session)
        if thread is not None and epoch < thread.epoch:
            raise SessionNotFound(f"session {session!r} is at epoch {thread.epoch}, not {epoch}", hint="the attempt is stale: drop it")
        if keep and (thread is None or thread.tokens < keep):
            raise SessionNotFound(f"session {session!r} holds fewer than {keep} tokens here", hint="send all ids with keep=0")
        states = thread.states[: keep + 1] if thread is not None else [0]
        self._held[session] = resumed = _Thread(epoch, states)
        resumed.extend(ids)
        return resumed, keep

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._free.locked() and self._waiting >= self._queue:
            raise Overloaded(
                f"{self._waiting} calls wait for {self._slots} slots of {self.card.id!r}", hint="retry after a second, or ask another node"
            )
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._free.release()
