"""The controller: lets nodes in, notices who is lost, tells every door who is there.

No prompt and no token passes it. Its state is a fold over its event log, so that a restarted
controller knows its members again; loads are samples of the last heartbeats and are not logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

from netgpt.controller.state import CHANGED, FOUND, JOINED, LEFT, LOST, STARTED, NetworkState, apply, fold
from netgpt.core.clock import Clock
from netgpt.core.errors import AuthenticationFailed, NotSupported
from netgpt.core.spelling import did_you_mean
from netgpt.core.transport import Call
from netgpt.network.member import Member, Snapshot
from netgpt.telemetry.events import Event, EventLog
from netgpt.wire.codec import decode, encode
from netgpt.wire.identity import JoinAuthority
from netgpt.wire.messages import Beat, Empty, Heartbeat, Join, Joined, Leave

LOST_AFTER_S = 0.75
CHECK_INTERVAL_S = 0.05
METHODS = ("join", "heartbeat", "leave")


class Controller:
    """The control plane of one network."""

    def __init__(self, log: EventLog, authority: JoinAuthority, clock: Clock) -> None:
        self._log = log
        self._authority = authority
        self._clock = clock
        self._history = log.recover()
        self._state: NetworkState = fold(self._history)
        self._members: dict[str, Member] = {}  # as the last heartbeat said
        self._heard_s: dict[str, float] = {}
        self._news = asyncio.Event()
        log.listen(self._absorb)
        self.record(STARTED, "")
        self._version = self._state.starts << 32  # higher than any of an earlier life
        for node in self._state.nodes.values():  # give members of an earlier life the time to be heard
            self._heard_s[node.id] = clock.now_s()

    @property
    def state(self) -> NetworkState:
        return self._state

    def snapshot(self) -> Snapshot:
        """Who is there, for doors."""
        return Snapshot(version=self._version, members=tuple(self._members[node] for node in sorted(self._members)))

    def events(self, since: int = 0) -> list[Event]:
        """Events with an index of at least `since`."""
        return [event for event in self._history if event.index >= since]

    async def wait_for_event(self, index: int) -> None:
        """Return once an event of at least that index exists."""
        while self._log.next_index <= index:
            await self._news.wait()

    def record(self, kind: str, node: str, **data: object) -> Event:
        return self._log.record(kind, node, **data)

    def _absorb(self, event: Event) -> None:
        self._history.append(event)
        self._state = apply(self._state, event)
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def handle(self, call: Call) -> AsyncGenerator[bytes, None]:
        """A `core.transport.Handler`."""
        match call.method:
            case "join":
                yield encode(self._join(decode(Join, call.payload)))
            case "heartbeat":
                self._authority.check(call.credential)
                yield encode(self._beat(decode(Heartbeat, call.payload)))
            case "leave":
                self._authority.check(call.credential)
                self._leave(decode(Leave, call.payload).node)
                yield encode(Empty())
            case _:
                raise NotSupported(f"the controller has no method {call.method!r}", hint=did_you_mean(call.method, METHODS))

    def _join(self, request: Join) -> Joined:
        member = request.member
        node, token = self._admit(request)
        if node != member.id:
            raise AuthenticationFailed(f"the join token is for node {node!r}, not {member.id!r}", hint="ask for a token of that node")
        earlier = self._state.nodes.get(member.id)
        member = replace(member, epoch=earlier.epoch + 1 if earlier else 1)
        self._remember(member)
        self.record(
            JOINED,
            member.id,
            tier=member.tier,
            engine_address=member.engine_address,
            door_url=member.door_url,
            model=member.model,
            state=member.state,
            epoch=member.epoch,
            token=token,
        )
        return Joined(credential=self._authority.credential(member.id), snapshot=self.snapshot())

    def _admit(self, request: Join) -> tuple[str, str]:
        """(node, id of the token that is now used) of a join request."""
        if request.credential:
            return self._authority.check(request.credential), ""
        admission = self._authority.redeem(request.token, self._state.used_tokens)
        return admission.node, admission.token_id

    def _beat(self, beat: Heartbeat) -> Beat:
        node = self._state.nodes.get(beat.node)
        if node is None:
            raise AuthenticationFailed(f"node {beat.node!r} has not joined", hint="join again with a new token")
        member = replace(beat.member, epoch=node.epoch)
        if node.state != member.state or node.model != member.model:
            self.record(FOUND if node.state == "lost" else CHANGED, node.id, state=member.state, model=member.model)
        self._remember(member)
        fresh = beat.known_version == self._version
        return Beat(snapshot=None if fresh else self.snapshot(), controller_epoch=self._state.starts)

    def _leave(self, node: str) -> None:
        if node in self._state.nodes:
            self.record(LEFT, node)
        self._members.pop(node, None)
        self._heard_s.pop(node, None)
        self._version += 1

    def _remember(self, member: Member) -> None:
        self._heard_s[member.id] = self._clock.now_s()
        if self._members.get(member.id) != member:
            self._members[member.id] = member
            self._version += 1

    async def watch(self) -> None:
        """Declare nodes lost that were not heard for `LOST_AFTER_S`, until cancelled."""
        while True:
            await self._clock.sleep(CHECK_INTERVAL_S)
            for node in sorted(self._heard_s):
                if self._clock.now_s() - self._heard_s[node] > LOST_AFTER_S and self._state.nodes[node].state != "lost":
                    self._lose(node)

    def _lose(self, node: str) -> None:
        self.record(LOST, node, state="lost", silent_s=round(self._clock.now_s() - self._heard_s[node], 3))
        if node in self._members:
            self._members[node] = replace(self._members[node], state="lost")
        self._version += 1
