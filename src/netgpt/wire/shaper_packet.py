"""The link shaper's mode `packet`: IP packets between network namespaces, through TUN devices.

The reference: TCP is the kernel's own, end to end, with its slow start, losses and retransmissions. Each packet is
charged as it is, headers included, and dropped where a queue is full. TCP's packets a medium may not lose otherwise;
all others are datagrams to it, with a flow of their own: that much a network's packet filters can tell apart. Packets that are
not IPv4, or for no node, are dropped.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping

from netgpt.wire.shaper_pump import Pump

MOST_PACKET_BYTES = 65_535
AT_ONCE = 64  # read from one device before the others have their turn
_VERSION_4, _TCP = 4, 6


class _Carried:
    """One IP packet and the device of its target."""

    __slots__ = ("_data", "_device")

    def __init__(self, device: int, data: bytes) -> None:
        self._device, self._data = device, data

    def arrive(self) -> None:
        try:
            os.write(self._device, self._data)
        except (BlockingIOError, OSError):
            return  # the target's device is full or gone: the packet is, too


class PacketShaper:
    """Carries packets between devices over a network of links whose queues drop (`LinkNetwork(full="drop")`)."""

    def __init__(
        self, pump: Pump, devices: Mapping[str, int], addresses: Mapping[str, str], *, flow: str = "background", datagram_flow: str = "background"
    ) -> None:
        """Args:
        devices: non-blocking TUN handles by node; they stay their owner's.
        addresses: IPv4 addresses by node.
        flow: of TCP's packets.
        datagram_flow: of all others.
        """
        self._loop = asyncio.get_running_loop()
        self._pump = pump
        self._flow, self._datagram_flow = flow, datagram_flow
        self._devices = dict(devices)
        self._targets = {socket.inet_aton(address): (node, devices[node]) for node, address in addresses.items()}
        self.strays = 0  # packets for no node
        for node, device in self._devices.items():
            self._loop.add_reader(device, self._readable, node, device)

    def _readable(self, node: str, device: int) -> None:
        offer, targets = self._pump.offer, self._targets
        try:
            for _ in range(AT_ONCE):
                data = os.read(device, MOST_PACKET_BYTES)
                found = targets.get(data[16:20]) if data[0] >> 4 == _VERSION_4 else None
                if found is None:
                    self.strays += 1
                else:
                    reliable = data[9] == _TCP
                    flow = self._flow if reliable else self._datagram_flow
                    offer(node, found[0], len(data), _Carried(found[1], data), flow=flow, reliable=reliable)
        except BlockingIOError:
            pass
        self._pump.run()

    def close(self) -> None:
        for device in self._devices.values():
            self._loop.remove_reader(device)
