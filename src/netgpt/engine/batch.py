"""What the engine's worker thread does: steps over all runs at once, until something is worth telling.

A *run* is one call at work. Each has tokens that its KV does not hold yet; a step feeds some of them,
and where a run wants predictions it takes them: a generation appends the token drawn, a verification
compares it with the draft. Knows no event loop; the engine reads the runs between bursts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from netgpt.core.clock import Clock
from netgpt.core.errors import NetgptError
from netgpt.engine.decode import FusedDecoder, Segment
from netgpt.engine.grammar import Matcher
from netgpt.engine.sampling import Shift, choose
from netgpt.engine.sessions import Session
from netgpt.models.generation import GREEDY, Sampling, TopLogprobs

STEP_ROWS = 128  # of prompts and drafts in one step; a newcomer or a cancellation waits for one step at most
BURST_STEPS = 64
BURST_S = 0.01  # tokens are handed out at least this often


@dataclass(frozen=True, slots=True)
class Draw:
    """A token that the model would say next, its log-probability (nats), and the likeliest ones."""

    id: int
    logprob: float  # among all tokens, whatever a grammar allows and penalties add: how sure the model was
    top: TopLogprobs | None = None


@dataclass(eq=False, kw_only=True, slots=True)
class Run:
    """One call at work on a session; its base wants no predictions: a prefill.

    `limit_tokens` is the most tokens that the session can come to; `wanted_from` the index of the first
    token whose successor is to be predicted.
    """

    session: Session
    limit_tokens: int
    wanted_from: int
    sampling: Sampling = GREEDY
    top_logprobs: int = 0
    matcher: Matcher | None = None  # holds what is drawn to a grammar
    shift: Shift | None = None  # of the logits to draw from
    first_news_s: float = 0.0  # on the engine's clock
    finish: str = ""  # why it ended; empty while it runs
    error: NetgptError | None = None  # that ended it
    draws: list[Draw] = field(default_factory=list)  # not yet told

    @property
    def missing(self) -> int:
        """Tokens that are not in KV yet."""
        return len(self.session.tokens) - self.session.kv.length

    @property
    def is_news(self) -> bool:
        """Whether the engine should hear of this run now."""
        return bool(self.finish)

    def prepare(self) -> None:
        """What is left to do on the worker thread before the first step."""

    def fail(self, error: NetgptError) -> None:
        """End this run alone."""
        self.error, self.finish = error, "error"

    def take(self, draws: Sequence[Draw]) -> None:
        """Use the predictions of the wanted rows just computed; end if KV has all that it should."""
        if not self.missing:
            self.finish = "done"

    def abandon(self) -> None:
        """Leave the session as it would be, had the call ended where it is."""


@dataclass(eq=False, kw_only=True, slots=True)
class GenerateRun(Run):
    """Draws up to `limit_tokens - 1 - wanted_from` tokens, or up to a stop id."""

    stop_ids: frozenset[int] = frozenset()
    start_matcher: Callable[[], Matcher] | None = None  # compiles the grammar that the call asks for
    first: bool = False  # the last step drew the first token

    @property
    def is_news(self) -> bool:
        return bool(self.finish) or self.first

    def prepare(self) -> None:
        if self.start_matcher is None or self.matcher is not None:
            return
        try:
            self.matcher = self.start_matcher()
        except NetgptError as error:
            self.fail(error)

    def take(self, draws: Sequence[Draw]) -> None:
        if self.finish:  # its grammar failed it in this step
            return
        for draw in draws:
            tokens = self.session.tokens
            self.first = len(tokens) == self.wanted_from + 1
            tokens.append(draw.id)
            self.draws.append(draw)
            if self.shift is not None:
                self.shift.count(draw.id)
            if draw.id in self.stop_ids or (self.matcher is not None and self.matcher.ended):
                self.finish = "stop"
            elif len(tokens) >= self.limit_tokens:
                self.finish = "length"


@dataclass(eq=False, kw_only=True, slots=True)
class VerifyRun(Run):
    """Compares drafts, which are the session's last tokens, with the model's own."""

    def take(self, draws: Sequence[Draw]) -> None:
        for draw in draws:
            self.draws.append(draw)
            position = self.wanted_from + len(self.draws)  # of the token that was drawn
            tokens = self.session.tokens
            if position == len(tokens) or tokens[position] != draw.id:
                self.session.truncate(position)
                self.finish = "done"
                return

    def abandon(self) -> None:
        if not self.finish:
            self.session.truncate(self.wanted_from + 1 + len(self.draws))


@dataclass(eq=False, kw_only=True, slots=True)
class EmbedRun(Run):
    """Adds up the hidden states of all tokens, or of each part of them; wants no predictions."""

    parts: tuple[int, ...] = ()  # lengths; empty: one vector of all
    sums: list[Tensor] = field(default_factory=list)  # of each part begun; float64, so that they hardly depend on where the steps cut them
    lasts: list[Tensor] = field(default_factory=list)  # the newest state of each
    seen: int = 0

    def add(self, normed_TD: Tensor) -> None:
        """Count the next tokens' hidden states, after the last norm."""
        ends = np.cumsum(self.parts) if self.parts else [2**62]
        left_TD = normed_TD.double()
        while len(left_TD):
            part = int(np.searchsorted(ends, self.seen, side="right"))
            now_TD = left_TD[: int(ends[part]) - self.seen]
            if part == len(self.sums):
                self.sums.append(torch.zeros_like(now_TD[0]))
                self.lasts.append(now_TD[0])
            self.sums[part] = self.sums[part] + now_TD.sum(dim=0)
            self.lasts[part] = now_TD[-1]
            self.seen += len(now_TD)
            left_TD = left_TD[len(now_TD) :]

    @property
    def vector(self) -> tuple[float, ...]:
        """See `Embed`. The scale of a sum makes no difference to its direction."""
        if not self.parts:
            return tuple(F.normalize(self.sums[0], dim=0).tolist())
        return tuple(value for pair in zip(self.sums, self.lasts, strict=True) for one in pair for value in F.normalize(one, dim=0).tolist())


@dataclass(eq=False, kw_only=True, slots=True)
class ScoreRun(Run):
    """Notes how likely each token was that the session has already; draws nothing."""

    logprobs: list[float] = field(default_factory=list)  # of each token but the first

    def read(self, model: FusedDecoder, hidden_TD: Tensor) -> None:
        """Take the predictions of the next tokens' rows."""
        first = len(self.logprobs) + 1
        said = self.session.tokens[first : first + len(hidden_TD)]
        if said:
            logprobs_TV = model.logits(hidden_TD[: len(said)]).log_softmax(dim=-1)
            self.logprobs += logprobs_TV.gather(1, torch.tensor(said)[:, None]).squeeze(1).tolist()


def burst(model: FusedDecoder, runs: Sequence[Run], clock: Clock, is_interrupted: Callable[[], bool]) -> None:
    """Step all `runs` until one has news, `BURST_S` have passed, or `is_interrupted()`, which is asked after each step."""
    start_s = clock.now_s()
    for run in runs:
        run.prepare()
    if any(run.finish for run in runs):
        return
    with torch.inference_mode():
        for _ in range(BURST_STEPS):
            advance(model, runs)
            now_s = clock.now_s()
            for run in runs:
                if run.is_news and not run.first_news_s:
                    run.first_news_s = now_s
            if is_interrupted() or now_s - start_s > BURST_S or any(run.is_news for run in runs):
                return


def advance(model: FusedDecoder, runs: Sequence[Run]) -> None:
    """One step. Each run is fed one token at least, and prompts and drafts share `STEP_ROWS` rows in order of arrival."""
    for run in runs:
        if not run.missing:  # a prefill of what is held
            run.take(())
    runs = [run for run in runs if run.missing]
    if not runs:
        return
    segments: list[Segment] = []
    spare_rows = STEP_ROWS
    for run in runs:
        tokens, kv = run.session.tokens, run.session.kv
        size = max(1, min(run.missing, spare_rows))
        if size > 1:
            spare_rows -= size
        kv.reserve(run.limit_tokens)
        segments.append(Segment(kv, tokens[kv.length : kv.length + size]))
    wanted: list[list[int]] = []  # of each run, rows of this step whose logits it wants
    row = 0
    for run, segment in zip(runs, segments, strict=True):
        start = run.session.kv.length
        wanted.append([row + i for i in range(len(segment.ids)) if start + i >= run.wanted_from])
        row += len(segment.ids)
    hidden_ND = model.step(segments)
    for run, hidden_TD in zip(runs, hidden_ND.split([len(segment.ids) for segment in segments]), strict=True):
        if isinstance(run, EmbedRun):
            run.add(model.normed(hidden_TD))
        elif isinstance(run, ScoreRun):
            run.read(model, hidden_TD)
    _deal(runs, wanted, model, hidden_ND)


def _deal(runs: Sequence[Run], wanted: Sequence[Sequence[int]], model: FusedDecoder, hidden_ND: Tensor) -> None:
    """Draw at the wanted rows and give each run its draws."""
    rows = [row for rows in wanted for row in rows]
    draws: list[Draw] = []
    if rows:
        hidden_MD = hidden_ND if len(rows) == len(hidden_ND) else hidden_ND[rows]
        wishes: list[tuple[Run, int]] = []
        for run, own in zip(runs, wanted, strict=True):
            start = run.session.kv.length - len(own) + 1
            wishes.extend((run, start + i) for i in range(len(own)))
        draws = draw_rows(model.logits(hidden_MD), wishes)
    taken = 0
    for run, own in zip(runs, wanted, strict=True):
        run.take(draws[taken : taken + len(own)])
        taken += len(own)


def draw_rows(logits_MV: Tensor, wishes: Sequence[tuple[Run, int]]) -> list[Draw]:
    """One draw for each row: `wishes[m]` says for which run, and at which position."""
    ids: list[int] = logits_MV.argmax(dim=-1).tolist()
    for m, (run, position) in enumerate(wishes):
        if run.matcher is None and run.shift is None and run.sampling.temperature == 0:
            continue
        logits_V = logits_MV[m].numpy() if run.shift is None else run.shift.applied(logits_MV[m].numpy())
        ids[m] = choose(logits_V, run.sampling, position) if run.matcher is None else _allowed_token(run, run.matcher, logits_V, position)
    logprobs_MV = logits_MV.log_softmax(dim=-1)
    logprobs: list[float] = logprobs_MV.gather(1, torch.tensor(ids)[:, None]).squeeze(1).tolist()
    return [
        Draw(i, logprob, _top(logprobs_MV[m], run.top_logprobs) if run.top_logprobs else None)
        for m, (i, logprob, (run, _)) in enumerate(zip(ids, logprobs, wishes, strict=True))
    ]


def _allowed_token(run: Run, matcher: Matcher, logits_V: NDArray[np.float32], position: int) -> int:
    """The draw among what the grammar allows; a grammar that cannot be followed ends its run, and then any id will do."""
    try:
        token = choose(logits_V, run.sampling, position, matcher.allowed())
        matcher.take(token)
    except NetgptError as error:
        run.fail(error)
        return 0
    return token


def _top(logprobs_V: Tensor, count: int) -> TopLogprobs:
    values, ids = logprobs_V.topk(min(count, len(logprobs_V)))
    return TopLogprobs(ids=tuple(ids.tolist()), logprobs=tuple(values.tolist()))
