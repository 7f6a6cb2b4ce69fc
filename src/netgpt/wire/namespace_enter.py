"""Runs a command inside a node's network: `python -m netgpt.wire.namespace_enter KEEPER_PID HANDLE COMMAND...`.

The command replaces this process and has no capability that it did not have.
"""

from __future__ import annotations

import os
import sys

from netgpt.wire.tun import CLONE_NEWNET, CLONE_NEWUSER, set_namespace


def main(keeper: str, handle: str, *command: str) -> None:
    user = os.open(f"/proc/{keeper}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    network = os.open(f"/proc/{keeper}/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC)
    if not os.path.samestat(os.fstat(user), os.stat("/proc/self/ns/user")):
        set_namespace(user, CLONE_NEWUSER)
    set_namespace(network, CLONE_NEWNET)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
