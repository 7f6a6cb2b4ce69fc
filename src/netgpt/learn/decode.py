"""Decoding of many prompts at once, to measure a model with: `engine.decode`'s step, without a scheduler. Greedy, or drawn.

`drafts` are guesses of the replies. They save steps where the model would have said the same and never
change what it says: a draft token stands only if it is the model's own choice. What is drawn is a choice too: at each
position of a reply one number between 0 and 1, fixed beforehand, says which.

Axes: N row of a step, D hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from netgpt.engine.decode import FusedDecoder, Segment
from netgpt.engine.kv import KvBuffer
from netgpt.models.decoder import Decoder

BATCH, BATCH_TOKENS = 48, 8192  # at most so many sequences, and so many tokens, at once


@dataclass
class _Reply:
    """A reply as it grows. Its buffer holds all but the last of what is known: prompt and reply so far."""

    index: int
    prompt: Sequence[int]
    draft: Sequence[int]
    kv: KvBuffer
    draws: Sequence[float] = ()  # one a position; none: the likeliest token is chosen
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    runners_up: list[float] = field(default_factory=list)

    def guess(self) -> Sequence[int]:
        """What the draft says comes next; nothing once the reply has left it."""
        return self.draft[len(self.ids) :] if list(self.draft[: len(self.ids)]) == self.ids else ()

    def unread(self) -> list[int]:
        """What the model has not read yet of what is known."""
        return [*self.prompt, *self.ids][self.kv.length :]

    def take(self, chosen: Sequence[tuple[int, float, float]], end_id: int, limit: int) -> bool:
        """Take the model's choices as far as the guess agrees, and the one after. True when the reply is complete."""
        guess = self.guess()
        for i, (token, logprob, runner_up) in enumerate(chosen):
            self.ids.append(token)
            self.logprobs.append(logprob)
            self.runners_up.append(runner_up)
            if token == end_id or len(self.ids) >= limit:
                return True
            if i >= len(guess) or guess[i] != token:
                break
        self.kv.truncate(len(self.prompt) + len(self.ids) - 1)
        return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What a model said, and how sure it was: natural logarithms of probabilities."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]  # of each id
    runners_up: tuple[float, ...]  # of the likeliest other id at each position


def greedy_replies(model: Decoder, prompts: Sequence[Sequence[int]], *, end_id: int, limit: int, drafts: Sequence[Sequence[int]] = ()) -> list[Reply]:
    """The most likely reply to each prompt, token by token.

    Args:
        model: on the CPU; not trained any further while this runs.
        prompts: ids, each ending where the reply begins; not empty.
        limit: most tokens of a reply; with its prompt it must fit the model's context.
        drafts: none, or one a prompt.

    Returns:
        The replies, with `end_id` last unless `limit` came first.
    """
    return _replies(model, prompts, end_id=end_id, limit=limit, drafts=drafts, draws=(), temperature=0.0)


def drawn_replies(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    *,
    end_id: int,
    limit: int,
    temperature: float,
    chance: np.random.Generator,
    drafts: Sequence[Sequence[int]] = (),
) -> list[Reply]:
    """A reply to each prompt, each token drawn from the model's law at `temperature`, above 0. As `greedy_replies` otherwise.

    Args:
        chance: of it `limit` + 1 numbers are drawn for every prompt, in their order.
    """
    draws = chance.random((len(prompts), limit + 1))  # a guess as long as the limit is followed by one more choice
    return _replies(model, prompts, end_id=end_id, limit=limit, drafts=drafts, draws=draws.tolist(), temperature=temperature)


@torch.inference_mode()
def _replies(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    *,
    end_id: int,
    limit: int,
    drafts: Sequence[Sequence[int]],
    draws: Sequence[Sequence[float]],
    temperature: float,
) -> list[Reply]:
    decoder = FusedDecoder(model)
    replies = [
        _Reply(i, prompt, drafts[i][:limit] if drafts else (), decoder.new_kv(), draws[i] if draws else ()) for i, prompt in enumerate(prompts)
    ]
    for growing in _batches(sorted(replies, key=lambda reply: len(reply.prompt) + len(reply.draft))):
        batch = growing
        while growing:
            chosen = _choices(decoder, growing, temperature)
            growing = [reply for reply, tokens in zip(growing, chosen, strict=True) if not reply.take(tokens, end_id, limit)]
        for reply in batch:
            reply.kv = decoder.new_kv()  # give the memory back
    return [Reply(ids=tuple(one.ids), logprobs=tuple(one.logprobs), runners_up=tuple(one.runners_up)) for one in replies]


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


def _choices(decoder: FusedDecoder, replies: Sequence[_Reply], temperature: float) -> list[list[tuple[int, float, float]]]:
    """For each reply the model's choice at its next position and at every guessed one after it, with its log-probability and the second's."""
    segments: list[Segment] = []
    asked_N: list[int] = []  # rows of the step whose predictions are wanted
    sizes: list[int] = []
    draws_N: list[float] = []
    rows = 0
    for reply in replies:
        guess, unread = reply.guess(), reply.unread()
        reply.kv.reserve(reply.kv.length + len(unread) + len(guess))
        segments.append(Segment(reply.kv, [*unread, *guess]))
        asked_N += range(rows + len(unread) - 1, rows + len(unread) + len(guess))
        sizes.append(len(guess) + 1)
        draws_N += reply.draws[len(reply.ids) :][: len(guess) + 1]
        rows += len(unread) + len(guess)
    hidden_ND = decoder.step(segments)
    logprobs_NV = torch.log_softmax(decoder.logits(hidden_ND[torch.tensor(asked_N)]).float(), -1)
    best = logprobs_NV.topk(2)
    if draws_N:
        chosen_N = _drawn(logprobs_NV / temperature, torch.tensor(draws_N, dtype=torch.float64))
        said_N = logprobs_NV.gather(1, chosen_N[:, None])[:, 0]
        others_N = torch.where(chosen_N == best.indices[:, 0], best.values[:, 1], best.values[:, 0])
        rows_N = zip(chosen_N.tolist(), said_N.tolist(), others_N.tolist(), strict=True)
    else:
        rows_N = zip(best.indices[:, 0].tolist(), *best.values.T.tolist(), strict=True)
    return [list(islice(rows_N, size)) for size in sizes]


def _drawn(logits_NV: Tensor, draws_N: Tensor) -> Tensor:
    """The token of each row in whose part of the cumulated law the draw falls."""
    cumulated_NV = torch.softmax(logits_NV.double(), -1).cumsum(-1)
    return torch.searchsorted(cumulated_NV, draws_N[:, None], right=True)[:, 0].clamp(max=logits_NV.shape[1] - 1)
