"""A node gets its certificate, and a new one before the old one ends.

The key is made here and never leaves the node; what travels is a request signed with it. Every certificate
has a key of its own. Who may have which name is for the controller to decide.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from netgpt.core.clock import Clock
from netgpt.core.errors import AuthenticationFailed, NetgptError
from netgpt.core.transport import Connection
from netgpt.node.call import ask
from netgpt.wire.certificates import networks_of, new_key, new_request
from netgpt.wire.messages import Certified, Certify
from netgpt.wire.own_identity import Identity, IdentityFile

CALL_DEADLINE_S = 5.0
CHECK_INTERVAL_S = 60.0


async def certify(connection: Connection, *, node: str, root: bytes) -> Identity:
    """A new identity for `node`, asked for over a connection that shows a join token or the present certificate.

    Args:
        root: of the network that the node means; while it changes them, several.

    Raises:
        AuthenticationFailed: refused, or the answer is not of that network.
        NodeUnreachable, DeadlineExceeded: the controller does not answer.
    """
    key = new_key()
    answer = await ask(connection, "certify", Certify(request=new_request(key, node)), Certified, deadline_s=CALL_DEADLINE_S)
    if not set(networks_of(answer.root)) & set(networks_of(root)):
        raise AuthenticationFailed("the controller answers with the root of another network", hint="join that network with a token of its own")
    return Identity(key=key, certificate=answer.certificate, root=answer.root)


async def keep_renewed(
    file: IdentityFile,
    renew: Callable[[Identity], Awaitable[Identity]],
    clock: Clock,
    record: Callable[..., object],
    *,
    is_outdated: Callable[[Identity], bool],
) -> None:
    """Replace the identity in `file` when two thirds of its life are over, until cancelled. A failure is tried again.

    Args:
        renew: asks for a new one in the place of the present one.
        is_outdated: whether an identity is to be replaced before its time, since the network's roots have changed.
        record: takes an event's kind, node and data.
    """
    while True:
        identity = file.read()
        if clock.date_s() >= identity.renewal_s or is_outdated(identity):
            node = identity.facts.peer.node
            try:
                renewed = await renew(identity)
            except NetgptError as error:
                record("certificate.not_renewed", node, cause=error.code, ends_s=identity.facts.ends_s)
            else:
                file.write(renewed)
                record("certificate.renewed", node, serial=renewed.facts.peer.serial, ends_s=renewed.facts.ends_s)
        await clock.sleep(CHECK_INTERVAL_S)
