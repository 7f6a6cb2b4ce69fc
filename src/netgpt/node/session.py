"""A session: the tokens that a request's entry node has accepted, and nothing that can be lost with a node.

It owns an append-only list of accepted pieces (exact bytes and the ids that made them). KV anywhere is
disposable: whoever continues gets the ids or, with another tokenizer, the text. Every attempt to continue has an epoch; what arrives with
an older one is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from netgpt.core.transport import STANDARD
from netgpt.models.generation import Generate, Penalties, Sampling, Text, Timings, TopLogprobs, Turn
from netgpt.models.grammar import Grammar

PRIVACY_LEVELS = ("device-only", "edge-allowed", "cloud-allowed")
_TIER_RANK = {"device": 0, "edge": 1, "cloud": 2}


class Piece(NamedTuple):
    """Some consecutive tokens of an answer, from one node. One is made for every token: a named tuple costs half of a frozen dataclass."""

    ids: tuple[int, ...]
    data: bytes
    origin: str
    logprobs: tuple[float, ...] = ()
    top: tuple[TopLogprobs, ...] = ()
    finish: str = ""
    timings: Timings | None = None
    cached: int = 0
    recoded: bool = False  # made with another tokenizer than the session's: `ids` is empty, `data` counts
    made: int = 0  # tokens of the node's own, of a recoded piece
    tokens: tuple[bytes, ...] = ()  # bytes of each that has a log-probability, of a recoded piece
    prompt_tokens: int = 0  # as the node counts; with its last piece, of a recoded one

    @property
    def size(self) -> int:
        """How many tokens it is, in the count of the model that made it."""
        return self.made if self.recoded else len(self.ids)


def may_see_content(privacy: str, tier: str) -> bool:
    """Whether a node of `tier` may see content of that privacy level."""
    return _TIER_RANK[tier] <= PRIVACY_LEVELS.index(privacy)


@dataclass(kw_only=True, slots=True)
class Session:
    """One request on its way. Strategies read it; only the door changes it."""

    id: str
    prompt_ids: tuple[int, ...]
    tokenizer: str  # hash
    max_tokens: int
    sampling: Sampling
    stop_ids: tuple[int, ...]
    messages: tuple[tuple[str, str], ...] = ()  # what prompt_ids were made from
    logprobs: bool = False
    top_logprobs: int = 0
    grammar: Grammar | None = None  # of the answer
    penalties: Penalties | None = None  # of its tokens
    variants: Mapping[str, str] = field(default_factory=dict)  # in which the models of some nodes are to be asked, by node
    fit: bool = False  # max_tokens is an upper bound: nobody asked for so many
    privacy: str = "cloud-allowed"
    qos: str = STANDARD  # the class of the user for whom it is
    deadline_s: float  # on the entry node's clock
    epoch: int = 0
    accepted: list[Piece] = field(default_factory=list)
    held: list[Piece] = field(default_factory=list)
    answer_tokens: int = 0  # accepted and held, each in the count of the model that made it
    link_bytes: dict[str, tuple[int, int]] = field(default_factory=dict)  # node -> payload bytes (sent, received)

    def hold(self, piece: Piece) -> None:
        """Add a piece that the client does not see yet."""
        self.held.append(piece)
        self.answer_tokens += piece.size

    def accept(self, piece: Piece | None = None) -> Sequence[Piece]:
        """Make the held pieces final, and `piece` after them; return them."""
        if piece is not None and not self.held:  # each token of an answer that nobody drafts
            self.accepted.append(piece)
            self.answer_tokens += piece.size
            return (piece,)
        if piece is not None:
            self.hold(piece)
        final, self.held = self.held, []
        self.accepted.extend(final)
        return final

    def drop_held(self) -> None:
        """Forget what was not accepted; the next attempt is a new epoch."""
        self.answer_tokens -= sum(piece.size for piece in self.held)
        self.held = []
        self.epoch += 1

    def count_bytes(self, node: str, *, sent: int = 0, received: int = 0) -> None:
        """Add payload bytes to what crossed to and from `node`."""
        sent_before, received_before = self.link_bytes.get(node, (0, 0))
        self.link_bytes[node] = (sent_before + sent, received_before + received)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Accepted and held, in order."""
        return (*self.accepted, *self.held)

    def ids(self, encode: Callable[[bytes], Sequence[int]]) -> tuple[int, ...]:
        """Prompt, accepted and held tokens, in order. What was made with other tokenizers is encoded anew."""
        if not self.accepted and not self.held:
            return self.prompt_ids
        ids = list(self.prompt_ids)
        for recoded, pieces in groupby(self.pieces, key=lambda piece: piece.recoded):
            if recoded:
                ids.extend(encode(b"".join(piece.data for piece in pieces)))
            else:
                ids.extend(i for piece in pieces for i in piece.ids)
        return tuple(ids)

    @property
    def finished(self) -> str:
        """Why the accepted answer has ended: "stop", "length", or "" while it has not."""
        if self.accepted and (self.accepted[-1].finish or self.accepted[-1].recoded):
            return self.accepted[-1].finish  # a node of another tokenizer says itself when its tokens are used up
        return "length" if self.answer_tokens >= self.max_tokens and not self.held else ""

    def request_by_ids(self, encode: Callable[[bytes], Sequence[int]], context_tokens: int) -> Generate:
        """What to ask of a node of the session's tokenizer that is to continue from here."""
        ids, max_tokens = self.ids(encode), self.max_tokens - self.answer_tokens
        if any(piece.recoded for piece in self.pieces):
            max_tokens = max(min(max_tokens, context_tokens - len(ids)), 1)  # others counted otherwise
        return self._request(max_tokens, ids=ids)

    def request_by_text(self) -> Generate:
        """What to ask of a node of another tokenizer that is to continue from here."""
        text = Text(
            messages=tuple(Turn(role=role, content=content) for role, content in self.messages),
            answer=b"".join(piece.data for piece in self.pieces),
            logprobs=self.logprobs,
            fit=self.fit,
        )
        return self._request(max(self.max_tokens - self.answer_tokens, 1), text=text)

    def _request(self, max_tokens: int, *, ids: tuple[int, ...] = (), text: Text | None = None) -> Generate:
        return Generate(
            session=self.id,
            epoch=self.epoch,
            ids=ids,
            text=text,
            max_tokens=max_tokens,
            sampling=self.sampling,
            stop_ids=self.stop_ids,
            top_logprobs=self.top_logprobs,
            grammar=self.grammar,
            answer_from=len(self.prompt_ids) if self.grammar or self.penalties else 0,
            penalties=self.penalties,
        )
