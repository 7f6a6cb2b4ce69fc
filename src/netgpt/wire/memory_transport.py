"""The transport of the simulated world: payloads cross described links inside one process.

Payloads, errors, deadlines and cancellation behave as over gRPC. What is under way when a link is cut
or a node dies is lost, and both ends of a call notice it `detection_s` later, even if the link was
healed meanwhile: a connection does not outlive its path. An address is a node's name, or
`<node>:<service>` where a node has several.
"""

from __future__ import annotations

from collections.abc import Callable

from netgpt.core.clock import Clock
from netgpt.core.errors import NodeUnreachable, PortInUse, UsageError
from netgpt.core.transport import Call, Handler
from netgpt.network.link import Path, SharedLink
from netgpt.wire.memory_carrier import Carrier
from netgpt.wire.memory_ends import Accept, MemoryConnection, MemoryListener
from netgpt.wire.memory_exchange import Exchange, Route
from netgpt.wire.payload import Observer, Sent, no_observer

DETECTION_S = 3.0  # as long as gRPC's keepalive waits for an answer: see wire.grpc_transport
REFUSAL_S = 0.001  # a call to a node known to be gone fails after this, so that a retry loop moves time


class MemoryNetwork:
    """Nodes and the links between them.

    Args:
        clock: must be the running loop's, virtual or not.
        links: the path from one node to another, None if there is none. Asked at each call.
        detection_s: from a loss to its notice.
    """

    def __init__(self, clock: Clock, links: Callable[[str, str], Path | None], *, detection_s: float = DETECTION_S) -> None:
        self._clock = clock
        self._links = links
        self._detection_s = detection_s
        self._carrier = Carrier(clock)
        self._listeners: dict[str, Accept] = {}
        self._exchanges: dict[Exchange, None] = {}
        self._dead_since_s: dict[str, float] = {}

    @property
    def carried(self) -> dict[tuple[str, str, str], Sent]:
        """What each link was given to carry, by (link id, "up" or "down", method)."""
        return self._carrier.carried

    @property
    def in_flight(self) -> int:
        """Calls that one end or the other has not yet let go of."""
        return len(self._exchanges)

    def transport(self, node: str, *, observer: Observer = no_observer) -> MemoryTransport:
        """The transport as `node` sees it."""
        return MemoryTransport(self, node, observer)

    # ---- faults

    def cut(self, link: SharedLink) -> None:
        link.cut(self._clock.now_s())
        self._carrier.clear(link)
        self._break_off(lambda route: any(hop.link is link for hop in (*route.out, *route.back)))

    def heal(self, link: SharedLink) -> None:
        link.heal()

    def kill(self, node: str) -> None:
        """The machine dies: its listeners are gone and its work is cancelled at once. Others notice later."""
        self._dead_since_s.setdefault(node, self._clock.now_s())
        for address in [address for address in self._listeners if node_of(address) == node]:
            del self._listeners[address]
        for exchange in list(self._exchanges):
            if node_of(exchange.route.address) == node:
                exchange.stop()
        self._break_off(lambda route: node in (route.caller, node_of(route.address)))

    def revive(self, node: str) -> None:
        """The machine is back, with nothing running on it."""
        self._dead_since_s.pop(node, None)

    def _break_off(self, concerns: Callable[[Route], bool]) -> None:
        for exchange in list(self._exchanges):
            if not exchange.lost and concerns(exchange.route):
                exchange.break_off(self._detection_s)

    # ---- calls

    def open(self, caller: str, address: str, call: Call) -> Exchange:
        """Start a call; the exchange gives its replies."""
        target = node_of(address)
        out, back = self._path(caller, target), self._path(target, caller)
        route = Route(caller=caller, address=address, out=out or (), back=back or ())
        exchange = Exchange(route, call.method, self._carrier, self._settled)
        self._exchanges[exchange] = None
        if out is None or back is None:
            exchange.break_off(REFUSAL_S)
        elif (lost_at_s := self._lost_at_s(route)) is not None:
            exchange.break_off(max(lost_at_s + self._detection_s - self._clock.now_s(), REFUSAL_S))
        else:
            exchange.request(call.payload, lambda: self._arrived(exchange, call))
        return exchange

    def _path(self, source: str, target: str) -> Path | None:
        return () if source == target else self._links(source, target)

    def _lost_at_s(self, route: Route) -> float | None:
        """Since when the route has not carried anything; None if it is whole."""
        ends = [self._dead_since_s.get(node) for node in (route.caller, node_of(route.address))]
        times = [*ends, *(hop.link.cut_at_s for hop in (*route.out, *route.back))]
        return min((time_s for time_s in times if time_s is not None), default=None)

    def _arrived(self, exchange: Exchange, call: Call) -> None:
        accept = self._listeners.get(exchange.route.address)
        if accept is None:
            exchange.end(NodeUnreachable(f"nothing listens at {exchange.route.address}", hint="see which nodes run: netgpt ps"))
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

        def open_call(method: str, payload: bytes) -> Exchange:
            return self._network.open(self._node, address, Call(method=method, payload=payload, credential=credential))

        return MemoryConnection(address, open_call, self._observer)


def node_of(address: str) -> str:
    """The node that an address belongs to."""
    return address.partition(":")[0]
