"""A door's side of kept answers: it asks the node that keeps them, gives what it finds, and lets new answers be kept.

A request without a `CacheWish` never comes here. What may be looked up and kept is `caching.plan_of`'s decision, made before a byte
leaves; the looking up is worth a quarter of a second and no more. An answer is kept after its user has all of it. Equal requests in flight
are answered once: `merging`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from netgpt.core.clock import Clock
from netgpt.core.errors import NetgptError
from netgpt.core.scheduling import TaskOwner
from netgpt.inference.caching import Plan, answering_models, keepable, plan_of, scope_of
from netgpt.inference.choice import TIER_OF_MODEL, keeping_node
from netgpt.inference.merging import Merging
from netgpt.inference.request import Answer, CacheUse, CacheWish, ChatRequest, Delta, Finish, Span
from netgpt.inference.visit import Visit, Visits
from netgpt.models.generation import GREEDY, Recall, Recalled, Remember
from netgpt.network.member import Member
from netgpt.node.handle import NodeHandle
from netgpt.node.session import Session
from netgpt.telemetry.metrics import Metrics

RECALL_S = 0.25  # for one look: an answer that takes longer to find may as well be made
RECALL_SHARE = 0.25  # of the request's own deadline, if that is less
KEEP_S = 5.0
MOST_KEEPING = 64  # answers on their way to where they are kept; those beyond are not


@dataclass(kw_only=True)
class Before:
    """What has happened to a request before an engine is asked for it."""

    arrival_s: float
    use: CacheUse
    link_bytes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def added_to(self, finish: Finish) -> Finish:
        """The account of the whole request."""
        link_bytes = dict(finish.link_bytes)
        for peer, (sent, received) in self.link_bytes.items():
            own = link_bytes.get(peer, {"sent": 0, "received": 0})
            link_bytes[peer] = {"sent": own["sent"] + sent, "received": own["received"] + received}
        return replace(finish, cache=self.use, link_bytes=link_bytes)


Make = Callable[[ChatRequest, Before], AsyncGenerator[Answer, None]]


@dataclass(kw_only=True)
class _Look:
    """One look at what is kept."""

    plan: Plan
    models: tuple[str, ...] = ()  # whose answer it may be
    scope: str = ""
    node: NodeHandle | None = None
    session: Session | None = None
    found: Recalled | None = None
    why: str = ""  # it was not found


class Recalling:
    """Answers requests that have a `CacheWish`."""

    def __init__(
        self,
        *,
        secret: bytes,
        entry: Callable[[], Member],
        members: Callable[[], Sequence[Member]],
        handle: Callable[[Member], NodeHandle],
        serving: Callable[[ChatRequest], Sequence[Member]],
        count_prompt: Callable[[ChatRequest], int],
        make: Make,
        clock: Clock,
        visits: Visits,
        metrics: Metrics,
    ) -> None:
        """Args:
        secret: of the home whose keys ask here; it makes names of scopes that nobody else can guess.
        serving: who would answer a request, best first; raises what the request would be refused with.
        count_prompt: how many tokens its prompt has.
        make: answers a request in the ordinary way.
        """
        self._secret = secret
        self._entry = entry
        self._members = members
        self._handle = handle
        self._serving = serving
        self._count_prompt = count_prompt
        self._make = make
        self._clock = clock
        self._visits = visits
        self._metrics = metrics
        self._merging = Merging(answer=self._look_up, clock=clock, visits=visits, metrics=metrics)
        self._keeping = TaskOwner()

    def chat(self, request: ChatRequest, wish: CacheWish) -> AsyncGenerator[Answer, None]:
        """As `Door.chat`."""
        return self._merging.chat(request, wish)

    async def close(self) -> None:
        """End what is in flight, and leave what is not kept yet."""
        await self._merging.close()
        await self._keeping.close()

    async def _look_up(self, request: ChatRequest, wish: CacheWish) -> AsyncGenerator[Answer, None]:
        arrival_s = self._clock.now_s()
        look = await self._look(request, wish, arrival_s)
        if look.found is not None and look.node is not None and look.session is not None:
            with Visit(self._visits, request, arrival_s) as visit:
                finish = self._given(request, look.found, look.node, look.session, arrival_s)
                visit.answered(request, finish)
                yield Delta(text=look.found.text, origin=look.node.id)
                yield finish
            return
        async with aclosing(self._made(request, look, arrival_s)) as answers:
            async for answer in answers:
                yield answer

    async def _look(self, request: ChatRequest, wish: CacheWish, arrival_s: float) -> _Look:
        """What is kept, and where a new answer may be."""
        try:
            models = self._models(request)
        except NetgptError:  # whoever makes the answer says so
            return _Look(plan=Plan(refused="no node can answer it"))
        plan = plan_of(request, wish, models=models)
        look = _Look(plan=plan, models=models)
        if plan.refused:
            return self._missed(look, "refused", plan.refused)
        scope = scope_of(self._secret, key=request.key, node=self._entry().id, shared=wish.shared)
        keeper = keeping_node(self._members(), entry=self._entry(), privacy=request.privacy, scope=scope)
        if keeper is None:
            return self._missed(look, "nowhere", "no node that is up and may see the content keeps answers")
        look.scope, look.node = scope, self._handle(keeper)
        look.session = self._session(request, arrival_s)
        ask = Recall(scope=scope, group=plan.identity.group, exact=plan.identity.exact, question=plan.identity.question, max_age_s=plan.max_age_s)
        try:
            recalled = await look.node.recall(look.session, ask)
        except NetgptError as error:
            look.node = None
            return self._missed(look, "unreachable", f"{keeper.id} did not say in time what it keeps ({error.code})")
        if not recalled.found:
            gated = f"{keeper.id} keeps nothing that means the same: it differs in {recalled.gate}"
            return self._missed(look, "gate" if recalled.gate else "miss", gated if recalled.gate else f"{keeper.id} keeps no such answer")
        self._count(recalled.match)
        look.found = recalled
        return look

    def _models(self, request: ChatRequest) -> tuple[str, ...]:
        """Raises NetgptError: no node can answer it."""
        return answering_models(request.model, [node.model for node in self._serving(request)])

    def _missed(self, look: _Look, result: str, why: str) -> _Look:
        self._count(result)
        look.why = why
        return look

    def _count(self, result: str) -> None:
        self._metrics.cache_requests.labels(result).inc()

    def _session(self, request: ChatRequest, arrival_s: float) -> Session:
        """Who may see the content, and until when an answer is of use."""
        whole_s = RECALL_S if request.deadline_s is None else min(RECALL_S, RECALL_SHARE * request.deadline_s)
        return Session(
            id=f"{request.request_id}-recall",
            prompt_ids=(),
            tokenizer="",
            max_tokens=0,
            sampling=GREEDY,
            stop_ids=(),
            privacy=request.privacy,
            qos=request.qos,
            deadline_s=arrival_s + whole_s,
        )

    async def _made(self, request: ChatRequest, look: _Look, arrival_s: float) -> AsyncGenerator[Answer, None]:
        """The answer in the ordinary way; if it may be kept, it is."""
        use = CacheUse(result="refused" if look.plan.refused else "miss", why=look.why, node=look.node.id if look.node else "")
        link_bytes = dict(look.session.link_bytes) if look.session else {}
        text: list[str] = []
        async with aclosing(self._make(request, Before(arrival_s=arrival_s, use=use, link_bytes=link_bytes))) as answers:
            async for answer in answers:
                if isinstance(answer, Delta):
                    text.append(answer.text)
                else:
                    self._keep(request, look, answer, "".join(text))
                yield answer

    def _keep(self, request: ChatRequest, look: _Look, finish: Finish, text: str) -> None:
        if look.node is None or look.session is None or look.plan.life_s <= 0 or len(self._keeping) >= MOST_KEEPING:
            return
        model_of = {member.id: member.model for member in self._members()}
        if not keepable(finish, text, bounded=request.max_tokens is not None, model_of=model_of, models=look.models):
            return
        try:
            if self._models(request) != look.models:  # who could be asked has changed meanwhile
                return
        except NetgptError:
            return
        answer = Remember(
            scope=look.scope,
            exact=look.plan.identity.exact,
            text=text,
            reason=finish.reason,
            completion_tokens=finish.completion_tokens,
            made_by=", ".join(dict.fromkeys(span.node for span in finish.origin)),
            life_s=look.plan.life_s,
        )
        session = replace(look.session, deadline_s=self._clock.now_s() + KEEP_S, link_bytes={})
        self._keeping.spawn(self._send(look.node, session, answer), name=f"{request.request_id}-remember")

    async def _send(self, node: NodeHandle, session: Session, answer: Remember) -> None:
        try:
            await node.remember(session, answer)
        except NetgptError:
            self._count("not_kept")
        for peer, (sent, received) in session.link_bytes.items():
            self._metrics.link_bytes.labels(peer, "sent").inc(sent)
            self._metrics.link_bytes.labels(peer, "received").inc(received)

    def _given(self, request: ChatRequest, found: Recalled, node: NodeHandle, session: Session, arrival_s: float) -> Finish:
        duration_s = self._clock.now_s() - arrival_s
        same = "the same request" if found.match == "exact" else f"a question that means the same (cosine {found.similarity:.3f})"
        return Finish(
            reason=found.reason,
            prompt_tokens=self._count_prompt(request),
            completion_tokens=found.completion_tokens,
            cached_tokens=0,
            strategy=TIER_OF_MODEL.get(request.model, request.model),
            why=f"{node.id} had kept the answer of {found.made_by} to {same}, {found.age_s:.0f} s old",
            origin=(Span(node=node.id, tokens=found.completion_tokens, kept=True),),
            switches=(),
            link_bytes={peer: {"sent": sent, "received": received} for peer, (sent, received) in session.link_bytes.items()},
            time_to_first_token_s=duration_s,
            duration_s=duration_s,
            seed=request.seed or 0,
            cache=CacheUse(result="hit", node=node.id, match=found.match, age_s=found.age_s, similarity=found.similarity),
        )
