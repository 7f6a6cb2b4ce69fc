"""The transport of the simulated world: payloads cross described links and cells inside one process.

Payloads, errors, deadlines and cancellation behave as over gRPC. What is under way when a link is cut, a cell fails
or a node dies is lost, and both ends of a call notice it `detection_s` later, even if all was healed
meanwhile: a connection does not outlive what it crosses. A handover breaks nothing off. An address is a node's
name, or `<node>:<service>` where a node has several.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from netgpt.core.clock import Clock
from netgpt.core.errors import NodeUnreachable, PortInUse, UsageError
from netgpt.core.transport import Call, Handler
from netgpt.network.link import Hop, Link, Ways
from netgpt.wire.memory_carrier import Carrier
from netgpt.wire.memory_ends import Accept, MemoryConnection, MemoryListener
from netgpt.wire.memory_exchange import Exchange
from netgpt.wire.memory_processes import Processes
from netgpt.wire.payload import Observer, Sent, no_observer

DETECTION_S = 3.0  # as long as gRPC's keepalive waits for an answer: see wire.grpc_transport
REFUSAL_S = 0.001  # a call to a node known to be gone fails after this, so that a retry loop moves time


class MemoryNetwork:
    """Nodes, and the links and cells between them.

    Args:
        clock: must be the running loop's, virtual or not.
        ways: how one node reaches another.
        detection_s: from a loss to its notice.
        processes: what messages take at their ends and at the link shaper; None: no time.
    """

    def __init__(self, clock: Clock, ways: Ways, *, detection_s: float = DETECTION_S, processes: Processes | None = None) -> None:
        self._clock = clock
        self._ways = ways
        self._detection_s = detection_s
        self._processes = processes
        self._carrier = Carrier(ways, processes)
        self._listeners: dict[str, Accept] = {}
        self._exchanges: dict[Exchange, None] = {}
        self._dead_since_s: dict[str, float] = {}
        self._failed_since_s: dict[str, float] = {}  # cells

    @property
    def carried(self) -> dict[tuple[str, str, str], Sent]:
        """What each link and cell was given to carry, by (its id, "up" or "down", method)."""
        return self._carrier.carried

    @property
    def in_flight(self) -> int:
        """Calls that one end or the other has not yet let go of."""
        return len(self._exchanges)

    def transport(self, node: str, *, observer: Observer = no_observer) -> MemoryTransport:
        """The transport as `node` sees it."""
        return MemoryTransport(self, node, observer)

    # ---- faults

    def cut(self, link: Link) -> None:
        """What is on the link is lost, and nothing crosses it until it is healed."""
        if link.cut_at_s is None:
            link.cut_at_s = self._clock.now_s()
        self._carrier.lose(link)
        self._break_off(lambda exchange: any(hop.link is link for hop in self._hops(exchange)))

    def heal(self, link: Link) -> None:
        link.cut_at_s = None

    def fail(self, cell: str, for_s: float) -> None:
        """The cell serves nobody for that time, or until it is mended; what is on its air is lost.

        Raises:
            KeyError: unknown cell.
        """
        radio = self._ways.radio
        if radio is None:
            raise KeyError(cell)
        now_s = self._clock.now_s()
        self._failed_since_s.setdefault(cell, now_s)
        for device in list(radio.cells[cell].stations):
            if device in radio.stations:  # and no user of the background
                self._carrier.lose_at(device)
        radio.outage(now_s, cell, for_s)
        self._break_off(lambda exchange: any(hop.name == cell and hop.link is None for hop in self._hops(exchange)))

    def mend(self, cell: str) -> None:
        """Calls find the cell at work again."""
        self._failed_since_s.pop(cell, None)

    def kill(self, node: str) -> None:
        """The machine dies: its listeners are gone and its work is cancelled at once. Others notice later."""
        self._dead_since_s.setdefault(node, self._clock.now_s())
        for address in [address for address in self._listeners if node_of(address) == node]:
            del self._listeners[address]
        for exchange in list(self._exchanges):
            if exchange.target == node:
                exchange.stop()
        if self._ways.radio is not None and node in self._ways.radio.stations:
            self._carrier.lose_at(node)
        self._break_off(lambda exchange: node in (exchange.caller, exchange.target))

    def revive(self, node: str) -> None:
        """The machine is back, with nothing running on it."""
        self._dead_since_s.pop(node, None)

    def _break_off(self, concerns: Callable[[Exchange], bool]) -> None:
        for exchange in list(self._exchanges):
            if not exchange.lost and concerns(exchange):
                exchange.break_off()

    # ---- calls

    def open(self, caller: str, address: str, call: Call, qos: str) -> Exchange:
        """Start a call; the exchange gives its replies."""
        exchange = Exchange(
            call.method,
            qos,
            caller=caller,
            address=address,
            target=node_of(address),
            carrier=self._carrier,
            processes=self._processes,
            detection_s=self._detection_s,
            settled=self._settled,
        )
        self._exchanges[exchange] = None
        lost_at_s = self._lost_at_s(exchange)
        if lost_at_s is not None:
            exchange.break_off(max(lost_at_s + self._detection_s - self._clock.now_s(), REFUSAL_S))
        else:
            exchange.request(call.payload, lambda: self._arrived(exchange, call))
        return exchange

    def _hops(self, exchange: Exchange) -> tuple[Hop, ...]:
        """There and back, as the ways are now."""
        there, back = self._ways.path(exchange.caller, exchange.target), self._ways.path(exchange.target, exchange.caller)
        return (*(there or ()), *(back or ()))

    def _lost_at_s(self, exchange: Exchange) -> float | None:
        """Since when nothing has crossed between its ends, -inf if they are not joined at all; None if all is well."""
        times = [self._dead_since_s.get(node) for node in (exchange.caller, exchange.target)]
        if exchange.caller != exchange.target:
            there, back = self._ways.path(exchange.caller, exchange.target), self._ways.path(exchange.target, exchange.caller)
            if there is None or back is None:
                return -math.inf
            times += [hop.link.cut_at_s if hop.link else self._failed_since_s.get(hop.name) for hop in (*there, *back)]
        return min((time_s for time_s in times if time_s is not None), default=None)

    def _arrived(self, exchange: Exchange, call: Call) -> None:
        accept = self._listeners.get(exchange.address)
        if accept is None:
            exchange.end(NodeUnreachable(f"nothing listens at {exchange.address}", hint="see which nodes run: netgpt ps"))
        else:
            accept(exchange, call)

    def _settled(self, exchange: Exchange) -> None:
        self._exchanges.pop(exchange, None)

    def add_listener(self, address: str, accept: Accept) -> None:
        if node_of(address) in self._dead_since_s:
            raise NodeUnreachable(f"node {node_of(address)!r} is dead", hint="revive it first")
        if address in self._listeners:
            raise PortInUse(f"{address} is taken by another listener", hint="choose another service name")
        self._listeners[address] = accept

    def remove_listener(self, address: str, accept: Accept) -> None:
        if self._listeners.get(address) == accept:
            del self._listeners[address]


class MemoryTransport:
    """One node's transport."""

    def __init__(self, network: MemoryNetwork, node: str, observer: Observer) -> None:
        self._network = network
        self._node = node
        self._observer = observer

    async def listen(self, address: str, handler: Handler) -> MemoryListener:
        if node_of(address) != self._node:
            raise UsageError(f"node {self._node!r} cannot listen at {address!r}", hint=f"write {self._node} or {self._node}:<service>")
        listener = MemoryListener(address, handler, self._observer, self._network.remove_listener)
        self._network.add_listener(address, listener.accept)
        return listener

    def connect(self, address: str, *, credential: str = "", peer: str = "") -> MemoryConnection:
        """`peer` changes nothing: the described network has no impostors."""

        def open_call(method: str, payload: bytes, qos: str) -> Exchange:
            return self._network.open(self._node, address, Call(method=method, payload=payload, credential=credential), qos)

        return MemoryConnection(address, open_call, self._observer)


def node_of(address: str) -> str:
    """The node that an address belongs to."""
    return address.partition(":")[0]
