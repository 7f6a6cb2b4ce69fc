"""What the client of one request has been told, and which node made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netgpt.inference.request import Delta, Span
from netgpt.inference.text import TextAssembler
from netgpt.models.generation import TopLogprobs
from netgpt.models.tokenizer import Tokenizer
from netgpt.node.session import Piece


class Telling:
    """Turns accepted pieces into `Delta`s and keeps the account of their origin."""

    def __init__(
        self, text: TextAssembler, tokenizer: Tokenizer, *, logprobs: bool, top_logprobs: int = 0, begun: Callable[[], None] = lambda: None
    ) -> None:
        """Args:
        begun: to be called once the first token is there.
        """
        self.begun = begun
        self.text = text
        self._credits: list[tuple[str, bool]] = []  # (node, recoded) of each span,
        self._counts: list[int] = []  # and its tokens
        self.switches: list[str] = []
        self.escalations = 0  # of the switches
        self.queue_s = 0.0  # in the door's queue
        self.first_token_s: float | None = None  # from arrival
        self._tokenizer = tokenizer
        self._logprobs = logprobs
        self._top_logprobs = top_logprobs  # a strategy may have asked for more

    def tell(self, piece: Piece) -> Delta | None:
        """The client's view of `piece`; None when nothing of it can be shown yet."""
        self._credit(piece)
        text = self.text.feed(piece.data)
        if not self._logprobs:
            return Delta(text=text, origin=piece.origin) if text else None
        if not text and not piece.size:
            return None
        top = tuple(first(top, self._top_logprobs) for top in piece.top) if self._top_logprobs else ()
        return Delta(
            text=text,
            origin=piece.origin,
            tokens=piece.tokens if piece.recoded else self._each(piece.ids),
            logprobs=piece.logprobs,
            top=top,
            top_tokens=tuple(one.tokens if piece.recoded else self._each(one.ids) for one in top),
        )

    def _each(self, ids: Sequence[int]) -> tuple[bytes, ...]:
        return tuple(self._tokenizer.decode((i,)) for i in ids)

    def _credit(self, piece: Piece) -> None:
        if not (size := piece.size):
            return
        if self._credits and self._credits[-1][0] == piece.origin:
            self._counts[-1] += size
        else:
            self._credits.append((piece.origin, piece.recoded))
            self._counts.append(size)

    @property
    def spans(self) -> tuple[Span, ...]:
        """Which node made how many tokens, in order."""
        return tuple(Span(node=node, tokens=tokens, recoded=recoded) for (node, recoded), tokens in zip(self._credits, self._counts, strict=True))


def first(top: TopLogprobs, count: int) -> TopLogprobs:
    """The first alternatives of `top`."""
    if len(top.logprobs) <= count:
        return top
    return TopLogprobs(ids=top.ids[:count], logprobs=top.logprobs[:count], tokens=top.tokens[:count])
