"""What a question says, as far as two questions can be compared without a model: pure.

Embeddings find questions that are about the same; they cannot tell a question from its reverse. So this is a closed world: two
questions mean the same if, word by word and in order, they differ in nothing but what `meaning.toml` knows to make no difference
(articles, politeness, a few words for one another, units). A word that it does not know is a difference, whatever it means.

The same file says which questions depend on when, where or by whom they are asked. Reads English and Chinese.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from netgpt.core.value import value
from netgpt.inference.meaning_tables import TOKEN, Tables, read_tables, split_phrase

MOST_CHARS = 2_000  # of a question that is read; a longer one is a document, and compared as a whole
KINDS = ("number", "name", "negation", "direction", "compare", "quantity", "modal", "asking", "tense", "words")


def _to_the_end(match: re.Match[str]) -> str:
    return f"{match[3]} {match[1].lower()} {match[2]}{match[4]}"


_WITH_UNIT = re.compile(r"(\d+(?:\.\d+)?)([A-Za-zµμ]+)")
_BETWEEN_WORDS = re.compile(r"(?:[^\w'-]|(?<!\w)['-]|['-](?!\w))+")
_SENTENCE_ENDS = frozenset(".?!。？！:\n")
_REWRITES = (
    (re.compile(r"n['’]t\b", re.I), " not"),
    (re.compile(r"\bcannot\b", re.I), "can not"),
    (re.compile(r"\b(what|who|where|how|that|it|there|here|when)['’]s\b", re.I), r"\1 is"),
    (re.compile(r"['’](re|m)\b", re.I), " are"),
    (re.compile(r"\bwhat (?:does|do)\s+([^,.;?]+?)\s+mean\s*\?*$", re.I), r"what is \1"),
    (re.compile(r"\bwhat (?:does|do)\s+([^,.;?]+?)\s+stand for\s*\?*$", re.I), r"what is the expansion of \1"),
    (re.compile(r"\bwhat is the meaning of\b", re.I), "what is"),
    (re.compile(r"\b(?:what|which)\s+((?:[\w-]+\s+){1,4})(?:does|do)\s+([^,.;?]+?)\s+have\s*\?*$", re.I), r"what is the \1 of \2"),
    (re.compile(r"\b([\w-]+)['’]s\s+([\w-]+)", re.I), r"\2 of \1"),
    (re.compile(r"^(in|for|at|on|with|of)\s+([^,.;:?!]{1,60}),\s+([^,.;:!]+?)\s*([?.]?)$", re.I), _to_the_end),  # "In 5G, what ..."
    (re.compile(r"^([^:：.?!。？！\n]{1,60})[:：]\s+([^:：.!。！?？\n]{1,80})[?？]$"), r"\2 of \1"),  # "5QI 7: delay budget?"
    (re.compile(r"从(.{1,40}?)到"), r"\1到"),
)


class Word(NamedTuple):
    """One word that counts, and what it is."""

    kind: str  # one of `KINDS`
    text: str


@value
class Meaning:
    """A question as it is compared."""

    words: tuple[Word, ...]
    whether: bool  # it is answered by yes or no
    now: bool = False  # it asks for what was true when it was asked
    state: bool = False  # it asks for what may soon be otherwise, without saying so
    here: bool = False  # for what is true where it was asked
    own: bool = False  # about whoever asked

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for questions between which there is no `difference`."""
        return self.whether, self.words

    def marks(self) -> tuple[Word, ...]:
        """The words of known kinds: numbers, names, negations, directions and so on."""
        return tuple(word for word in self.words if word.kind != "words")


def difference(one: Meaning, other: Meaning, *, marks_only: bool = False) -> str:
    """In what two questions differ, by the kind of word; empty: in nothing that counts.

    Args:
        marks_only: words of no known kind may differ. That trusts the lists to be complete, which they are not.
    """
    if one.whether != other.whether:
        return "asking"
    ours, theirs = (one.marks(), other.marks()) if marks_only else (one.words, other.words)
    if ours == theirs:
        return ""
    for kind in KINDS:
        if [word for word in ours if word.kind == kind] != [word for word in theirs if word.kind == kind]:
            return kind
    return "order"


def read_meaning(text: str) -> Meaning:
    """The meaning of one question."""
    tables = read_tables()
    plain = unicodedata.normalize("NFKC", text).strip()
    lowered = _spaced(plain)
    tokens = _tokens(plain, tables)
    whether = _asks_whether(tokens, plain, tables)
    return Meaning(
        words=tuple(_words(tokens, tables)),
        whether=whether,
        now=_holds(lowered, tables.now),
        state=_holds(lowered, tables.state),
        here=_holds(lowered, tables.here),
        own=_holds(_spaced(" ".join(token.raw for token in tokens)), tables.own),
    )


def _holds(spaced: str, phrases: Sequence[str]) -> bool:
    return any(phrase in spaced for phrase in phrases)


def _spaced(text: str) -> str:
    """The words of a text in lower case, each between single spaces."""
    return f" {_BETWEEN_WORDS.sub(' ', text.casefold().replace('’', chr(39)))} "


class _Token(NamedTuple):
    kind: str  # a group of `TOKEN`
    text: str  # in lower case, unless it is a name that would read as a common word
    raw: str
    named: bool  # written as a name is: it is neither dropped nor exchanged


def _tokens(plain: str, tables: Tables) -> list[_Token]:
    for pattern, by in _REWRITES:
        plain = pattern.sub(by, plain)
    shouted = len(re.findall("[A-Z]{3}", plain)) > 2 and plain.upper() == plain
    found: list[_Token] = []
    for match in TOKEN.finditer(plain):
        kind, raw = str(match.lastgroup), match[0]
        if kind == "code" and (quantity := _WITH_UNIT.fullmatch(raw)) and quantity[2] in tables.unit_symbols:
            found += [_Token("number", quantity[1], quantity[1], False), _Token("word", quantity[2].casefold(), quantity[2], False)]
            continue
        at_start = not found or plain[: match.start()].rstrip(" \t")[-1:] in _SENTENCE_ENDS
        lone = raw == "A" and not re.match(r"\s+[a-z]", plain[match.end() :])  # no article
        named = kind == "word" and not shouted and (lone or _is_named(raw, at_start))
        found.append(_Token(kind, raw if named and _is_common(raw, tables) else raw.casefold(), raw, named))
    return _unframed(found, tables)


def _is_named(raw: str, at_start: bool) -> bool:
    """An abbreviation anywhere, or a capital within a sentence."""
    return raw != "I" and raw[0].isupper() and (not at_start or (len(raw) > 1 and raw.isupper()))


def _is_common(raw: str, tables: Tables) -> bool:
    """Whether a name, `IT` or `May`, would be taken for a word with a part in the sentence."""
    low = raw.casefold()
    return (low,) in tables.dropped or low in tables.marks or low in tables.whether_en


def _unframed(tokens: list[_Token], tables: Tables) -> list[_Token]:
    """Without what stands before and after the question itself."""
    while (size := _prefix(tokens, tables.frames)) and size < len(tokens):
        tokens = tokens[size:]
    while (size := _prefix(tokens[::-1], [phrase[::-1] for phrase in tables.tails])) and size < len(tokens):
        tokens = tokens[:-size]
    return tokens


def _prefix(tokens: Sequence[_Token], phrases: Sequence[tuple[str, ...]]) -> int:
    """How many tokens at the beginning are one of the phrases."""
    texts = [token.raw.casefold() for token in tokens[:8]]
    return next((len(phrase) for phrase in phrases if tuple(texts[: len(phrase)]) == phrase), 0)


def _asks_whether(tokens: Sequence[_Token], plain: str, tables: Tables) -> bool:
    if any(phrase in plain for phrase in tables.whether_zh):
        return True
    return bool(tokens) and tokens[0].raw.casefold() in tables.whether_en


def _words(tokens: Sequence[_Token], tables: Tables) -> list[Word]:
    """What is left when nothing that makes no difference is, each with its kind."""
    words: list[Word] = []
    place = 0
    while place < len(tokens):
        if tokens[place].kind == "number" and (unit := _unit_after(tokens, place, tables)):
            words.append(_quantity(tokens[place].text, unit))
            place += 1 + unit[2]
            continue
        size, stands = _known(tokens, place, tables)
        if size:
            words += [_word(part, tables) for part in stands]
            place += size
            continue
        words.append(_typed(tokens[place], tables))
        place += 1
    return _joined(words, tables)


def _known(tokens: Sequence[_Token], place: int, tables: Tables) -> tuple[int, tuple[str, ...]]:
    """How many tokens from `place` are one known phrase, and what stands for it; (0, ()) if none is."""
    for size in range(min(tables.longest.get(tokens[place].text, 0), len(tokens) - place), 0, -1):
        part = tokens[place : place + size]
        texts = tuple(token.text for token in part)
        if any(token.named and token.text == token.raw for token in part):
            continue
        if texts in tables.same:
            return size, split_phrase(tables.same[texts])
        if texts in tables.dropped:
            return size, ()
    return 0, ()


def _typed(token: _Token, tables: Tables) -> Word:
    if token.kind in ("number", "clock", "sign"):
        return Word("number", token.text)
    if token.kind == "code" or (token.named and token.text not in tables.marks):
        return Word("name", token.text)
    return _word(token.text, tables)


def _word(text: str, tables: Tables) -> Word:
    return Word("number" if text[0].isdigit() else tables.marks.get(text, "words"), text)


def _joined(words: list[Word], tables: Tables) -> list[Word]:
    """Words that make one marked phrase together get its kind."""
    for place, word in enumerate(words):
        for size in range(tables.longest_mark.get(word.text, 0), 1, -1):
            part = tuple(one.text for one in words[place : place + size])
            if kind := tables.long_marks.get(part):
                words[place : place + size] = [Word(kind, text) for text in part]
                break
    return words


def _unit_after(tokens: Sequence[_Token], place: int, tables: Tables) -> tuple[str, Decimal, int] | None:
    """The unit that follows the number at `place`: its kind, its size in it, and of how many tokens it is."""
    for size in (3, 2, 1):
        part = tokens[place + 1 : place + 1 + size]
        if len(part) < size:
            continue
        raw = "".join(token.raw for token in part)
        found = tables.unit_symbols.get(raw) or tables.unit_words.get(raw.casefold())
        if found:
            return (*found, size)
    return None


def _quantity(number: str, unit: tuple[str, Decimal, int]) -> Word:
    if re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+", number):
        number = number.replace(",", "")
    if "," in number:
        return Word("number", f"{number} {unit[0]} {unit[1]}")
    return Word("number", f"{(Decimal(number) * unit[1]).normalize():f} {unit[0]}")
