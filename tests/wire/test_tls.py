"""Mutual TLS on real sockets: who is refused, and how certificates are replaced under live connections."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from netgpt.core.errors import AuthenticationFailed, CertificateRevoked, NodeUnreachable, UsageError
from netgpt.core.transport import Call
from netgpt.wire.certificates import SKEW_S
from netgpt.wire.grpc_tls import TlsEnd
from netgpt.wire.grpc_transport import GrpcTransport
from netgpt.wire.identity import certified_peer
from netgpt.wire.own_identity import Identity, IdentityFile

from .worlds import SmallNetwork, Worker, replies

Caller = Callable[[str], Awaitable[list[bytes]]]


async def who(call: Call) -> AsyncGenerator[bytes, None]:
    """Says whom it sees."""
    assert call.peer is not None
    yield f"{call.peer.node} {call.peer.tier} {call.peer.role}".encode()


def answered(server: Identity, transport: GrpcTransport, *, peer: str = "edge1") -> list[bytes]:
    """What a caller gets from a listener with the identity `server`."""

    async def story() -> list[bytes]:
        listener = await GrpcTransport(tls=TlsEnd(lambda: server)).listen("127.0.0.1:0", who)
        connection = transport.connect(listener.address, peer=peer)
        try:
            return await replies(connection, "hello", deadline_s=20)
        finally:
            await connection.close()
            await listener.close()

    return asyncio.run(story())


def end(identity: Identity) -> GrpcTransport:
    return GrpcTransport(tls=TlsEnd(lambda: identity))


def test_a_caller_is_who_its_certificate_says() -> None:
    network = SmallNetwork()
    assert answered(network.identity("edge1"), end(network.identity("phone", tier="device"))) == [b"phone device node"]


def test_a_caller_of_another_network_is_refused() -> None:
    ours, theirs = SmallNetwork(), SmallNetwork()
    stranger = theirs.identity("phone")
    with pytest.raises(NodeUnreachable, match="no certificate of this network") as caught:
        answered(ours.identity("edge1"), end(stranger))
    assert "netgpt certs show" in caught.value.hint
    misled = Identity(key=stranger.key, certificate=stranger.certificate, root=theirs.root)
    object.__setattr__(misled, "root", ours.root)  # it believes us; we do not believe it
    with pytest.raises(NodeUnreachable, match="may not accept this node's certificate"):
        answered(ours.identity("edge1"), end(misled))


def test_a_plain_text_caller_is_refused() -> None:
    with pytest.raises(NodeUnreachable):
        answered(SmallNetwork().identity("edge1"), GrpcTransport())


def test_a_node_that_answers_under_another_name_is_refused() -> None:
    network = SmallNetwork()
    with pytest.raises(NodeUnreachable, match="is not 'edge2'"):
        answered(network.identity("edge1"), end(network.identity("phone")), peer="edge2")
    with pytest.raises(UsageError, match="needs the name"):
        network.transport("phone").connect("127.0.0.1:1")


def test_a_token_cannot_pose_as_a_server() -> None:
    network = SmallNetwork()
    with pytest.raises(NodeUnreachable):
        answered(network.identity("edge1", role="join"), end(network.identity("phone")))


def test_an_expired_certificate_is_refused_and_its_owner_knows_why() -> None:
    network = SmallNetwork()
    expired = network.identity("phone", made_s=-7200, life_s=3600)
    with pytest.raises(NodeUnreachable):
        answered(network.identity("edge1"), end(expired))
    with pytest.raises(AuthenticationFailed, match=r"expired 1\.0 h ago") as caught:
        expired.check_valid(expired.facts.ends_s + 3600)
    assert "--join" in caught.value.hint


@pytest.mark.parametrize(("ahead_s", "accepted"), [(SKEW_S - 60, True), (SKEW_S + 60, False)])
def test_clocks_may_differ_by_five_minutes(ahead_s: float, accepted: bool) -> None:
    network = SmallNetwork()
    fresh = network.identity("phone", made_s=ahead_s)  # as made by a controller whose clock is ahead
    if accepted:
        assert answered(network.identity("edge1"), end(fresh))
        return
    with pytest.raises(NodeUnreachable):
        answered(network.identity("edge1"), end(fresh))
    with pytest.raises(AuthenticationFailed, match="begins only in") as caught:
        fresh.check_valid(fresh.facts.begins_s - 60)
    assert "clock" in caught.value.hint


def test_a_revoked_certificate_and_a_token_are_no_members() -> None:
    network = SmallNetwork()
    phone, token = network.identity("phone").facts.peer, network.identity("phone", role="join").facts.peer
    call = Call(method="generate", payload=b"", peer=phone)
    assert certified_peer(call, frozenset()) == phone
    with pytest.raises(CertificateRevoked, match="'phone' was revoked") as caught:
        certified_peer(call, {phone.serial})
    assert "join-token create" in caught.value.hint
    with pytest.raises(AuthenticationFailed, match="joining alone"):
        certified_peer(Call(method="generate", payload=b"", peer=token), frozenset())
    with pytest.raises(AuthenticationFailed, match="no certificate"):
        certified_peer(Call(method="generate", payload=b"", credential="ngc1.x"), frozenset())


def test_renewed_certificates_are_taken_up_while_a_call_goes_on(tmp_path: Path) -> None:
    network = SmallNetwork()
    server, caller = IdentityFile(tmp_path / "edge1.pem"), IdentityFile(tmp_path / "phone.pem")
    server.write(network.identity("edge1"))
    caller.write(network.identity("phone"))
    seen: list[str] = []

    async def story() -> None:
        worker = Worker(pause_s=0.001)

        async def handler(call: Call) -> AsyncGenerator[bytes, None]:
            assert call.peer is not None
            seen.append(call.peer.serial)
            async for reply in worker(call):
                yield reply

        listener = await GrpcTransport(tls=TlsEnd(server.read)).listen("127.0.0.1:0", handler)
        connection = GrpcTransport(tls=TlsEnd(caller.read)).connect(listener.address, peer="edge1")
        old = connection.call("generate", b"", deadline_s=60)
        assert await anext(old) == b"1"
        server.write(network.identity("edge1"))
        caller.write(network.identity("phone"))
        new = connection.call("generate", b"", deadline_s=60)
        await anext(new)
        assert await anext(old)
        assert len(set(seen)) == 2, "the new call shows the new certificate"
        await old.aclose()
        assert await anext(new)
        await new.aclose()
        await connection.close()
        await listener.close()

    asyncio.run(story())


def test_a_listener_shows_its_renewed_certificate_at_the_next_handshake() -> None:
    network = SmallNetwork()
    now = network.identity("edge1", role="join")  # a certificate that no caller accepts of a server

    async def story() -> None:
        nonlocal now
        listener = await GrpcTransport(tls=TlsEnd(lambda: now)).listen("127.0.0.1:0", who)
        first, second = (network.transport("phone").connect(listener.address, peer="edge1") for _ in range(2))
        with pytest.raises(NodeUnreachable):
            await replies(first, "hello")
        now = network.identity("edge1")
        assert await replies(second, "hello", deadline_s=20)
        await first.close()
        await second.close()
        await listener.close()

    asyncio.run(story())


def test_an_identity_file_is_its_owners_alone_and_gives_the_same_object_until_it_changes(tmp_path: Path) -> None:
    network = SmallNetwork()
    file = IdentityFile(tmp_path / "identity" / "edge1.pem")
    with pytest.raises(AuthenticationFailed, match="no certificate in"):
        file.read()
    file.write(network.identity("edge1"))
    assert stat.S_IMODE((tmp_path / "identity" / "edge1.pem").stat().st_mode) == 0o600
    first = file.read()
    assert file.read() is first
    file.write(network.identity("edge1"))
    assert file.read() is not first
    assert "PRIVATE" not in repr(first)


def test_parts_that_do_not_belong_together_are_refused() -> None:
    ours, theirs = SmallNetwork().identity("edge1"), SmallNetwork().identity("edge1")
    with pytest.raises(AuthenticationFailed, match="not signed by this network's root"):
        Identity(key=ours.key, certificate=ours.certificate, root=theirs.root)
    with pytest.raises(AuthenticationFailed, match="not of the key"):
        Identity(key=theirs.key, certificate=ours.certificate, root=ours.root)
