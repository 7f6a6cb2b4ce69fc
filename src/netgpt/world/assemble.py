"""Puts a node together from its parts: the same parts in every world, over that world's protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from netgpt.api.hosts import reached_at
from netgpt.core.chance import Chance
from netgpt.core.clock import Clock
from netgpt.core.compute import ThreadCompute
from netgpt.core.scheduling import TaskGroup
from netgpt.core.transport import Connection, Transport
from netgpt.engine.contract import Engine
from netgpt.engine.hash_engine import HashEngine
from netgpt.engine.replay_engine import ReplayEngine, Script, context_tokens, read_scripts
from netgpt.engine.timed import TimedEngine
from netgpt.engine.variants import VariantEngine
from netgpt.inference.cache import AnswerCache, engine_embedder
from netgpt.inference.calibration_file import calibrations_at
from netgpt.inference.cascade import cascade
from netgpt.inference.choice import CASCADE, ROUTE
from netgpt.inference.door import Door, DoorLimits
from netgpt.inference.judge import Judge
from netgpt.inference.planner import Battery, Planner
from netgpt.inference.policy import policy_or_none
from netgpt.inference.reading import Reader
from netgpt.inference.route import route
from netgpt.inference.routing import Router
from netgpt.inference.steps import Strategy
from netgpt.models.card import weightless_card
from netgpt.models.hf_tokenizer import load_tokenizer
from netgpt.models.recording import Recording, read_recording
from netgpt.models.tokenizer import ByteTokenizer, Tokenizer
from netgpt.network.member import Member, Tier
from netgpt.network.offer import Offer, Pace, offer_of
from netgpt.network.roofline import Declared
from netgpt.network.scenario import TIERS
from netgpt.network.shape import node_shape
from netgpt.node.certification import certify, keep_renewed
from netgpt.node.handle import NodeHandle
from netgpt.node.membership import Membership
from netgpt.telemetry.metrics import Metrics
from netgpt.wire.certificates import CONTROLLER
from netgpt.wire.own_identity import Identity, IdentityFile
from netgpt.world.config import DoorConfig, EngineConfig
from netgpt.world.declared import declared_machine, torch_dtype, variant_machine

HASH_CONTEXT_TOKENS = 2048


@runtime_checkable
class Measurable(Protocol):
    """An engine that can find out how fast it is on this machine."""

    def measure_pace(self) -> Pace | None: ...


def make_tokenizer(config: DoorConfig | EngineConfig) -> Tokenizer:
    """The tokenizer of the node's own model; bytes where it is an upstream's, which counts for itself."""
    return load_tokenizer(Path(config.model_folder)) if config.engine == "torch" else ByteTokenizer()


def make_engine(config: EngineConfig, clock: Clock, *, replay: Replay | None = None) -> Engine:
    """The engine that a configuration asks for, ready to run.

    Args:
        replay: what a replay plays, if it has been read already.

    Raises:
        ModelInvalid, ModelNotFound: the model folder cannot be used.
        UsageError: the recording cannot be used.
    """
    if config.engine == "replay":
        return _replay_engine(config, clock, replay or read_replay(config.recording, config.recorded_model))
    engine = _hash_engine(config, clock) if config.engine == "hash" else _torch_engine(config, clock)
    declared = declared_machine(config) if config.timing == "declared" else None
    return TimedEngine(engine, declared, clock, variants=_machines(config)) if declared else engine


def measure_pace(engine: Engine) -> Pace | None:
    """How fast an engine is that keeps its own pace and can say so: some tenths of a second of work, before anybody asks."""
    own = engine.own if isinstance(engine, VariantEngine) else engine
    return own.measure_pace() if isinstance(own, Measurable) else None


def make_keeper(engine: Engine, tokenizer: Tokenizer | None, clock: Clock, *, entries: int) -> AnswerCache | None:
    """What keeps answers at a node; None if it is to keep none.

    Args:
        tokenizer: of the engine's model; without it, questions are found by their digests alone.
    """
    return AnswerCache(clock, entries=entries, embed=engine_embedder(engine, tokenizer)) if entries else None


def make_offer(config: EngineConfig, own: Pace | None = None) -> Offer:
    """What a node says of its work: the pace of the machine that it is declared to be, and its prices.

    Args:
        own: the pace that its engine has measured, of one that keeps its own.
    """
    declared = declared_machine(config) if config.timing == "declared" else None
    variants = {name: variant_machine(config, name) if declared else None for name in config.variants}
    offer = offer_of(declared, price_prompt=config.price_prompt, price_answer=config.price_answer, quality=config.quality, variants=variants)
    return offer if declared else replace(offer, pace=own)


def _machines(config: EngineConfig) -> dict[str, Declared]:
    """The declared machine with the model in each of its other precisions."""
    found = {name: variant_machine(config, name) for name in config.variants}
    return {name: machine for name, machine in found.items() if machine is not None}


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay:
    """One recorded model, ready to be played."""

    scripts: Mapping[bytes, Script]
    prompts: tuple[tuple[tuple[str, str], ...], ...]  # the conversations that it has answered
    context_tokens: int


def read_replay(recording: str, model: str) -> Replay:
    """A model of a recording.

    Raises:
        UsageError: no such file or model, or no recording.
        MissingExtra: pyarrow is not installed.
    """
    return replay_of(read_recording(Path(recording)), model)


def replay_of(recording: Recording, model: str) -> Replay:
    """A model of a recording that has been read; raises UsageError if it is not in there."""
    scripts = read_scripts(recording, model)
    prompts = tuple(row.messages for row in recording.of_model(model))
    return Replay(scripts=scripts, prompts=prompts, context_tokens=context_tokens(scripts, prompts))


def _replay_engine(config: EngineConfig, clock: Clock, replay: Replay) -> Engine:
    card = weightless_card(
        config.recorded_model,
        tier=config.tier,
        parameters=_parameters(config),
        context_tokens=replay.context_tokens,
        tokenizer=ByteTokenizer(),
        description="a recording, played back",
    )
    card = replace(card, licence="see the model's source")
    if config.timing == "recorded":
        return ReplayEngine(card, replay.scripts, clock, slots=config.slots)
    engine = ReplayEngine(card, replay.scripts, clock, timing="none", slots=config.slots)
    declared = declared_machine(config) if config.timing == "declared" else None
    if declared is None:
        return engine
    return TimedEngine(engine, declared, clock, count=engine.model_tokens, count_new=lambda ids: min(len(ids), 1))


def _hash_engine(config: EngineConfig, clock: Clock) -> HashEngine:
    """A model of the scenario's size without weights. Neighbouring tiers agree with probability `agreement`."""
    card = weightless_card(
        f"hash-{config.tier}",
        tier=config.tier,
        parameters=_parameters(config),
        context_tokens=HASH_CONTEXT_TOKENS,
        tokenizer=ByteTokenizer(),
        description="a language without weights, for simulation",
    )
    return HashEngine(card, clock, agreement=hash_agreement(config.tier, config.agreement), slots=config.slots)


def _parameters(config: EngineConfig) -> int:
    shape = node_shape(config.card, config.parameters)
    return shape.parameters if shape else 0


def hash_agreement(tier: str, neighbours: float) -> float:
    """How often a tier's `hash` model gives the reference token, if neighbouring tiers are to agree so often."""
    return neighbours ** (len(TIERS) - 1 - TIERS.index(tier))


def _torch_engine(config: EngineConfig, clock: Clock) -> Engine:
    from netgpt.engine.torch_engine import TorchEngine  # only this process needs torch

    compute = ThreadCompute("engine")

    def load(dtype: str) -> Engine:
        return TorchEngine.from_folder(
            Path(config.model_folder), dtype=dtype, compute=compute, clock=clock, slots=config.slots, threads=config.threads
        )

    dtypes = {name: torch_dtype(config, name) for name in config.variants}
    engine = load(config.dtype)
    return VariantEngine(engine, {name: partial(load, dtype) for name, dtype in dtypes.items()}, compute=compute) if dtypes else engine


def _strategies(judge: Judge, routers: Mapping[str, Router]) -> dict[str, Strategy]:
    """How a door answers the names that stand for a strategy; all others by `direct`."""
    return {CASCADE: partial(cascade, policy=judge), ROUTE: partial(route, routers=routers)}


class Node:
    """A door, its membership, and its connections: everything of a node but the engine."""

    def __init__(
        self,
        config: DoorConfig,
        *,
        transport: Transport,
        tokenizer: Tokenizer,
        clock: Clock,
        chance: Chance,
        metrics: Metrics,
        record: Callable[..., object],
        limits: DoorLimits | None = None,
        scope_secret: bytes = b"",
        heed_revoked: Callable[[tuple[str, ...]], None] | None = None,
    ) -> None:
        """Args:
        scope_secret: see `Door`.
        heed_revoked: takes the serials of revoked certificates; None: this network has none.
        """
        self._transport = transport
        self._tokenizer = tokenizer
        self._clock = clock
        self._connections: dict[str, Connection] = {}
        member = Member(
            id=config.node,
            tier=cast(Tier, config.tier),
            engine_address=config.engine_address,
            door_url=f"http://{reached_at(config.http_host)}:{config.http_port}",
        )
        self._record = record
        self._controller_address = config.controller_address
        self.membership = Membership(
            member,
            config.controller_address,
            transport,
            clock,
            token=config.join_token,
            metrics=metrics,
            record=record,
            heed_revoked=heed_revoked or (lambda serials: None),
            version=config.wire_version,
        )
        calibrations = calibrations_at(Path(config.home) if config.home else None)
        judge = Judge(calibrations, metrics=metrics)
        battery = Battery(capacity_j=config.battery_j, level=config.battery) if config.battery_j else None
        self.door = Door(
            entry=lambda: self.membership.member,
            members=self.membership.members,
            doors=self.membership.doors,
            handle=self.handle,
            tokenizer=tokenizer,
            clock=clock,
            chance=chance,
            metrics=metrics,
            record=record,
            limits=limits,
            scope_secret=scope_secret,
            strategies=_strategies(judge, calibrations.routers),
            planner=Planner(
                config.node,
                tier=config.tier,
                battery=battery,
                climbing=judge,
                reader=Reader(calibrations.routers),
                policy=policy_or_none(config.policy),
            ),
        )

    async def live(self) -> None:
        """Be a member, and keep what the door knows fresh, until cancelled. Raises what `Membership.live` does, in a group."""
        async with TaskGroup() as tasks:
            tasks.create_task(self.membership.live(), name=f"{self.membership.member.id}-member")
            tasks.create_task(self.door.live(), name=f"{self.membership.member.id}-probe-ways")

    def is_ready(self) -> bool:
        """Whether some model can answer at this door now."""
        return any(model.ready for model in self.door.models())

    def handle(self, member: Member) -> NodeHandle:
        """A handle to a member's engine; its connection is kept and used again."""
        connection = self._connections.get(member.engine_address)
        if connection is None:
            connection = self._transport.connect(member.engine_address, credential=self.membership.credential, peer=member.id)
            self._connections[member.engine_address] = connection
        return NodeHandle(member, connection, self._tokenizer, self._clock, is_entry=member.id == self.membership.member.id)

    async def keep_certified(self, file: IdentityFile) -> None:
        """Renew this node's certificate in time, until cancelled."""
        connection = self._transport.connect(self._controller_address, peer=CONTROLLER)
        self._connections[self._controller_address] = connection

        async def renew(present: Identity) -> Identity:
            return await certify(connection, node=self.membership.member.id, root=present.root)

        def is_outdated(identity: Identity) -> bool:
            return self.membership.roots not in ((), identity.roots)

        await keep_renewed(file, renew, self._clock, self._record, is_outdated=is_outdated)

    async def close(self) -> None:
        await self.door.close()
        for connection in self._connections.values():
            await connection.close()
        await self.membership.close()
