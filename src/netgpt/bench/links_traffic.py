"""Traffic for measurements of links, from a process of its own: `python -m netgpt.bench.links_traffic WHAT HANDLE [...]`.

A process of its own so that it takes no time from the link shaper beside it. The socket HANDLE is inherited: it may
be one of a network that this process is not in. Clocks are the machine's one monotonic clock, so that the time on the
way is the receiver's minus the sender's. Results are one line of JSON on standard output.
"""

from __future__ import annotations

import contextlib
import json
import math
import socket
import sys
import time

RECORD_BYTES = 64
READ_BYTES = 1 << 20


def delays(listener: socket.socket) -> list[float]:
    """Take one connection of stamped records; the milliseconds that each was on the way."""
    connection, _ = listener.accept()
    found = []
    with connection, connection.makefile("rb", buffering=RECORD_BYTES) as records:
        while record := records.read(RECORD_BYTES):
            found.append((time.monotonic_ns() - int(record)) / 1e6)
    return found


def stamps(caller: socket.socket, host: str, port: str, count: str, interval_s: str) -> None:
    """Send stamped records."""
    caller.connect((host, int(port)))
    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(int(count)):
        caller.sendall(str(time.monotonic_ns()).ljust(RECORD_BYTES).encode())
        time.sleep(float(interval_s))


def sink(listener: socket.socket, most_s: str = "inf") -> dict[str, float]:
    """Read one connection to its end, or for so long: bytes, and seconds from the first to the last of them."""
    connection, _ = listener.accept()
    buffer, count, begin_s, end_s = bytearray(READ_BYTES), 0, 0.0, 0.0
    until_s = time.monotonic() + float(most_s)
    with connection, contextlib.suppress(TimeoutError):
        while (left_s := until_s - time.monotonic()) > 0:
            connection.settimeout(None if left_s == math.inf else left_s)
            read = connection.recv_into(buffer)
            if not read:
                break
            end_s = time.monotonic()
            begin_s = begin_s or end_s
            count += read
    return {"bytes": count, "seconds": end_s - begin_s}


def send(caller: socket.socket, host: str, port: str, seconds: str) -> None:
    """Send as fast as the connection takes it."""
    caller.connect((host, int(port)))
    block, end_s = bytes(READ_BYTES), time.monotonic() + float(seconds)
    caller.settimeout(float(seconds))
    with contextlib.suppress(TimeoutError, ConnectionError):  # the receiver may have read enough
        while time.monotonic() < end_s:
            caller.send(block)


def flood(caller: socket.socket, host: str, port: str, seconds: str, rate_bps: str, size_bytes: str) -> None:
    """Send datagrams at a rate, whatever becomes of them."""
    caller.connect((host, int(port)))
    block, begin_s, count = bytes(int(size_bytes)), time.monotonic(), 0
    while (passed_s := time.monotonic() - begin_s) < float(seconds):
        while 8 * count * len(block) < float(rate_bps) * passed_s:
            count += 1
            with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                caller.send(block)
        time.sleep(0.001)


PROGRAMS = {"delays": delays, "stamps": stamps, "sink": sink, "send": send, "flood": flood}


def main(what: str, handle: str, *rest: str) -> int:
    with socket.socket(fileno=int(handle)) as given:
        given.setblocking(True)
        json.dump(PROGRAMS[what](given, *rest), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
