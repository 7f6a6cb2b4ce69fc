"""A typed handle to a node's engine, local or remote: what strategies call.

It checks the session's privacy level before a byte leaves, speaks ids or, to a node of another tokenizer, text,
counts the payload bytes of each session, and drops what arrives with an old epoch. It does not choose, retry or remember.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from netgpt.core.clock import Clock
from netgpt.core.errors import DeadlineExceeded, NodeUnreachable, NotSupported, PrivacyRefused
from netgpt.core.transport import Connection
from netgpt.models.generation import (
    Embed,
    Embedding,
    Generate,
    Held,
    Load,
    Recall,
    Recalled,
    Remember,
    Remembered,
    Rollback,
    Score,
    Scores,
    Tokens,
    with_top,
)
from netgpt.models.tokenizer import Tokenizer, encode_bytes
from netgpt.network.member import Member
from netgpt.node.call import Reply, ask
from netgpt.node.session import Piece, Session, may_see_content
from netgpt.wire.codec import decode, pack
from netgpt.wire.messages import Stats, check_understood
from netgpt.wire.payload import size_of


class NodeHandle:
    """One node's engine, reached over `connection`."""

    def __init__(self, member: Member, connection: Connection, tokenizer: Tokenizer, clock: Clock, *, is_entry: bool) -> None:
        self.member = member
        self._connection = connection
        self._tokenizer = tokenizer
        self._clock = clock
        self._is_entry = is_entry

    @property
    def id(self) -> str:
        return self.member.id

    @property
    def tier(self) -> str:
        return self.member.tier

    @property
    def is_entry(self) -> bool:
        """Whether it is the door's own node."""
        return self._is_entry

    async def generate(self, session: Session, *, top_logprobs: int = 0) -> AsyncGenerator[Piece, None]:
        """Continue the session from its last token; the last piece has `finish`.

        Args:
            top_logprobs: alternatives to report for each token, where the session asks for fewer.

        Raises:
            PrivacyRefused: this node's tier may not see the session's content.
            NotSupported: the node's tokenizer is not the session's and the node takes no text, or its release is too old for what is asked.
            NodeUnreachable, DeadlineExceeded, and what the engine raises.
        """
        self._admit(session)
        message = self._in_variant(with_top(self._request(session), top_logprobs), session)
        check_understood("generate", message, self.member.protocol_version, node=self.id)
        near = self._connection.near
        request = pack(message, near=near)
        session.count_bytes(self.id, sent=size_of(request))
        finished = False
        as_piece = partial(self._own_piece if self.member.tokenizer == session.tokenizer else _text_piece, self.id)
        left_s = session.deadline_s - self._clock.now_s()
        replies = self._connection.call("generate", request, deadline_s=left_s, qos=session.qos)
        try:
            async for payload in replies:
                if not near:
                    session.count_bytes(self.id, received=size_of(payload))
                tokens = decode(Tokens, payload)
                if tokens.epoch != session.epoch:
                    continue
                finished = bool(tokens.finish)
                yield as_piece(tokens)
        except DeadlineExceeded:  # in the words of who asked: an engine's address tells them nothing
            hint = "raise deadline_s, lower max_tokens, or see who is quicker: netgpt plan"
            raise DeadlineExceeded(f"node {self.id!r} did not finish its answer in time", hint=hint, param="deadline_s") from None
        finally:
            await replies.aclose()
        if not finished:
            raise NodeUnreachable(f"node {self.id!r} ended its answer early", hint="see which nodes are up: netgpt ps")

    def _admit(self, session: Session) -> None:
        self._admit_content(session)
        if self.member.tokenizer != session.tokenizer and not self.member.text:
            raise NotSupported(
                f"node {self.id!r} has another tokenizer than the session, and takes no text", hint="upgrade it: it runs an older release"
            )

    def _admit_content(self, session: Session) -> None:
        if not self._is_entry and (session.privacy == "device-only" or not may_see_content(session.privacy, self.tier)):
            raise PrivacyRefused(
                f"node {self.id!r} ({self.tier}) may not see {session.privacy!r} content", hint="ask a lower tier, or raise the privacy level"
            )
        if session.deadline_s <= self._clock.now_s():
            raise DeadlineExceeded(f"the deadline passed before node {self.id!r} was asked", hint="raise deadline_s")

    def _request(self, session: Session) -> Generate:
        if self.member.tokenizer != session.tokenizer:
            return session.request_by_text()
        return session.request_by_ids(partial(encode_bytes, self._tokenizer), self.member.context_tokens)

    def _in_variant(self, message: Generate, session: Session) -> Generate:
        """In the precision that was chosen for this node, if it still offers it."""
        wanted = session.variants.get(self.id)
        offered = self.member.offer.variants if wanted and self.member.offer else ()
        return replace(message, variant=wanted) if wanted and any(one.name == wanted for one in offered) else message

    def _own_piece(self, origin: str, tokens: Tokens) -> Piece:
        """Of a node of the session's tokenizer."""
        return Piece(
            ids=tokens.ids,
            data=self._tokenizer.decode(tokens.ids),
            origin=origin,
            logprobs=tokens.logprobs,
            top=tokens.top,
            finish=tokens.finish,
            timings=tokens.timings,
            cached=tokens.cached,
        )

    async def embed(self, session: Session) -> Embedding:
        """The vector of the session's prompt. Raises what `generate` raises."""
        self._admit(session)
        return await self._ask(session, "embed", Embed(session=session.id, ids=session.prompt_ids), Embedding)

    async def states(self, session: Session, ids: tuple[int, ...], parts: tuple[int, ...]) -> Embedding:
        """The states of parts of `ids`, tokens of the session, on the door's own node: they stay on it.

        Raises:
            NotSupported: the node is not the door's own.
            And what `generate` raises.
        """
        self._admit(session)
        if not self._is_entry:
            raise NotSupported(f"states of {self.id!r} do not leave it", hint="ask at its own door")
        return await self._ask(session, "embed", Embed(session=f"{session.id}-states", ids=ids, parts=parts), Embedding)

    async def scores(self, session: Session, ids: tuple[int, ...]) -> tuple[float, ...]:
        """How likely each of `ids` is after those before it, on the door's own node: log-probabilities in nats, of the first one 0.

        Raises:
            NotSupported: the node is not the door's own, so that the content would leave it.
            And what `generate` raises.
        """
        self._admit(session)
        if not self._is_entry:
            raise NotSupported(f"a prompt is not sent to {self.id!r} to be read there alone", hint="ask at its own door")
        found = await self._ask(session, "score", Score(session=f"{session.id}-score", ids=ids), Scores)
        return (0.0, *found.logprobs)

    async def recall(self, session: Session, asked: Recall) -> Recalled:
        """The node's kept answer to what the session asks, if it has one. Raises what `generate` raises."""
        self._admit_content(session)
        return await self._ask(session, "recall", asked, Recalled)

    async def remember(self, session: Session, answer: Remember) -> Remembered:
        """Let the node keep the answer to what it was asked. Raises what `generate` raises."""
        self._admit_content(session)
        return await self._ask(session, "remember", answer, Remembered)

    async def _ask(self, session: Session, method: str, message: object, reply: type[Reply]) -> Reply:
        """One call with one reply, whose bytes the session counts."""
        check_understood(method, message, self.member.protocol_version, node=self.id)
        request = pack(message, near=self._connection.near)
        session.count_bytes(self.id, sent=size_of(request))
        left_s = session.deadline_s - self._clock.now_s()
        async with aclosing(self._connection.call(method, request, deadline_s=left_s, qos=session.qos)) as replies:
            async for payload in replies:
                session.count_bytes(self.id, received=size_of(payload))
                return decode(reply, payload)
        raise NodeUnreachable(f"node {self.id!r} gave no answer to {method!r}", hint="see which nodes are up: netgpt ps")

    async def probe(self, padding: bytes, *, deadline_s: float) -> Load:
        """The engine's load. Costs the engine nothing, so that the time it takes is the way's; `padding` makes the request larger."""
        return await ask(self._connection, "stats", Stats(padding=padding), Load, deadline_s=deadline_s)

    async def release(self, session: Session, *, deadline_s: float) -> Held:
        """Free the session's KV on this node."""
        return await ask(self._connection, "rollback", Rollback(session=session.id), Held, deadline_s=deadline_s)


def _text_piece(origin: str, tokens: Tokens) -> Piece:
    """Of a node of another tokenizer."""
    return Piece(
        ids=(),
        data=tokens.data,
        origin=origin,
        logprobs=tokens.logprobs,
        top=tokens.top,
        finish=tokens.finish,
        timings=tokens.timings,
        cached=tokens.cached,
        recoded=True,
        made=tokens.made,
        tokens=tokens.tokens,
        prompt_tokens=tokens.prompt_tokens,
    )
