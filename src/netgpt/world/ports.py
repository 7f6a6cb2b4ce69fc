"""Ports of this machine: which are free, and choosing some."""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Sequence
from contextlib import ExitStack

from netgpt.core.errors import PortInUse, UsageError
from netgpt.world.config import LOOPBACK

NEVER_OUTGOING = range(20_000, 32_768)  # below those that Linux, macOS and Windows give to outgoing connections


def free_ports(count: int, host: str = LOOPBACK) -> list[int]:
    """Ports of `host` that are free now, all different.

    Raises:
        UsageError: `host` is no address of this machine.
    """
    with ExitStack() as stack:
        try:
            return [bind_free(stack.enter_context(socket.socket(family_of(host))), host) for _ in range(count)]
        except OSError as error:
            raise UsageError(f"cannot listen on {host}: {error.strerror}", hint="use an address of this machine", param="host") from error


def bind_free(unbound: socket.socket, host: str) -> int:
    """The port it got: one that no outgoing connection is given, since such a one would come between this and its use."""
    first = secrets.randbelow(len(NEVER_OUTGOING))  # two that choose at once shall not meet
    for port in (*NEVER_OUTGOING[first:], *NEVER_OUTGOING[:first]):
        try:
            unbound.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return port
    unbound.bind((host, 0))
    return int(unbound.getsockname()[1])


def family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def is_port_free(port: int, host: str = LOOPBACK) -> bool:
    with socket.socket(family_of(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE  # an address that cannot be used is for its door to name
    return True


def check_ports(ports: Sequence[int], host: str = LOOPBACK) -> None:
    """Refuse a plan of which a port is taken.

    Raises:
        PortInUse: names the port.
    """
    for port in ports:
        if port > 65535:
            raise PortInUse(f"port {port} does not exist: the last is 65535", hint="choose a lower first port: netgpt up --port N", param="port")
        if not is_port_free(port, host):
            hint = f"see who holds it: ss -ltnp 'sport = :{port}'; or choose another first port: netgpt up --port N"
            raise PortInUse(f"port {port} is in use by another process", hint=hint, param="port")
