"""How a machine becomes a node, once: a join token buys its certificate. Later starts use what is stored.

The home remembers which token it used, so that a command line with `--join` can be started again as it is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from netgpt.core.errors import StorageFailed, UsageError
from netgpt.core.storage import DiskStorage
from netgpt.node.certification import certify
from netgpt.wire.certificates import CONTROLLER
from netgpt.wire.grpc_tls import TlsEnd
from netgpt.wire.grpc_transport import GrpcTransport
from netgpt.wire.join_token import NEW_TOKEN, check_token, read_token
from netgpt.wire.own_identity import Identity, IdentityFile
from netgpt.world.identities import identity_file

RECORD = "joined.json"


@dataclass(frozen=True, kw_only=True)
class Joining:
    """What a home remembers of the network that it is in."""

    node: str
    controller: str  # host:port
    token: str  # serial of the token that was used


def read_joining(home: Path) -> Joining | None:
    """None if this home is in no network yet.

    Raises:
        StorageFailed: the record is damaged.
    """
    data = DiskStorage(home / "identity").read(RECORD)
    try:
        return Joining(**json.loads(data)) if data else None
    except (ValueError, TypeError) as error:
        hint = "remove it and join again: netgpt node --join TOKEN"
        raise StorageFailed(f"{str(home / 'identity' / RECORD)!r} is damaged", hint=hint) from error


def own_identity(home: Path, *, token: str, controller: str, date_s: Callable[[], float]) -> tuple[Identity, Joining]:
    """This machine's identity: the stored one, or the one that a token buys now.

    Args:
        token: empty, or of this very join: the stored identity is used.
        controller: host:port; empty: as before.

    Raises:
        UsageError: neither a stored identity nor a token, or no controller's address.
        AuthenticationFailed: the token or the stored certificate is not valid.
        NodeUnreachable: the controller does not answer.
    """
    known = read_joining(home)
    invitation = read_token(token) if token else None
    if known is not None and (invitation is None or invitation.facts.peer.serial == known.token):
        identity = IdentityFile(identity_file(home, known.node)).read()
        identity.check_valid(date_s())
        return identity, _remember(home, Joining(node=known.node, controller=controller or known.controller, token=known.token))
    if invitation is None:
        raise UsageError(f"the home {str(home)!r} is in no network yet", hint=f"give a token with --join; {NEW_TOKEN}", param="join")
    if not controller:
        raise UsageError("the first start needs the controller's address", hint="give it: --controller HOST:PORT", param="controller")
    check_token(invitation, date_s())
    node = invitation.facts.peer.node
    identity = asyncio.run(request_identity(controller, invitation, node=node))
    IdentityFile(identity_file(home, node)).write(identity)
    return identity, _remember(home, Joining(node=node, controller=controller, token=invitation.facts.peer.serial))


async def request_identity(controller: str, present: Identity, *, node: str) -> Identity:
    """A new identity from the controller, for which `present` speaks: a token's, or the node's own."""
    connection = GrpcTransport(tls=TlsEnd(lambda: present)).connect(controller, peer=CONTROLLER)
    try:
        return await certify(connection, node=node, root=present.root)
    finally:
        await connection.close()


def _remember(home: Path, joining: Joining) -> Joining:
    if joining != read_joining(home):
        DiskStorage(home / "identity").replace(RECORD, json.dumps(asdict(joining)).encode())
    return joining
