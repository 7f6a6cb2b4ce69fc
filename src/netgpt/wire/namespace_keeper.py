"""Holds the network namespaces of emulated nodes: `python -m netgpt.wire.namespace_keeper HANDLE`.

A process of its own, since only a process with one thread may enter a user namespace, and so that nothing else of
NetGPT has any capability. It takes requests over the socket HANDLE, one a message, and answers with handles: TUN
devices and sockets keep to the network in which they were made, whoever uses them. It ends when the socket closes.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any

from netgpt.wire.tun import CLONE_NEWNET, new_namespaces, open_tun, set_namespace, unshare

MOST_REQUEST_BYTES = 4096


class Keeper:
    """The namespaces by node, as open handles."""

    def __init__(self) -> None:
        new_namespaces()
        self._networks: dict[str, int] = {}

    def answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        """What a request comes to, and the handles that go with it."""
        if request["what"] == "node":
            return self._node(request)
        set_namespace(self._networks[request["node"]], CLONE_NEWNET)
        made = socket.socket(socket.AF_INET, request["type"])
        return {}, [made.detach()]

    def _node(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        unshare(CLONE_NEWNET)
        tun = open_tun(request["address"], request["prefix"], request["mtu"])
        network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._networks[request["node"]] = network
        return {"pid": os.getpid(), "network": network}, [tun]


def main(handle: int) -> int:
    with socket.socket(fileno=handle) as peer:
        try:
            keeper = Keeper()
        except OSError as error:
            _send(peer, {"error": str(error)}, [])
            return 1
        _send(peer, {"ready": True}, [])
        while text := peer.recv(MOST_REQUEST_BYTES):
            try:
                answer, handles = keeper.answer(json.loads(text))
            except OSError as error:
                answer, handles = {"error": str(error)}, []
            _send(peer, answer, handles)
            for each in handles:
                os.close(each)
    return 0


def _send(peer: socket.socket, answer: dict[str, Any], handles: list[int]) -> None:
    socket.send_fds(peer, [json.dumps(answer).encode()], handles)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
