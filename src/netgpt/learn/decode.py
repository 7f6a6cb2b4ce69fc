"""Greedy decoding without a cache: for measuring a model that was just trained, not for serving it.

`drafts` are guesses of the replies. They save forward passes where the model would have said the same
and never change what it says: a draft token stands only if it is the model's own choice.

Axes: B sequence, T position, D hidden, N position that is asked for, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch.nn import functional as F

from netgpt.models.decoder import Decoder

BATCH, BATCH_TOKENS = 48, 8192  # at most so many sequences, and so many positions, at once


@dataclass
class _Reply:
    """A reply as it grows."""

    index: int
    prompt: Sequence[int]
    draft: Sequence[int]
    ids: list[int] = field(default_factory=list)

    def guess(self) -> Sequence[int]:
        """What the draft says comes next; nothing once the reply has left it."""
        return self.draft[len(self.ids) :] if list(self.draft[: len(self.ids)]) == self.ids else ()

    def read(self, chosen: Sequence[int], end_id: int, limit: int) -> bool:
        """Take the model's choices as far as the guess agrees, and the one after. True when the reply is complete."""
        guess = self.guess()
        for i, token in enumerate(chosen):
            self.ids.append(token)
            if token == end_id or len(self.ids) >= limit:
                return True
            if i >= len(guess) or guess[i] != token:
                return False
        return False


@torch.inference_mode()
def greedy_replies(
    model: Decoder, prompts: Sequence[Sequence[int]], *, end_id: int, limit: int, drafts: Sequence[Sequence[int]] = ()
) -> list[list[int]]:
    """The most likely reply to each prompt, token by token.

    Args:
        prompts: ids, each ending where the reply begins; not empty.
        limit: most tokens of a reply; with its prompt it must fit the model's context.
        drafts: none, or one a prompt.

    Returns:
        The reply ids, with `end_id` last unless `limit` came first.
    """
    replies = [_Reply(i, prompt, drafts[i] if drafts else ()) for i, prompt in enumerate(prompts)]
    by_length = sorted(replies, key=lambda reply: len(reply.prompt) + len(reply.draft))
    for growing in _batches(by_length):
        while growing:
            chosen = _choices(model, growing)
            growing = [reply for reply, tokens in zip(growing, chosen, strict=True) if not reply.read(tokens, end_id, limit)]
    return [reply.ids for reply in replies]


def _batches(by_length: Sequence[_Reply]) -> Iterator[list[_Reply]]:
    """Replies of like lengths together, as many as the limits allow."""
    batch: list[_Reply] = []
    for reply in by_length:
        if len(batch) == BATCH or (len(batch) + 1) * (len(reply.prompt) + len(reply.draft)) > BATCH_TOKENS:
            if batch:
                yield batch
            batch = []
        batch.append(reply)
    if batch:
        yield batch


def _choices(model: Decoder, replies: Sequence[_Reply]) -> list[list[int]]:
    """For each reply the model's choice at its next position and at every guessed one after it."""
    rows = [[*reply.prompt, *reply.ids, *reply.guess()] for reply in replies]
    width = max(map(len, rows))
    padded = [row + [0] * (width - len(row)) for row in rows]  # attention is causal: what stands behind does not matter
    hidden_BTD = model.model(torch.tensor(padded, device=model.output_VD.device))
    asked = [hidden_BTD[b, len(reply.prompt) + len(reply.ids) - 1 : len(rows[b])] for b, reply in enumerate(replies)]
    best_N = F.linear(torch.cat(asked), model.output_VD).argmax(-1)  # logits of prompts are not needed
    return [part.tolist() for part in best_N.split([len(part) for part in asked])]
