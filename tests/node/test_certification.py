"""A certificate is replaced in time, under virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from netgpt.controller.authority import CertificateAuthority, ensure_authority
from netgpt.core.clock import VirtualClock, run_virtual
from netgpt.core.errors import NodeUnreachable
from netgpt.node.certification import CHECK_INTERVAL_S, keep_renewed
from netgpt.wire.own_identity import Identity, IdentityFile

LIFE_S = 6 * 3600.0


def certified(folder: Path, clock: VirtualClock) -> tuple[CertificateAuthority, IdentityFile]:
    """An authority, and a node's certificate of it."""
    ensure_authority(folder / "ca", clock.date_s)
    authority = CertificateAuthority(folder / "ca", clock.date_s, life_s=LIFE_S)
    file = IdentityFile(folder / "edge1.pem")
    file.write(authority.new_identity(node="edge1", tier="edge"))
    return authority, file


def test_a_certificate_is_renewed_at_two_thirds_of_its_life_and_a_failure_is_tried_again(tmp_path: Path) -> None:
    clock = VirtualClock()
    renewals_s: list[float] = []
    events: list[str] = []

    async def story() -> None:
        authority, file = certified(tmp_path, clock)

        async def renew(_: Identity) -> Identity:
            renewals_s.append(clock.now_s())
            if len(renewals_s) == 1:
                raise NodeUnreachable("the controller is away")
            return authority.new_identity(node="edge1", tier="edge")

        def record(kind: str, node: str, **_: object) -> None:
            events.append(f"{kind} {node}")

        renewing = asyncio.ensure_future(keep_renewed(file, renew, clock, record, is_outdated=lambda _: False))
        before = file.read()
        await clock.sleep(LIFE_S - 1)
        assert file.read().facts.peer.serial != before.facts.peer.serial
        assert file.read().facts.ends_s > clock.date_s() + LIFE_S / 3
        renewing.cancel()

    run_virtual(story())
    due_s = LIFE_S * 2 / 3
    assert due_s <= renewals_s[0] < due_s + CHECK_INTERVAL_S
    assert renewals_s[1] - renewals_s[0] == CHECK_INTERVAL_S
    assert events == ["certificate.not_renewed edge1", "certificate.renewed edge1"]


def test_a_certificate_is_renewed_before_its_time_when_the_network_has_changed_its_root(tmp_path: Path) -> None:
    clock = VirtualClock()

    async def story() -> None:
        authority, file = certified(tmp_path, clock)

        async def renew(_: Identity) -> Identity:
            return authority.new_identity(node="edge1", tier="edge")

        def is_outdated(identity: Identity) -> bool:
            return identity.roots != authority.roots.ids

        renewing = asyncio.ensure_future(keep_renewed(file, renew, clock, lambda *_, **__: None, is_outdated=is_outdated))
        await clock.sleep(1)
        before = file.read()
        announced = authority.rotate()
        await clock.sleep(CHECK_INTERVAL_S)
        renewed = file.read()
        assert (before.roots, renewed.roots) == (announced.ids[:1], announced.ids)
        assert renewed.facts.network == before.facts.network, "the old root still signs"
        await clock.sleep(10 * CHECK_INTERVAL_S)
        assert file.read() is renewed
        renewing.cancel()

    run_virtual(story())
