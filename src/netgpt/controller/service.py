"""The controller: lets nodes in, notices who is lost, tells every door who is there.

No prompt and no token passes it. Its state is a fold over its event log, so that a restarted
controller knows its members again; loads are samples of the last heartbeats and are not logged.

A heartbeat tells which version of the members its node has, and is answered with what is new to it since. A controller
that has just started says nothing of members until they had time to be heard again: doors keep what they know.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import cast

from netgpt.controller.gate import Gate, check_entry
from netgpt.controller.pace import BEAT_INTERVAL_S, Pace
from netgpt.controller.roster import Roster
from netgpt.controller.state import CERTIFIED, CHANGED, FOUND, JOINED, LEFT, LOST, REVOKED, ROOTS_CHANGED, STARTED, NetworkState, fold
from netgpt.core.clock import Clock
from netgpt.core.errors import AuthenticationFailed, NotSupported
from netgpt.core.spelling import did_you_mean
from netgpt.core.transport import Call
from netgpt.network.member import Changes, Member, Snapshot, Tier
from netgpt.telemetry.events import Event, EventLog
from netgpt.wire.codec import decode, encode
from netgpt.wire.messages import Beat, Certified, Certify, Empty, Heartbeat, Join, Joined, Leave, agreed_version

CHECK_INTERVAL_S = 0.05
SETTLING_S = 1.5  # a call that hangs on the controller's last life ends after 1 s; then its node beats
METHODS = ("join", "certify", "heartbeat", "leave")


class Controller:
    """The control plane of one network."""

    def __init__(self, log: EventLog, gate: Gate, clock: Clock) -> None:
        self._log = log
        self._gate = gate
        self._clock = clock
        self._history = log.recover()
        self._state: NetworkState = fold(self._history)
        self._pace = Pace()
        self._serials: dict[str, str] = {}  # of the certificate with which each member last called
        self._revoked = gate.revoked()
        self._roots = gate.roots()
        self._news = asyncio.Event()
        log.listen(self._absorb)
        self.record(STARTED, "")
        self._roster = Roster(self._state.starts << 32)  # as the last heartbeats said
        self._first_version = self._roster.version
        self._settled_s = clock.now_s() + (SETTLING_S if self._state.nodes else 0.0)
        for node in self._state.nodes.values():  # of an earlier life, which has told each how long to wait: as this one would
            self._pace.expect(node.id, clock.now_s(), self._pace.wait_s(node.id, cast(Tier, node.tier), clock.now_s()))

    @property
    def state(self) -> NetworkState:
        return self._state

    def snapshot(self) -> Snapshot:
        """Everybody who is there."""
        return self._complete(Snapshot(version=self._roster.version, members=tuple(self._roster)))

    def _complete(self, snapshot: Snapshot) -> Snapshot:
        return replace(snapshot, revoked=tuple(self._revoked), roots=self._roots)

    def events(self, since: int = 0) -> list[Event]:
        """Events with an index of at least `since`."""
        return self._history[bisect_left(self._history, since, key=lambda event: event.index) :]

    async def wait_for_event(self, index: int) -> None:
        """Return once an event of at least that index exists."""
        while self._log.next_index <= index:
            await self._news.wait()

    def record(self, kind: str, node: str, **data: object) -> Event:
        return self._log.record(kind, node, **data)

    def _absorb(self, event: Event) -> None:
        self._history.append(event)
        self._state.apply(event)
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def handle(self, call: Call) -> AsyncGenerator[bytes, None]:
        """A `core.transport.Handler`."""
        match call.method:
            case "join":
                yield encode(self._join(call))
            case "certify":
                yield encode(self._certify(call))
            case "heartbeat":
                beat = decode(Heartbeat, call.payload)
                self._check_caller(call, beat.node)
                yield encode(self._beat(beat))
            case "leave":
                node = decode(Leave, call.payload).node
                self._check_caller(call, node)
                self._leave(node)
                yield encode(Empty())
            case _:
                raise NotSupported(f"the controller has no method {call.method!r}", hint=did_you_mean(call.method, METHODS))

    def _check_caller(self, call: Call, node: str) -> None:
        """Refuse a member that speaks for another."""
        caller = self._gate.identify(call)
        if caller != node:
            raise AuthenticationFailed(f"node {caller!r} may not speak for {node!r}", hint="every node beats and leaves for itself")
        if call.peer is not None:
            self._serials[node] = call.peer.serial

    def _certify(self, call: Call) -> Certified:
        entry, certified = self._gate.certify(call, decode(Certify, call.payload), self._state.used_tokens)
        self.record(CERTIFIED, entry.node, tier=entry.tier, token=entry.token)
        return certified

    def _join(self, call: Call) -> Joined:
        request = decode(Join, call.payload)
        member = request.member
        entry = self._gate.admit(call, request, self._state.used_tokens)
        check_entry(entry, member)
        agreed_version(member.protocol_version)
        earlier = self._state.nodes.get(member.id)
        member = replace(member, epoch=earlier.epoch + 1 if earlier else 1)
        self._remember(member, BEAT_INTERVAL_S)
        self.record(
            JOINED,
            member.id,
            tier=member.tier,
            engine_address=member.engine_address,
            door_url=member.door_url,
            model=member.model,
            state=member.state,
            epoch=member.epoch,
            token=entry.token,
        )
        snapshot = self._complete(self._roster.snapshot(member.tier)) if request.takes_changes else self.snapshot()
        return Joined(credential=self._gate.credential(member.id), snapshot=snapshot)

    def _beat(self, beat: Heartbeat) -> Beat:
        node = self._state.nodes.get(beat.node)
        if node is None:
            raise AuthenticationFailed(f"node {beat.node!r} has not joined", hint="join again with a new token")
        member = replace(beat.member, id=node.id, tier=cast(Tier, node.tier), epoch=node.epoch)
        if node.state != member.state or node.model != member.model:
            self.record(FOUND if node.state == "lost" else CHANGED, node.id, state=member.state, model=member.model)
        wait_s = self._pace.wait_s(member.id, member.tier, self._clock.now_s()) if beat.takes_changes else BEAT_INTERVAL_S
        self._remember(member, wait_s)
        snapshot, changes = self._news_for(member, beat)
        return Beat(snapshot=snapshot, changes=changes, wait_s=wait_s, controller_epoch=self._state.starts)

    def _news_for(self, member: Member, beat: Heartbeat) -> tuple[Snapshot | None, Changes | None]:
        """What a member has not heard of, whole or as changes; neither if there is nothing."""
        known = beat.known_version
        if 0 < known < self._first_version and self._clock.now_s() < self._settled_s:
            return None, None
        if not beat.takes_changes:
            return None if known == self._roster.version else self.snapshot(), None
        changes = self._roster.changes(member, known)
        if changes is None:
            return self._complete(self._roster.snapshot(member.tier)), None
        return None, changes if changes.version > known else None

    def _leave(self, node: str) -> None:
        if node in self._state.nodes:
            self.record(LEFT, node)
        self._roster.remove(node)
        self._pace.forget(node)

    def _remember(self, member: Member, wait_s: float) -> None:
        self._pace.expect(member.id, self._clock.now_s(), wait_s)
        self._roster.put(member)

    async def watch(self) -> None:
        """Declare nodes lost that were not heard in time, and expel revoked ones, until cancelled."""
        while True:
            await self._clock.sleep(CHECK_INTERVAL_S)
            self._expel(self._gate.revoked())
            self._tell_roots(self._gate.roots())
            for node, silent_s in self._pace.overdue(self._clock.now_s()):
                if self._state.nodes[node].state != "lost":
                    self._lose(node, silent_s)

    def _expel(self, revoked: Mapping[str, str]) -> None:
        """Tell everybody what is newly revoked; members that called with such a certificate are members no more."""
        if revoked.keys() == self._revoked.keys():
            return
        added = [serial for serial in revoked if serial not in self._revoked]
        self._revoked = revoked
        self._roster.tell_anew()
        for serial in added:
            self.record(REVOKED, revoked[serial], serial=serial)
            if self._serials.get(revoked[serial]) == serial:
                self._leave(revoked[serial])

    def _tell_roots(self, roots: tuple[str, ...]) -> None:
        """Tell everybody that the network's roots have changed: members then ask for new certificates."""
        if roots != self._roots:
            self._roots = roots
            self._roster.tell_anew()
            self.record(ROOTS_CHANGED, "", roots=list(roots))

    def _lose(self, node: str, silent_s: float) -> None:
        self.record(LOST, node, state="lost", silent_s=round(silent_s, 3))
        if (member := self._roster.find(node)) is not None:
            self._roster.put(replace(member, state="lost"))
