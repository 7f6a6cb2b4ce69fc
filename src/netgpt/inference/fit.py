"""Which of the nodes that may answer have room for a prompt and its answer: pure.

A node of the door's own tokenizer is measured in its tokens. How many tokens a prompt has on a node of another
tokenizer only that node can say; it does, when it is asked.

To count tokens is work on the door's loop, that all its clients share. What is refused must not cost more of it the longer
it is: a prompt is read in pieces until it is clear that nobody can hold it.
"""

from __future__ import annotations

from collections.abc import Sequence

from netgpt.core.errors import ContextLengthExceeded
from netgpt.core.value import value
from netgpt.models.tokenizer import Tokenizer
from netgpt.network.member import Member

MOST_BYTES_A_TOKEN = 128  # of known vocabularies: runs of spaces are the longest tokens
USUAL_BYTES_A_TOKEN = 8  # a prompt that would fit with so many is counted at once
PIECE_CHARS = 4096
SURELY = 2  # so many times too many tokens are too many wherever pieces were cut
SURELY_ELSEWHERE = 16  # and for a tokenizer that has fewer tokens for the same text


@value
class Fit:
    """Nodes that can hold the prompt, best first, and the most tokens that may follow it on all of them."""

    nodes: tuple[Member, ...]
    max_tokens: int


def check_length(
    texts: Sequence[str | tuple[int, ...]], nodes: Sequence[Member], tokenizer: Tokenizer, *, model: str, param: str, rate: float = 1.0
) -> None:
    """Refuse what surely no node can hold, for a bounded part of the work of counting its tokens.

    Args:
        texts: of one prompt: raw text, token ids, or what each message says.
        tokenizer: the door's.
        param: what the client calls its prompt.
        rate: the share of it that is left where it may be shortened.

    Raises:
        ContextLengthExceeded: the prompt is far too long. One that is a little too long is found by `fit_in`.
    """
    largest = max([node.context_tokens for node in nodes])
    if sum(map(len, texts)) <= USUAL_BYTES_A_TOKEN * (largest - len(texts)):
        return
    most = int(largest / rate) * (SURELY if all(node.tokenizer == tokenizer.hash for node in nodes) else SURELY_ELSEWHERE)
    if has_more_tokens(texts, tokenizer, most):
        raise ContextLengthExceeded(
            f"the prompt is far longer than the {largest} tokens that {model!r} holds", hint="shorten the prompt", param=param
        )


def has_more_tokens(texts: Sequence[str | tuple[int, ...]], tokenizer: Tokenizer, most: int) -> bool:
    """Whether the texts have more tokens than `most`, a mark around each of them counted, as far as it takes more than a moment to find out."""
    size = sum(map(len, texts))
    if size + len(texts) > most * MOST_BYTES_A_TOKEN:
        return True
    if size + USUAL_BYTES_A_TOKEN * len(texts) <= most * USUAL_BYTES_A_TOKEN / SURELY:
        return False
    tokens = 0
    for text in texts:
        tokens += 1
        for start in range(0, len(text), PIECE_CHARS):
            piece = text[start : start + PIECE_CHARS]
            tokens += len(tokenizer.encode(piece) if isinstance(piece, str) else piece)
            if tokens > most:
                return True
    return tokens > most


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
