"""`netgpt up --tls on`: the emulated world as the deployed one speaks."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netgpt.core.errors import NodeUnreachable
from netgpt.models.generation import Load
from netgpt.node.call import ask
from netgpt.wire.grpc_transport import GrpcTransport
from netgpt.wire.messages import Stats
from netgpt.world.networkkey import network_key_file

from ..environment import clean_environment  # noqa: TID252 - all tests start programs in it

SMALL = """
name = "small"
default_node = "device1"
[[node]]
id = "cloud1"
tier = "cloud"
model = "netgpt-cloud"
profile = "cloud-server"
[[node]]
id = "device1"
tier = "device"
model = "netgpt-device"
profile = "phone"
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "small.toml").write_text(SMALL)
    netgpt(tmp_path, "up", str(tmp_path / "small.toml"), "--detach", "--port", "0", "--engine", "hash", "--tls", "on")
    yield tmp_path
    netgpt(tmp_path, "down")


def netgpt(home: Path, *words: str) -> str:
    clean = clean_environment()
    command = [sys.executable, "-m", "netgpt.cli.main", *words, "--home", str(home)]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_network_on_one_machine_speaks_tls_when_it_is_told_to(home: Path) -> None:
    assert netgpt(home, "ask", "--model", "netgpt-cloud", "--max-tokens", "4", "hello")
    engine = next(row["port"] for row in json.loads(netgpt(home, "ps", "--json")) if row["name"] == "cloud1-engine")

    async def in_plain_text() -> None:
        connection = GrpcTransport().connect(f"127.0.0.1:{engine}")
        try:
            await ask(connection, "stats", Stats(), Load, deadline_s=20)
        finally:
            await connection.close()

    with pytest.raises(NodeUnreachable):
        asyncio.run(in_plain_text())
    assert not network_key_file(home).exists(), "no secret is shared"
