"""The link shaper's mode `stream`: TCP connections between nodes go through this process, at the links' pace.

Needs no privilege. Each way from a node to an address of another node is a port here. What comes in is cut into
segments; each is charged to the links with the headers that TCP would send, waits and travels there, and only then
comes out. A segment that finds the first queue full is not read: that holds its sender back. What one connection may
have under way is one bandwidth-delay product and 64 KiB, as is each socket buffer. Handshake, acknowledgements and
ends travel and are charged too, so a connection takes a round trip to come about and ends at the other end later.

What it does not imitate: TCP's slow start and losses. That is what mode `packet` is for.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from netgpt.core.errors import NetgptError, PortInUse
from netgpt.wire.segments import HEADER_BYTES, SEGMENT_BYTES, charged_bytes, segments
from netgpt.wire.shaper_pump import Pump

HANDSHAKE_BYTES = 60  # of a SYN: IPv4 20, TCP 20, options 20
RESET_BYTES = 40
SEGMENTS_AN_ACK = 2  # RFC 1122 4.2.3.2
SLACK_BYTES = 64 * 1024  # beyond the bandwidth-delay product
MOST_WINDOW_BYTES = 4 << 20
CHUNK_S = 0.0005  # what is read at once takes this long to send, or is one segment
MOST_CHUNK_BYTES = 181 * SEGMENT_BYTES  # 256 KiB
MOST_CONNECTIONS = 4096
BACKLOG = 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset

Kind = Literal["data", "syn", "syn-ack", "ack", "fin", "reset"]


@dataclass(frozen=True, kw_only=True)
class Way:
    """How processes of one node reach one address of another."""

    source: str
    target: str
    address: tuple[str, int]  # where the target listens
    host: str = "127.0.0.1"
    port: int = 0  # where the source finds it here; 0: any free one
    flow: str = "background"

    @property
    def name(self) -> str:
        return f"{self.source}>{self.target}"


def window_bytes(rate_bps: float, round_trip_s: float) -> int:
    """What one connection may have under way, and the size of its socket buffers."""
    product = rate_bps * round_trip_s / 8 if rate_bps < math.inf else MOST_WINDOW_BYTES
    return int(min(product + SLACK_BYTES, MOST_WINDOW_BYTES))


def chunk_bytes(rate_bps: float) -> int:
    """What is read at once: whole segments."""
    whole = rate_bps * CHUNK_S / (8 * (SEGMENT_BYTES + HEADER_BYTES)) if rate_bps < math.inf else math.inf
    return int(max(1, min(whole, MOST_CHUNK_BYTES // SEGMENT_BYTES))) * SEGMENT_BYTES


class _Item(NamedTuple):
    """What travels: a piece of one half of a connection."""

    half: _Half
    kind: Kind
    data: bytes
    size_bytes: int
    number: int = -1  # of what must come out in order

    def arrive(self) -> None:
        if self.kind != "ack":
            self.half.pair.arrive(self)


class _Half:
    """One direction of a connection: read at `inlet`, carried, written at `outlet`."""

    def __init__(self, pair: _Pair, source: str, target: str) -> None:
        self.pair, self.source, self.target = pair, source, target
        self.inlet: socket.socket | None = None
        self.outlet: socket.socket | None = None
        self.other: _Half = self
        self.refused: _Item | None = None  # found the queue full, and waits for room
        self.under_way = 0  # bytes read and not written
        self.out: deque[memoryview] = deque()
        self.out_bytes = 0
        self.reading = self.writing = False
        self.read_all = self.fin_came = self.shut = False
        self.unacknowledged = 0  # segments
        self.sent = self.come = 0  # pieces that must come out in order
        self.early: dict[int, _Item] = {}  # those that have overtaken others, where routes have changed

    # ---- in

    def resume(self) -> None:
        """Read, if there is something to read and room for it."""
        if self.inlet is None or not self.pair.is_open:
            return
        may = not self.read_all and self.refused is None and self.room >= SEGMENT_BYTES
        if may and not self.reading:
            self.reading = True
            self.pair.shaper.loop.add_reader(self.inlet, self.readable)
        elif self.reading and not may:
            self.pause()

    def pause(self) -> None:
        if self.reading and self.inlet is not None:
            self.pair.shaper.loop.remove_reader(self.inlet)
        self.reading = False

    @property
    def room(self) -> int:
        return self.window - self.under_way

    @property
    def window(self) -> int:
        network = self.pair.shaper.network
        return window_bytes(network.rate_bps(self.source, self.target), network.round_trip_s(self.source, self.target))

    def readable(self) -> None:
        assert self.inlet is not None
        limit = min(self.room, chunk_bytes(self.pair.shaper.network.rate_bps(self.source, self.target)))
        try:
            data = self.inlet.recv(limit)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.pair.broke_at(self.inlet)
            return
        if data:
            self.under_way += len(data)
            self.send("data", data, charged_bytes(len(data)))
        else:
            self.read_all = True
            self.send("fin", b"", HEADER_BYTES)
        self.resume()
        self.pair.shaper.pump.run()

    def send(self, kind: Kind, data: bytes, size_bytes: int) -> None:
        item = _Item(self, kind, data, size_bytes)
        if kind in ("data", "fin"):
            item = item._replace(number=self.sent)
            self.sent += 1
        if self.refused is not None or not self.pair.shaper.offer(item):
            self._wait(item)

    def _wait(self, item: _Item) -> None:
        """Keep what found the queue full; an acknowledgement is not worth it, and a reset comes after nothing."""
        if item.kind == "ack":
            return
        if self.refused is None or item.kind == "reset":
            self.refused = item
            self.pair.shaper.wait(self, first=self.under_way <= len(item.data))

    def retry(self) -> bool:
        """Offer again what was refused; False if there is still no room."""
        if self.refused is None or not self.pair.is_open:
            return True
        if not self.pair.shaper.offer(self.refused):
            return False
        self.refused = None
        self.resume()
        return True

    # ---- out

    def arrive(self, item: _Item) -> None:
        """Take what has come through at the other end, when all before it has."""
        self.early[item.number] = item
        while (due := self.early.pop(self.come, None)) is not None:
            self.come += 1
            self._take(due)

    def _take(self, item: _Item) -> None:
        if item.kind == "data":
            self.out.append(memoryview(item.data))
            self.out_bytes += len(item.data)
            self._acknowledge(segments(len(item.data)))
            if not self.writing:
                self.flush()
        elif item.kind == "fin":
            self.fin_came = True
            self.flush()

    def _acknowledge(self, count: int) -> None:
        """Acknowledgements of what came travel the other way."""
        self.unacknowledged += count
        acks, self.unacknowledged = divmod(self.unacknowledged, SEGMENTS_AN_ACK)
        if acks:
            self.other.send("ack", b"", acks * HEADER_BYTES)

    def flush(self) -> None:
        """Write what came, as far as the socket takes it."""
        if self.outlet is None:
            return
        while self.out:
            try:
                written = self.outlet.send(self.out[0])
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self.pair.broke_at(self.outlet)
                return
            self.under_way -= written
            self.out_bytes -= written
            if written == len(self.out[0]):
                self.out.popleft()
            else:
                self.out[0] = self.out[0][written:]
        self._watch_writable()
        if self.fin_came and not self.out and not self.shut:
            self.shut = True
            with contextlib.suppress(OSError):
                self.outlet.shutdown(socket.SHUT_WR)
            self.pair.half_ended()
        else:
            self.resume()

    def _watch_writable(self) -> None:
        if bool(self.out) != self.writing and self.outlet is not None:
            self.writing = not self.writing
            if self.writing:
                self.pair.shaper.loop.add_writer(self.outlet, self.flush)
            else:
                self.pair.shaper.loop.remove_writer(self.outlet)

    def let_go(self) -> None:
        self.pause()
        if self.writing and self.outlet is not None:
            self.pair.shaper.loop.remove_writer(self.outlet)
        self.writing = False
        self.refused = None
        self.out.clear()
        self.early.clear()
        self.under_way = self.out_bytes = 0


class _Pair:
    """A connection: one socket to the source, one to the target, and two halves between them."""

    def __init__(self, shaper: StreamShaper, way: Way, near: socket.socket) -> None:
        self.shaper, self.way, self.near = shaper, way, near
        self.far: socket.socket | None = None
        self.is_open = True
        self.there, self.back = _Half(self, way.source, way.target), _Half(self, way.target, way.source)
        self.there.other, self.back.other = self.back, self.there
        self.back.outlet = near
        self.broken: set[socket.socket] = set()

    def begin(self) -> None:
        """The source has connected here: its SYN goes to the target."""
        tune(self.near, self.there.window)
        self.there.send("syn", b"", HANDSHAKE_BYTES)

    def arrive(self, item: _Item) -> None:
        if not self.is_open:
            return
        if item.kind == "syn":
            self._connect()
        elif item.kind == "syn-ack":
            self.there.inlet = self.near
            self.there.resume()  # the ACK that ends the handshake goes with the first data
        elif item.kind == "reset":
            self._end(reset=True)
        else:
            item.half.arrive(item)

    def _connect(self) -> None:
        try:
            far = self.shaper.open_socket(self.way)
            far.setblocking(False)
            tune(far, self.there.window)
            failed = far.connect_ex(self.way.address)
        except (OSError, NetgptError):
            self._refuse()
            return
        self.far = far
        if failed == errno.EINPROGRESS:
            self.shaper.loop.add_writer(far, self._connected)
        elif failed:
            self._refuse()
        else:
            self._established()

    def _connected(self) -> None:
        assert self.far is not None
        self.shaper.loop.remove_writer(self.far)
        if self.far.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._refuse()
        else:
            self._established()
        self.shaper.pump.run()

    def _established(self) -> None:
        self.there.outlet = self.back.inlet = self.far
        self.back.send("syn-ack", b"", HANDSHAKE_BYTES)
        self.back.resume()

    def _refuse(self) -> None:
        """Nothing listens there: the source hears of it a journey later."""
        self.back.send("reset", b"", RESET_BYTES)

    def broke_at(self, end: socket.socket) -> None:
        """A socket failed: its peer is gone, and the other side hears of it a journey later."""
        if end in self.broken:
            return
        self.broken.add(end)
        half = self.there if end is self.near else self.back
        for each in (half, half.other):
            each.pause()
            each.read_all = True
        half.other.out.clear()
        half.other.out_bytes = 0
        half.other._watch_writable()
        half.send("reset", b"", RESET_BYTES)
        self.shaper.pump.run()

    def half_ended(self) -> None:
        if self.there.shut and self.back.shut:
            self._end(reset=False)

    def _end(self, *, reset: bool) -> None:
        """Close both sockets; with a reset if the other side did not end properly."""
        if not self.is_open:
            return
        self.there.let_go()
        self.back.let_go()
        self.is_open = False
        self.shaper.pairs.pop(self, None)
        for each in (self.near, self.far):
            if each is not None:
                self.shaper.loop.remove_writer(each)
                if reset:
                    with contextlib.suppress(OSError):
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                each.close()

    def close(self) -> None:
        self._end(reset=True)


class StreamShaper:
    """Serves ways over a network of links whose queues hold (`LinkNetwork(full="hold")`)."""

    def __init__(self, pump: Pump, *, open_socket: Callable[[Way], socket.socket] | None = None) -> None:
        """Args:
        open_socket: makes the socket with which a way's target is called; a plain one if it is left out.
        """
        self.loop = asyncio.get_running_loop()
        self.pump = pump
        self.network = pump.network
        self.open_socket = open_socket or (lambda way: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        pump.afterwards.append(self._retry)
        self.pairs: dict[_Pair, None] = {}
        self._listeners: list[socket.socket] = []
        self._waiting: deque[_Half] = deque()

    def listen(self, way: Way) -> int:
        """Accept a way's connections; returns the port.

        Raises:
            PortInUse: it is another process's.
        """
        return self.serve(way, listening_socket(way))

    def serve(self, way: Way, listener: socket.socket) -> int:
        """Accept a way's connections at a socket that listens; returns its port."""
        self._listeners.append(listener)
        self.loop.add_reader(listener, self._accept, listener, way)
        return listener.getsockname()[1]

    def _accept(self, listener: socket.socket, way: Way) -> None:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        near.setblocking(False)
        if self.network.route(way.source, way.target) is None or len(self.pairs) >= MOST_CONNECTIONS:
            near.close()
            return
        pair = _Pair(self, way, near)
        self.pairs[pair] = None
        pair.begin()
        self.pump.run()

    def offer(self, item: _Item) -> bool:
        half = item.half
        return self.pump.offer(half.source, half.target, item.size_bytes, item, flow=half.pair.way.flow)

    def wait(self, half: _Half, *, first: bool) -> None:
        """Let a half try again when there is room: those with nothing under way first, so that the small are not held up by the big."""
        (self._waiting.appendleft if first else self._waiting.append)(half)

    def _retry(self) -> None:
        """In turn, offer what was refused; a full queue holds up only those who share it."""
        full: set[tuple[str, str]] = set()
        still: list[_Half] = []
        for _ in range(len(self._waiting)):
            half = self._waiting.popleft()
            way = (half.source, half.target)
            if way in full or not half.retry():
                full.add(way)
                still.append(half)
        self._waiting.extendleft(reversed(still))
        for source, target in full:
            route = self.network.route(source, target)
            if route:
                self.pump.wake(self.pump.clock.now_s() + self.network.retry_after_s(route[0]))

    @property
    def own_bytes(self) -> int:
        """Payload in this process that no link has: refused for now, or not taken by its receiver yet."""
        halves = [half for pair in self.pairs for half in (pair.there, pair.back)]
        return sum(half.out_bytes + (len(half.refused.data) if half.refused else 0) for half in halves)

    def close(self) -> None:
        """Stop listening and break off every connection."""
        for listener in self._listeners:
            self.loop.remove_reader(listener)
            listener.close()
        for pair in list(self.pairs):
            pair.close()
        self.pump.afterwards.remove(self._retry)


def listening_socket(way: Way) -> socket.socket:
    """A socket that listens for a way, with segments as large as a link's and small buffers.

    Raises:
        PortInUse: another process holds the port.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in way.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLACK_BYTES)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)  # else the sender's own buffer holds megabytes
        listener.bind((way.host, way.port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(f"port {way.port} on {way.host} is held by another process", hint="see whose it is: netgpt ps") from error
        raise
    return listener


def tune(connection: socket.socket, window: int) -> None:
    """Bound a socket's buffers: the kernel takes twice the given size and counts its own overhead in it."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window // 2)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, window // 2)
