"""Choosing ports of this machine."""

from __future__ import annotations

import socket

import pytest

from netgpt.core.errors import PortInUse, UsageError
from netgpt.world.ports import NEVER_OUTGOING, check_ports, free_ports


def test_a_free_port_is_none_that_an_outgoing_connection_may_take_before_its_door_does() -> None:
    assert all(port in NEVER_OUTGOING for port in free_ports(20))


def test_where_each_of_those_is_taken_any_other_is_had(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        monkeypatch.setattr("netgpt.world.ports.NEVER_OUTGOING", [taken])
        assert free_ports(1)[0] != taken


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1"):
        free_ports(1, "192.0.2.1")


def test_a_port_beyond_the_last_is_refused() -> None:
    with pytest.raises(PortInUse, match="65536"):
        check_ports([65536])
