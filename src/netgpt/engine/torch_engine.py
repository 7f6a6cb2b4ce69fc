"""The engine contract over torch: checks each call, and turns the scheduler's news into replies."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import torch

from netgpt.core.clock import Clock, WallClock
from netgpt.core.compute import Compute
from netgpt.core.errors import ContextLengthExceeded, InvalidRequest, NetgptError, NotSupported
from netgpt.engine.decode import FusedDecoder
from netgpt.engine.grammar import Grammars
from netgpt.engine.kv import kv_bytes_per_token
from netgpt.engine.own_pace import measured_pace
from netgpt.engine.sampling import check_penalties, check_sampling
from netgpt.engine.scheduler import Scheduler
from netgpt.engine.sessions import SessionTable
from netgpt.engine.useful_threads import useful_threads
from netgpt.models.card import ModelCard
from netgpt.models.checkpoint import load_model
from netgpt.models.generation import (
    Capabilities,
    Embed,
    Embedding,
    Generate,
    Held,
    Load,
    Prefill,
    Rollback,
    Score,
    Scores,
    Tokens,
    Verdict,
    Verify,
    check_parts,
)
from netgpt.models.grammar import check_grammar
from netgpt.models.hf_tokenizer import load_tokenizer
from netgpt.models.store import read_card
from netgpt.models.tokenizer import Tokenizer
from netgpt.network.offer import Pace

DEFAULT_KV_BYTES = 2**30  # for all sessions, where the capacity is not given


class TorchEngine:
    """Runs a `FusedDecoder` for many sessions at once.

    A newer call of a session ends an older one that still works on it, with SessionNotFound.

    Args:
        slots: calls that run at once; others wait.
        capacity_tokens: of KV, over running and parked sessions; the parked one unused for longest goes first.
        queue: calls that may wait; one more is refused with Overloaded.
        tokenizer: reads the model's tokenizer, which grammars need; called with the first one. None: no grammars.
    """

    def __init__(
        self,
        model: FusedDecoder,
        card: ModelCard,
        *,
        compute: Compute,
        clock: Clock | None = None,
        slots: int = 32,
        capacity_tokens: int | None = None,
        queue: int = 256,
        tokenizer: Callable[[], Tokenizer] | None = None,
    ) -> None:
        self.card = card
        self._model = model
        self._clock = WallClock() if clock is None else clock
        self.capabilities = Capabilities(logprobs=True, verify=True, hold=True, grammar=tokenizer is not None, embed=True, penalties=True, reads=True)
        default_tokens = max(card.context_tokens, DEFAULT_KV_BYTES // kv_bytes_per_token(model.config, model.dtype))
        self._vocabulary = model.config.vocab_size
        self._sessions = SessionTable(default_tokens if capacity_tokens is None else capacity_tokens)
        self._scheduler = Scheduler(
            model,
            self._sessions,
            name=card.id,
            compute=compute,
            clock=self._clock,
            slots=slots,
            queue=queue,
            grammars=None if tokenizer is None else Grammars(tokenizer, self._vocabulary),
        )

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        *,
        dtype: str = "float32",
        compute: Compute,
        clock: Clock | None = None,
        slots: int = 32,
        capacity_tokens: int | None = None,
        queue: int = 256,
        threads: int | None = None,
    ) -> TorchEngine:
        """An engine for a model folder.

        Args:
            dtype: of weights and KV: "float32" or "bfloat16".
            threads: the most that torch may use in this process; see `useful_threads`. None: as it is set.
                One is best where other processes want the cores.

        Raises:
            ModelInvalid, NotSupported: see `read_card` and `load_model`.
        """
        card = read_card(folder)
        torch.set_num_threads(useful_threads(card.parameters, torch.get_num_threads() if threads is None else threads))
        model = FusedDecoder(load_model(folder, dtype))
        _return_freed_memory()
        return cls(
            model,
            card,
            compute=compute,
            clock=clock,
            slots=slots,
            capacity_tokens=capacity_tokens,
            queue=queue,
            tokenizer=lambda: load_tokenizer(folder),
        )

    async def prefill(self, request: Prefill) -> Held:
        self._check(request, 0)
        reply = await self._reply(request)
        assert isinstance(reply, Held)
        return reply

    async def verify(self, request: Verify) -> Verdict:
        check_sampling(request.sampling)
        self._check_ids(request.drafts)
        self._check(request, len(request.drafts) + 1)
        reply = await self._reply(request)
        assert isinstance(reply, Verdict)
        return reply

    async def generate(self, request: Generate) -> AsyncGenerator[Tokens, None]:
        check_sampling(request.sampling)
        if request.max_tokens < 1:
            raise InvalidRequest(f"max_tokens is {request.max_tokens}", hint="ask for one token at least", param="max_tokens")
        self._check(request, request.max_tokens)
        self._check_grammar(request)
        self._check_answer_from(request)
        if request.penalties is not None:
            check_penalties(request.penalties, self._vocabulary)
        call = self._scheduler.submit(request)
        try:
            while True:
                news = await call.news.get()
                if isinstance(news, NetgptError):
                    raise news
                assert isinstance(news, Tokens)
                yield news
                if news.finish:
                    return
        finally:
            self._scheduler.close_call(call)

    async def embed(self, request: Embed) -> Embedding:
        check_parts(request)
        self._check(request, 0)
        reply = await self._reply(request)
        assert isinstance(reply, Embedding)
        return reply

    async def score(self, request: Score) -> Scores:
        self._check(request, 0)
        reply = await self._reply(request)
        assert isinstance(reply, Scores)
        return reply

    async def rollback(self, request: Rollback) -> Held:
        """See the contract; a call at work on the session is ended first."""
        await self._scheduler.end_session_calls(request.session)
        session = self._sessions.find(request.session)
        if session is None:
            return Held(session=request.session, tokens=0)
        session.truncate(request.length)
        if request.length == 0:
            self._sessions.drop(session)
        return Held(session=request.session, tokens=len(session.tokens))

    def measure_pace(self) -> Pace | None:
        """How fast the model is on this machine while nothing else runs; to be asked before the first call. See `measured_pace`."""
        return measured_pace(self._model, self._clock)

    def load(self) -> Load:
        workload = self._scheduler.workload
        return Load(
            running=len(self._scheduler.running),
            waiting=len(self._scheduler.waiting),
            slots=self._scheduler.slots,
            held_tokens=self._sessions.held_tokens,
            capacity_tokens=self._sessions.capacity_tokens,
            sessions=self._sessions.names,
            free_s=workload.free_s(),
            step_s=workload.step_s,
            prompt_token_s=workload.prompt_token_s,
            prompt_tokens=workload.prompt_tokens,
        )

    async def close(self) -> None:
        await self._scheduler.close()
        self._sessions.clear()

    async def _reply(self, request: Verify | Prefill | Embed | Score) -> Tokens | Verdict | Held | Embedding | Scores:
        """The one answer to a call that has one."""
        call = self._scheduler.submit(request)
        try:
            news = await call.news.get()
        finally:
            self._scheduler.close_call(call)
        if isinstance(news, NetgptError):
            raise news
        return news

    def _check(self, request: Generate | Verify | Prefill | Embed | Score, more: int) -> None:
        """Refuse what can never be served; `more` tokens may follow those given."""
        given = request.keep + len(request.ids)
        if given < 1 or request.keep < 0:
            raise InvalidRequest("a session needs at least one token", hint="send the prompt's ids", param="ids")
        self._check_ids(request.ids)
        fits = min(self.card.context_tokens, self._sessions.capacity_tokens)
        if given + more > fits:
            raise ContextLengthExceeded(
                f"{given} tokens and {more} more do not fit the context of {fits}", hint="shorten the prompt, or lower max_tokens", param="ids"
            )

    def _check_grammar(self, request: Generate) -> None:
        if request.grammar is None:
            return
        if not self.capabilities.grammar:
            raise NotSupported(f"{self.card.id!r} has no tokenizer here for grammars", hint="leave it out", param=request.grammar.param)
        check_grammar(request.grammar)

    def _check_answer_from(self, request: Generate) -> None:
        if not 0 <= request.answer_from <= request.keep + len(request.ids):
            raise InvalidRequest(f"answer_from is {request.answer_from}", hint="give the length of the prompt", param="answer_from")

    def _check_ids(self, ids: Sequence[int]) -> None:
        if ids and not (min(ids) >= 0 and max(ids) < self._vocabulary):
            raise InvalidRequest(f"an id is outside the vocabulary of {self._vocabulary}", hint="use the model's own tokenizer", param="ids")


def _return_freed_memory() -> None:
    """Give the memory that loading has freed, about the weights' size, back to the system, where the C library can."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
