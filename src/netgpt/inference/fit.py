"""Which of the nodes that may answer have room for a prompt and its answer: pure.

A node of the door's own tokenizer is measured in its tokens. How many tokens a prompt has on a node of another
tokenizer only that node can say; it does, when it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from netgpt.core.errors import ContextLengthExceeded
from netgpt.core.value import value
from netgpt.network.member import Member

MOST_BYTES_A_TOKEN = 128  # of known vocabularies: runs of spaces are the longest tokens


@value
class Fit:
    """Nodes that can hold the prompt, best first, and the most tokens that may follow it on all of them."""

    nodes: tuple[Member, ...]
    max_tokens: int


def check_length(nodes: Sequence[Member], *, model: str, chars: int, param: str) -> None:
    """Refuse what no node can hold, which is known without the work of counting its tokens; raises ContextLengthExceeded."""
    largest = max(node.context_tokens for node in nodes)
    if chars > largest * MOST_BYTES_A_TOKEN:
        raise ContextLengthExceeded(
            f"the prompt has {chars} characters, but {model!r} holds {largest} tokens", hint="shorten the prompt", param=param
        )


def fit_in(nodes: Sequence[Member], *, model: str, tokenizer: str, prompt_tokens: int, max_tokens: int | None, param: str) -> Fit:
    """Leave out the nodes whose context is too small.

    Args:
        tokenizer: hash of the door's; `prompt_tokens` are counted with it.
        max_tokens: as asked for; None: as many as there is room for.
        param: what the client calls its prompt.

    Raises:
        ContextLengthExceeded: no node is left.
    """
    wanted = max_tokens or 1
    holding = tuple(node for node in nodes if node.tokenizer != tokenizer or node.context_tokens - prompt_tokens >= wanted)
    if not holding:
        largest = max(node.context_tokens for node in nodes)
        raise ContextLengthExceeded(
            f"the prompt has {prompt_tokens} tokens and {wanted} are to follow, but {model!r} holds {largest}",
            hint="shorten the prompt, or lower max_tokens",
            param=param,
        )
    own = [node.context_tokens - prompt_tokens for node in holding if node.tokenizer == tokenizer]
    return Fit(nodes=holding, max_tokens=max_tokens or min(own, default=max(node.context_tokens for node in holding)))
