"""UDP in mode `stream`: datagrams cross the links as what a medium may lose, and are dropped where a queue is full.

One port a way, as for connections. Answers find the sender that asked; of many senders the oldest is forgotten first.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from netgpt.core.errors import PortInUse
from netgpt.wire.shaper_pump import Pump
from netgpt.wire.shaper_stream import Way

HEADER_BYTES = 28  # IPv4 20, UDP 8
MOST_SENDERS = 256  # a way
_MOST_BYTES = 65_535
_AT_ONCE = 64  # read from one socket before the others have their turn


class _Datagram(NamedTuple):
    data: bytes
    out: Callable[[bytes], None]

    def arrive(self) -> None:
        self.out(self.data)


class DatagramShaper:
    """Relays datagrams for ways over a pump's network."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._relays: list[_Relay] = []

    def listen(self, way: Way) -> int:
        """Take datagrams for a way; returns the port.

        Raises:
            PortInUse: it is another process's.
        """
        relay = _Relay(self._pump, way)
        self._relays.append(relay)
        return relay.port

    def close(self) -> None:
        for relay in self._relays:
            relay.close()


class _Relay:
    """One way: a socket for its source, and one towards the target for each sender."""

    def __init__(self, pump: Pump, way: Way) -> None:
        self._loop = asyncio.get_running_loop()
        self._pump = pump
        self._way = way
        self._near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._near.setblocking(False)
        try:
            self._near.bind((way.host, way.port))
        except OSError as error:
            self._near.close()
            raise PortInUse(f"UDP port {way.port} on {way.host}: {error.strerror}", hint="start again: netgpt up") from error
        self.port = self._near.getsockname()[1]
        self._far: OrderedDict[tuple[str, int], socket.socket] = OrderedDict()
        self._loop.add_reader(self._near, self._from_source)

    def _from_source(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(_AT_ONCE):
                data, sender = self._near.recvfrom(_MOST_BYTES)
                self._offer(self._way.source, self._way.target, data, lambda data, sender=sender: self._to_target(sender, data))
        self._pump.run()

    def _to_target(self, sender: tuple[str, int], data: bytes) -> None:
        far = self._far.get(sender)
        if far is None:
            far = self._far[sender] = self._open(sender)
        self._far.move_to_end(sender)
        with contextlib.suppress(OSError):  # nobody there, or no room: a datagram has no other fate
            far.send(data)

    def _open(self, sender: tuple[str, int]) -> socket.socket:
        if len(self._far) >= MOST_SENDERS:
            self._forget(self._far.popitem(last=False)[1])
        far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        far.setblocking(False)
        far.connect(self._way.address)
        self._loop.add_reader(far, self._from_target, far, sender)
        return far

    def _from_target(self, far: socket.socket, sender: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):
            for _ in range(_AT_ONCE):
                self._offer(self._way.target, self._way.source, far.recv(_MOST_BYTES), lambda data: self._to_source(sender, data))
        self._pump.run()

    def _to_source(self, sender: tuple[str, int], data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._near.sendto(data, sender)

    def _offer(self, source: str, target: str, data: bytes, out: Callable[[bytes], None]) -> None:
        self._pump.offer(source, target, len(data) + HEADER_BYTES, _Datagram(data, out), flow=self._way.flow, reliable=False)

    def _forget(self, far: socket.socket) -> None:
        self._loop.remove_reader(far)
        far.close()

    def close(self) -> None:
        self._loop.remove_reader(self._near)
        self._near.close()
        for far in self._far.values():
            self._forget(far)
