"""What a door does for a request whose prompt may be shortened: it has the prompt read by its own node's model, and leaves out what tells least.

Nothing leaves the node for it. Where the own model cannot say how much it expected (an upstream's would be asked elsewhere, a recording has
read nothing), or is busy, words stand for it; so they do for prompts whose template hides where each part is. What may
go is `compress`'s matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from netgpt.core.clock import Clock
from netgpt.inference.compress import (
    LEAST_LEFT_OUT,
    LEAST_TOKENS,
    Part,
    cut,
    lexical_information,
    most_left_out,
    owners_of,
    parts_of,
    self_information,
    tokens_of,
)
from netgpt.inference.direct import LOST
from netgpt.inference.planning import COMPRESSED, WHOLE, Decision
from netgpt.inference.prompt import render_prompt
from netgpt.inference.reading import MOST_READING, Read
from netgpt.inference.request import BY_MODEL, BY_WORDS, COMPRESS_ALWAYS, ChatRequest, Compression, CompressWish
from netgpt.models.tokenizer import Tokenizer
from netgpt.network.member import Member
from netgpt.node.handle import NodeHandle
from netgpt.node.session import Session


class Asked(NamedTuple):
    """A request as nodes are asked it."""

    request: ChatRequest
    prompt_ids: tuple[int, ...]
    compression: Compression | None = None  # None: nobody wished for it
    read: Read | None = None  # before it was chosen who answers

    @property
    def took_s(self) -> float:
        return sum(one.took_s for one in (self.compression, self.read) if one)


class Compressing:
    """Shortens prompts at one door."""

    def __init__(self, *, entry: Callable[[], Member], handle: Callable[[Member], NodeHandle], tokenizer: Tokenizer, clock: Clock) -> None:
        self._entry = entry
        self._handle = handle
        self._tokenizer = tokenizer
        self._clock = clock
        self._reading = 0

    async def shortened(self, request: ChatRequest, wish: CompressWish, session: Session) -> tuple[ChatRequest, Compression]:
        """The request as it is to be asked, and what became of its prompt.

        Args:
            session: of the whole prompt: its ids, until when it is of use, and whose bytes are counted.

        Raises:
            DeadlineExceeded: it passed meanwhile.
        """
        before = len(session.prompt_ids)
        if refused := why_whole(request, before, wish):
            return request, Compression(fidelity=WHOLE, why=refused, prompt_tokens=before)
        began_s = self._clock.now_s()
        parts = parts_of(request.messages)
        owners = owners_of(parts, request.messages, session.prompt_ids, self._tokenizer.decode)
        found = any(owner is not None for owner in owners)
        weights = await self._expected(request, parts, owners, session) if found else None
        tokens = tokens_of(parts, owners) if found else [part.end - part.start for part in parts]
        by = BY_WORDS if weights is None else BY_MODEL
        made = cut(request.messages, parts, tokens, weights or lexical_information(parts, request.messages), wish.rate)
        asked = replace(request, messages=made.messages)
        left_out = before - len(render_prompt(self._tokenizer, asked))
        took_s = self._clock.now_s() - began_s
        if not made.left_out:
            return request, Compression(
                fidelity=WHOLE, why="no part can be left out for it", prompt_tokens=before, took_s=took_s, link_bytes=session.link_bytes
            )
        return asked, Compression(
            link_bytes=session.link_bytes,
            fidelity=COMPRESSED,
            by=by,
            rate=wish.rate,
            prompt_tokens=before,
            left_out_tokens=left_out,
            left_out_parts=len(made.left_out),
            took_s=took_s,
        )

    async def _expected(self, request: ChatRequest, parts: Sequence[Part], owners: Sequence[int | None], session: Session) -> list[float] | None:
        """The weight of each part as the own node's model has it; None if it does not say."""
        own = self._entry()
        if not own.reads or own.state != "ready" or own.tokenizer != session.tokenizer or self._reading == MOST_READING:
            return None
        handle, logprobs = self._handle(own), list[float]()
        self._reading += 1
        try:
            for start in range(0, len(session.prompt_ids), own.context_tokens):
                logprobs += await handle.scores(session, session.prompt_ids[start : start + own.context_tokens])
        except LOST:
            return None
        finally:
            self._reading -= 1
        return self_information(parts, request.messages, owners, logprobs)


def is_shortened(wish: CompressWish, decision: Decision | None) -> bool:
    """Whether the prompt is to be shortened: as `auto` has chosen; where it has no say, if the client wants it always."""
    if decision is None:
        return wish.when == COMPRESS_ALWAYS
    return decision.chosen.prediction.candidate.fidelity == COMPRESSED


def why_whole(request: ChatRequest, prompt_tokens: float, wish: CompressWish) -> str:
    """Why a prompt stays as it is, whatever is wished; empty: it may be shortened."""
    if request.prompt is not None:
        return "a raw prompt has no parts"
    if prompt_tokens < LEAST_TOKENS:
        return f"a prompt of less than {LEAST_TOKENS} tokens stays whole"
    if most_left_out(request.messages, wish.rate) < LEAST_LEFT_OUT:
        return f"less than {LEAST_LEFT_OUT:.0%} of it may be left out"
    return ""
