"""A prompt that nobody can hold is refused for a bounded part of the work of counting its tokens, and none that fits."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgpt.core.errors import ContextLengthExceeded
from netgpt.inference.fit import PIECE_CHARS, SURELY, check_length, fit_in, has_more_tokens
from netgpt.inference.prompt import check_prompt
from netgpt.inference.request import ChatRequest, CompressWish
from netgpt.models.tokenizer import BpeTokenizer, ByteTokenizer
from netgpt.network.member import Member

CONTEXT_TOKENS = 64
WEIGHTS = Path(__file__).parents[2] / "weights" / "netgpt-device"


class CountingTokenizer(ByteTokenizer):
    """Counts the characters that it was given."""

    def __init__(self) -> None:
        self.chars = 0

    def encode(self, text: str) -> list[int]:
        self.chars += len(text)
        return super().encode(text)


def node(context_tokens: int = CONTEXT_TOKENS, tokenizer: str = ByteTokenizer.hash) -> Member:
    return Member(id="n", tier="edge", engine_address="-", door_url="-", model="m", tokenizer=tokenizer, parameters=1, context_tokens=context_tokens)


@pytest.mark.parametrize(
    "texts",
    [["x" * 1_000_000], ["x" * (60 * CONTEXT_TOKENS)], ["x" * 100] * 5_000, ["x"] * 20_000, [""] * 20_000],
    ids=lambda texts: f"{len(texts)} texts",
)
def test_what_is_far_too_long_is_refused_before_it_is_counted(texts: list[str]) -> None:
    tokenizer = CountingTokenizer()
    with pytest.raises(ContextLengthExceeded) as caught:
        check_length(texts, [node(), node(8)], tokenizer, model="m", param="messages")
    assert caught.value.param == "messages"
    assert "64 tokens" in caught.value.message
    assert tokenizer.chars <= SURELY * CONTEXT_TOKENS + PIECE_CHARS


def test_what_is_a_little_too_long_is_left_to_who_counts_all_of_it() -> None:
    check_length(["x" * (CONTEXT_TOKENS + 1)], [node()], ByteTokenizer(), model="m", param="prompt")
    with pytest.raises(ContextLengthExceeded, match="65 tokens"):
        fit_in([node()], model="m", tokenizer=ByteTokenizer.hash, prompt_tokens=CONTEXT_TOKENS + 1, max_tokens=None, param="prompt")


def test_token_ids_are_counted_as_they_are() -> None:
    with pytest.raises(ContextLengthExceeded):
        check_length([tuple(range(1000))], [node()], ByteTokenizer(), model="m", param="prompt")
    check_length([tuple(range(CONTEXT_TOKENS))], [node()], ByteTokenizer(), model="m", param="prompt")


def test_a_node_of_another_tokenizer_may_have_fewer_tokens() -> None:
    texts, nodes = ["x" * (8 * CONTEXT_TOKENS)], [node(), node(tokenizer="another")]
    check_length(texts, nodes, ByteTokenizer(), model="m", param="messages")
    with pytest.raises(ContextLengthExceeded):
        check_length(texts, nodes[:1], ByteTokenizer(), model="m", param="messages")


def test_a_prompt_that_may_be_shortened_may_be_longer() -> None:
    def asked(compress: CompressWish | None) -> ChatRequest:
        return ChatRequest(request_id="r", model="m", messages=(("user", "x" * (9 * CONTEXT_TOKENS)),), compress=compress)

    check_prompt(asked(CompressWish(rate=0.1)), [node()], ByteTokenizer())
    with pytest.raises(ContextLengthExceeded):
        check_prompt(asked(None), [node()], ByteTokenizer())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(min_size=1, max_size=40) | st.sampled_from([" ", "the AMF ", "aaaa", "\n\n", "网络", "0123"]), min_size=1, max_size=8),
    st.integers(1, 4000),
)
def test_no_text_that_fits_is_taken_for_too_long_wherever_pieces_are_cut(parts: list[str], times: int) -> None:
    tokenizer = BpeTokenizer.load(WEIGHTS)
    text = ("".join(parts) * times)[:40_000]
    assert not has_more_tokens([text], tokenizer, SURELY * len(tokenizer.encode(text)))
