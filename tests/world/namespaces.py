"""Machines made of Linux network namespaces: each has an address of its own, and a wire to one switch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from ..environment import clean_environment  # noqa: TID252 - all tests start programs in it

NETWORK = "10.77.0"


class Machine:
    """One namespace."""

    def __init__(self, namespace: str, address: str) -> None:
        self.namespace = namespace
        self.address = address

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Start a program there. It sees no setting of the test's own environment."""
        clean = clean_environment()
        return subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *command],
            env=clean | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def netgpt(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        return self.start(sys.executable, "-m", "netgpt.cli.main", *words, **environment)

    def python(self, program: str, *words: str) -> subprocess.Popen[str]:
        return self.start(sys.executable, "-c", program, *words)


@contextmanager
def machines(names: Sequence[str]) -> Iterator[dict[str, Machine]]:
    """Machines on one wire, gone afterwards. Skips the test where the kernel does not let us make them."""
    if shutil.which("ip") is None:
        pytest.skip("there is no command `ip`")
    prefix = f"ngt{os.getpid()}"
    switch = f"{prefix}-net"
    with ExitStack() as stack:
        try:
            _add_namespace(stack, switch)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces need CAP_NET_ADMIN and CAP_SYS_ADMIN: {error.stderr.strip()}")
        _ip("-n", switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", switch, "link", "set", "switch", "up")
        made = {}
        for number, name in enumerate(names, start=1):
            machine = Machine(f"{prefix}-{name}", f"{NETWORK}.{number}")
            _add_namespace(stack, machine.namespace)
            _ip("-n", switch, "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", machine.namespace)
            _ip("-n", switch, "link", "set", f"port{number}", "master", "switch", "up")
            _ip("-n", machine.namespace, "addr", "add", f"{machine.address}/24", "dev", "eth0")
            _ip("-n", machine.namespace, "link", "set", "eth0", "up")
            made[name] = machine
        yield made


def _add_namespace(stack: ExitStack, name: str) -> None:
    _ip("netns", "add", name)
    stack.callback(_ip, "netns", "del", name)
    _ip("-n", name, "link", "set", "lo", "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=30)
