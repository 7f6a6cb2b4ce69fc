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
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from netgpt.core.chance import digest64
from netgpt.core.clock import Clock
from netgpt.core.errors import InvalidRequest
from netgpt.engine.sampling import Shift, check_penalties
from netgpt.engine.threads import Slots, Thread, Threads, check_fits, check_no_grammar
from netgpt.models.card import ModelCard
from netgpt.models.generation import (
    GREEDY,
    Capabilities,
    Embed,
    Embedding,
    Generate,
    Held,
    Load,
    Prefill,
    Rollback,
    Sampling,
    Score,
    Scores,
    Timings,
    Tokens,
    TopLogprobs,
    Verdict,
    Verify,
    check_parts,
)
from netgpt.models.tokenizer import ByteTokenizer

_MASK = (1 << 64) - 1
_UNIT = 1 / (1 << 64)
_LETTERS = b"etaoin shrdlu cmfwyp"
END_SHARE = 1 / 96  # of reference tokens that end the turn
EMBEDDING_SIZE = 64
LARGEST_EXPONENT = 700.0  # that has a power of e
EMBEDDING_TOKENS = 3  # that vote together
LEAST_PROBABILITY = 1e-9  # of a token that the law does not give


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

    def choose(self, state: int, sampling: Sampling, position: int, shift: Shift | None = None) -> tuple[int, float, int]:
        """(token, its probability, the other candidate) after `state`, for the token at `position`.

        Args:
            shift: of the two candidates' logits, before the draw; the probability is told without it.
        """
        own = mix(state ^ digest64("hash law", self.model))
        first = _token(mix(state) if own * _UNIT < self.agreement else mix(own))
        second = _token(mix(own ^ 0xA5A5))
        if second == first:
            second = 65 + first % 26
        probability = 0.5 + 0.5 * mix(own ^ 0x5A5A) * _UNIT
        share = probability if shift is None else _shifted(probability, shift.gain(first) - shift.gain(second))
        draw = mix(digest64("draw", sampling.seed, position)) * _UNIT if sampling.temperature > 0 else math.nextafter(0.5, 0)
        if draw >= share:
            return second, 1 - probability, first
        return first, probability, second


def _shifted(probability: float, gain: float) -> float:
    """The share of the likelier of two candidates, at least half, whose logit gains so much on the other's."""
    against = (1 - probability) / probability
    return 1 / (1 + against * math.exp(min(-gain, LARGEST_EXPONENT)))


def embed_tokens(model: str, ids: Sequence[int]) -> tuple[float, ...]:
    """A vector of length 1 in which similar texts lie close: feature hashing (Weinberger et al., ICML 2009).

    Each token, together with the two before it, votes 1 or -1 in one dimension; a hash says which.
    """
    votes = [0] * EMBEDDING_SIZE
    start = digest64("hash embedding", model)
    for end in range(1, len(ids) + 1):
        bits = absorb(start, ids[max(0, end - EMBEDDING_TOKENS) : end])
        votes[bits % EMBEDDING_SIZE] += 1 if bits >> 63 else -1
    if not any(votes):
        votes[0] = 1  # all votes cancel out
    length = math.sqrt(sum(vote * vote for vote in votes))
    return tuple(vote / length for vote in votes)


def _token(bits: int) -> int:
    if (bits >> 32) * 2.0**-32 < END_SHARE:
        return ByteTokenizer.end_id
    return _LETTERS[bits % len(_LETTERS)]


class HashEngine:
    """The engine contract over `HashLaw`. Slots, queue and held sessions behave as a real engine's do."""

    def __init__(self, card: ModelCard, clock: Clock, *, agreement: float = 1.0, slots: int = 16, queue: int = 256) -> None:
        self.card = card
        self.capabilities = Capabilities(logprobs=True, verify=True, hold=True, embed=True, penalties=True, reads=True)
        self._clock = clock
        self._law = HashLaw(card.id, agreement)
        self._slots = Slots(card.id, slots, queue)
        self._threads: Threads[int] = Threads()

    async def generate(self, request: Generate) -> AsyncGenerator[Tokens, None]:
        check_fits(self.card, request.ids, request.keep, request.max_tokens)
        check_no_grammar(self.card, request)
        shift = self._shift(request)
        arrival_s = self._clock.now_s()
        async with self._slots:
            start_s = self._clock.now_s()
            thread = self._resume(request)
            try:
                for left in reversed(range(request.max_tokens)):
                    await asyncio.sleep(0)  # others get their turn between any two tokens
                    tokens = self._step(thread, request, shift)
                    finish = "stop" if tokens.ids[0] in request.stop_ids else "" if left else "length"
                    if finish:
                        timings = Timings(queue_s=start_s - arrival_s, decode_s=self._clock.now_s() - start_s)
                        yield replace(tokens, finish=finish, timings=timings, cached=request.keep)
                        return
                    yield tokens
            finally:
                if not request.hold:
                    self._threads.drop(request.session, thread)

    def _shift(self, request: Generate) -> Shift | None:
        """Counts the answer so far, of which all ids must have been sent: a thread holds none."""
        if request.penalties is None:
            return None
        check_penalties(request.penalties, self.card.vocabulary)
        if request.keep > request.answer_from:
            raise InvalidRequest(f"answer_from is {request.answer_from}, before keep, {request.keep}", hint="send all ids", param="answer_from")
        return Shift(request.penalties, request.ids[request.answer_from - request.keep :])

    def _step(self, thread: Thread[int], request: Generate, shift: Shift | None) -> Tokens:
        position = thread.tokens
        token, probability, other = self._law.choose(_state(thread), request.sampling, position, shift)
        _extend(thread, (token,))
        if shift is not None:
            shift.count(token)
        top = ()
        if request.top_logprobs:
            ranked = sorted(((probability, token), (1 - probability, other)), reverse=True)[: request.top_logprobs]
            top = (TopLogprobs(ids=tuple(i for _, i in ranked), logprobs=tuple(math.log(max(p, LEAST_PROBABILITY)) for p, _ in ranked)),)
        return Tokens(epoch=request.epoch, position=position, ids=(token,), logprobs=(math.log(max(probability, LEAST_PROBABILITY)),), top=top)

    async def prefill(self, request: Prefill) -> Held:
        check_fits(self.card, request.ids, request.keep, 0)
        async with self._slots:
            thread = self._resume(request)
        return Held(session=request.session, tokens=thread.tokens)

    async def verify(self, request: Verify) -> Verdict:
        check_fits(self.card, request.ids + request.drafts, request.keep, 1)
        async with self._slots:
            thread = self._resume(request)
            logprobs: list[float] = []
            for accepted, draft in enumerate((*request.drafts, None)):
                token, probability, _ = self._law.choose(_state(thread), request.sampling, thread.tokens)
                logprobs.append(math.log(max(probability, LEAST_PROBABILITY)))
                if token != draft:
                    return Verdict(epoch=request.epoch, accepted=accepted, next_id=token, logprobs=tuple(logprobs))
                _extend(thread, (token,))
        raise AssertionError("the position after the last draft always ends the loop")

    async def embed(self, request: Embed) -> Embedding:
        check_parts(request)
        check_fits(self.card, request.ids, 0, 0)
        arrival_s = self._clock.now_s()
        async with self._slots:
            timings = Timings(queue_s=self._clock.now_s() - arrival_s)
            return Embedding(values=tuple(self._vector(request)), timings=timings)

    async def score(self, request: Score) -> Scores:
        check_fits(self.card, request.ids, 0, 0)
        arrival_s = self._clock.now_s()
        async with self._slots:
            timings = Timings(queue_s=self._clock.now_s() - arrival_s)
            state, logprobs = absorb(0, request.ids[:1]), list[float]()
            for position, token in enumerate(request.ids[1:], 1):
                first, probability, second = self._law.choose(state, GREEDY, position)
                likely = probability if token == first else 1 - probability if token == second else 0.0
                logprobs.append(math.log(max(likely, LEAST_PROBABILITY)))
                state = absorb(state, (token,))
            return Scores(logprobs=tuple(logprobs), timings=timings)

    def _vector(self, request: Embed) -> Iterator[float]:
        if not request.parts:
            yield from embed_tokens(self.card.id, request.ids)
        end = 0
        for length in request.parts:
            start, end = end, end + length
            yield from embed_tokens(self.card.id, request.ids[start:end])
            yield from embed_tokens(self.card.id, request.ids[end - 1 : end])

    async def rollback(self, request: Rollback) -> Held:
        return Held(session=request.session, tokens=self._threads.rollback(request.session, request.length))

    def load(self) -> Load:
        return Load(
            running=self._slots.running,
            waiting=self._slots.waiting,
            slots=self._slots.count,
            held_tokens=self._threads.held_tokens,
            capacity_tokens=self._slots.count * self.card.context_tokens,
            sessions=self._threads.names,
        )

    async def close(self) -> None:
        self._threads.clear()

    def _resume(self, request: Generate | Verify | Prefill) -> Thread[int]:
        thread = self._threads.resume(request.session, request.epoch, request.keep)
        _extend(thread, request.ids)
        return thread


def _state(thread: Thread[int]) -> int:
    return thread.items[-1] if thread.items else 0


def _extend(thread: Thread[int], ids: Iterable[int]) -> None:
    """Item n of a thread is the state after n + 1 tokens."""
    for token in ids:
        thread.items.append(absorb(_state(thread), (token,)))
