"""`direct`: one node answers; when it fails, the next goes on from the last accepted token."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from netgpt.core.errors import NodeUnreachable, NotSupported, Overloaded, SessionNotFound
from netgpt.inference.steps import Accept, Step, Switch
from netgpt.node.handle import NodeHandle
from netgpt.node.session import Session

# Worth another node: lost, busy, or not able. Anything else is the request's own fault.
LOST = (NodeUnreachable, Overloaded, SessionNotFound, NotSupported)


async def direct(session: Session, nodes: Sequence[NodeHandle]) -> AsyncGenerator[Step, None]:
    """Answer on the first node; each token is final as soon as it arrives.

    Raises:
        NodeUnreachable, Overloaded: the last node failed too.
    """
    for position, node in enumerate(nodes):
        try:
            pieces = node.generate(session)
            try:
                async for piece in pieces:
                    yield Accept(piece)
            finally:
                await pieces.aclose()
            return
        except LOST as error:
            if node is nodes[-1]:
                raise
            yield Switch(reason=f"{node.id} failed ({error.code}); {nodes[position + 1].id} goes on")
