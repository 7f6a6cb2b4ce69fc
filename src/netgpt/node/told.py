"""A node's errors in words for whoever asked: clients know nodes by their names, and their addresses are nobody else's business."""

from __future__ import annotations

import re

from netgpt.core.errors import DeadlineExceeded, NetgptError

# A URL, or an address with its port as gRPC and we write it: 10.0.0.2:7001, [2001:db8::2]:7001, ipv4:10.0.0.2:7001.
_ADDRESS = re.compile(r"https?://[^\s,;'\"]+|(?:ipv[46]:)?(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9A-Fa-f:.%]+\]):\d+")


def name_node(error: NetgptError, node: str) -> NetgptError:
    """The error, with the node's name for its addresses. One that came of the request's deadline names that.

    Args:
        node: its id.
    """
    if isinstance(error, DeadlineExceeded):
        hint = "raise deadline_s, lower max_tokens, or see who is quicker: netgpt plan"
        return DeadlineExceeded(f"node {node!r} did not finish its answer in time", hint=hint, param="deadline_s")
    error.message = _ADDRESS.sub(node, error.message)
    error.args = (error.message,)
    return error
