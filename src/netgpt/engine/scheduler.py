"""Continuous batching: which calls run, and when each caller hears what.

A call's life: it is queued on the event loop; the scheduler's one task admits it when a slot and KV are
free, and hands all admitted runs to `batch.burst` through `Compute`; a burst ends when a run has news,
after 10 ms, or one step after a call arrived or was closed; then the task tells each caller what is new.
Only this task, and the burst that it awaits, touch a session in use; everyone else sets marks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from netgpt.core.clock import Clock
from netgpt.core.compute import Compute
from netgpt.core.errors import NetgptError, NodeUnreachable, Overloaded, SessionNotFound
from netgpt.core.scheduling import TaskOwner
from netgpt.engine.batch import EmbedRun, GenerateRun, Run, ScoreRun, VerifyRun, burst
from netgpt.engine.decode import FusedDecoder
from netgpt.engine.grammar import Grammars, Matcher
from netgpt.engine.sampling import Shift
from netgpt.engine.sessions import Session, SessionTable
from netgpt.engine.workload import Job, Workload
from netgpt.models.generation import Embed, Embedding, Generate, Held, Prefill, Score, Scores, Timings, Tokens, Verdict, Verify

Wanted = Generate | Verify | Prefill | Embed | Score
News = Tokens | Verdict | Held | Embedding | Scores | NetgptError


@dataclass(eq=False, kw_only=True)
class Call:
    """A call from its arrival to its end."""

    request: Wanted
    arrival_s: float
    job: Job  # the call as work that is left to do
    start_s: float = 0.0
    run: Run | None = None  # once admitted
    cached: int = 0  # tokens found in KV
    told: int = 0  # position after the last token told
    is_closed: bool = False  # by the caller, or by a newer call of the session
    left: asyncio.Event = field(default_factory=asyncio.Event)  # no burst works on it any more
    news: asyncio.Queue[News] = field(default_factory=asyncio.Queue)  # bounded by the tokens asked for

    @property
    def limit_tokens(self) -> int:
        """The most tokens that the session can come to."""
        request = self.request
        more = request.max_tokens if isinstance(request, Generate) else len(request.drafts) if isinstance(request, Verify) else 0
        return request.keep + len(request.ids) + more


class Scheduler:
    """Runs calls on one model; all methods are called on one event loop."""

    def __init__(
        self,
        model: FusedDecoder,
        sessions: SessionTable,
        *,
        name: str,
        compute: Compute,
        clock: Clock,
        slots: int,
        queue: int,
        grammars: Grammars | None = None,
    ) -> None:
        self.slots = slots
        self.waiting: deque[Call] = deque()
        self.running: list[Call] = []
        self._model = model
        self._sessions = sessions
        self._name = name
        self._compute = compute
        self._clock = clock
        self._queue = queue
        self._grammars = grammars
        self.workload = Workload(slots, clock)
        self._call_duration_s = 1.0  # moving average, for Retry-After
        self._interrupted = False
        self._woken = asyncio.Event()
        self._tasks = TaskOwner()
        self._is_closed = False

    def submit(self, request: Wanted) -> Call:
        """Queue a call; an earlier one of the same session ends with SessionNotFound.

        Raises:
            Overloaded: the queue is full.
            SessionNotFound: the session has seen a newer epoch.
            NodeUnreachable: the engine is closed.
        """
        if self._is_closed:
            raise self._closed_error()
        if len(self.waiting) >= self._queue + self.slots - len(self.running):
            wait_s = max(0.1, self._call_duration_s * len(self.waiting) / self.slots)
            raise Overloaded(
                f"{len(self.waiting)} calls wait for {self.slots} slots of {self._name!r}",
                hint=f"retry after {wait_s:.1f} s, or ask another node",
                retry_after_s=wait_s,
            )
        self._sessions.enter_epoch(request.session, request.epoch)
        self._end(request.session, "taken over by a newer call")
        most = request.max_tokens if isinstance(request, Generate) else 0
        call = Call(request=request, arrival_s=self._clock.now_s(), job=self.workload.enter(len(request.ids), most))
        self.waiting.append(call)
        if not len(self._tasks):
            self._tasks.spawn(self._serve(), name=f"engine of {self._name}")
        self._wake()
        return call

    def close_call(self, call: Call) -> None:
        """The caller is gone: free the call's slot at the next step."""
        if not call.is_closed:
            call.is_closed = True
            self._wake()

    async def end_session_calls(self, session: str) -> None:
        """End the session's calls and wait until no burst works on it."""
        self._end(session, "rolled back")
        while busy := [call for call in self.running if call.request.session == session]:
            await busy[0].left.wait()

    async def close(self) -> None:
        """End every call with NodeUnreachable."""
        self._is_closed = True
        self._interrupted = True
        for call in (*self.running, *self.waiting):
            call.news.put_nowait(self._closed_error())
            call.left.set()
            call.job.leave()
        self.running.clear()
        self.waiting.clear()
        await self._tasks.close()

    def _end(self, session: str, why: str) -> None:
        for call in (*self.running, *self.waiting):
            if call.request.session == session and not call.is_closed:
                call.news.put_nowait(SessionNotFound(f"session {session!r} was {why}", hint="the attempt is stale: drop it"))
                self.close_call(call)

    def _wake(self) -> None:
        self._interrupted = True
        self._woken.set()

    def _closed_error(self) -> NodeUnreachable:
        return NodeUnreachable(f"the engine of {self._name!r} is closed", hint="ask another node")

    async def _serve(self) -> None:
        while True:
            self._woken.clear()
            self._interrupted = False
            self._release_closed()
            self._admit()
            if not self.running:
                await self._woken.wait()
                continue
            try:
                await self._compute.run(self._burst)
            except Exception as error:  # out of memory, say: these calls fail, the engine goes on
                self._fail_running(error)
                continue
            for call in tuple(self.running):
                self._tell(call)

    def _burst(self) -> None:
        runs = [call.run for call in tuple(self.running) if call.run is not None]
        burst(self._model, runs, self._clock, lambda: self._interrupted)

    def _release_closed(self) -> None:
        for call in [call for call in self.running if call.is_closed]:
            self._leave(call)
        for call in [call for call in self.waiting if call.is_closed]:
            self.waiting.remove(call)
            call.job.leave()

    def _admit(self) -> None:
        """Start waiting calls, first come first served, while there is a slot and room in KV."""
        while self.waiting and len(self.running) < self.slots:
            call = self.waiting[0]
            if not self._sessions.make_room(call.request.session, call.limit_tokens):
                return
            self.waiting.popleft()
            try:
                call.run = self._start(call)
            except NetgptError as error:
                call.news.put_nowait(error)
                call.job.leave()
                continue
            call.job.start(call.run.missing)
            self.running.append(call)

    def _start(self, call: Call) -> Run:
        """Bring the session to what the call says that it is, and claim it."""
        request, limit_tokens = call.request, call.limit_tokens
        self._sessions.check_held(request.session, request.keep)
        held = None if isinstance(request, Embed | Score) else self._sessions.find(request.session)
        session = held or Session(name=request.session, kv=self._model.new_kv())
        session.replace_from(request.keep, request.ids)
        last = len(session.tokens) - 1
        if not isinstance(request, Prefill | Embed | Score):
            session.kv.truncate(last)  # the last token's successor is wanted, hence it is fed
        call.start_s = self._clock.now_s()
        call.cached = session.kv.length
        call.told = last + 1
        self._sessions.claim(session, limit_tokens)
        if isinstance(request, Generate):
            return GenerateRun(
                session=session,
                limit_tokens=limit_tokens,
                wanted_from=last,
                sampling=request.sampling,
                top_logprobs=request.top_logprobs,
                stop_ids=frozenset(request.stop_ids),
                start_matcher=self._matcher_start(request, session),
                shift=Shift(request.penalties, session.tokens[request.answer_from :]) if request.penalties else None,
            )
        if isinstance(request, Verify):
            session.tokens.extend(request.drafts)
            return VerifyRun(session=session, limit_tokens=limit_tokens, wanted_from=last, sampling=request.sampling)
        if isinstance(request, Embed):
            return EmbedRun(session=session, limit_tokens=limit_tokens, wanted_from=limit_tokens, parts=request.parts)
        if isinstance(request, Score):
            return ScoreRun(session=session, limit_tokens=limit_tokens, wanted_from=limit_tokens)
        return Run(session=session, limit_tokens=limit_tokens, wanted_from=limit_tokens)

    def _matcher_start(self, request: Generate, session: Session) -> Callable[[], Matcher] | None:
        """What compiles the call's grammar on the worker thread and follows the answer so far."""
        grammars, grammar = self._grammars, request.grammar
        if grammar is None or grammars is None:
            return None
        answer = session.tokens[request.answer_from :]
        return lambda: grammars.matcher(grammar, answer)

    def _tell(self, call: Call) -> None:
        """Put what the burst brought into the caller's queue, and end the call if it is done."""
        run, request = call.run, call.request
        assert run is not None
        if run.error is not None:
            call.news.put_nowait(run.error)
            self._leave(call)
            return
        timings = self._timings(call, run) if run.finish else None
        if isinstance(request, Generate):
            if run.draws:
                call.news.put_nowait(_tokens(call, request, run, timings))
                call.told += len(run.draws)
                call.job.add(len(run.draws), ends=run.finish == "stop")
                run.draws = []
        elif run.finish:
            call.news.put_nowait(_reply(request, run, timings))
        if run.finish:
            self._leave(call)
            self._call_duration_s += 0.1 * (self._clock.now_s() - call.start_s - self._call_duration_s)

    def _timings(self, call: Call, run: Run) -> Timings:
        end_s = self._clock.now_s()
        return Timings(queue_s=call.start_s - call.arrival_s, prefill_s=run.first_news_s - call.start_s, decode_s=end_s - run.first_news_s)

    def _leave(self, call: Call) -> None:
        """Give the slot back; park the session, or free it."""
        self.running.remove(call)
        call.left.set()
        call.job.leave()
        if call.run is not None:
            call.run.abandon()
            self._sessions.park(call.run.session)
            if isinstance(call.request, Embed | Score) or (isinstance(call.request, Generate) and not call.request.hold):
                self._sessions.drop(call.run.session)

    def _fail_running(self, error: Exception) -> None:
        for call in tuple(self.running):
            call.news.put_nowait(NetgptError(f"the engine of {self._name!r} failed: {error}", hint="retry, or look at the node's log: netgpt log"))
            self._leave(call)
            if call.run is not None:
                self._sessions.drop(call.run.session)


def _reply(request: Verify | Prefill | Embed | Score, run: Run, timings: Timings | None) -> Verdict | Held | Embedding | Scores:
    """The one answer to a call that has one."""
    if isinstance(request, Verify):
        logprobs = tuple(draw.logprob for draw in run.draws)
        return Verdict(epoch=request.epoch, accepted=len(run.draws) - 1, next_id=run.draws[-1].id, logprobs=logprobs, timings=timings)
    if isinstance(run, EmbedRun):
        return Embedding(values=run.vector, timings=timings)
    if isinstance(run, ScoreRun):
        return Scores(logprobs=tuple(run.logprobs), timings=timings)
    return Held(session=request.session, tokens=len(run.session.tokens), timings=timings)


def _tokens(call: Call, request: Generate, run: Run, timings: Timings | None) -> Tokens:
    return Tokens(
        epoch=request.epoch,
        position=call.told,
        ids=tuple(draw.id for draw in run.draws),
        logprobs=tuple(draw.logprob for draw in run.draws),
        top=tuple(draw.top for draw in run.draws if draw.top is not None),
        finish=run.finish,
        timings=timings,
        cached=call.cached if run.finish else 0,
    )
