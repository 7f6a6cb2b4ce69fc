"""The authority and the controller that signs with it: tokens, requests, renewals, revocations."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from netgpt.controller.authority import LEDGER, ROOTS, CertificateAuthority, ensure_authority
from netgpt.controller.gate import CertificateGate
from netgpt.controller.ledger import fold_lines
from netgpt.controller.service import Controller
from netgpt.core.clock import WallClock
from netgpt.core.errors import AuthenticationFailed, CertificateRevoked, NotSupported, StorageFailed, UsageError
from netgpt.core.storage import SimulatedStorage
from netgpt.core.transport import Call, Peer
from netgpt.network.member import Member, Tier
from netgpt.telemetry.events import EventLog
from netgpt.wire.certificates import new_key, new_request, read_certificate
from netgpt.wire.codec import decode, encode
from netgpt.wire.join_token import check_token, read_token
from netgpt.wire.messages import PROTOCOL_VERSION, Beat, Certified, Certify, Heartbeat, Join, Joined, Leave
from netgpt.wire.own_identity import Identity

HOUR_S = 3600.0


class Site:
    """A controller with its authority in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.date_s = WallClock().date_s()
        ensure_authority(folder, lambda: self.date_s)
        self.authority = CertificateAuthority(folder, lambda: self.date_s)
        self.storage = SimulatedStorage()
        self.start()

    def start(self) -> None:
        """Also again: only what is stored is left."""
        self.controller = Controller(EventLog(WallClock(), self.storage), CertificateGate(self.authority), WallClock())

    def call(self, method: str, message: object, peer: Peer | None) -> bytes:
        async def first() -> bytes:
            async with aclosing(self.controller.handle(Call(method=method, payload=encode(message), peer=peer))) as replies:
                return await anext(replies)

        return asyncio.run(first())

    def certify(self, peer: Peer, *, name: str = "") -> Identity:
        key = new_key()
        reply = decode(Certified, self.call("certify", Certify(request=new_request(key, name or peer.node)), peer))
        return Identity(key=key, certificate=reply.certificate, root=reply.root)

    def invited(self, node: str = "edge1", tier: str = "edge") -> Peer:
        """Who calls with a fresh join token."""
        return read_token(self.authority.join_token(node, tier, valid_s=HOUR_S)).facts.peer

    def join(self, peer: Peer, *, member: Member | None = None) -> Joined:
        return decode(Joined, self.call("join", Join(member=member or as_member(peer)), peer))

    def beat(self, peer: Peer, node: str = "") -> Beat:
        return decode(Beat, self.call("heartbeat", Heartbeat(node=node or peer.node, member=as_member(peer)), peer))

    def watch_once(self) -> None:
        """Let the controller look at the ledger."""

        async def look() -> None:
            task = asyncio.ensure_future(self.controller.watch())
            await self.controller.wait_for_event(self.controller.events()[-1].index + 1)
            task.cancel()

        asyncio.run(look())


def as_member(peer: Peer, tier: Tier | None = None, version: int = 1) -> Member:
    return Member(
        id=peer.node,
        tier=tier or peer.tier,  # type: ignore[arg-type]
        engine_address="10.0.0.2:7000",
        door_url="http://127.0.0.1:8080",
        state="ready",
        protocol_version=version,
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    return Site(tmp_path / "ca")


def test_a_root_is_made_once_and_its_files_are_their_owners_alone(site: Site) -> None:
    roots = site.authority.roots
    ensure_authority(site.folder, lambda: site.date_s)
    assert CertificateAuthority(site.folder, lambda: site.date_s).roots == roots
    site.authority.controller_identity()
    assert {stat.S_IMODE(path.stat().st_mode) for path in site.folder.iterdir()} == {0o600}
    (site.folder / ROOTS).chmod(0o640)
    with pytest.raises(StorageFailed, match="others can read") as caught:
        CertificateAuthority(site.folder, lambda: site.date_s)
    assert "chmod 600" in caught.value.hint


def test_a_token_buys_one_certificate_even_when_the_controller_restarts(site: Site) -> None:
    invited = site.invited()
    bought = site.certify(invited)
    assert (bought.facts.peer.node, bought.facts.peer.tier, bought.facts.peer.role) == ("edge1", "edge", "node")
    assert bought.facts.ends_s - site.date_s == pytest.approx(7 * 86400, abs=2)
    for _ in range(2):
        with pytest.raises(AuthenticationFailed, match="already used") as caught:
            site.certify(invited)
        assert "join-token create" in caught.value.hint
        site.start()


def test_a_token_says_network_name_and_tier_and_survives_only_whole(site: Site) -> None:
    token = site.authority.join_token("edge1", "edge", valid_s=HOUR_S)
    identity = read_token(token + "\n")
    assert (identity.root, identity.facts.peer.node, identity.facts.peer.tier) == (site.authority.roots.trusted, "edge1", "edge")
    assert token not in repr(identity)
    for broken in (token[:-20], token[:100], token.replace("ngt2.", "ngt2.A"), "ngt2.", "ngt2.é"):
        with pytest.raises(AuthenticationFailed, match="damaged or incomplete"):
            read_token(broken)
    with pytest.raises(AuthenticationFailed, match="no join token"):
        read_token("ngt1.abc.def")


def test_a_token_expires_and_says_so_before_any_call(site: Site) -> None:
    identity = read_token(site.authority.join_token("edge1", "edge", valid_s=60))
    check_token(identity, site.date_s + 59)
    with pytest.raises(AuthenticationFailed, match=r"of 'edge1' expired \d+ s ago"):
        check_token(identity, site.date_s + 70)


def test_a_token_lets_nobody_do_more_than_ask_for_a_certificate(site: Site) -> None:
    invited = site.invited()
    for act in (lambda: site.join(invited), lambda: site.beat(invited)):
        with pytest.raises(AuthenticationFailed, match="joining alone"):
            act()


@pytest.mark.parametrize("name", ["edge2", "controller"])
def test_a_request_for_a_foreign_name_is_refused_and_leaves_the_token_good(site: Site, name: str) -> None:
    invited = site.invited()
    with pytest.raises(AuthenticationFailed, match=f"'edge1' asks for a certificate of '{name}'"):
        site.certify(invited, name=name)
    assert site.certify(invited)


@pytest.mark.parametrize("request_bytes", [b"", b"nonsense", b"\x30\x80"])
def test_what_is_no_request_is_refused(site: Site, request_bytes: bytes) -> None:
    with pytest.raises(AuthenticationFailed, match="cannot be used"):
        site.call("certify", Certify(request=request_bytes), site.invited())


@pytest.mark.parametrize("name", ["", "Edge1", "edge_1", "-edge", "a" * 64, "controller", "edge1.example"])
def test_names_that_a_certificate_cannot_carry_are_refused(site: Site, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a node's name"):
        site.authority.join_token(name, "edge", valid_s=HOUR_S)


def test_a_member_renews_its_own_certificate_as_often_as_it_likes(site: Site) -> None:
    first = site.certify(site.invited())
    second = site.certify(first.facts.peer)
    assert site.certify(first.facts.peer).facts.peer.serial != second.facts.peer.serial
    assert second.renewal_s == pytest.approx(site.date_s + 7 * 86400 * 2 / 3, abs=2)
    for each in (first, second):
        assert site.join(each.facts.peer).snapshot.find("edge1"), "old and new are both good"


def test_a_node_cannot_join_as_another_or_in_another_tier_or_two_releases_apart(site: Site) -> None:
    edge = site.certify(site.invited()).facts.peer
    with pytest.raises(AuthenticationFailed, match="let in as 'edge', not 'device'"):
        site.join(edge, member=as_member(edge, tier="device"))
    other = Peer(node="edge2", tier="edge", role="node", serial="1")
    with pytest.raises(AuthenticationFailed, match="for node 'edge1', not 'edge2'"):
        site.join(edge, member=as_member(other))
    with pytest.raises(NotSupported, match="only neighbouring versions"):
        site.join(edge, member=as_member(edge, version=PROTOCOL_VERSION + 2))


def test_a_member_speaks_for_itself_alone(site: Site) -> None:
    one, two = (site.certify(site.invited(name)).facts.peer for name in ("edge1", "edge2"))
    site.join(one)
    site.join(two)
    assert site.beat(one)
    with pytest.raises(AuthenticationFailed, match="'edge1' may not speak for 'edge2'"):
        site.beat(one, node="edge2")
    with pytest.raises(AuthenticationFailed, match="may not speak for"):
        site.call("leave", Leave(node="edge2"), one)
    with pytest.raises(AuthenticationFailed, match="no certificate"):
        site.call("leave", Leave(node="edge2"), None)


def test_a_revoked_node_is_expelled_told_and_known_to_all_until_its_certificate_ends(site: Site) -> None:
    edge, cloud = site.certify(site.invited()).facts.peer, site.certify(site.invited("cloud1", "cloud")).facts.peer
    for peer in (edge, cloud):
        site.join(peer)
        site.beat(peer)
    assert [each.serial for each in site.authority.revoke("edge1", "stolen")] == [
        each.serial for each in site.authority.issued() if each.node == "edge1"
    ]
    site.watch_once()
    snapshot = site.beat(cloud).snapshot
    assert snapshot is not None
    assert (snapshot.find("edge1"), edge.serial in snapshot.revoked) == (None, True)
    for act in (lambda: site.beat(edge), lambda: site.certify(edge), lambda: site.join(edge)):
        with pytest.raises(CertificateRevoked, match="'edge1' was revoked"):
            act()
    again = site.certify(site.invited()).facts.peer
    assert site.join(again).snapshot.find("edge1"), "a new token lets it in again"
    site.date_s += 8 * 86400
    assert edge.serial not in site.authority.revoked()


def test_only_what_is_valid_can_be_revoked(site: Site) -> None:
    serial = site.certify(site.invited()).facts.peer.serial
    assert [each.serial for each in site.authority.revoke(serial, "")] == [serial]
    with pytest.raises(UsageError, match="no valid certificate is of 'edge9'") as caught:
        site.authority.revoke("edge9", "")
    assert "edge1" in caught.value.hint, "its unused token is still there"


def test_the_ledger_and_the_events_hold_no_secret(site: Site) -> None:
    token = site.authority.join_token("edge1", "edge", valid_s=HOUR_S)
    site.certify(read_token(token).facts.peer)
    written = (site.folder / LEDGER).read_bytes() + b"".join(site.storage.read(name) for name in site.storage.names())
    assert b"edge1" in written
    assert b"PRIVATE" not in written
    assert token[5:40].encode() not in written


def test_a_damaged_ledger_stops_the_authority_rather_than_let_a_revoked_node_in() -> None:
    with pytest.raises(StorageFailed, match="line 1 of the ledger"):
        fold_lines([b'{"kind": "revoked", "serial": "1", "at_s": 0, "reason": ""}'])
    with pytest.raises(StorageFailed, match="line 1"):
        fold_lines([b"{"])


def test_a_certificate_of_another_kind_is_no_nodes() -> None:
    with pytest.raises(AuthenticationFailed, match="no certificate of a NetGPT node"):
        read_certificate(b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
