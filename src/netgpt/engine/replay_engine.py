"""A recorded model: what it said to each prompt, said again token by token, with the recorded times.

No weights and no GPU: the answer to a recorded prompt is known, and nothing else is. The tokenizer is
`ByteTokenizer`, so that recordings of any models go together: a recorded token is one `Tokens` of its bytes'
ids. Its log-probability stands at its first byte, the others have 0 (certain, given the first); of its
alternatives the first bytes are told.

Knows only greedy answers: any temperature says the same. It cannot go on from words that the recorded model
did not say: that is refused, not guessed. An answer that was cut is verified as if it ended there.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Literal

from netgpt.core.clock import Clock
from netgpt.core.errors import InvalidRequest, NotSupported
from netgpt.engine.threads import Slots, Thread, Threads, check_fits, check_no_grammar, check_no_penalties
from netgpt.engine.workload import Workload
from netgpt.models.card import ModelCard
from netgpt.models.generation import (
    Capabilities,
    Embed,
    Embedding,
    Generate,
    Held,
    Load,
    Prefill,
    Rollback,
    Score,
    Scores,
    Timings,
    Tokens,
    TopLogprobs,
    Verdict,
    Verify,
)
from netgpt.models.recording import Recorded, Recording
from netgpt.models.tokenizer import ASSISTANT, ByteTokenizer, render_chat

LEAST_CONTEXT_TOKENS = 2048
_TURN = ByteTokenizer().special_id(ASSISTANT)
_END = ByteTokenizer.end_id


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """One recorded answer, as the engine says it."""

    ids: tuple[int, ...]  # of the whole answer, with the id that ends the turn unless it was cut
    starts: tuple[int, ...]  # where each recorded token begins in `ids`; the end id is one
    logprobs: tuple[float, ...] | None  # of each recorded token
    top: tuple[TopLogprobs, ...] | None
    first_s: float  # recorded time to the first token
    gaps_s: tuple[float, ...]  # before each token, the first one's not counted
    prompt_tokens: int  # as the recorded model counts
    finish: str
    correct: bool | None

    @property
    def mean_gap_s(self) -> float:
        return sum(self.gaps_s) / max(len(self.gaps_s) - 1, 1)


def prompt_key(prompt_ids: Sequence[int]) -> bytes:
    """The name of a prompt in a table of scripts."""
    return hashlib.blake2b(array("H", prompt_ids).tobytes(), digest_size=16).digest()


def messages_key(messages: Sequence[tuple[str, str]]) -> bytes:
    """The `prompt_key` of a conversation as the door renders it."""
    return prompt_key(render_chat(ByteTokenizer(), messages))


def read_scripts(recording: Recording, model: str) -> dict[bytes, Script]:
    """What `model`, a name of `recording.models()`, said, by prompt.

    Raises:
        UsageError: the model is not in the recording.
    """
    return {messages_key(row.messages): script_of(row) for row in recording.of_model(model)}


def script_of(row: Recorded) -> Script:
    """The script of one recorded answer."""
    tokens = [(place, token) for place, token in enumerate(row.tokens) if token]
    ids = tuple(b"".join(token for _, token in tokens))
    starts = list(accumulate((len(token) for _, token in tokens), initial=0))[: len(tokens)]
    arrivals_s = [row.arrivals_s[place] for place, _ in tokens]
    if row.finish_reason != "length":
        starts.append(len(ids))
        ids = (*ids, _END)
        arrivals_s.append(max(row.total_s, arrivals_s[-1] if arrivals_s else 0.0))
    gaps_s = [0.0, *(max(after - before, 0.0) for before, after in pairwise(arrivals_s))]
    prompt_bytes = sum(len(content.encode()) for _, content in row.messages)
    return Script(
        ids=ids,
        starts=tuple(starts),
        logprobs=None if row.logprobs is None else tuple(row.logprobs[place] for place, _ in tokens),
        top=None if row.top_tokens is None or row.top_logprobs is None else tuple(_top(row, place) for place, _ in tokens),
        first_s=arrivals_s[0] if arrivals_s else row.total_s,
        gaps_s=tuple(gaps_s[: len(starts)]),
        prompt_tokens=row.prompt_tokens or math.ceil(prompt_bytes / 4),
        finish=row.finish_reason,
        correct=row.correct,
    )


def _top(row: Recorded, place: int) -> TopLogprobs:
    """The first bytes of the alternatives, each with the likeliest that begins so."""
    assert row.top_tokens is not None
    assert row.top_logprobs is not None
    best: dict[int, float] = {}
    for token, logprob in sorted(zip(row.top_tokens[place], row.top_logprobs[place], strict=True), key=lambda pair: -pair[1]):
        best.setdefault(token[0] if token else _END, logprob)
    return TopLogprobs(ids=tuple(best), logprobs=tuple(best.values()))


def context_tokens(scripts: Mapping[bytes, Script], prompts: Sequence[Sequence[tuple[str, str]]]) -> int:
    """A context that holds every recorded prompt with its answer: a power of two, 2048 at least."""
    longest = max((len(render_chat(ByteTokenizer(), messages)) for messages in prompts), default=0)
    answer = max((len(script.ids) for script in scripts.values()), default=0)
    return max(LEAST_CONTEXT_TOKENS, 1 << (longest + answer).bit_length())


class ReplayEngine:
    """The engine contract over scripts. Slots, queue and held sessions behave as a real engine's do.

    Args:
        timing: "recorded" waits as the recorded model did: the time to its first token where the prompt is
            new, else the answer's mean gap, then each token's own gap. "none" waits for nothing: see `TimedEngine`.
    """

    def __init__(
        self,
        card: ModelCard,
        scripts: Mapping[bytes, Script],
        clock: Clock,
        *,
        timing: Literal["recorded", "none"] = "recorded",
        slots: int = 16,
        queue: int = 256,
    ) -> None:
        self.card = card
        self.capabilities = Capabilities(logprobs=any(script.logprobs is not None for script in scripts.values()), verify=True, hold=True)
        self._scripts = scripts
        self._clock = clock
        self._timing = timing
        self._slots = Slots(card.id, slots, queue)
        self._workload = Workload(slots, clock, serial=False)  # each answer has its own recorded time
        self._threads: Threads[int] = Threads()
        said = sum(len(script.ids) for script in scripts.values())
        self._bytes_a_token = max(said / max(sum(len(script.starts) for script in scripts.values()), 1), 1.0)

    async def generate(self, request: Generate) -> AsyncGenerator[Tokens, None]:
        check_fits(self.card, request.ids, request.keep, request.max_tokens)
        check_no_grammar(self.card, request)
        check_no_penalties(self.card, request)
        arrival_s = self._clock.now_s()
        with self._workload.enter(len(request.ids), request.max_tokens) as job:
            async with self._slots:
                job.start()
                start_s = due_s = self._clock.now_s()
                thread = self._resume(request)
                try:
                    script, place = self._find(thread.items)
                    left = request.max_tokens
                    first_s = wait_s = self._first_wait_s(script, request.keep, len(thread.items) - place)
                    while True:
                        due_s += wait_s
                        await self._until(due_s)
                        tokens = _step(script, place, left, request, position=thread.tokens)
                        thread.items.extend(tokens.ids)
                        place, left = place + len(tokens.ids), left - len(tokens.ids)
                        finish = _finish(script, place, left, tokens, request)
                        job.add(len(tokens.ids), ends=finish == "stop")
                        if finish:
                            timings = self._timings(arrival_s, start_s, first_s)
                            yield replace(tokens, finish=finish, timings=timings, cached=request.keep)
                            return
                        yield tokens
                        wait_s = _gap_s(script, place)
                finally:
                    if not request.hold:
                        self._threads.drop(request.session, thread)

    def _timings(self, arrival_s: float, start_s: float, first_s: float) -> Timings:
        recorded = self._timing == "recorded"
        prefill_s = first_s if recorded else 0.0
        return Timings(
            queue_s=start_s - arrival_s, prefill_s=prefill_s, decode_s=max(self._clock.now_s() - start_s - prefill_s, 0.0), modelled=recorded
        )

    async def prefill(self, request: Prefill) -> Held:
        check_fits(self.card, request.ids, request.keep, 0)
        async with self._slots:
            thread = self._resume(request)
            script, place = self._find(thread.items)
            await self._until(self._clock.now_s() + self._first_wait_s(script, request.keep, len(thread.items) - place))
        return Held(session=request.session, tokens=thread.tokens)

    async def verify(self, request: Verify) -> Verdict:
        check_fits(self.card, request.ids + request.drafts, request.keep, 1)
        async with self._slots:
            thread = self._resume(request)
            script, place = self._find(thread.items)
            await self._until(self._clock.now_s() + self._first_wait_s(script, request.keep, len(thread.items) - place))
            own = script.ids[place:]
            pairs = zip(request.drafts, own, strict=False)
            accepted = next((n for n, (draft, token) in enumerate(pairs) if draft != token), min(len(request.drafts), len(own)))
            thread.items.extend(request.drafts[:accepted])
        next_id = own[accepted] if accepted < len(own) else _END
        return Verdict(epoch=request.epoch, accepted=accepted, next_id=next_id, logprobs=_logprobs(script, place, min(accepted + 1, len(own))))

    async def rollback(self, request: Rollback) -> Held:
        return Held(session=request.session, tokens=self._threads.rollback(request.session, request.length))

    async def embed(self, request: Embed) -> Embedding:
        raise NotSupported(f"{self.card.id!r} is a recording: it makes no embeddings", hint="ask a node that runs a model", param="model")

    async def score(self, request: Score) -> Scores:
        raise NotSupported(f"{self.card.id!r} is a recording: it reads no prompts", hint="ask a node that runs a model", param="model")

    def load(self) -> Load:
        return Load(
            running=self._slots.running,
            waiting=self._slots.waiting,
            slots=self._slots.count,
            held_tokens=self._threads.held_tokens,
            capacity_tokens=self._slots.count * self.card.context_tokens,
            sessions=self._threads.names,
            free_s=self._workload.free_s(),
            step_s=self._workload.step_s,
            prompt_token_s=self._workload.prompt_token_s,
            prompt_tokens=self._workload.prompt_tokens,
        )

    async def close(self) -> None:
        self._threads.clear()

    def model_tokens(self, ids: Sequence[int]) -> int:
        """How many of the recorded model's own tokens `ids` are worth: what a hardware profile is to count."""
        turn = _turn_end(ids)
        script = self._scripts.get(prompt_key(ids[:turn])) if turn else None
        if script is None:
            return math.ceil(len(ids) / self._bytes_a_token)
        return script.prompt_tokens + bisect_left(script.starts, len(ids) - turn)

    def _resume(self, request: Generate | Verify | Prefill) -> Thread[int]:
        thread = self._threads.resume(request.session, request.epoch, request.keep)
        thread.items.extend(request.ids)
        return thread

    def _find(self, ids: Sequence[int]) -> tuple[Script, int]:
        """The script of a session, and how many ids of it are said.

        Raises:
            InvalidRequest: the prompt is not in the recording, or the answer so far is not the recorded one.
        """
        turn = _turn_end(ids)
        script = self._scripts.get(prompt_key(ids[:turn])) if turn else None
        if script is None:
            start = ByteTokenizer().decode(ids[:turn] or ids)[:60].decode("utf-8", "replace")
            raise InvalidRequest(
                f"the recording of {self.card.id!r} does not hold the prompt {start!r}",
                hint="ask a recorded one, or record it: netgpt record --resume",
                param="messages",
            )
        said = tuple(ids[turn:])
        if said != script.ids[: len(said)]:
            place = next((n for n, (old, new) in enumerate(zip(said, script.ids, strict=False)) if old != new), len(script.ids))
            raise InvalidRequest(
                f"the recorded answer of {self.card.id!r} departs from this one after {place} bytes",
                hint="let one model answer: a recording cannot go on from another's words",
                param="ids",
            )
        return script, len(said)

    def _first_wait_s(self, script: Script, keep: int, prompt_tokens: int) -> float:
        return script.first_s if keep < prompt_tokens else script.mean_gap_s

    async def _until(self, due_s: float) -> None:
        """Others get their turn between any two tokens."""
        wait_s = due_s - self._clock.now_s() if self._timing == "recorded" else 0.0
        await (self._clock.sleep(wait_s) if wait_s > 0 else asyncio.sleep(0))


def _turn_end(ids: Sequence[int]) -> int:
    """How many ids are the prompt: up to the last mark where the assistant is to speak; 0 without one."""
    return next((place + 1 for place in range(len(ids) - 1, -1, -1) if ids[place] == _TURN), 0)


def _gap_s(script: Script, place: int) -> float:
    """The recorded gap before the token that begins at `place`; none within a token."""
    token = bisect_left(script.starts, place)
    return script.gaps_s[token] if token < len(script.starts) and script.starts[token] == place else 0.0


def _step(script: Script, place: int, left: int, request: Generate, *, position: int) -> Tokens:
    """The recorded token at `place`, or its first `left` ids; up to a stop id, and empty where a cut answer ends."""
    end = next(iter(script.starts[bisect_right(script.starts, place) :]), len(script.ids))
    ids = script.ids[place : min(end, place + left)]
    stop = next((n + 1 for n, token in enumerate(ids) if token in request.stop_ids), len(ids))
    ids = ids[:stop]
    top = _tops(script, place, ids, request.top_logprobs) if request.top_logprobs else ()
    return Tokens(epoch=request.epoch, position=position, ids=ids, logprobs=_logprobs(script, place, len(ids)), top=top)


def _finish(script: Script, place: int, left: int, tokens: Tokens, request: Generate) -> str:
    if tokens.ids and (tokens.ids[-1] in request.stop_ids or tokens.ids[-1] == _END):
        return "stop"
    return "length" if left <= 0 or place >= len(script.ids) else ""


def _logprobs(script: Script, place: int, count: int) -> tuple[float, ...]:
    """Of `count` ids from `place`: a token's own at its first, 0 at the others; none where the end id's is not known."""
    if script.logprobs is None:
        return ()
    values: list[float] = []
    for at in range(place, place + count):
        token = bisect_right(script.starts, at) - 1
        if token >= len(script.logprobs):
            break
        values.append(script.logprobs[token] if script.starts[token] == at else 0.0)
    return tuple(values)


def _tops(script: Script, place: int, ids: Sequence[int], most: int) -> tuple[TopLogprobs, ...]:
    if script.top is None:
        return ()
    tops: list[TopLogprobs] = []
    for at, id_ in enumerate(ids, start=place):
        token = bisect_right(script.starts, at) - 1
        if token >= len(script.top):
            break
        recorded = script.top[token]
        first = script.starts[token] == at
        tops.append(TopLogprobs(ids=recorded.ids[:most], logprobs=recorded.logprobs[:most]) if first else TopLogprobs(ids=(id_,), logprobs=(0.0,)))
    return tuple(tops)
