"""How much room the nodes that may answer have for a prompt and its answer: pure.

A node of the door's own tokenizer is measured in its tokens. How many tokens a prompt has on a node of another
tokenizer only that node can say; it does, when it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netgpt.core.errors import ContextLengthExceeded
from netgpt.network.member import Member


@dataclass(frozen=True, kw_only=True)
class Room:
    """Nodes that can hold the prompt, best first, and the most tokens that may follow it on all of them."""

    nodes: tuple[Member, ...]
    max_tokens: int


def room_for(nodes: Sequence[Member], *, model: str, tokenizer: str, prompt_tokens: int, max_tokens: int | None) -> Room:
    """Leave out the nodes whose context is too small.

    Args:
        tokenizer: hash of the door's; `prompt_tokens` are counted with it.
        max_tokens: as asked for; None: as many as there is room for.

    Raises:
        ContextLengthExceeded: no node is left.
    """
    wanted = max_tokens or 1
    holding = tuple(node for node in nodes if node.tokenizer != tokenizer or node.context_tokens - prompt_tokens >= wanted)
    if not holding:
        largest = max(node.context_tokens for node in nodes)
        raise ContextLengthExceeded(
            f"the prompt has {prompt_tokens} tokens and {wanted} are to follow, but {model!r} holds {largest}",
            hint="shorten the messages, or lower max_tokens",
            param="messages",
        )
    own = [node.context_tokens - prompt_tokens for node in holding if node.tokenizer == tokenizer]
    return Room(nodes=holding, max_tokens=max_tokens or min(own, default=max(node.context_tokens for node in holding)))
