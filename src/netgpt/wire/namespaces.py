"""A network namespace for each emulated node, with one TUN device that the link shaper reads and writes.

No administrator is needed where the kernel permits user namespaces. What needs a capability happens in a process of
its own, `wire.namespace_keeper`; it ends with this object, and with it what nobody uses any more.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from netgpt.core.errors import UsageError

PREFIX_BITS = 16
MTU = 1500
START_S, END_S = 20.0, 5.0
_HINT = (
    "shape without namespaces: netgpt up --links stream; or let this user make them: sysctl user.max_user_namespaces, "
    "kernel.apparmor_restrict_unprivileged_userns, and in a container --cap-add NET_ADMIN,SYS_ADMIN --device /dev/net/tun"
)


def node_address(number: int) -> str:
    """The address of the node with this number, from 0 up."""
    high, low = divmod(number + 1, 256)
    return f"10.77.{high}.{low}"


class Namespaces:
    """The networks of some nodes. Use it as a context manager, or close it."""

    def __init__(self) -> None:
        """Raises UsageError: this kernel, or whoever runs this, does not permit it."""
        self.tuns: dict[str, int] = {}
        self.addresses: dict[str, str] = {}
        self._networks: dict[str, tuple[int, int]] = {}  # pid of the keeper, and its handle
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            command = [sys.executable, "-m", "netgpt.wire.namespace_keeper", str(its.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL, start_new_session=True)
        self._keeper = ours
        self._keeper.settimeout(START_S)
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    def add(self, node: str, *, mtu: int = MTU) -> int:
        """Make a node's network. Returns the handle of its TUN device, which belongs to this object.

        Raises:
            UsageError: the device is not permitted.
        """
        address = node_address(len(self.tuns))
        told, handles = self._ask(what="node", node=node, address=address, prefix=PREFIX_BITS, mtu=mtu)
        self.tuns[node], self.addresses[node] = handles[0], address
        self._networks[node] = (told["pid"], told["network"])
        return handles[0]

    def socket(self, node: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket in a node's network."""
        return socket.socket(fileno=self._ask(what="socket", node=node, type=int(kind))[1][0])

    def networks(self) -> Mapping[str, tuple[int, int]]:
        """How others enter a node's network: the keeper's pid and its handle."""
        return self._networks

    def _ask(self, **request: object) -> tuple[dict[str, Any], list[int]]:
        self._keeper.send(json.dumps(request).encode())
        return self._answer()

    def _answer(self) -> tuple[dict[str, Any], list[int]]:
        try:
            text, handles, _, _ = socket.recv_fds(self._keeper, 4096, 1)
        except OSError as error:
            raise UsageError(f"no network namespaces: their keeper says nothing ({error})", hint=_HINT, param="links") from error
        for handle in handles:
            os.set_inheritable(handle, False)  # a child that kept a connection open would keep its end from being seen
        told = json.loads(text) if text else {"error": f"their keeper ended with status {self._process.wait()}"}
        if "error" in told:
            raise UsageError(f"network namespaces are not permitted here: {told['error']}", hint=_HINT, param="links")
        return told, handles

    def close(self) -> None:
        for handle in self.tuns.values():
            with contextlib.suppress(OSError):
                os.close(handle)
        self.tuns.clear()
        self._keeper.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def enter_command(keeper: int, handle: int) -> list[str]:
    """What goes before a command so that it runs in a node's network."""
    return [sys.executable, "-m", "netgpt.wire.namespace_enter", str(keeper), str(handle)]


def check_namespaces() -> None:
    """Make a namespace with a device, and let it go.

    Raises:
        UsageError: it is not permitted; the hint says what to do.
    """
    if sys.platform != "linux":
        raise UsageError(f"network namespaces are Linux's, and this is {sys.platform}", hint="shape without: netgpt up --links stream", param="links")
    with Namespaces() as networks:
        networks.add("probe")
