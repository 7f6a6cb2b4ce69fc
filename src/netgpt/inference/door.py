"""The door: from a chat request to final text. Where NetGPT's request life happens.

It queues fairly, renders, chooses the nodes, runs a strategy, makes its steps final, assembles text,
and says how the answer came about. It knows neither HTTP nor what runs a model.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from netgpt.core.chance import Chance
from netgpt.core.clock import Clock
from netgpt.core.errors import DeadlineExceeded, NetgptError, NotSupported
from netgpt.inference.admission import Admission, Lane
from netgpt.inference.bounds import has_limits, of_named, within_limits
from netgpt.inference.choice import AUTO, CASCADE, MODEL_NAMES, TIER_OF_MODEL, able_nodes, check_one_tokenizer, native_nodes, serving_nodes
from netgpt.inference.compressing import Asked, Compressing, is_shortened
from netgpt.inference.direct import direct
from netgpt.inference.embedding import Embedded, check_texts, embed_all, embed_session, embed_text, same_model, vectors_of
from netgpt.inference.entrance import Entrance
from netgpt.inference.finish import finish_of, why
from netgpt.inference.fit import Fit, fit_in
from netgpt.inference.objective import Objective
from netgpt.inference.planner import Planner
from netgpt.inference.planning import ROUTE, WHOLE, Decision
from netgpt.inference.probing import Prober
from netgpt.inference.prompt import check_prompt, prompt_param, render_prompt
from netgpt.inference.prospect import Prospect
from netgpt.inference.reading import Read
from netgpt.inference.recalling import Before, Recalling
from netgpt.inference.request import Answer, ChatRequest, Compression, Delta, EmbedRequest, ServedModel, Vectors
from netgpt.inference.room import Rooms
from netgpt.inference.route import Reading
from netgpt.inference.steps import Accept, Hold, Step, Strategy
from netgpt.inference.telling import Telling
from netgpt.inference.text import TextAssembler
from netgpt.inference.tolerant import idle_largest, straight_to, tolerates_delay
from netgpt.inference.visit import Visit, Visits
from netgpt.models.generation import Sampling
from netgpt.models.tokenizer import Tokenizer
from netgpt.network.member import Member
from netgpt.node.handle import NodeHandle
from netgpt.node.session import Piece, Session
from netgpt.telemetry.metrics import Metrics

BIAS = "logit_bias"
NEEDS = ("logprobs", "presence_penalty", "frequency_penalty", BIAS)  # what a request may ask of a node that not every node has


@dataclass(frozen=True, kw_only=True)
class DoorLimits:
    """What a door admits beside what engines have slots for."""

    queue: int = 256  # requests that wait
    queue_per_key: int = 128
    deadline_s: float = 120.0


class Door:
    """Answers the requests that enter the network at one node."""

    def __init__(
        self,
        *,
        entry: Callable[[], Member],
        members: Callable[[], Sequence[Member]],
        doors: Callable[[], int] | None = None,
        handle: Callable[[Member], NodeHandle],
        tokenizer: Tokenizer,
        clock: Clock,
        chance: Chance,
        metrics: Metrics,
        record: Callable[..., object],
        limits: DoorLimits | None = None,
        strategies: Mapping[str, Strategy] | None = None,
        planner: Planner | None = None,
        scope_secret: bytes = b"",
    ) -> None:
        """Args:
        entry, members: this node and the members that it may ask, as of the newest snapshot it has.
        doors: how many doors the network has, where they are more than `members`.
        handle: a handle to a member's engine; the door asks for it anew for every request.
        record: takes an event's kind, node and data (`EventLog.record`), some milliseconds after the answer.
        strategies: how a model's name is answered, where it is not by `direct`.
        planner: chooses for `auto`; without it: one that knows of no battery.
        scope_secret: what only this home knows; nodes that keep answers tell its keys apart by names made from it.
        """
        self._entry = entry
        self._members = members
        self._doors = doors or (lambda: len(members()))
        self._handle = handle
        self._tokenizer = tokenizer
        self._clock = clock
        self._seeds = _seeds(chance.stream(f"door.{entry().id}.seeds"))
        self._metrics = metrics
        self._limits = limits or DoorLimits()
        self._strategies = strategies or {}
        self._admission = Admission(queue=self._limits.queue, queue_per_key=self._limits.queue_per_key)
        self._rooms = Rooms(self._admission)
        self._entrance = Entrance(self._admission, self._node_with_room, clock, metrics)
        self._visits = Visits(entry, clock, metrics, record)
        self._planner = planner or Planner(entry().id, tier=entry().tier)
        self._prober = Prober(self._planner.estimates, handle, clock, metrics, self._doors)
        self._seen: Sequence[Member] = ()  # the members that `_known` was chosen from
        self._known: dict[Lane, Sequence[Member]] = {}
        self._compressing = Compressing(entry=entry, handle=handle, tokenizer=tokenizer, clock=clock)
        self._reading = Reading(handle=handle, planner=self._planner, clock=clock)
        self._recalling = Recalling(
            secret=scope_secret,
            entry=entry,
            members=members,
            handle=handle,
            serving=lambda request: able_nodes(self._nodes(_lane(request)), request.grammar),
            count_prompt=lambda request: len(render_prompt(tokenizer, request)),
            make=self._answer,
            clock=clock,
            visits=self._visits,
            metrics=metrics,
        )

    async def close(self) -> None:
        """End what the door still does when nobody waits for it."""
        await self._recalling.close()
        self._visits.afterwards.run()

    async def live(self) -> None:
        """Keep what is known of the ways to nodes fresh while `auto` has choices to make, until cancelled."""
        await self._prober.live(lambda node: self._admission.running.get(node, 0))

    @property
    def open_requests(self) -> int:
        return self._visits.open

    @property
    def vocabulary(self) -> int:
        """How many token ids a prompt may hold: 0 to one less."""
        return self._tokenizer.vocabulary

    def models(self) -> list[ServedModel]:
        """Every model name that this door answers to, ready or not."""
        return [self._served(name) for name in MODEL_NAMES]

    def _served(self, name: str) -> ServedModel:
        try:
            nodes = serving_nodes(name, self._members(), entry=self._entry(), privacy="cloud-allowed")
        except NetgptError:
            return ServedModel(name=name, ready=False, nodes=(), context_tokens=0, parameters=0)
        best = nodes[0]
        return ServedModel(
            name=name,
            ready=True,
            nodes=tuple(node.id for node in nodes),
            context_tokens=best.context_tokens,
            parameters=best.parameters,
            tokenizer=best.tokenizer,
        )

    def chat(self, request: ChatRequest) -> AsyncGenerator[Answer, None]:
        """Answer: some `Delta`s, then one `Finish`. Closing the iterator cancels all work on every node.

        Raises:
            NetgptError: before the first `Delta` or after any; what was yielded stays true.
        """
        return self._answer(request) if request.cache is None else self._recalling.chat(request, request.cache)

    async def _answer(self, request: ChatRequest, before: Before | None = None) -> AsyncGenerator[Answer, None]:
        with Visit(self._visits, request, before.arrival_s if before else None) as visit:
            lane = _lane(request)
            nodes = able_nodes(self._nodes(lane), request.grammar)
            check_prompt(request, nodes, self._tokenizer)
            bounds = self._bounds(request, nodes, visit)
            prospect = await self._prospect(request, nodes, visit)
            visit.planned(prospect.told)
            decision = prospect.decision
            if decision is not None:
                lane = lane._replace(prefer=decision.chosen.prediction.candidate.nodes[0])
            with self._entrance.place(request.key, lane) as ticket, prospect:
                asked = await self._asked(request, decision, nodes, visit, prospect.read)
                fit = self._fit(nodes, request, len(asked.prompt_ids))
                session = self._session(asked.request, asked.prompt_ids, fit.max_tokens, visit.arrival_s, decision)
                telling = Telling(
                    TextAssembler(request.stop),
                    self._tokenizer,
                    logprobs=request.logprobs,
                    top_logprobs=request.top_logprobs,
                    begun=prospect.heard,
                )
                must_wait = ticket.node is None
                try:
                    if must_wait:
                        await self._entrance.turn(ticket, deadline_s=session.deadline_s)
                finally:
                    telling.queue_s = self._clock.now_s() - visit.arrival_s - asked.took_s
                    self._metrics.queue_time.labels(lane.model).observe(telling.queue_s)
                if must_wait:  # the network may be another by now
                    fit = self._fit(able_nodes(self._nodes(lane), request.grammar), request, len(asked.prompt_ids))
                    session.max_tokens = fit.max_tokens
                nodes = _first(ticket.node, fit.nodes)
                strategy, chain = self._way(request, nodes, decision)
                steps = strategy(session, [self._handle(node) for node in _within(bounds, chain)])
                try:
                    async for step in steps:
                        for piece in _made_final(step, session, telling):
                            if (delta := self._tell(piece, session, telling, visit)) is not None:
                                yield delta
                        if telling.text.stopped or session.finished:
                            break
                finally:
                    await steps.aclose()
            if rest := telling.text.finish():
                yield Delta(text=rest, origin=session.accepted[-1].origin)
            duration_s = self._clock.now_s() - visit.arrival_s
            finish = finish_of(request, session, telling, nodes, prospect.told(), asked.compression, asked.read, duration_s=duration_s)
            if before is not None:
                finish = before.added_to(finish)
            visit.answered(request, finish)
            visit.soon(self._planner.learn, asked.request, session, finish, nodes, self._clock.now_s(), strategy is direct)
            yield finish

    async def _prospect(self, request: ChatRequest, nodes: Sequence[Member], visit: Visit) -> Prospect:
        """Who answers: as is chosen now, or as the prompt tells that was chosen to be read first; later, where there is nothing to choose."""
        later = self._later(request, nodes, visit.arrival_s)
        prospect = Prospect(
            self._planner.estimates, self._clock, call=request.request_id, since_s=visit.arrival_s, service=request.service, later=later
        )
        decision = self._plan(request, nodes, visit) if later is None else None
        if decision is None:
            return prospect
        if decision.chosen.prediction.candidate.strategy != ROUTE:
            prospect.decide(decision)
            return prospect
        reading = self._session(request, render_prompt(self._tokenizer, request), 1, visit.arrival_s)
        prospect.decide(*await self._reading.settled(request, decision, nodes, reading, arrival_s=visit.arrival_s))
        return prospect

    def _later(self, request: ChatRequest, nodes: Sequence[Member], arrival_s: float) -> Callable[[], Decision] | None:
        """What decides once the request is on its way; None where something is to be chosen, or nothing foreseen."""
        if request.model != AUTO or self._ahead(nodes) or not self._planner.is_foregone(request, nodes, self._deadline_s(request)):
            return None
        running = dict(self._admission.running)
        return lambda: self._planner.plan(request, nodes, running, arrival_s, deadline_s=math.inf)

    async def _asked(self, request: ChatRequest, decision: Decision | None, nodes: Sequence[Member], visit: Visit, read: Read | None) -> Asked:
        """The request as nodes are asked it. What fits nobody whole is shortened, if the client allows it at all."""
        prompt_ids, wish = render_prompt(self._tokenizer, request), request.compress
        if wish is None:
            return Asked(request, prompt_ids, read=read)
        fits = any(node.tokenizer != self._tokenizer.hash or node.context_tokens > len(prompt_ids) for node in nodes)
        if fits and not is_shortened(wish, decision):
            why_not = "auto expects more of the whole prompt" if decision else "the request names its model, and leaves it to auto"
            return Asked(request, prompt_ids, Compression(fidelity=WHOLE, why=why_not, prompt_tokens=len(prompt_ids)), read)
        reading = self._session(request, prompt_ids, 1, visit.arrival_s)
        shorter, compression = await self._compressing.shortened(request, wish, reading)
        return Asked(shorter, render_prompt(self._tokenizer, shorter), compression, read)

    def plan(self, request: ChatRequest) -> Decision:
        """What `auto` would choose for this request now, and every candidate; of a strategy that is named, its own. Nothing is asked or remembered.

        Raises:
            NetgptError: nobody may, can, or keeps the limits.
        """
        return of_named(request.model, self._preview(request))

    def weights(self, service: str) -> Objective:
        """By which a class of service is weighed here."""
        return self._planner.weights(service)

    def _preview(self, request: ChatRequest) -> Decision:
        nodes = able_nodes(self._nodes(_lane(request)), request.grammar)
        check_prompt(request, nodes, self._tokenizer)
        now_s, deadline_s = self._clock.now_s(), self._deadline_s(request)
        return self._planner.preview(request, nodes, self._admission.running, now_s, deadline_s=deadline_s, ahead=self._ahead(nodes))

    def _deadline_s(self, request: ChatRequest) -> float:
        return request.deadline_s or self._limits.deadline_s

    def _plan(self, request: ChatRequest, nodes: Sequence[Member], visit: Visit) -> Decision | None:
        """What `auto` chooses, and where a cascade goes at once; None where the model's name says all."""
        if tolerates_delay(request):
            return self._straight_up(request, nodes)
        if request.model != AUTO:
            return None
        deadline_s, ahead = self._deadline_s(request), self._ahead(nodes)
        decision = self._planner.plan(request, nodes, self._admission.running, visit.arrival_s, deadline_s=deadline_s, ahead=ahead)
        if len(nodes) > 1:
            self._prober.watch(nodes)
        return decision

    def _bounds(self, request: ChatRequest, nodes: Sequence[Member], visit: Visit) -> Collection[str]:
        """The nodes that may take part in an answer whose strategy or tier is named, within the request's own limits; empty: it sets none."""
        if request.model == AUTO or not has_limits(request):
            return ()
        others = able_nodes(self._nodes(_lane(request)._replace(model=AUTO)), request.grammar)
        whole, running, ahead = replace(request, compress=None), self._admission.running, self._ahead(others)
        scored, limits = self._planner.scored(whole, others, running, visit.arrival_s, deadline_s=self._deadline_s(request), ahead=ahead)
        return within_limits(request.model, [node.id for node in nodes], scored, limits)

    def _straight_up(self, request: ChatRequest, nodes: Sequence[Member]) -> Decision | None:
        """The largest model alone; None where it has no room, or does not keep the request's limits: the cascade runs as ever."""
        largest = idle_largest(nodes)
        if not largest:
            return None
        self._prober.watch(nodes)
        try:
            return straight_to(largest, self._preview(request))
        except (DeadlineExceeded, NotSupported):
            return None

    def _way(self, request: ChatRequest, nodes: Sequence[Member], decision: Decision | None) -> tuple[Strategy, Sequence[Member]]:
        """How the request is answered, and by whom. A cascade that was chosen runs over its own nodes, if all of them are still there."""
        if decision is None:
            return self._strategies.get(request.model, direct), nodes
        if request.model == CASCADE:  # should the largest model be lost, the next largest goes on
            return direct, [nodes[0], *sorted(nodes[1:], key=lambda node: -node.parameters)]
        way = decision.chosen.prediction.candidate
        chain = [node for name in way.nodes for node in nodes if node.id == name]
        if way.strategy != CASCADE or len(chain) < len(way.nodes) or chain[0] is not nodes[0]:
            return direct, nodes
        return self._strategies[CASCADE], [*chain, *(node for node in nodes if node.parameters == chain[-1].parameters and node not in chain)]

    def _ahead(self, nodes: Sequence[Member]) -> dict[str, int]:
        """How many of the door's own requests must end before another may go, for nodes where that is so now."""
        doors, waiting = self._doors(), self._admission.waiting_for()
        there = [(node, self._admission.running.get(node.id, 0) + waiting.get(node.id, 0)) for node in nodes]
        return {node.id: own - room + 1 for node, own in there if own and own >= (room := self._rooms.room(node, doors))}

    async def embed(self, request: EmbedRequest) -> Vectors:
        """One vector for each text. Cancelling it cancels all work on every node.

        Raises:
            NetgptError: no vector is given.
        """
        with Visit(self._visits, request) as visit:
            lane = Lane(model=request.model, privacy=request.privacy, raw="input")
            nodes = self._nodes(lane)
            model = nodes[0].model
            check_texts(request, self._tokenizer, nodes[0])
            deadline_s = visit.arrival_s + (request.deadline_s or self._limits.deadline_s)

            async def embed_one(place: int) -> Embedded:
                with self._entrance.place(request.key, lane) as ticket:
                    await self._entrance.turn(ticket, deadline_s=deadline_s)
                    nodes = _first(ticket.node, same_model(self._nodes(lane), model))
                    session = embed_session(request, place, self._tokenizer, context_tokens=nodes[0].context_tokens, deadline_s=deadline_s)
                    return await embed_text(session, [self._handle(node) for node in nodes])

            made = await embed_all(len(request.texts), embed_one)
            strategy, duration_s = TIER_OF_MODEL.get(request.model, AUTO), self._clock.now_s() - visit.arrival_s
            vectors = vectors_of(made, strategy=strategy, why=why(request.model, nodes), duration_s=duration_s)
            visit.embedded(request, vectors)
            return vectors

    def _tell(self, piece: Piece, session: Session, telling: Telling, visit: Visit) -> Delta | None:
        """What the client is told of a piece that is final; nothing more after a stop string.

        Raises:
            DeadlineExceeded: it came too late.
        """
        if telling.text.stopped:
            return None
        now_s = self._clock.now_s()
        if now_s > session.deadline_s:
            deadline_s = session.deadline_s - visit.arrival_s
            hint = "raise deadline_s, lower max_tokens, or ask a faster model"
            raise DeadlineExceeded(f"no whole answer within {deadline_s:g} s", hint=hint, param="deadline_s")
        if telling.first_token_s is None:
            telling.first_token_s = now_s - visit.arrival_s
            telling.begun()
            visit.begun()
        return telling.tell(piece)

    def _nodes(self, lane: Lane) -> Sequence[Member]:
        """Who may answer, best first. It is chosen anew when the members are others than they were."""
        members = self._members()
        if members != self._seen:
            self._seen, self._known = list(members), {}
        nodes = self._known.get(lane)
        if nodes is None:
            nodes = self._known[lane] = self._choose(lane, members)
        return nodes

    def _choose(self, lane: Lane, members: Sequence[Member]) -> list[Member]:
        nodes = serving_nodes(lane.model, members, entry=self._entry(), privacy=lane.privacy, needs=lane.needs)
        if lane.raw:
            nodes = native_nodes(nodes, self._tokenizer.hash, param=lane.raw)
        if BIAS in lane.needs:
            check_one_tokenizer(nodes, model=lane.model, param=BIAS)
        return sorted(nodes, key=lambda node: node.id != lane.prefer)

    def _node_with_room(self, lane: Lane) -> str | None:
        """An `admission.Place`: the best node that can take one more, of those that serve the lane equally well."""
        try:
            nodes = self._nodes(lane)
        except NetgptError:
            return ""  # the request finds out for itself
        equals = nodes if len(nodes) == 1 else [node for node in nodes if node.parameters == nodes[0].parameters]
        return self._rooms.pick(equals, self._admission.running, doors=self._doors())

    def _fit(self, nodes: Sequence[Member], request: ChatRequest, prompt_tokens: int) -> Fit:
        return fit_in(
            nodes,
            model=request.model,
            tokenizer=self._tokenizer.hash,
            prompt_tokens=prompt_tokens,
            max_tokens=request.max_tokens,
            param=prompt_param(request),
        )

    def _session(
        self, request: ChatRequest, prompt_ids: tuple[int, ...], max_tokens: int, arrival_s: float, decision: Decision | None = None
    ) -> Session:
        seed = next(self._seeds) if request.seed is None else request.seed % (1 << 64)  # chance is keyed by 64 bits
        return Session(
            id=request.request_id,
            prompt_ids=prompt_ids,
            tokenizer=self._tokenizer.hash,
            max_tokens=max_tokens,
            sampling=Sampling(temperature=request.temperature, top_p=request.top_p, top_k=request.top_k, seed=seed),
            stop_ids=self._tokenizer.stop_ids,
            messages=request.messages,
            logprobs=request.logprobs,
            top_logprobs=request.top_logprobs,
            grammar=request.grammar,
            penalties=request.penalties,
            variants=decision.chosen.prediction.candidate.variant_of if decision else {},
            fit=request.max_tokens is None,
            privacy=request.privacy,
            qos=request.qos,
            deadline_s=arrival_s + self._deadline_s(request),
        )


def _within(bounds: Collection[str], nodes: Sequence[Member]) -> Sequence[Member]:
    """Those of `nodes` that the request's limits let take part; all, where it sets none, or none of them is up any more."""
    return [node for node in nodes if node.id in bounds] or nodes if bounds else nodes


def _first(node: str | None, nodes: Sequence[Member]) -> Sequence[Member]:
    """The nodes in their order, but the one with room before all."""
    return nodes if nodes[0].id == node else sorted(nodes, key=lambda one: one.id != node)


def _made_final(step: Step, session: Session, telling: Telling) -> Sequence[Piece]:
    """Do what the strategy says; the pieces that this makes final."""
    if isinstance(step, Accept):
        return session.accept(step.piece)
    if isinstance(step, Hold):
        session.hold(step.piece)
    else:
        session.drop_held()
        telling.switches.append(step.reason)
        telling.escalations += step.escalates
    return ()


def _seeds(stream: np.random.Generator) -> Iterator[int]:
    """Seeds of 53 bits, which every JSON reader keeps exactly; drawn some at a time, since a draw costs more than a seed."""
    while True:
        yield from stream.integers(1 << 53, size=64).tolist()


def _lane(request: ChatRequest) -> Lane:
    asks = request.logprobs or request.presence_penalty or request.frequency_penalty or request.logit_bias
    needs = tuple(name for name in NEEDS if getattr(request, name)) if asks else ()
    return Lane(request.model, request.privacy, needs, "" if request.prompt is None else prompt_param(request))
