"""Which kind of traffic a message is (`network.flow`), by the call's method, its way, and the class of the user for whom it is."""

from __future__ import annotations

from netgpt.wire.payload import Way

SIGNALLING = ("heartbeat", "heartbeat")
FLOWS_OF: dict[str, tuple[str, str]] = {  # of the request, of the replies
    "hello": SIGNALLING,
    "generate": ("prompt", "token"),
    "verify": ("draft", "verdict"),
    "prefill": ("prompt", "verdict"),
    "rollback": ("verdict", "verdict"),
    "embed": ("prompt", "token"),
    "score": ("prompt", "token"),
    "stats": SIGNALLING,
    "recall": ("prompt", "token"),
    "remember": ("background", "background"),  # its user has the answer already
    "join": SIGNALLING,
    "certify": SIGNALLING,
    "heartbeat": SIGNALLING,
    "leave": SIGNALLING,
}
UNKNOWN = ("background", "background")
FLOWS_OF_CLASS = {
    "interactive": {"prompt": "interactive-prompt", "token": "interactive-token"},
    "background": dict.fromkeys(("prompt", "token", "draft", "verdict", "activation", "kv"), "background"),
}


def flow_of(method: str, way: Way, qos: str) -> str:
    """The name of the flow; signalling is signalling for everybody."""
    flow = FLOWS_OF.get(method, UNKNOWN)[way == "reply"]
    return FLOWS_OF_CLASS.get(qos, {}).get(flow, flow)
