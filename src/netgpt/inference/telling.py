"""What the client of one request has been told, and which node made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netgpt.inference.request import Delta, Span
from netgpt.inference.text import TextAssembler
from netgpt.models.tokenizer import Tokenizer
from netgpt.node.session import Piece


class Telling:
    """Turns accepted pieces into `Delta`s and keeps the account of their origin."""

    def __init__(self, text: TextAssembler, tokenizer: Tokenizer, *, logprobs: bool) -> None:
        self.text = text
        self.spans: list[Span] = []
        self.switches: list[str] = []
        self.queue_s = 0.0  # in the door's queue
        self.first_token_s: float | None = None  # from arrival
        self._tokenizer = tokenizer
        self._logprobs = logprobs

    def tell(self, piece: Piece) -> Delta | None:
        """The client's view of `piece`; None when nothing of it can be shown yet."""
        self._credit(piece)
        text = self.text.feed(piece.data)
        if not self._logprobs:
            return Delta(text=text, origin=piece.origin) if text else None
        if not text and not piece.count:
            return None
        return Delta(
            text=text,
            origin=piece.origin,
            tokens=piece.tokens if piece.recoded else self._each(piece.ids),
            logprobs=piece.logprobs,
            top=piece.top,
            top_tokens=tuple(top.tokens if piece.recoded else self._each(top.ids) for top in piece.top),
        )

    def _each(self, ids: Sequence[int]) -> tuple[bytes, ...]:
        return tuple(self._tokenizer.decode((i,)) for i in ids)

    def _credit(self, piece: Piece) -> None:
        if not piece.count:
            return
        if self.spans and self.spans[-1].node == piece.origin:
            self.spans[-1] = replace(self.spans[-1], tokens=self.spans[-1].tokens + piece.count)
        else:
            self.spans.append(Span(node=piece.origin, tokens=piece.count, recoded=piece.recoded))
