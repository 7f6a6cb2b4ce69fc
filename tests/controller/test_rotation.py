"""The root of a network is replaced while its members go on trusting each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from netgpt.controller.authority import LEDGER, ROOTS, CertificateAuthority, ensure_authority
from netgpt.controller.gate import CertificateGate
from netgpt.controller.roots import parse_roots
from netgpt.controller.service import Controller
from netgpt.controller.state import ROOTS_CHANGED
from netgpt.core.clock import WallClock
from netgpt.core.errors import AuthenticationFailed, NodeUnreachable, StorageFailed, UsageError
from netgpt.core.storage import SimulatedStorage
from netgpt.core.transport import Call
from netgpt.node.call import ask
from netgpt.node.certification import certify
from netgpt.telemetry.events import EventLog
from netgpt.wire.grpc_tls import TlsEnd
from netgpt.wire.grpc_transport import GrpcTransport
from netgpt.wire.join_token import read_token, write_token
from netgpt.wire.messages import Empty, Leave
from netgpt.wire.own_identity import Identity, parse_identity

DAY_S = 86400.0


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    ensure_authority(tmp_path / "ca", WallClock().date_s)
    return CertificateAuthority(tmp_path / "ca", WallClock().date_s)


def all_renewed(authority: CertificateAuthority, *nodes: str) -> list[Identity]:
    return [authority.controller_identity(), *(authority.new_identity(node=node, tier="edge") for node in nodes)]


async def quiet(call: Call) -> AsyncGenerator[bytes, None]:
    yield b""


def trust_each_other(one: Identity, two: Identity) -> bool:
    """Whether each gets an answer from the other over TLS."""

    async def asks(caller: Identity, server: Identity) -> None:
        listener = await GrpcTransport(tls=TlsEnd(lambda: server)).listen("127.0.0.1:0", quiet)
        connection = GrpcTransport(tls=TlsEnd(lambda: caller)).connect(listener.address, peer=server.facts.peer.node)
        try:
            await ask(connection, "leave", Leave(node=""), Empty, deadline_s=20)
        finally:
            await connection.close()
            await listener.close()

    try:
        asyncio.run(asks(one, two))
        asyncio.run(asks(two, one))
    except NodeUnreachable:
        return False
    return True


def test_members_a_step_apart_trust_each_other_and_the_old_root_is_worth_nothing_in_the_end(authority: CertificateAuthority) -> None:
    held = [authority.new_identity(node="edge1", tier="edge")]
    for step in ("announced", "switched", "settled"):
        assert authority.rotate().step == step
        held.append(authority.new_identity(node="edge1", tier="edge"))
        assert trust_each_other(held[-2], held[-1]), step
    before, announced, switched, after = held
    assert not trust_each_other(before, switched)
    assert not trust_each_other(announced, after)
    assert [len(each.roots) for each in held] == [1, 2, 2, 1]
    assert before.facts.network == announced.facts.network != switched.facts.network == after.facts.network


def test_no_step_is_taken_before_everybody_has_heard_of_the_last_one(authority: CertificateAuthority) -> None:
    all_renewed(authority, "edge1", "edge2")
    authority.rotate()
    with pytest.raises(UsageError, match="waits for new certificates of 'controller', 'edge1', 'edge2'") as caught:
        authority.rotate()
    assert "netgpt certs renew" in caught.value.hint
    all_renewed(authority, "edge1")
    assert authority.behind() == ["edge2"]
    authority.revoke("edge2", "gone")
    assert authority.rotate().step == "switched"
    authority.join_token("edge3", "edge", valid_s=60)
    assert authority.behind() == ["controller", "edge1"], "a new token knows both roots"
    all_renewed(authority, "edge1")
    assert authority.rotate().step == "settled"


def test_a_step_is_seen_by_an_authority_of_another_process_and_its_file_is_its_owners(authority: CertificateAuthority, tmp_path: Path) -> None:
    other = CertificateAuthority(tmp_path / "ca", WallClock().date_s)
    old = other.roots.ids
    new = authority.rotate().ids
    assert (other.roots.ids, other.behind()) == (new, [])
    assert new[:1] == old
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "ca").iterdir()} == {0}
    all_renewed(other, "edge1")
    authority.rotate()
    stored = (tmp_path / "ca" / ROOTS).read_bytes()
    assert stored.count(b"PRIVATE KEY-----") == 2, "begin and end of one key: the old one is gone"
    assert b"PRIVATE" not in (tmp_path / "ca" / LEDGER).read_bytes()
    assert "PRIVATE" not in repr(authority.roots)


def test_a_damaged_file_of_roots_is_refused(authority: CertificateAuthority) -> None:
    pem = authority.rotate().pem()
    assert parse_roots(pem) == authority.roots
    for damaged in (b"", pem[:200], pem[pem.index(b"-----BEGIN CERTIFICATE", 10) :] * 3, pem.replace(b"PRIVATE", b"PUBLIC")[:900]):
        with pytest.raises(StorageFailed, match="file of roots is damaged"):
            parse_roots(damaged)


def test_a_token_and_an_identity_keep_both_roots(authority: CertificateAuthority) -> None:
    roots = authority.rotate()
    token = authority.join_token("edge1", "edge", valid_s=60)
    invited = read_token(token)
    assert (invited.roots, invited.root) == (roots.ids, roots.trusted)
    assert write_token(invited) == token
    assert parse_identity(invited.pem()).roots == roots.ids
    with pytest.raises(AuthenticationFailed, match="damaged or incomplete"):
        read_token(token[:-40])


def test_a_member_takes_new_roots_from_its_own_network_alone(authority: CertificateAuthority, tmp_path: Path) -> None:
    member = authority.new_identity(node="edge1", tier="edge")
    controller = Controller(EventLog(WallClock(), SimulatedStorage()), CertificateGate(authority), WallClock())
    server = authority.controller_identity()

    async def renewed(root: bytes) -> Identity:
        listener = await GrpcTransport(tls=TlsEnd(lambda: server)).listen("127.0.0.1:0", controller.handle)
        connection = GrpcTransport(tls=TlsEnd(lambda: member)).connect(listener.address, peer="controller")
        try:
            return await certify(connection, node="edge1", root=root)
        finally:
            await connection.close()
            await listener.close()

    roots = authority.rotate()
    assert asyncio.run(renewed(member.root)).roots == roots.ids
    ensure_authority(tmp_path / "other", WallClock().date_s)
    foreign = CertificateAuthority(tmp_path / "other", WallClock().date_s)
    with pytest.raises(AuthenticationFailed, match="root of another network"):
        asyncio.run(renewed(foreign.roots.trusted))


def test_the_controller_tells_members_of_a_step(authority: CertificateAuthority) -> None:
    controller = Controller(EventLog(WallClock(), SimulatedStorage()), CertificateGate(authority), WallClock())
    before = controller.snapshot()
    roots = authority.rotate()

    async def look() -> None:
        task = asyncio.ensure_future(controller.watch())
        await controller.wait_for_event(controller.events()[-1].index + 1)
        task.cancel()

    asyncio.run(look())
    assert controller.snapshot().roots == roots.ids != before.roots
    assert controller.snapshot().version > before.version
    assert controller.events()[-1].kind == ROOTS_CHANGED
