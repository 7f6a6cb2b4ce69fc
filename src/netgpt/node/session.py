"""A session: the tokens that a request's entry node has accepted, and nothing that can be lost with a node.

It owns an append-only list of accepted pieces (exact bytes and the ids that made them). KV anywhere is
disposable: whoever continues gets the ids. Every attempt to continue has an epoch; what arrives with
an older one is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from netgpt.models.generation import Generate, Sampling, Timings, TopLogprobs
from netgpt.models.grammar import Grammar

PRIVACY_LEVELS = ("device-only", "edge-allowed", "cloud-allowed")
_TIER_RANK = {"device": 0, "edge": 1, "cloud": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Some consecutive tokens of an answer, from one node."""

    ids: tuple[int, ...]
    data: bytes
    origin: str
    logprobs: tuple[float, ...] = ()
    top: tuple[TopLogprobs, ...] = ()
    finish: str = ""
    timings: Timings | None = None
    cached: int = 0


def may_see_content(privacy: str, tier: str) -> bool:
    """Whether a node of `tier` may see content of that privacy level."""
    return _TIER_RANK[tier] <= PRIVACY_LEVELS.index(privacy)


@dataclass(kw_only=True)
class Session:
    """One request on its way. Strategies read it; only the door changes it."""

    id: str
    prompt_ids: tuple[int, ...]
    tokenizer: str  # hash
    max_tokens: int
    sampling: Sampling
    stop_ids: tuple[int, ...]
    top_logprobs: int = 0
    grammar: Grammar | None = None  # of the answer
    privacy: str = "cloud-allowed"
    deadline_s: float  # on the entry node's clock
    epoch: int = 0
    accepted: list[Piece] = field(default_factory=list)
    held: list[Piece] = field(default_factory=list)
    answer_tokens: int = 0  # accepted and held
    link_bytes: dict[str, tuple[int, int]] = field(default_factory=dict)  # node -> payload bytes (sent, received)

    def hold(self, piece: Piece) -> None:
        """Add a piece that the client does not see yet."""
        self.held.append(piece)
        self.answer_tokens += len(piece.ids)

    def accept(self) -> list[Piece]:
        """Make the held pieces final and return them."""
        final, self.held = self.held, []
        self.accepted.extend(final)
        return final

    def drop_held(self) -> None:
        """Forget what was not accepted; the next attempt is a new epoch."""
        self.answer_tokens -= sum(len(piece.ids) for piece in self.held)
        self.held = []
        self.epoch += 1

    @property
    def ids(self) -> tuple[int, ...]:
        """Prompt, accepted and held tokens, in order."""
        return self.prompt_ids + tuple(i for piece in (*self.accepted, *self.held) for i in piece.ids)

    @property
    def finished(self) -> str:
        """Why the accepted answer has ended: "stop", "length", or "" while it has not."""
        if self.accepted and self.accepted[-1].finish:
            return self.accepted[-1].finish
        return "length" if self.answer_tokens >= self.max_tokens else ""

    def next_request(self) -> Generate:
        """What to ask of a node that is to continue from here."""
        return Generate(
            session=self.id,
            epoch=self.epoch,
            ids=self.ids,
            max_tokens=self.max_tokens - self.answer_tokens,
            sampling=self.sampling,
            stop_ids=self.stop_ids,
            top_logprobs=self.top_logprobs,
            grammar=self.grammar,
            answer_from=len(self.prompt_ids) if self.grammar else 0,
        )
