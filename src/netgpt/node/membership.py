"""A node's membership: joins the network, tells the controller that it lives, keeps the last snapshot.

It beats as often as the controller says, which is less often the larger the network is, and brings its snapshot up to
date with what the answers say has changed. Without the controller the node goes on with the snapshot it has. The
engine's state is asked for as often: an engine that does not answer makes the node `degraded`, its door still answers.
One answer ends it: that the node's certificate was revoked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import get_args

from netgpt import __version__
from netgpt.core.clock import Clock
from netgpt.core.errors import CertificateRevoked, NetgptError
from netgpt.core.scheduling import TaskGroup
from netgpt.core.transport import Connection, Transport
from netgpt.models.generation import Capabilities, Load
from netgpt.network.member import Member, Snapshot, State, Tier
from netgpt.node.call import ask
from netgpt.telemetry.metrics import Metrics
from netgpt.wire.certificates import CONTROLLER
from netgpt.wire.messages import PROTOCOL_VERSION, Beat, Empty, Heartbeat, Hello, Join, Joined, Leave, Stats, Welcome, agreed_version

BEAT_INTERVAL_S = 0.2  # until the controller says otherwise, and of an engine that is not ready
CALL_DEADLINE_S = 1.0
ENGINE_DEADLINE_S = 5.0  # an engine busy with a long prompt is late, not lost


def _lacks(able: Capabilities) -> tuple[str, ...]:
    """What requests may need and this engine does not give, by the requests' names for it."""
    penalties = () if able.penalties else ("presence_penalty", "frequency_penalty", "logit_bias")
    return (*(() if able.logprobs else ("logprobs",)), *penalties)


class Membership:
    """One node's place in the network."""

    def __init__(
        self,
        member: Member,
        controller_address: str,
        transport: Transport,
        clock: Clock,
        *,
        token: str,
        metrics: Metrics,
        record: Callable[..., object],
        heed_revoked: Callable[[tuple[str, ...]], None] = lambda serials: None,
        version: int = PROTOCOL_VERSION,
    ) -> None:
        """Args:
        member: this node as it is known before its engine has answered.
        token: a join token, used once; it buys the credential for all later calls. Empty where a certificate speaks.
        record: takes an event's kind, node and data.
        heed_revoked: takes the serials of revoked certificates whenever the controller tells them.
        version: of the protocol that this node speaks.
        """
        self.member = member
        self.credential = ""
        self._snapshot = Snapshot()
        self._wait_s = BEAT_INTERVAL_S
        self._listed: tuple[Member | None, Snapshot, list[Member]] = (None, self._snapshot, [])
        self._last_load = Load()
        self._controller_address = controller_address
        self._transport = transport
        self._clock = clock
        self._token = token
        self._metrics = metrics
        self._record = record
        self._heed_revoked = heed_revoked
        self._version = version
        self._controller: Connection = transport.connect(controller_address, peer=CONTROLLER)
        self._engine: Connection = transport.connect(member.engine_address, peer=member.id)
        self._connected = False
        for tier in get_args(Tier):
            metrics.members_ready.labels(tier).set_function(partial(self._ready, tier))

    def members(self) -> Sequence[Member]:
        """This node as it is now, and all members that its door may ask. The same list until one of them is another: every request asks."""
        own, snapshot, _ = self._listed
        if own is not self.member or snapshot is not self._snapshot:
            own, snapshot = self.member, self._snapshot
            self._listed = (own, snapshot, [own, *(member for member in snapshot.members if member.id != own.id)])
        return self._listed[2]

    def doors(self) -> int:
        """How many members the network has, those that this node is not told of too."""
        return max(len(self._snapshot.members) + self._snapshot.untold, 1)

    def _ready(self, tier: Tier) -> int:
        return sum(member.tier == tier and member.state == "ready" for member in self.members())

    @property
    def roots(self) -> tuple[str, ...]:
        """The ids of the roots that this node is to trust, as the controller last said; none if it did not."""
        return self._snapshot.roots

    async def join(self) -> None:
        """Enter the network; returns when the controller has let this node in and its engine was asked once.

        Raises:
            AuthenticationFailed: the token is wrong, expired or already used.
            NodeUnreachable: the controller does not answer.
        """
        join = Join(token=self._token, member=self.member, takes_changes=True)
        joined = await ask(self._controller, "join", join, Joined, deadline_s=CALL_DEADLINE_S)
        await self.close()
        self.credential = joined.credential
        self._controller = self._transport.connect(self._controller_address, credential=joined.credential, peer=CONTROLLER)
        self._engine = self._transport.connect(self.member.engine_address, credential=joined.credential, peer=self.member.id)
        self._snapshot = joined.snapshot
        self._heed_revoked(joined.snapshot.revoked)
        self._connected = True
        await self._probe_engine()
        await self._beat()

    async def live(self) -> None:
        """Beat until cancelled. Nothing else that the controller or the engine does ends it.

        Raises:
            CertificateRevoked: in a group, once this node is no member any more.
        """
        async with TaskGroup() as tasks:
            tasks.create_task(self._repeat(self._probe_engine, self._until_probe_s), name=f"{self.member.id}-probe")
            tasks.create_task(self._repeat(self._beat, lambda: self._wait_s), name=f"{self.member.id}-beat")

    async def _repeat(self, act: Callable[[], Awaitable[None]], wait_s: Callable[[], float]) -> None:
        """Apart from each other, so that a silent engine does not make the node look lost."""
        while True:
            await self._clock.sleep(wait_s())
            await act()

    def _until_probe_s(self) -> float:
        return self._wait_s if self.member.state == "ready" else BEAT_INTERVAL_S

    async def leave(self) -> None:
        """Tell the controller that this node goes on purpose; silent if it is gone itself."""
        try:
            await ask(self._controller, "leave", Leave(node=self.member.id), Empty, deadline_s=CALL_DEADLINE_S)
        except NetgptError:
            return

    async def _probe_engine(self) -> None:
        try:
            if not self.member.model or self.member.state != "ready":  # an engine that comes back may run another model
                welcome = await ask(
                    self._engine,
                    "hello",
                    Hello(protocol_version=self._version, node=self.member.id, release=__version__),
                    Welcome,
                    deadline_s=ENGINE_DEADLINE_S,
                )
                self._describe(welcome)
            load = await ask(self._engine, "stats", Stats(), Load, deadline_s=ENGINE_DEADLINE_S)
        except NetgptError as error:
            self._turn("degraded", error.code)
            return
        self.member = replace(self.member, running=load.running, waiting=load.waiting, slots=load.slots)
        self._metrics.engine_running.set(load.running)
        self._metrics.engine_waiting.set(load.waiting)
        self._metrics.engine_held_tokens.set(load.held_tokens)
        self._metrics.cache_answers.set(load.kept_answers)
        self._metrics.cache_bytes.set(load.kept_bytes)
        self._count_releases(load)
        self._turn("ready", "")

    def _count_releases(self, load: Load) -> None:
        before = self._last_load if load.releases >= self._last_load.releases else Load()  # a new engine counts from nothing
        self._last_load = load
        self._metrics.engine_releases.inc(load.releases - before.releases)
        self._metrics.engine_overruns.inc(load.overruns - before.overruns)

    def _describe(self, welcome: Welcome) -> None:
        """Take over what the engine says of itself."""
        card, able = welcome.card, welcome.capabilities
        if card.id != self.member.model:
            self._record("engine.described", self.member.id, model=card.id, context_tokens=card.context_tokens, capabilities=asdict(able))
        self.member = replace(
            self.member,
            model=card.id,
            tokenizer=card.tokenizer,
            parameters=card.parameters,
            context_tokens=card.context_tokens,
            grammar=able.grammar,
            text=able.text,
            keeps=able.keeps,
            reads=able.reads,
            protocol_version=agreed_version(welcome.protocol_version, ours=self._version),
            lacks=_lacks(able),
            quality=(welcome.offer.quality if welcome.offer else 0.0) or card.quality,
            offer=welcome.offer,
        )

    def _turn(self, state: State, cause: str) -> None:
        if self.member.state != state:
            self.member = replace(self.member, state=state)
            self._record(f"engine.{state}", self.member.id, cause=cause)

    async def _beat(self) -> None:
        known = self._snapshot.version
        beat = Heartbeat(node=self.member.id, epoch=self.member.epoch, member=self.member, known_version=known, takes_changes=True)
        try:
            answer = await ask(self._controller, "heartbeat", beat, Beat, deadline_s=CALL_DEADLINE_S)
        except CertificateRevoked:
            raise
        except NetgptError as error:
            self._lose_controller(error.code)
            return
        if not self._connected:
            self._connected = True
            self._record("controller.found", self.member.id)
        self._wait_s = max(answer.wait_s, BEAT_INTERVAL_S)
        if answer.snapshot is not None:
            self._snapshot = answer.snapshot
            self._heed_revoked(answer.snapshot.revoked)
        elif answer.changes is not None and self._snapshot.version == known:
            self._snapshot = self._snapshot.after(answer.changes)

    def _lose_controller(self, cause: str) -> None:
        if self._connected:
            self._connected = False
            self._record("controller.lost", self.member.id, cause=cause)

    async def close(self) -> None:
        """Close the connections to the controller and the engine."""
        await self._controller.close()
        await self._engine.close()
