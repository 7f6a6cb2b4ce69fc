"""Leaving out of a prompt what tells least: which parts may go, and which do, up to a budget. Pure, and the same for the same prompt.

A prompt is cut into sentences and lines. Those that a model expected anyway tell it little: the ones with the least self-information go
first (Selective Context, arXiv 2310.06201; the budget is LLMLingua's `rate`, arXiv 2310.05736). Where no model says how much it expected,
words stand for it. Never left out: what system messages and tools say, the question with the beginning and the end of its message, and
every part that names a number that is asked for. It knows no engine and no network.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from netgpt.core.value import value

LEAST_TOKENS = 128  # a shorter prompt stays whole: there is nothing to gain
LEAST_LEFT_OUT = 0.1  # nor where less than this share of it may go
DUPLICATE = -1.0  # the weight of what was said before: below every other
SHARED = 1.0  # what a word of the question adds to the weight of a part that has it, for each nat of its rarity among parts

_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_BOUNDARY = re.compile(r"\n\s*|(?<=[.!?])[ \t]+|(?<=[。！？])")
_TAGGED = re.compile(r"</?tool_")  # a call, or a function's result: data that something else made, and reads
_NAME, _DIGIT = re.compile(r"[\w.:]+"), re.compile(r"\d")
_WORD = re.compile(r"[^\W\u4e00-\u9fff]+|[\u4e00-\u9fff]")
_QUESTION = re.compile(r"[?？]\s*\Z")

Messages = Sequence[tuple[str, str]]


class Part(NamedTuple):
    """A sentence, a line or a block of code of a conversation, with the white space after it."""

    message: int
    start: int  # in characters of the message
    end: int
    fixed: bool  # it may not be left out

    def text(self, messages: Messages) -> str:
        return messages[self.message][1][self.start : self.end]


@value
class Cut:
    """A conversation without the parts that tell least."""

    messages: tuple[tuple[str, str], ...]
    left_out: tuple[int, ...]  # places of parts
    tokens: int  # of all parts,
    left_tokens: int  # and of those that are left out


def parts_of(messages: Messages) -> list[Part]:
    """All of the conversation, in order."""
    asked = max((place for place, said in enumerate(messages) if said[0] == "user" and not _TAGGED.search(said[1])), default=len(messages))
    found: list[Part] = []
    question: list[Part] = []
    for place, (role, content) in enumerate(messages):
        fixed = role not in ("user", "assistant") or place > asked or _TAGGED.search(content) is not None
        parts = [Part(place, start, end, fixed) for start, end in _spans(content)]
        if place == asked:
            places = _question(parts, content)
            question = [parts[at] for at in places]
            parts = [part._replace(fixed=fixed or at == 0 or at in places) for at, part in enumerate(parts)]
        found += parts
    numbers = {number for part in question for number in _numbers(part.text(messages))}
    return [part if part.fixed or numbers.isdisjoint(_numbers(part.text(messages))) else part._replace(fixed=True) for part in found]


def _question(parts: Sequence[Part], content: str) -> set[int]:
    """Places of the last part, and of the questions right before it or with which the message begins: others may be a passage's own."""
    asks = [_QUESTION.search(content[part.start : part.end]) is not None for part in parts]
    first = next((place for place, asking in enumerate(asks) if not asking), len(parts))
    last = next((place for place in range(len(parts) - 2, -1, -1) if not asks[place]), -1)
    return {*range(first), *range(last + 1, len(parts))}


def _spans(text: str) -> list[tuple[int, int]]:
    ends, fences = {match.end() for match in _BOUNDARY.finditer(text)}, [match.span() for match in _FENCE.finditer(text)]
    begins = [begin for begin, _ in fences]
    ends = sorted(end for end in ends if 0 < end < len(text) and not _inside(end, fences, begins))
    return [*zip([0, *ends], [*ends, len(text)], strict=True)] if text else []


def _inside(end: int, fences: Sequence[tuple[int, int]], begins: Sequence[int]) -> bool:
    at = bisect_left(begins, end) - 1
    return at >= 0 and end < fences[at][1]


def _numbers(text: str) -> set[str]:
    return {name.strip(".:") for name in _NAME.findall(text) if _DIGIT.search(name)}


def most_left_out(messages: Messages, rate: float) -> float:
    """The share of the conversation's characters that may go if the share `rate` is to stay."""
    parts = parts_of(messages)
    chars = sum(part.end - part.start for part in parts)
    loose = sum(part.end - part.start for part in parts if not part.fixed)
    return min(loose / chars, 1 - rate) if chars else 0.0


def cut(messages: Messages, parts: Sequence[Part], tokens: Sequence[int], weights: Sequence[float], rate: float) -> Cut:
    """The conversation without the parts of the least weight, as long as at least the share `rate` of its tokens stays.

    Args:
        parts: `parts_of` the conversation.
        tokens: of each part.
        weights: how much each tells; of equal ones the first goes first.
    """
    total, left = sum(tokens), 0
    out: set[int] = set()
    for place in sorted((place for place, part in enumerate(parts) if not part.fixed), key=lambda place: (weights[place], place)):
        if total - left - tokens[place] >= rate * total:
            out.add(place)
            left += tokens[place]
    texts: list[list[str]] = [[] for _ in messages]
    for place, part in enumerate(parts):
        if place not in out:
            texts[part.message].append(part.text(messages))
    kept = [(role, "".join(said)) for (role, _), said in zip(messages, texts, strict=True)]
    said = tuple((role, content) for (role, content), (_, before) in zip(kept, messages, strict=True) if content or not before)
    return Cut(messages=said, left_out=tuple(sorted(out)), tokens=total, left_tokens=left)


def self_information(parts: Sequence[Part], messages: Messages, owners: Sequence[int | None], logprobs: Sequence[float]) -> list[float]:
    """The weight of each part: nats a token that a model did not expect, on average.

    Args:
        owners: of each token of the rendered prompt the part that it belongs to (`owners_of`).
        logprobs: of each token, given those before it.
    """
    sums, counts = [0.0] * len(parts), [0] * len(parts)
    for owner, logprob in zip(owners, logprobs, strict=True):
        if owner is not None:
            sums[owner] -= logprob
            counts[owner] += 1
    again = repeated(parts, messages)
    return [DUPLICATE if place in again else sums[place] / max(counts[place], 1) for place in range(len(parts))]


def lexical_information(parts: Sequence[Part], messages: Messages) -> list[float]:
    """The weight of each part by its words alone: how rare they are in the prompt, and which of them the question has."""
    words = [_WORD.findall(part.text(messages).casefold()) for part in parts]
    counts = Counter(word for each in words for word in each)
    having = Counter(word for each in words for word in set(each))
    total, again = sum(counts.values()), repeated(parts, messages)
    last = parts[-1].message if parts else 0
    asked = {word for place, part in enumerate(parts) if part.fixed and part.message == last for word in words[place]}
    found: list[float] = []
    for place, each in enumerate(words):
        rarity = sum(math.log(total / counts[word]) for word in each) / max(len(each), 1)
        shared = sum(math.log(len(parts) / having[word]) for word in set(each) & asked)
        found.append(DUPLICATE if place in again else rarity + SHARED * shared)
    return found


def repeated(parts: Sequence[Part], messages: Messages) -> set[int]:
    """Places of parts that say again, word for word, what one before them said."""
    seen: set[str] = set()
    again: set[int] = set()
    for place, part in enumerate(parts):
        said = " ".join(part.text(messages).casefold().split())
        if said in seen:
            again.add(place)
        seen.add(said)
    return again


def owners_of(parts: Sequence[Part], messages: Messages, ids: Sequence[int], decode: Callable[[Sequence[int]], bytes]) -> list[int | None]:
    """To which part each token of the rendered conversation belongs: the one in which it begins; None to the format.

    Args:
        decode: a tokenizer's; special tokens give no bytes, or their names.
    """
    pieces = [decode((token,)) for token in ids]
    text = b"".join(pieces)
    starts: list[tuple[int, int, int]] = []  # of the rendered bytes: begin and end of each part, and its place
    at = 0
    by_message: dict[int, list[int]] = {}
    for place, part in enumerate(parts):
        by_message.setdefault(part.message, []).append(place)
    for message, places in by_message.items():
        content = messages[message][1].encode()
        found = text.find(content, at)
        if found < 0:  # a template that changes what it is given
            return [None] * len(ids)
        for place in places:
            length = len(parts[place].text(messages).encode())
            starts.append((found, found + length, place))
            found += length
        at = found
    owners: list[int | None] = []
    offset = cursor = 0
    for piece in pieces:
        while cursor < len(starts) and starts[cursor][1] <= offset:
            cursor += 1
        inside = cursor < len(starts) and starts[cursor][0] <= offset and bool(piece)
        owners.append(starts[cursor][2] if inside else None)
        offset += len(piece)
    return owners


def tokens_of(parts: Sequence[Part], owners: Sequence[int | None]) -> list[int]:
    """How many tokens each part has."""
    counts = Counter(owner for owner in owners if owner is not None)
    return [counts[place] for place in range(len(parts))]
