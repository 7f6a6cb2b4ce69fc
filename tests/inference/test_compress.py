"""What may be left out of a prompt and what is: pure, never the question, never below the budget."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.inference.compress import (
    cut,
    lexical_information,
    most_left_out,
    owners_of,
    parts_of,
    repeated,
    self_information,
    tokens_of,
)
from netgpt.models.tokenizer import ByteTokenizer, render_chat

LOG = "A12 fan failed.\nB07 link lost.\nThe weather was fine all day.\nA12 fan failed.\nC33 mast tilted.\n"
ASKED = (("system", "You are brief. You never guess."), ("user", f"Read this log.\n{LOG}Why did B07 fail?"))

words = st.text(st.sampled_from("ab c1.?!\n中。"), max_size=80)
conversations = st.lists(st.tuples(st.sampled_from(("system", "user", "assistant")), words), max_size=5).map(
    lambda some: (*some, ("user", "Why? ab."))
)


def texts(messages: tuple[tuple[str, str], ...], *, fixed: bool) -> list[str]:
    return [part.text(messages).strip() for part in parts_of(messages) if part.fixed == fixed]


@pytest.mark.parametrize("text", ["a" * 100_000, "?" * 100_000, "```x" * 25_000, "? a\n" * 25_000, "1." * 50_000], ids=lambda text: text[:5])
def test_long_prompts_of_any_kind_are_cut_up_in_little_time(text: str) -> None:
    began_s = time.process_time()
    messages = (("user", text), ("user", "Why?"))
    parts = parts_of(messages)
    assert cut(messages, parts, [1] * len(parts), lexical_information(parts, messages), 0.5).messages[-1] == ("user", "Why?")
    many = tuple(("user", "a.") for _ in range(20_000))
    cut(many, parts_of(many), [1] * len(many), [0.0] * len(many), 0.5)
    assert time.process_time() - began_s < 5.0


@given(conversations)
def test_parts_are_the_whole_conversation_in_order(messages: tuple[tuple[str, str], ...]) -> None:
    parts = parts_of(messages)
    said = ["".join(part.text(messages) for part in parts if part.message == number) for number in range(len(messages))]
    assert said == [content for _, content in messages]
    assert all(part.end > part.start for part in parts)


def test_system_the_ends_of_the_question_and_numbers_that_it_names_stay() -> None:
    assert texts(ASKED, fixed=True) == ["You are brief.", "You never guess.", "Read this log.", "B07 link lost.", "Why did B07 fail?"]
    assert texts(ASKED, fixed=False) == ["A12 fan failed.", "The weather was fine all day.", "A12 fan failed.", "C33 mast tilted."]


def test_questions_of_passages_in_between_are_not_the_question() -> None:
    said = (("user", "Hello? Read.\nWhat is A? It is B.\nWhat is C? D.\nAnd now? What is it?"),)
    assert texts(said, fixed=True) == ["Hello?", "And now?", "What is it?"]


def test_what_tools_say_and_blocks_of_code_are_not_cut_up() -> None:
    called = (("user", "Which? One. Two."), ("assistant", "<tool_call>{}. x</tool_call>"), ("user", "<tool_response>\n1. a. b.\n</tool_response>"))
    assert texts(called, fixed=False) == ["One."], "the question is what came before the call"
    code = (("user", "See:\n```\na = 1\nb = 2\n```\nmore. What is it?"),)
    assert "```\na = 1\nb = 2\n```" in [part.text(code).strip() for part in parts_of(code)]


@given(conversations, st.floats(0.1, 1.0), st.randoms(use_true_random=False))
def test_a_cut_keeps_its_budget_and_all_that_is_fixed(messages: tuple[tuple[str, str], ...], rate: float, chance: object) -> None:
    parts = parts_of(messages)
    tokens = [part.end - part.start for part in parts]
    weights = [chance.random() for _ in parts]  # type: ignore[attr-defined]
    made = cut(messages, parts, tokens, weights, rate)
    assert made == cut(messages, parts, tokens, weights, rate)
    assert made.tokens - made.left_tokens >= rate * made.tokens
    assert not any(parts[place].fixed for place in made.left_out)
    assert sum(len(content) for _, content in made.messages) == made.tokens - made.left_tokens
    assert made.messages[-1][1].endswith("Why? ab.")
    assert made.left_tokens <= most_left_out(messages, rate) * made.tokens + 1e-6


def test_the_parts_that_tell_least_go_first_and_of_equal_ones_the_first() -> None:
    parts = parts_of(ASKED)
    tokens = [1] * len(parts)
    weights = [9.0] * len(parts)
    tilted = next(place for place, part in enumerate(parts) if "mast" in part.text(ASKED))
    weights[tilted] = 0.5
    assert cut(ASKED, parts, tokens, weights, 8 / 9).left_out == (tilted,)
    first_loose = next(place for place, part in enumerate(parts) if not part.fixed)
    assert cut(ASKED, parts, tokens, weights, 7 / 9).left_out == tuple(sorted((first_loose, tilted)))


def test_a_part_too_large_for_the_budget_stays_and_smaller_ones_go() -> None:
    parts = parts_of(ASKED)
    tokens = [100 if "weather" in part.text(ASKED) else 1 for part in parts]
    made = cut(ASKED, parts, tokens, [0.0] * len(parts), 0.9)
    assert [parts[place].text(ASKED).strip() for place in made.left_out] == ["A12 fan failed.", "A12 fan failed.", "C33 mast tilted."]


def test_each_token_belongs_to_the_part_in_which_it_begins() -> None:
    tokenizer = ByteTokenizer()
    ids = render_chat(tokenizer, ASKED)
    parts = parts_of(ASKED)
    owners = owners_of(parts, ASKED, ids, tokenizer.decode)
    assert tokens_of(parts, owners) == [len(part.text(ASKED).encode()) for part in parts]
    assert owners_of(parts, ASKED, list(b"another template"), tokenizer.decode) == [None] * 16


def test_self_information_is_the_mean_of_what_was_not_expected_and_repetitions_tell_nothing() -> None:
    parts = parts_of(ASKED)
    tokenizer = ByteTokenizer()
    ids = render_chat(tokenizer, ASKED)
    owners = owners_of(parts, ASKED, ids, tokenizer.decode)
    logprobs = [-3.0 if owner is not None and "weather" in parts[owner].text(ASKED) else -1.0 for owner in owners]
    weights = self_information(parts, ASKED, owners, logprobs)
    again = repeated(parts, ASKED)
    assert [parts[place].text(ASKED).strip() for place in again] == ["A12 fan failed."]
    for place, part in enumerate(parts):
        assert weights[place] == pytest.approx(-1.0 if place in again else 3.0 if "weather" in part.text(ASKED) else 1.0)


def test_words_alone_prefer_what_the_question_names_over_what_is_said_again() -> None:
    said = (("user", "Sites:\nthe mast stands.\nthe fan turns.\nthe fan turns.\nthe router waits.\nWhat about the router?"),)
    parts = parts_of(said)
    weights = {part.text(said).strip(): weight for part, weight in zip(parts, lexical_information(parts, said), strict=True)}
    assert weights["the router waits."] > weights["the mast stands."] > weights["the fan turns."] == -1.0
