"""Greedy decoding without a cache: for measuring a model that was just trained, not for serving it.

`drafts` are guesses of the replies. They save forward passes where the model would have said the same
and never change what it says: a draft token stands only if it is the model's own choice.

Axes: B sequence, T position, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from netgpt.models.decoder import Decoder

BATCH = 48


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
    for start in range(0, len(by_length), BATCH):
        growing = by_length[start : start + BATCH]
        while growing:
            chosen = _choices(model, growing)
            growing = [reply for reply, tokens in zip(growing, chosen, strict=True) if not reply.read(tokens, end_id, limit)]
    return [reply.ids for reply in replies]


def _choices(model: Decoder, replies: Sequence[_Reply]) -> list[list[int]]:
    """For each reply the model's choice at its next position and at every guessed one after it."""
    rows = [[*reply.prompt, *reply.ids, *reply.guess()] for reply in replies]
    width = max(map(len, rows))
    padded = [row + [0] * (width - len(row)) for row in rows]  # attention is causal: what stands behind does not matter
    ids_BT = torch.tensor(padded, device=model.output_VD.device)
    best_BT = model(ids_BT).argmax(-1)
    return [best_BT[b, len(reply.prompt) + len(reply.ids) - 1 : len(rows[b])].tolist() for b, reply in enumerate(replies)]
