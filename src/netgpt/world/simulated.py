"""The simulated world: a whole network in one process, under the virtual clock, from a seed.

Everything above the five protocols is the code that the emulated and deployed worlds run. The engines
are `hash` models with declared timing, or recordings, so every answer can be recomputed from its prompt and
the nodes that made it: a lost, doubled or stale token cannot go unnoticed. Where a node replays a recording,
users ask what is recorded, and answers are as long as recorded.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from netgpt.controller.gate import TokenGate
from netgpt.controller.service import Controller
from netgpt.core.chance import SeededChance
from netgpt.core.clock import Clock, VirtualClock, run_virtual
from netgpt.core.errors import NetgptError, ScenarioInvalid
from netgpt.core.ids import new_id
from netgpt.core.scheduling import TaskGroup, TaskOwner, first_error
from netgpt.core.storage import SimulatedStorage, Storage
from netgpt.engine.contract import Engine
from netgpt.engine.hash_engine import HashLaw, absorb
from netgpt.engine.replay_engine import messages_key
from netgpt.engine.timed import TimedEngine
from netgpt.inference.door import Door
from netgpt.inference.request import ChatRequest, Delta, Finish
from netgpt.models.generation import Sampling
from netgpt.models.recording import read_recording
from netgpt.models.tokenizer import ByteTokenizer, Tokenizer, render_chat
from netgpt.network.arrivals import poisson_arrivals, read_requests, traced_arrivals
from netgpt.network.link import Ways
from netgpt.network.offer import Offer
from netgpt.network.radio import Radio
from netgpt.network.roofline import Declared
from netgpt.network.scenario import TIERS, FaultSpec, NodeSpec, Scenario, UserSpec
from netgpt.node.membership import Membership
from netgpt.node.service import EngineService
from netgpt.telemetry.events import EventLog
from netgpt.telemetry.metrics import Metrics
from netgpt.wire.identity import JoinAuthority
from netgpt.wire.memory_processes import Processes
from netgpt.wire.memory_transport import MemoryNetwork
from netgpt.world.assemble import Node, Replay, hash_agreement, make_engine, make_keeper, make_offer, replay_of
from netgpt.world.config import DoorConfig, EngineConfig
from netgpt.world.declared import declared_node
from netgpt.world.described import CONTROLLER, links_of, seed_of
from netgpt.world.modelled import check_simulated
from netgpt.world.report import Outcome, summarise
from netgpt.world.spent import Worked, cell_figures, compute_figures

EVENTS, REPORT = "events.jsonl", "report.json"
TOKEN_TTL_S = 60.0
JOINS_AT_ONCE = 250  # so that a narrow link carries each well within a call's deadline
MakeEngine = Callable[[EngineConfig, Clock], Engine]
_PROMPT_LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz ", dtype=np.uint8)


def simulate(scenario: Scenario, *, seed: int, duration_s: float, output: Storage, home: str = "", policy: str = "") -> dict[str, Any]:
    """Run `scenario` for `duration_s` of virtual time; write `events.jsonl` and `report.json` to `output`.

    Args:
        home: where `this-machine` was measured, for nodes that are declared to be it, and whose calibration the doors read.
        policy: who chooses for `auto`; empty: NetGPT.

    Returns:
        The report; see `world.report.summarise`.
    """
    storage = SimulatedStorage()
    report = run_virtual(_run(scenario, seed, duration_s, storage, home, policy))
    if left_out := check_simulated(scenario):
        report |= {"left_out": left_out}
    output.replace(EVENTS, storage.read(EVENTS))
    output.replace(REPORT, json.dumps(report, indent=2, sort_keys=True).encode() + b"\n")
    return report


async def _run(scenario: Scenario, seed: int, duration_s: float, storage: Storage, home: str, policy: str) -> dict[str, Any]:
    world = SimulatedWorld(scenario, seed, storage, home=home, policy=policy)
    await world.start()
    for number, user in enumerate(scenario.users):
        world.background.spawn(world.use(user, f"user.{number}"), name=f"user-{number}")
    for number, fault in enumerate(scenario.faults):
        world.background.spawn(world.break_and_mend(fault), name=f"fault-{number}")
    await world.clock.sleep(duration_s)
    now_s = world.clock.now_s()
    await world.close()
    return summarise(
        world.outcomes,
        scenario=scenario.name,
        seed=seed,
        duration_s=duration_s,
        events=world.log.next_index,
        link_bytes=world.link_bytes(),
        declared=world.declared(),
        spent=world.spent(now_s),
    )


@dataclass
class _RunningNode:
    """A node that is up, and the work that ends with it."""

    spec: NodeSpec
    engine: Engine
    node: Node
    since_s: float
    work: TaskOwner = field(default_factory=TaskOwner)


class SimulatedWorld:
    """Nodes, controller, users and faults of one scenario. Runs under the virtual loop only."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        storage: Storage,
        *,
        home: str = "",
        offers: Mapping[str, Offer] | None = None,
        policy: str = "",
        make: MakeEngine | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        """Args:
        offers: what nodes say of themselves in place of what is true, by node.
        policy: who chooses for `auto`, by name; empty: NetGPT.
        make: makes the nodes' engines; None: the described ones, which have no weights. Others must not wait for a wall clock.
        tokenizer: of all nodes' models, where `make` is given; None: bytes. The scenario's own users ask in bytes alone.
        """
        check_simulated(scenario)
        self._make = make
        self._tokenizer = tokenizer or ByteTokenizer()
        self._offers = offers or {}
        self._policy = policy
        self.scenario = scenario
        self._home = home
        self._engines = {node.id: _engine_config(node, scenario.agreement, home) for node in scenario.nodes}
        self.clock = VirtualClock()
        self.chance = SeededChance(seed)
        self.log = EventLog(self.clock, storage, EVENTS)
        self.links = links_of(scenario, self.chance)
        self.radio = Radio(scenario, seed=seed_of(self.chance, "radio")) if scenario.cells else None
        processes = Processes(scenario.processes, beside=(CONTROLLER,)) if scenario.processes.take_time else None
        self.network = MemoryNetwork(self.clock, Ways(self.links.values(), self.radio), processes=processes)
        self.background = TaskOwner()
        self.outcomes: list[Outcome] = []
        token_ids = self.chance.stream("network.tokens")
        self._authority = JoinAuthority(self.chance.stream("network.key").bytes(32), self.clock.date_s, lambda: token_ids.bytes(12).hex())
        self._scope_secret = self.chance.stream("network.scopes").bytes(32)
        self._controller = Controller(self.log, TokenGate(self._authority), self.clock)
        self._running: dict[str, _RunningNode] = {}
        self._worked: dict[str, Worked] = {}  # of nodes that have stopped
        self._machines = {node.id: machine for node in scenario.nodes if (machine := _machine(node, self._engines[node.id]))}
        self._replays = read_replays(scenario)
        self._prompts = common_prompts(list(self._replays.values()))
        self._traces = {path: read_requests(Path(path)) for path in dict.fromkeys(user.trace for user in scenario.users) if path}
        self._closing = False

    def declared(self) -> dict[str, str]:
        """What nodes' times are those of, by node."""
        return {node: str(machine) for node, machine in self._machines.items()}

    async def start(self) -> None:
        await self.network.transport(CONTROLLER).listen(CONTROLLER, self._controller.handle)
        self.background.spawn(self._controller.watch(), name="watch")
        for tier in reversed(TIERS):  # who joins finds those whom it may ask
            nodes = [node for node in self.scenario.nodes if node.tier == tier]
            for first in range(0, len(nodes), JOINS_AT_ONCE):
                await self._start_nodes(nodes[first : first + JOINS_AT_ONCE])

    def door(self, node_id: str) -> Door:
        """The door of a node that is up."""
        return self._running[node_id].node.door

    def membership(self, node_id: str) -> Membership:
        """The membership of a node that is up."""
        return self._running[node_id].node.membership

    def engines(self) -> list[Engine]:
        """The engines of all nodes that are up."""
        return [running.engine for running in self._running.values()]

    async def close(self) -> None:
        self._closing = True
        await self.background.close()
        for node_id in list(self._running):
            await self._stop_node(node_id)

    async def _start_nodes(self, specs: Sequence[NodeSpec]) -> None:
        try:
            async with TaskGroup() as tasks:
                for spec in specs:
                    tasks.create_task(self._start_node(spec), name=f"{spec.id}-start")
        except BaseExceptionGroup as errors:
            raise first_error(errors) from None

    async def _start_node(self, spec: NodeSpec) -> None:
        transport = self.network.transport(spec.id)
        config = self._engines[spec.id]
        engine = self._make(config, self.clock) if self._make else make_engine(config, self.clock, replay=self._replays.get(spec.id))
        keeper = make_keeper(engine, self._tokenizer, self.clock, entries=spec.cache_entries)
        offer = self._offers.get(spec.id) or make_offer(config)
        service = EngineService(spec.id, engine, self._authority.identify, keeper=keeper, offer=offer)
        await transport.listen(_engine_address(spec.id), service.handle)
        node = Node(
            _door_config(spec, self._authority.issue(spec.id, TOKEN_TTL_S), self._home, self._policy),
            transport=transport,
            tokenizer=self._tokenizer,
            clock=self.clock,
            chance=self.chance,
            metrics=Metrics(),
            record=self.log.record,
            scope_secret=self._scope_secret,
        )
        await node.membership.join()
        running = _RunningNode(spec, engine, node, self.clock.now_s())
        running.work.spawn(node.live(), name=f"{spec.id}-live")
        self._running[spec.id] = running

    async def _stop_node(self, node_id: str) -> None:
        running = self._running.pop(node_id)
        worked = self._worked.setdefault(node_id, Worked())
        worked.up_s += self.clock.now_s() - running.since_s
        if isinstance(running.engine, TimedEngine):
            worked.busy_s += running.engine.busy_s()
        await running.work.close()
        await running.node.close()
        await running.engine.close()

    async def use(self, user: UserSpec, name: str) -> None:
        """Requests of one user, until cancelled or until the trace ends."""
        began_s = self.clock.now_s()
        for at_s, request in self._asked(user, self.chance.stream(name)):
            await self.clock.sleep(max(0.0, began_s + at_s - self.clock.now_s()))
            entry = self._running.get(user.at)
            if entry is None:
                self.outcomes.append(Outcome(node=user.at, model=user.model, result="entry_down"))
            else:
                entry.work.spawn(self._request(entry, request), name=request.request_id)

    def _asked(self, user: UserSpec, stream: np.random.Generator) -> Iterator[tuple[float, ChatRequest]]:
        """When one user asks what, counted from now. Drawn from `stream` one after the other."""
        if not user.trace:
            for at_s in poisson_arrivals(user.requests_per_s, stream):
                yield at_s, _draw_request(user, stream, self._prompts)
        for traced in traced_arrivals(self._traces.get(user.trace, ()), start_s=user.trace_start_s, speed=user.trace_speed, deal=user.deal):
            alike = replace(user, prompt_tokens=(traced.prompt_tokens,) * 2, answer_tokens=(traced.answer_tokens,) * 2)
            yield traced.at_s, _draw_request(alike, stream, self._prompts)

    async def _request(self, entry: _RunningNode, request: ChatRequest) -> None:
        """One request as its user sees it. An entry node that dies takes its streams with it."""
        text: list[str] = []
        result = "interrupted"
        finish: Finish | None = None
        try:
            async with aclosing(entry.node.door.chat(request)) as answers:
                async for answer in answers:
                    if isinstance(answer, Delta):
                        text.append(answer.text)
                    else:
                        finish, result = answer, answer.reason
        except NetgptError as error:
            result = error.code
        except asyncio.CancelledError:
            result = "unfinished" if self._closing else "entry_lost"
            raise
        finally:
            self.outcomes.append(self._outcome(entry.spec.id, request, result, finish, "".join(text)))

    def _outcome(self, entry: str, request: ChatRequest, result: str, finish: Finish | None, text: str) -> Outcome:
        if finish is None:
            return Outcome(node=entry, model=request.model, key=request.key, result=result)
        return Outcome(
            node=entry,
            model=request.model,
            key=request.key,
            result=result,
            tokens=finish.completion_tokens,
            switches=len(finish.switches),
            queue_s=finish.queue_s,
            time_to_first_token_s=finish.time_to_first_token_s,
            duration_s=finish.duration_s,
            checked=True,
            right=text == expected_text(self.scenario, request, finish, self._replays),
            correct=self._correct(request, finish),
        )

    def _correct(self, request: ChatRequest, finish: Finish) -> bool | None:
        """Whether the recorded answer was right, where one recording gave all of it."""
        replays = {self._replays.get(span.node) for span in finish.origin}
        replay = replays.pop() if len(replays) == 1 else None
        return None if replay is None else replay.scripts[messages_key(request.messages)].correct

    async def break_and_mend(self, fault: FaultSpec) -> None:
        """One fault of the scenario, from its beginning to its end."""
        await self.clock.sleep(fault.at_s)
        self.log.record("fault.began", fault.node, **_where(fault))
        if fault.node:
            self.network.kill(fault.node)
            await self._stop_node(fault.node)
        elif fault.cell:
            self.network.fail(fault.cell, fault.for_s)
        else:
            self.network.cut(self.links[fault.link])
        await self.clock.sleep(fault.for_s)
        self.log.record("fault.ended", fault.node, **_where(fault))
        if fault.node:
            self.network.revive(fault.node)
            await self._start_node(self.scenario.node(fault.node))
        elif fault.cell:
            self.network.mend(fault.cell)
        else:
            self.network.heal(self.links[fault.link])

    def link_bytes(self) -> dict[str, int]:
        """Payload bytes that each direction of each link and cell was given, calls of all kinds together."""
        total: Counter[str] = Counter()
        for (link, direction, _), sent in self.network.carried.items():
            total[f"{link} {direction}"] += sent.payload_bytes
        return dict(total)

    def spent(self, now_s: float) -> dict[str, Any]:
        """What the run has used, once all nodes have stopped: figures of the report."""
        cells = cell_figures(self.radio, now_s) if self.radio else {}
        return cells | compute_figures(self._machines, self._worked)


def _machine(node: NodeSpec, config: EngineConfig) -> Declared | None:
    return declared_node(node, config) if config.timing == "declared" else None


def _where(fault: FaultSpec) -> dict[str, str]:
    return {"cell": fault.cell} if fault.cell else {"link": fault.link}


def read_replays(scenario: Scenario) -> dict[str, Replay]:
    """What each replaying node plays, by node; a file is read once.

    Raises:
        UsageError: a recording cannot be read, or has no such model.
    """
    nodes = [node for node in scenario.nodes if node.replays]
    recordings = {path: read_recording(Path(path)) for path in dict.fromkeys(node.recording for node in nodes)}
    players = {player: replay_of(recordings[player[0]], player[1]) for player in dict.fromkeys((node.recording, node.model) for node in nodes)}
    return {node.id: players[node.recording, node.model] for node in nodes}


def common_prompts(replays: Sequence[Replay]) -> list[tuple[tuple[str, str], ...]]:
    """The conversations that all of them have answered, in the first one's order; none without a replay.

    Raises:
        ScenarioInvalid: there are replays, and they have no conversation in common.
    """
    if not replays:
        return []
    common = [prompt for prompt in replays[0].prompts if all(messages_key(prompt) in replay.scripts for replay in replays)]
    if not common:
        raise ScenarioInvalid("the recordings of this scenario have no task in common", hint="record all its models on one task file: netgpt record")
    return common


def expected_text(scenario: Scenario, request: ChatRequest, finish: Finish, replays: Mapping[str, Replay] | None = None) -> str:
    """The answer that the models' law or recording gives, token by token, on the nodes that are said to have made it."""
    tokenizer = ByteTokenizer()
    ids = render_chat(tokenizer, request.messages)
    state, position = absorb(0, ids), len(ids)
    sampling = Sampling(temperature=request.temperature, seed=finish.seed)
    answer: list[int] = []
    for span in finish.origin:
        if replays and span.node in replays:
            recorded = replays[span.node].scripts[messages_key(request.messages)].ids[len(answer) : len(answer) + span.tokens]
            answer.extend(recorded)
            state, position = absorb(state, recorded), position + len(recorded)
            continue
        tier = scenario.node(span.node).tier
        law = HashLaw(f"hash-{tier}", hash_agreement(tier, scenario.agreement))
        for _ in range(span.tokens):
            token = law.choose(state, sampling, position)[0]
            answer.append(token)
            state, position = absorb(state, (token,)), position + 1
    return tokenizer.decode(answer).decode("utf-8", "replace")


def _draw_request(user: UserSpec, stream: np.random.Generator, recorded: Sequence[tuple[tuple[str, str], ...]]) -> ChatRequest:
    if recorded:
        messages = recorded[int(stream.integers(len(recorded)))]
        return ChatRequest(
            request_id=new_id("chatcmpl", stream),
            model=user.model,
            messages=messages,
            temperature=user.temperature,
            key=user.key,
            qos=user.qos,
            service=user.service,
        )
    prompt_tokens = int(stream.integers(user.prompt_tokens[0], user.prompt_tokens[1] + 1))
    prompt = bytes(stream.choice(_PROMPT_LETTERS, prompt_tokens)).decode()
    return ChatRequest(
        request_id=new_id("chatcmpl", stream),
        model=user.model,
        messages=(("user", prompt),),
        max_tokens=int(stream.integers(user.answer_tokens[0], user.answer_tokens[1] + 1)),
        temperature=user.temperature,
        key=user.key,
        qos=user.qos,
        service=user.service,
    )


def _engine_address(node_id: str) -> str:
    return f"{node_id}:engine"


def _engine_config(spec: NodeSpec, agreement: float, home: str) -> EngineConfig:
    return EngineConfig(
        node=spec.id,
        tier=spec.tier,
        model_folder="",
        engine="replay" if spec.replays else "hash",
        dtype="",
        threads=1,
        slots=spec.slots,
        cache_entries=spec.cache_entries,
        profile=spec.profile,
        parameters=spec.parameters,
        card=spec.card,
        precision=spec.precision,
        variants=spec.variants,
        home=home,
        quality=spec.quality,
        price_prompt=spec.price_prompt,
        price_answer=spec.price_answer,
        timing="recorded" if spec.replays and spec.timing != "profile" else "declared",
        port=0,
        network_key_file="",
        agreement=agreement,
        recording=spec.recording,
        recorded_model=spec.model if spec.replays else "",
    )


def _door_config(spec: NodeSpec, join_token: str, home: str, policy: str) -> DoorConfig:
    return DoorConfig(
        node=spec.id,
        tier=spec.tier,
        home=home,
        http_port=0,
        engine_address=_engine_address(spec.id),
        controller_address=CONTROLLER,
        join_token=join_token,
        model_folder="",
        engine="hash",
        battery_j=spec.battery_j,
        battery=spec.battery,
        policy=policy,
    )
